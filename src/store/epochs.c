/*
 * epochs: the list of reigns; see epochs.h.
 */
#include "store/epochs.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/crc.h"
#include "common/json.h"
#include "common/log.h"
#include "common/str.h"
#include "store/paths.h"

#define FILE_MAX (64 << 10)

void
epochs_path(const struct broker_conf *c, char *out, size_t n)
{
	if (c->storePathEpochFile[0] != '\0')
		snprintf(out, n, "%s", c->storePathEpochFile);
	else
		paths_below(c, EPOCHS_NAME, out, n);
}

/* ---- the text */

static bool
take_number(struct slice *rest, int64_t *v)
{
	struct slice line;

	return str_next(rest, '\n', &line) && str_i64(str_trim(line), v) == RC_OK;
}

static enum rc
take_entry(struct epochs *l, struct slice line)
{
	struct epoch_entry *e = &l->entry[l->count];
	struct slice word;

	line = str_trim(line);
	if (l->count == EPOCHS_MAX || !str_next(&line, '-', &word) || str_i32(word, &e->epoch) != RC_OK ||
	    str_i64(line, &e->start) != RC_OK || e->epoch < 0 || e->start < 0)
		return RC_BADDATA;
	if (l->count > 0 && (e->epoch <= e[-1].epoch || e->start < e[-1].start))
		return RC_BADDATA;
	l->count++;
	return RC_OK;
}

enum rc
epochs_parse(struct epochs *l, struct slice text)
{
	struct slice rest = text, line;
	int64_t count, crc;

	l->count = 0;
	if (!take_number(&rest, &count) || !take_number(&rest, &crc) || count < 0 || count > EPOCHS_MAX)
		return RC_BADDATA;
	if (crc != 0 && (int64_t)(crc32_of(rest.p, rest.n) & 0x7fffffffu) != crc)
		return RC_BADDATA;
	while (str_next(&rest, '\n', &line))
		if (str_trim(line).n > 0 && take_entry(l, line) != RC_OK)
			return RC_BADDATA;
	return (int64_t)l->count == count ? RC_OK : RC_BADDATA;
}

static void
put_text(const struct epochs *l, struct buf *out)
{
	struct buf lines = {0};

	for (size_t i = 0; i < l->count; i++)
		buf_printf(&lines, "%" PRId32 "-%" PRId64 "\n", l->entry[i].epoch, l->entry[i].start);
	buf_printf(out, "%zu\n%" PRIu32 "\n", l->count, lines.len > 0 ? crc32_of(lines.p, lines.len) & 0x7fffffffu : 0);
	buf_put_slice(out, buf_slice(&lines));
	buf_free(&lines);
}

/* ---- the file */

static enum rc
load_one(struct epochs *l, const char *path, struct err *e)
{
	struct buf text = {0};
	enum rc rc = file_read(path, FILE_MAX, &text, e);

	if (rc == RC_OK && epochs_parse(l, buf_slice(&text)) != RC_OK) {
		err_set(e, "%s is no list of epochs, or its checksum is another", path);
		rc = RC_BADDATA;
	}
	buf_free(&text);
	return rc;
}

enum rc
epochs_load(struct epochs *l, const char *path, struct err *e)
{
	char bak[4096 + 8];
	struct err second;
	enum rc rc = load_one(l, path, e);

	if (rc == RC_OK)
		return RC_OK;
	snprintf(bak, sizeof(bak), "%s.bak", path);
	if (load_one(l, bak, &second) == RC_OK) {
		log_warn("%s; %s is taken", e->text, bak);
		return RC_OK;
	}
	l->count = 0;
	if (rc == RC_NOTFOUND && access(bak, F_OK) != 0)
		return RC_OK;
	err_prefix(
	    e, "where the epochs of the log begin is not known, bring the file back from another node of this name");
	return rc == RC_NOTFOUND ? RC_BADDATA : rc;
}

enum rc
epochs_save(const struct epochs *l, const char *path, struct err *e)
{
	struct buf text = {0};
	enum rc rc;

	put_text(l, &text);
	rc = file_replace(path, buf_slice(&text), e);
	buf_free(&text);
	return rc;
}

/* ---- the list */

bool
epochs_equal(const struct epochs *a, const struct epochs *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->entry[i].epoch != b->entry[i].epoch || a->entry[i].start != b->entry[i].start)
			return false;
	return true;
}

int32_t
epochs_last(const struct epochs *l)
{
	return l->count > 0 ? l->entry[l->count - 1].epoch : 0;
}

void
epochs_append(struct epochs *l, int32_t epoch, int64_t start)
{
	while (l->count > 0 && (l->entry[l->count - 1].start >= start || l->entry[l->count - 1].epoch >= epoch))
		l->count--;
	if (l->count == EPOCHS_MAX) {
		memmove(l->entry, l->entry + 1, (EPOCHS_MAX - 1) * sizeof(l->entry[0]));
		l->count--;
	}
	l->entry[l->count++] = (struct epoch_entry){epoch, start};
}

bool
epochs_cut(struct epochs *l, int64_t end)
{
	size_t before = l->count;

	while (l->count > 0 && l->entry[l->count - 1].start > end)
		l->count--;
	return l->count != before;
}

/* Reign i, counted from 1; 0 is what stands before the first. */
static struct epoch_entry
reign(const struct epochs *l, size_t i)
{
	return i == 0 ? (struct epoch_entry){0, 0} : l->entry[i - 1];
}

/* Where reign i ends in a log that ends at `end`. */
static int64_t
reign_end(const struct epochs *l, size_t i, int64_t end)
{
	return i < l->count && l->entry[i].start < end ? l->entry[i].start : end;
}

int64_t
epochs_meet(const struct epochs *a, int64_t a_end, const struct epochs *b, int64_t b_end)
{
	size_t i = a->count, j = b->count;

	while (i > 0 || j > 0) {
		struct epoch_entry x = reign(a, i), y = reign(b, j);

		if (i > 0 && j > 0 && x.epoch == y.epoch && x.start == y.start)
			break;
		if (j == 0 || (i > 0 && x.epoch > y.epoch))
			i--;
		else if (i == 0 || y.epoch > x.epoch)
			j--;
		else
			i--, j--; /* one number, two places: not the same reign */
	}
	a_end = reign_end(a, i, a_end);
	b_end = reign_end(b, j, b_end);
	return MIN_OF(a_end, b_end);
}
