/*
 * json: the relaxed dialect made strict, and lenient getters.
 */
#include "common/json.h"

#include "common/str.h"

#define DEPTH_MAX 64
#define KEYS_MAX 4 /* object keys within object keys: each level doubles the backslashes of the text */

/* Where the reader stands. The first failure sticks. */
struct relax {
	const char	*begin, *p, *end;
	struct buf	*out;
	struct err	*e;
	unsigned	 depth, keys;
	enum rc		 rc;
};

static void	relax_value(struct relax *r);

static void
fail(struct relax *r, enum rc rc, const char *what)
{
	if (r->rc != RC_OK)
		return;
	r->rc = rc;
	err_set(r->e, "JSON: %s at byte %zu of %zu", what, (size_t)(r->p - r->begin), (size_t)(r->end - r->begin));
}

/* The next byte that is no white space; -1 at the end or after a failure. */
static int
peek(struct relax *r)
{
	if (r->rc != RC_OK)
		return -1;
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
		r->p++;
	return r->p < r->end ? (unsigned char)*r->p : -1;
}

static bool
eat(struct relax *r, char c)
{
	if (peek(r) != c)
		return false;
	r->p++;
	return true;
}

static bool
is_word(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+' ||
	       c == '.' || c == '_' || c == '$';
}

/* A number, a literal, or a bare key. */
static struct slice
take_word(struct relax *r)
{
	struct slice w = {r->p, 0};

	while (r->p < r->end && is_word((unsigned char)*r->p))
		r->p++;
	w.n = (size_t)(r->p - w.p);
	return w;
}

static void
relax_word(struct relax *r)
{
	struct slice w = take_word(r);

	if (w.n == 0)
		fail(r, RC_BADDATA, "a value is missing");
	else
		buf_put_slice(r->out, w); /* jansson judges what is in it */
}

/* Behind a backslash. Java's reader knows some escapes that JSON has not. */
static void
relax_escape(struct relax *r)
{
	char c;

	if (r->p == r->end) {
		fail(r, RC_BADDATA, "a text ends in the middle of an escape");
		return;
	}
	c = *r->p++;
	if (c == '\'')
		buf_put_char(r->out, c);
	else if (c == 'v')
		buf_put_str(r->out, "\\u000b");
	else if (c == 'x' && r->end - r->p >= 2) {
		buf_put_str(r->out, "\\u00");
		buf_put(r->out, r->p, 2);
		r->p += 2;
	} else {
		buf_put_char(r->out, '\\');
		buf_put_char(r->out, c);
	}
}

/* One character of a text, no quote, no backslash: broken UTF-8 as Java reads it, control characters escaped. */
static void
relax_char(struct relax *r)
{
	unsigned len = str_utf8_len(r->p, (size_t)(r->end - r->p));

	if (len == 0)
		buf_put_str(r->out, "\xef\xbf\xbd");
	else if ((unsigned char)*r->p < 0x20)
		buf_printf(r->out, "\\u%04x", (unsigned)*r->p);
	else
		buf_put(r->out, r->p, len);
	r->p += len == 0 ? 1 : len;
}

static void
relax_string(struct relax *r)
{
	char quote = *r->p++;

	buf_put_char(r->out, '"');
	while (r->rc == RC_OK && r->p < r->end && *r->p != quote) {
		if (*r->p == '\\') {
			r->p++;
			relax_escape(r);
		} else if (*r->p == '"') { /* within single quotes */
			buf_put_str(r->out, "\\\"");
			r->p++;
		} else
			relax_char(r);
	}
	if (r->p >= r->end)
		fail(r, RC_BADDATA, "a text does not end");
	else
		r->p++;
	buf_put_char(r->out, '"');
}

/* An object as a key: its strict JSON becomes the text of the key. */
static void
relax_object_key(struct relax *r)
{
	struct buf key = {0}, *out = r->out;

	if (r->keys == KEYS_MAX) {
		fail(r, RC_LIMIT, "object keys nested too deep");
		return;
	}
	r->keys++;
	r->out = &key;
	relax_value(r);
	r->out = out;
	r->keys--;
	buf_put_json(out, buf_slice(&key));
	out->failed |= key.failed;
	buf_free(&key);
}

static void
relax_key(struct relax *r)
{
	int c = peek(r);

	if (c == '"' || c == '\'')
		relax_string(r);
	else if (c == '{')
		relax_object_key(r);
	else {
		struct slice w = take_word(r);

		if (w.n == 0)
			fail(r, RC_BADDATA, "a key is missing");
		buf_put_json(r->out, w);
	}
}

