/*
 * header_json: reads the JSON codec of a header, scanned in place: no tree, no allocation.
 *
 * Reads what the clients write: keys in any order, white space, unknown keys with values of any kind, numbers, booleans
 * and null as ext values. Escapes are resolved where they stand, since the result is never longer. Bytes that are no
 * UTF-8 pass through: the properties of a message may hold any.
 */
#include "common/str.h"
#include "remoting/header.h"
#include "remoting/json_scan.h"

#define JSON_DEPTH_MAX 32

struct js {
	char *p, *end, *start;
	struct err *e;
};

static enum rc
bad(const struct js *j, const char *what)
{
	err_set(j->e, "JSON header: %s at byte %zu", what, (size_t)(j->p - j->start));
	return RC_BADDATA;
}

static inline void
skip_space(struct js *j)
{
	while (j->p < j->end && (uint8_t)*j->p <= ' ' &&
	       (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
		j->p++;
}

/* Takes c, white space before it, or says what was expected. */
static inline bool
take(struct js *j, char c)
{
	skip_space(j);
	if (UNLIKELY(j->p >= j->end || *j->p != c))
		return false;
	j->p++;
	return true;
}

/* The first quote or backslash at or behind p, or end. */
static inline char *
find_special(char *p, char *end)
{
#ifdef __SSE2__
	for (; end - p >= 16; p += 16) {
		unsigned m = special_mask(_mm_loadu_si128((const __m128i *)(const void *)p));

		if (m)
			return p + __builtin_ctz(m);
	}
#endif
	while (p < end && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* Moves bytes from *r down to *w until a quote, a backslash or the end. */
static inline void
move_run(char **r, char **w, char *end)
{
	char *from = *r, *to = *w;

#ifdef __SSE2__
	/* 16 bytes may be stored at once only where they do not touch what is still to be read */
	while (from - to >= 16 && end - from >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)from);
		unsigned m = special_mask(v);
		unsigned n = m ? (unsigned)__builtin_ctz(m) : 16;

		_mm_storeu_si128((__m128i *)(void *)to, v);
		from += n;
		to += n;
		if (m)
			goto done;
	}
#endif
	while (from < end && *from != '"' && *from != '\\')
		*to++ = *from++;
#ifdef __SSE2__
done:
#endif
	*r = from;
	*w = to;
}

static inline int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits at p; -1 when they are none or not there. */
static int
hex4(const char *p, const char *end)
{
	int a, b, c, d;

	if (end - p < 4)
		return -1;
	a = hex_digit(p[0]);
	b = hex_digit(p[1]);
	c = hex_digit(p[2]);
	d = hex_digit(p[3]);
	return (a | b | c | d) < 0 ? -1 : a << 12 | b << 8 | c << 4 | d;
}

static char *
put_utf8(char *w, unsigned u)
{
	if (u < 0x80) {
		*w++ = (char)u;
	} else if (u < 0x800) {
		*w++ = (char)(0xc0 | u >> 6);
		*w++ = (char)(0x80 | (u & 0x3f));
	} else if (u < 0x10000) {
		*w++ = (char)(0xe0 | u >> 12);
		*w++ = (char)(0x80 | (u >> 6 & 0x3f));
		*w++ = (char)(0x80 | (u & 0x3f));
	} else {
		*w++ = (char)(0xf0 | u >> 18);
		*w++ = (char)(0x80 | (u >> 12 & 0x3f));
		*w++ = (char)(0x80 | (u >> 6 & 0x3f));
		*w++ = (char)(0x80 | (u & 0x3f));
	}
	return w;
}

/* \uXXXX at r (behind the u). Half a pair becomes '?', as Java's encoder writes it. NULL: not four hex digits. */
static char *
unescape_unicode(char *r, char *end, char **w)
{
	int u = hex4(r, end), low;

	if (u < 0)
		return NULL;
	r += 4;
	if (u >= 0xd800 && u < 0xdc00 && end - r >= 6 && r[0] == '\\' && r[1] == 'u') {
		low = hex4(r + 2, end);
		if (low >= 0xdc00 && low < 0xe000) {
			*w = put_utf8(*w, 0x10000 + (((unsigned)u & 0x3ff) << 10 | ((unsigned)low & 0x3ff)));
			return r + 6;
		}
	}
	*w = put_utf8(*w, u >= 0xd800 && u < 0xe000 ? '?' : (unsigned)u);
	return r;
}

/* One escape at r (behind the backslash). NULL: there is no such escape. */
static inline char *
unescape_one(char *r, char *end, char **w)
{
	char c;

	if (r >= end)
		return NULL;
	switch (*r) {
	case 'u':
		return unescape_unicode(r + 1, end, w);
	case 'n':
		c = '\n';
		break;
	case 't':
		c = '\t';
		break;
	case 'r':
		c = '\r';
		break;
	case 'b':
		c = '\b';
		break;
	case 'f':
		c = '\f';
		break;
	case '"':
	case '\\':
	case '/':
		c = *r;
		break;
	default:
		return NULL;
	}
	*(*w)++ = c;
	return r + 1;
}

/* The rest of a string that has escapes; the first backslash is at j->p. */
static enum rc
unescape(struct js *j, char *first, struct slice *out)
{
	char *r = j->p, *w = j->p;

	for (;;) {
		if (r >= j->end)
			return bad(j, "string without end");
		if (*r == '"')
			break;
		r = unescape_one(r + 1, j->end, &w);
		if (r == NULL)
			return bad(j, "escape that does not exist");
		move_run(&r, &w, j->end);
	}
	*out = (struct slice){first, (size_t)(w - first)};
	j->p = r + 1;
	return RC_OK;
}

/* A string with its quotes. */
static inline enum rc
take_string(struct js *j, struct slice *out)
{
	char *first, *q;

	if (UNLIKELY(!take(j, '"')))
		return bad(j, "string expected");
	first = j->p;
	q = find_special(first, j->end);
	if (UNLIKELY(q == j->end))
		return bad(j, "string without end");
	if (LIKELY(*q == '"')) {
		*out = (struct slice){first, (size_t)(q - first)};
		j->p = q + 1;
		return RC_OK;
	}
	j->p = q;
	return unescape(j, first, out);
}

/* Passes over a string without changing it: raw text of nested values stays JSON. */
static enum rc
skip_string(struct js *j)
{
	char *q = j->p + 1;

	for (;;) {
		q = find_special(q, j->end);
		if (j->end - q < 1)
			return bad(j, "string without end");
		if (*q == '"')
			break;
		if (j->end - q < 2)
			return bad(j, "string without end");
		q += 2;
	}
	j->p = q + 1;
	return RC_OK;
}

static bool
is_token_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '+' ||
	       c == '.';
}

/* A number, true, false or null as it stands. */
static enum rc
take_token(struct js *j, struct slice *out)
{
	char *first = j->p;

	while (j->p < j->end && is_token_char(*j->p))
		j->p++;
	*out = (struct slice){first, (size_t)(j->p - first)};
	if (out->n && (*first == '-' || (*first >= '0' && *first <= '9')))
		return RC_OK;
	if (slice_is(*out, "true") || slice_is(*out, "false") || slice_is(*out, "null"))
		return RC_OK;
	return bad(j, "value expected");
}

static enum rc skip_value(struct js *j, unsigned depth);

/* An array or object; its members or elements are passed over alike: a ':' may stand where a ',' may. */
static enum rc
skip_nested(struct js *j, char close, unsigned depth)
{
	enum rc rc;

	if (depth == JSON_DEPTH_MAX)
		return bad(j, "nesting too deep");
	j->p++;
	if (take(j, close))
		return RC_OK;
	do {
		rc = skip_value(j, depth + 1);
		if (rc == RC_OK && close == '}')
			rc = take(j, ':') ? skip_value(j, depth + 1) : bad(j, "':' expected");
		if (rc != RC_OK)
			return rc;
	} while (take(j, ','));
	return take(j, close) ? RC_OK : bad(j, "',' or an end expected");
}

static enum rc
skip_value(struct js *j, unsigned depth)
{
	struct slice token;

	skip_space(j);
	if (j->p >= j->end)
		return bad(j, "value expected");
	switch (*j->p) {
	case '"':
		return skip_string(j);
	case '{':
		return skip_nested(j, '}', depth);
	case '[':
		return skip_nested(j, ']', depth);
	default:
		return take_token(j, &token);
	}
}

/* Any value as text: a string unescaped, null as nothing, the rest as it stands. */
static inline enum rc
take_text(struct js *j, struct slice *out)
{
	char *first;
	enum rc rc;

	skip_space(j);
	if (LIKELY(j->p < j->end && *j->p == '"'))
		return take_string(j, out);
	first = j->p;
	rc = skip_value(j, 0);
	*out = (struct slice){first, (size_t)(j->p - first)};
	if (slice_is(*out, "null"))
		*out = SLICE_NONE;
	return rc;
}

/* Up to nine digits and a comma or brace, as all clients write them. */
static inline bool
take_usual_i32(struct js *j, int32_t *v)
{
	char *p = j->p, *first;
	bool negative = p < j->end && *p == '-';
	int32_t x = 0;

	p += negative;
	first = p;
	while (p < j->end && (unsigned char)(*p - '0') <= 9 && p - first < 9)
		x = x * 10 + (*p++ - '0');
	if (p == first || p == j->end || (*p != ',' && *p != '}'))
		return false;
	*v = negative ? -x : x;
	j->p = p;
	return true;
}

static enum rc
take_i32(struct js *j, int32_t *v)
{
	struct slice s;
	enum rc rc;

	if (LIKELY(take_usual_i32(j, v)))
		return RC_OK;
	rc = take_text(j, &s);
	if (rc != RC_OK || s.n == 0)
		return rc;
	return str_i32(s, v) == RC_OK ? RC_OK : bad(j, "whole number of 32 bits expected");
}

static enum rc
take_version(struct js *j, int16_t *v)
{
	int32_t x = 0;
	enum rc rc = take_i32(j, &x);

	*v = (int16_t)(x < 0 ? 0 : MIN_OF(x, INT16_MAX));
	return rc;
}

/* A name, or its number as some clients write it. */
static enum rc
take_language(struct js *j, uint8_t *v)
{
	struct slice s;
	int32_t number;
	enum rc rc = take_text(j, &s);

	*v = LANG_JAVA;
	if (rc != RC_OK || slice_is(s, "JAVA"))
		return rc;
	*v = LANG_OTHER;
	if (str_i32(s, &number) == RC_OK) {
		if (number >= 0 && number < 256)
			*v = (uint8_t)number;
		return RC_OK;
	}
	for (int i = 0; i < LANGUAGES; i++)
		if (slice_is(s, language_name(i)))
			*v = (uint8_t)i;
	return RC_OK;
}

/* Where the string that begins at p ends, or its first escape. One character is so frequent that the guess pays. */
static inline char *
find_end(char *p, char *end)
{
	if (end - p >= 2 && p[1] == '"' && p[0] != '\\' && p[0] != '"')
		return p + 1;
	return find_special(p, end);
}

/*
 * The usual member, `"name":"value"` without white space, and without escapes in the name. False: nothing was taken.
 * Half of a header's time goes here.
 */
static inline bool
take_usual(struct js *j, struct slice *name, struct slice *value, enum rc *rc)
{
	char *p = j->p, *q, *end = j->end;

	if (UNLIKELY(end - p < 6 || *p != '"'))
		return false;
	p++;
	q = find_end(p, end);
	if (UNLIKELY(end - q < 4 || q[0] != '"' || q[1] != ':' || q[2] != '"'))
		return false;
	*name = (struct slice){p, (size_t)(q - p)};
	p = q + 3;
	q = find_end(p, end);
	if (UNLIKELY(q == end))
		return false;
	j->p = q;
	if (LIKELY(*q == '"')) {
		*value = (struct slice){p, (size_t)(q - p)};
		j->p = q + 1;
	} else {
		*rc = unescape(j, p, value);
	}
	return true;
}

static enum rc
take_pair(struct js *j, struct slice *name, struct slice *value)
{
	enum rc rc = take_string(j, name);

	if (rc != RC_OK)
		return rc;
	if (!take(j, ':'))
		return bad(j, "':' expected");
	return take_text(j, value);
}

static enum rc
take_fields(struct js *j, struct command *c)
{
	struct slice name, value;
	enum rc rc = RC_OK;

	skip_space(j);
	if (j->p < j->end && *j->p == 'n')
		return skip_value(j, 0);
	if (!take(j, '{'))
		return bad(j, "extFields is no object");
	if (take(j, '}'))
		return RC_OK;
	do {
		if (!take_usual(j, &name, &value, &rc))
			rc = take_pair(j, &name, &value);
		if (UNLIKELY(rc != RC_OK))
			return rc;
		rc = header_add_field(c, name, value);
		if (UNLIKELY(rc != RC_OK)) {
			err_set(j->e, "JSON header: more than %d fields", FIELDS_MAX);
			return rc;
		}
	} while (take(j, ','));
	return take(j, '}') ? RC_OK : bad(j, "',' or '}' expected");
}

static enum rc
take_member(struct js *j, struct command *c, struct slice key)
{
	if (slice_is(key, "extFields"))
		return take_fields(j, c);
	if (slice_is(key, "code"))
		return take_i32(j, &c->code);
	if (slice_is(key, "flag"))
		return take_i32(j, &c->flag);
	if (slice_is(key, "opaque"))
		return take_i32(j, &c->opaque);
	if (slice_is(key, "version"))
		return take_version(j, &c->version);
	if (slice_is(key, "language"))
		return take_language(j, &c->language);
	if (slice_is(key, "remark"))
		return take_text(j, &c->remark);
	return skip_value(j, 0);
}

static enum rc
take_object(struct js *j, struct command *c)
{
	struct slice key;
	enum rc rc;

	if (!take(j, '{'))
		return bad(j, "object expected");
	if (take(j, '}'))
		return RC_OK;
	do {
		rc = take_string(j, &key);
		if (rc == RC_OK)
			rc = take(j, ':') ? take_member(j, c, key) : bad(j, "':' expected");
		if (rc != RC_OK)
			return rc;
	} while (take(j, ','));
	return take(j, '}') ? RC_OK : bad(j, "',' or '}' expected");
}

enum rc
header_json_decode(struct command *c, char *p, size_t n, struct err *e)
{
	struct js j = {.p = p, .end = p + n, .start = p, .e = e};
	enum rc rc = take_object(&j, c);

	if (rc != RC_OK)
		return rc;
	skip_space(&j);
	return j.p == j.end ? RC_OK : bad(&j, "something behind the object");
}
