/*
 * adm_table: output of rmqadmin: aligned columns, or JSON.
 */
#include <stdio.h>
#include <time.h>

#include "common/str.h"
#include "tools/adm.h"

#define COLS_MAX 16

/* A cell as text; numbers with a fraction get two digits. The text is the caller's. */
static char *
cell_text(const json_t *row, const char *key)
{
	const json_t *v = json_object_get(row, key);

	if (json_is_string(v))
		return xstrdup(json_string_value(v));
	if (json_is_integer(v))
		return xasprintf("%lld", (long long)json_integer_value(v));
	if (json_is_real(v))
		return xasprintf("%.2f", json_real_value(v));
	if (json_is_boolean(v))
		return xstrdup(json_is_true(v) ? "true" : "false");
	return xstrdup("");
}

/* Characters, not bytes: what a terminal shows of UTF-8 text. */
static int
text_width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void
print_cell(const char *text, int width, bool right, bool last)
{
	int pad = width - text_width(text);

	if (right)
		printf("%*s%s%s", pad, "", text, last ? "" : "  ");
	else
		printf("%s%*s%s", text, last ? 0 : pad, "", last ? "" : "  ");
}

static void
print_table(const struct adm_col *cols, size_t count, const json_t *rows)
{
	int width[COLS_MAX];
	const json_t *row;
	size_t i;

	ensure(count <= COLS_MAX);
	for (size_t c = 0; c < count; c++) {
		width[c] = text_width(cols[c].title);
		json_array_foreach (rows, i, row) {
			char *text = cell_text(row, cols[c].key);

			width[c] = MAX_OF(width[c], text_width(text));
			free(text);
		}
		print_cell(cols[c].title, width[c], cols[c].right, c + 1 == count);
	}
	putchar('\n');
	json_array_foreach (rows, i, row) {
		for (size_t c = 0; c < count; c++) {
			char *text = cell_text(row, cols[c].key);

			print_cell(text, width[c], cols[c].right, c + 1 == count);
			free(text);
		}
		putchar('\n');
	}
}

void
adm_rows(struct adm *a, const struct adm_col *cols, size_t count, json_t *rows)
{
	if (a->json) {
		adm_print_json(rows);
		return;
	}
	print_table(cols, count, rows);
	json_decref(rows);
}

void
adm_print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	putchar('\n');
	json_decref(j);
}

void
adm_done(struct adm *a, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!a->json) {
		puts(text);
		return;
	}
	if (a->done == NULL)
		a->done = json_array();
	json_array_append_new(a->done, adm_json_text(slice_of(text)));
}

void
adm_done_print(struct adm *a)
{
	if (a->done)
		adm_print_json(a->done);
	a->done = NULL;
}

const char *
adm_time_text(int64_t ms, char buf[32])
{
	time_t t = ms / 1000;
	struct tm tm;
	size_t n;

	buf[0] = '\0';
	if (ms <= 0 || localtime_r(&t, &tm) == NULL)
		return buf;
	n = strftime(buf, 32, "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(buf + n, 32 - n, ",%03d", (int)(ms % 1000));
	return buf;
}

/* The protocol's list has a snapshot before each release and ten releases for each minor number, from V4_0_0 on. */
const char *
adm_version_text(int64_t version, char buf[32])
{
	int64_t i = (version - 212) / 2;

	if (version < 212 || version >= 613)
		snprintf(buf, 32, version >= 613 ? "HIGHER_VERSION" : "%lld", (long long)version);
	else
		snprintf(buf, 32, "V%lld_%lld_%lld%s", (long long)(4 + i / 100), (long long)(i / 10 % 10),
			 (long long)(i % 10), version % 2 ? "" : "_SNAPSHOT");
	return buf;
}

json_t *
adm_json_text(struct slice s)
{
	struct buf b = {0};
	json_t *j;

	if (s.n == 0)
		return json_string("");
	if (str_is_utf8(s))
		return json_stringn(s.p, s.n);
	buf_put_json(&b, s);
	j = json_loadb(b.p, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	buf_free(&b);
	return j ? j : json_string("");
}

json_t *
adm_queue_key(const char *key)
{
	json_t *j = json_loads(key, 0, NULL);

	return j ? j : json_object();
}

static int
compare_rows(const void *x, const void *y)
{
	const json_t *a = *(json_t *const *)x, *b = *(json_t *const *)y;
	int c = strcmp(json_get_str(a, "topic", ""), json_get_str(b, "topic", ""));
	int64_t d;

	if (c == 0)
		c = strcmp(json_get_str(a, "broker", ""), json_get_str(b, "broker", ""));
	d = json_get_i64(a, "queue", 0) - json_get_i64(b, "queue", 0);
	return c ? c : (d > 0) - (d < 0);
}

void
adm_sort_queues(json_t *rows)
{
	size_t n = json_array_size(rows);
	json_t **v = xmalloc((n + 1) * sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = json_incref(json_array_get(rows, i));
	qsort(v, n, sizeof(*v), compare_rows);
	for (size_t i = 0; i < n; i++)
		json_array_set_new(rows, i, v[i]);
	free(v);
}
