/*
 * properties: Java's properties text, read and written.
 *
 * A logical line is one or more lines of text, all but the last ending in an odd number of backslashes. The key ends at the
 * first blank, = or : that no backslash precedes.
 */
#include "common/conf.h"

#include "common/str.h"

struct reader {
	const char	*p, *end;
	int		 line;
	struct buf	 key, value;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\f';
}

static void
skip_blanks(struct reader *r)
{
	while (r->p < r->end && is_blank(*r->p))
		r->p++;
}

static bool
at_eol(const struct reader *r)
{
	return r->p == r->end || *r->p == '\n' || *r->p == '\r';
}

/* Over \n, \r or \r\n. */
static void
skip_eol(struct reader *r)
{
	if (r->p == r->end)
		return;
	if (*r->p == '\r' && r->p + 1 < r->end && r->p[1] == '\n')
		r->p++;
	r->p++;
	r->line++;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Four digits at p into *unit. */
static bool
hex_unit(const struct reader *r, const char *p, uint32_t *unit)
{
	*unit = 0;
	if (r->end - p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int d = hex_digit(p[i]);

		if (d < 0)
			return false;
		*unit = *unit << 4 | (uint32_t)d;
	}
	return true;
}

static void
put_utf8(struct buf *b, uint32_t c)
{
	if (c < 0x80) {
		buf_put_char(b, (char)c);
		return;
	}
	if (c < 0x800) {
		buf_put_char(b, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buf_put_char(b, (char)(0xe0 | c >> 12));
		} else {
			buf_put_char(b, (char)(0xf0 | c >> 18));
			buf_put_char(b, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		buf_put_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	buf_put_char(b, (char)(0x80 | (c & 0x3f)));
}

/* r->p is behind "\u". Two halves of a pair become one character; a half alone becomes U+FFFD. */
static enum rc
take_unicode(struct reader *r, struct buf *to)
{
	uint32_t c, low;

	if (!hex_unit(r, r->p, &c))
		return RC_BADDATA;
	r->p += 4;
	if (c >= 0xd800 && c < 0xdc00 && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u' &&
	    hex_unit(r, r->p + 2, &low) && low >= 0xdc00 && low < 0xe000) {
		r->p += 6;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	} else if (c >= 0xd800 && c < 0xe000) {
		c = 0xfffd;
	}
	put_utf8(to, c);
	return RC_OK;
}

/* r->p is behind a backslash. */
static enum rc
take_escape(struct reader *r, struct buf *to)
{
	static const char names[] = "tnrf", chars[] = "\t\n\r\f";
	const char *known;
	char c;

	if (at_eol(r)) { /* the line goes on below */
		skip_eol(r);
		skip_blanks(r);
		return RC_OK;
	}
	c = *r->p++;
	if (c == 'u')
		return take_unicode(r, to);
	known = c != '\0' ? strchr(names, c) : NULL;
	buf_put_char(to, known != NULL ? chars[known - names] : c);
	return RC_OK;
}

static bool
ends_key(char c)
{
	return is_blank(c) || c == '=' || c == ':';
}

static enum rc
take_until(struct reader *r, struct buf *to, bool (*ends)(char c))
{
	while (!at_eol(r) && !(ends != NULL && ends(*r->p))) {
		char c = *r->p++;

		if (c != '\\')
			buf_put_char(to, c);
		else if (take_escape(r, to) != RC_OK)
			return RC_BADDATA;
	}
	return RC_OK;
}

static void
skip_separator(struct reader *r)
{
	skip_blanks(r);
	if (!at_eol(r) && (*r->p == '=' || *r->p == ':'))
		r->p++;
	skip_blanks(r);
}

static enum rc
take_pair(struct reader *r)
{
	buf_reset(&r->key, SIZE_MAX);
	buf_reset(&r->value, SIZE_MAX);
	if (take_until(r, &r->key, ends_key) != RC_OK)
		return RC_BADDATA;
	skip_separator(r);
	if (take_until(r, &r->value, NULL) != RC_OK)
		return RC_BADDATA;
	return r->key.failed || r->value.failed ? RC_LIMIT : RC_OK;
}

static bool
is_comment(const struct reader *r)
{
	return *r->p == '#' || *r->p == '!';
}

/* One logical line, or an empty one, or a comment. */
static enum rc
walk_line(struct reader *r, enum rc (*each)(void *arg, struct slice key, struct slice value, int line), void *arg)
{
	enum rc rc = RC_OK;
	int line = r->line;

	skip_blanks(r);
	if (at_eol(r)) {
		skip_eol(r);
		return RC_OK;
	}
	if (is_comment(r)) {
		while (!at_eol(r))
			r->p++;
	} else {
		rc = take_pair(r);
		if (rc == RC_OK)
			rc = each(arg, buf_slice(&r->key), buf_slice(&r->value), line);
	}
	skip_eol(r);
	return rc;
}

enum rc
properties_walk(struct slice text, enum rc (*each)(void *arg, struct slice key, struct slice value, int line), void *arg)
{
	struct reader r = {.p = text.p, .end = text.p + text.n, .line = 1};
	enum rc rc = RC_OK;

	while (rc == RC_OK && r.p < r.end)
		rc = walk_line(&r, each, arg);
	buf_free(&r.key);
	buf_free(&r.value);
	return rc;
}

/* What would end the key, the line, or be taken for a blank before the value. */
static void
put_escaped(struct buf *out, struct slice s, bool key)
{
	static const char chars[] = "\t\n\r\f", names[] = "tnrf";

	for (size_t i = 0; i < s.n; i++) {
		const char *special = s.p[i] != '\0' ? strchr(chars, s.p[i]) : NULL;

		if (special != NULL) {
			buf_put_char(out, '\\');
			buf_put_char(out, names[special - chars]);
			continue;
		}
		if (s.p[i] == '\\' || (s.p[i] == ' ' && (key || i == 0)) || (key && strchr("=:#!", s.p[i]) != NULL))
			buf_put_char(out, '\\');
		buf_put_char(out, s.p[i]);
	}
}

void
properties_put(struct buf *out, struct slice key, struct slice value)
{
	put_escaped(out, key, true);
	buf_put_char(out, '=');
	put_escaped(out, value, false);
	buf_put_char(out, '\n');
}