static void
relax_member(struct relax *r)
{
	relax_key(r);
	if (!eat(r, ':'))
		fail(r, RC_BADDATA, "no colon behind a key");
	buf_put_char(r->out, ':');
	relax_value(r);
}

/* Commas between members: one is needed, more are dropped as Java does. False: none there. */
static bool
eat_commas(struct relax *r)
{
	bool any = false;

	while (eat(r, ','))
		any = true;
	return any;
}

/* The members of an object or array up to its end. */
static void
relax_members(struct relax *r, char close, void (*member)(struct relax *r))
{
	bool first = true;

	buf_put_char(r->out, *r->p++);
	for (;;) {
		bool comma = eat_commas(r);

		if (eat(r, close))
			break;
		if (peek(r) < 0 || (!first && !comma)) {
			fail(r, RC_BADDATA, peek(r) < 0 ? "an object or array does not end" : "a comma is missing");
			return;
		}
		if (!first)
			buf_put_char(r->out, ',');
		first = false;
		member(r);
	}
	buf_put_char(r->out, close);
}

static void
relax_value(struct relax *r)
{
	int c = peek(r);

	if (++r->depth > DEPTH_MAX)
		fail(r, RC_LIMIT, "nested too deep");
	else if (c == '{')
		relax_members(r, '}', relax_member);
	else if (c == '[')
		relax_members(r, ']', relax_value);
	else if (c == '"' || c == '\'')
		relax_string(r);
	else
		relax_word(r);
	r->depth--;
}

enum rc
json_relax(struct slice text, struct buf *strict, struct err *e)
{
	struct relax r = {.begin = text.p, .p = text.p, .end = text.p + text.n, .out = strict, .e = e};

	if (peek(&r) < 0)
		fail(&r, RC_BADDATA, "there is nothing");
	relax_value(&r);
	if (peek(&r) >= 0)
		fail(&r, RC_BADDATA, "something follows the value");
	if (strict->failed)
		fail(&r, RC_LIMIT, "too long");
	return r.rc;
}

enum rc
json_load_relaxed(struct slice text, json_t **out, struct err *e)
{
	struct buf strict = {0};
	json_error_t why;
	enum rc rc = json_relax(text, &strict, e);

	if (rc != RC_OK) {
		buf_free(&strict);
		return rc;
	}
	*out = json_loadb(strict.p, strict.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	buf_free(&strict);
	if (*out != NULL)
		return RC_OK;
	err_set(e, "JSON: %s at byte %d", why.text, why.position);
	return RC_BADDATA;
}

int64_t
json_get_i64(const json_t *o, const char *key, int64_t dflt)
{
	const json_t *v = json_object_get(o, key);
	int64_t n;

	if (json_is_integer(v))
		return json_integer_value(v);
	if (json_is_real(v) && json_real_value(v) > -9e18 && json_real_value(v) < 9e18)
		return (int64_t)json_real_value(v);
	if (json_is_string(v) && str_i64(slice_of(json_string_value(v)), &n) == RC_OK)
		return n;
	return dflt;
}

bool
json_get_bool(const json_t *o, const char *key, bool dflt)
{
	const json_t *v = json_object_get(o, key);

	if (json_is_boolean(v))
		return json_is_true(v);
	if (json_is_integer(v))
		return json_integer_value(v) != 0;
	if (json_is_string(v))
		return str_bool(slice_of(json_string_value(v)));
	return dflt;
}

/* The member is replaced by its text in the tree, which then owns it. */
static const char *
number_as_text(const json_t *o, const char *key, const json_t *v)
{
	json_t *text = json_is_integer(v) ? json_sprintf("%lld", (long long)json_integer_value(v))
					  : json_sprintf("%.17g", json_real_value(v));

	if (text == NULL || json_object_set_new((json_t *)(uintptr_t)o, key, text) != 0)
		return NULL;
	return json_string_value(text);
}

const char *
json_get_str(const json_t *o, const char *key, const char *dflt)
{
	const json_t *v = json_object_get(o, key);
	const char *text = NULL;

	if (json_is_string(v))
		text = json_string_value(v);
	else if (json_is_number(v))
		text = number_as_text(o, key, v);
	return text != NULL ? text : dflt;
}

int
json_get_enum(const json_t *o, const char *key, const char *const names[], int count, int dflt)
{
	const json_t *v = json_object_get(o, key);
	int64_t n = json_get_i64(o, key, -1);

	if (n >= 0 && n < count)
		return (int)n;
	for (int i = 0; json_is_string(v) && i < count; i++)
		if (strcmp(json_string_value(v), names[i]) == 0)
			return i;
	return dflt;
}
