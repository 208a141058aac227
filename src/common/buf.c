/*
 * buf: growing, numbers as text, JSON strings.
 */
#include "common/buf.h"

#include <stdio.h>

#include "common/mem.h"
#include "common/str.h"

#define BUF_LIMIT (64u << 20)
#define BUF_FIRST 256

void
buf_free(struct buf *b)
{
	size_t limit = b->limit;

	free(b->p);
	*b = (struct buf){.limit = limit};
}

void
buf_reset(struct buf *b, size_t keep)
{
	b->len = 0;
	b->failed = false;
	if (b->cap <= keep)
		return;
	if (keep == 0) {
		buf_free(b);
		return;
	}
	b->p = xrealloc(b->p, keep);
	b->cap = keep;
}

char *
buf_room(struct buf *b, size_t n)
{
	size_t limit = b->limit != 0 ? b->limit : BUF_LIMIT;

	if (b->failed)
		return NULL;
	if (LIKELY(b->cap - b->len >= n && b->p != NULL))
		return b->p + b->len;
	if (b->len > limit || n > limit - b->len) {
		b->failed = true;
		return NULL;
	}
	b->cap = MAX_OF(MAX_OF(b->cap * 2, b->len + n), BUF_FIRST);
	if (b->cap > limit)
		b->cap = MAX_OF(limit, 1);
	b->p = xrealloc(b->p, b->cap);
	return b->p + b->len;
}

void
buf_put_be16(struct buf *b, uint16_t v)
{
	v = __builtin_bswap16(v);
	buf_put(b, &v, sizeof(v));
}

void
buf_put_be32(struct buf *b, uint32_t v)
{
	v = __builtin_bswap32(v);
	buf_put(b, &v, sizeof(v));
}

void
buf_put_be64(struct buf *b, uint64_t v)
{
	v = __builtin_bswap64(v);
	buf_put(b, &v, sizeof(v));
}

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				  "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				  "8081828384858687888990919293949596979899";

void
buf_put_i64(struct buf *b, int64_t v)
{
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	char text[20];
	char *p = text + sizeof(text);

	while (u >= 100) {
		p -= 2;
		memcpy(p, digit_pairs + u % 100 * 2, 2);
		u /= 100;
	}
	if (u >= 10) {
		p -= 2;
		memcpy(p, digit_pairs + u * 2, 2);
	} else
		*--p = (char)('0' + u);
	if (v < 0)
		*--p = '-';
	buf_put(b, p, (size_t)(text + sizeof(text) - p));
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	char *to;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	to = buf_room(b, (size_t)n + 1);
	if (to != NULL)
		b->len += (size_t)vsnprintf(to, (size_t)n + 1, fmt, again);
	va_end(again);
}

#define EVERY_BYTE(c) (0x0101010101010101ull * (c))

/* Not 0 if one of the eight bytes must be looked at: control, quote, backslash, or beyond ASCII. */
static inline uint64_t
needs_care(uint64_t w)
{
	uint64_t quote = w ^ EVERY_BYTE('"'), slash = w ^ EVERY_BYTE('\\');

	return (w | (w - EVERY_BYTE(0x20)) | (quote - EVERY_BYTE(1)) | (slash - EVERY_BYTE(1))) & EVERY_BYTE(0x80);
}

static inline bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* How many bytes from p on can be copied as they are. */
static size_t
plain_run(const char *p, size_t n)
{
	size_t i = 0;

	for (; n - i >= 8; i += 8) {
		uint64_t w;

		memcpy(&w, p + i, 8);
		if (needs_care(w) != 0)
			break;
	}
	for (; i < n; i++) {
		unsigned len;

		if (is_plain((unsigned char)p[i]))
			continue;
		if ((unsigned char)p[i] < 0x80 || (len = str_utf8_len(p + i, n - i)) == 0)
			break;
		i += len - 1;
	}
	return i;
}

static void
put_escaped(struct buf *b, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

	switch (c) {
	case '"':
	case '\\':
		text[1] = (char)c;
		break;
	case '\n':
		text[1] = 'n';
		break;
	case '\r':
		text[1] = 'r';
		break;
	case '\t':
		text[1] = 't';
		break;
	default:
		buf_put(b, text, 6);
		return;
	}
	buf_put(b, text, 2);
}

void
buf_put_json(struct buf *b, struct slice s)
{
	if (buf_room(b, s.n + 2) == NULL)
		return;
	b->p[b->len++] = '"';
	for (;;) {
		size_t run = plain_run(s.p, s.n);
		unsigned char c;

		buf_put(b, s.p, run);
		if (run == s.n)
			break;
		c = (unsigned char)s.p[run];
		if (c < 0x80)
			put_escaped(b, c);
		else
			buf_put(b, "\xef\xbf\xbd", 3);
		s.p += run + 1;
		s.n -= run + 1;
	}
	buf_put_char(b, '"');
}

void
buf_consume(struct buf *b, size_t n)
{
	ensure(n <= b->len);
	b->len -= n;
	if (b->len > 0 && n > 0)
		memmove(b->p, b->p + n, b->len);
}

char *
buf_steal(struct buf *b)
{
	char *text = NULL;

	buf_put_char(b, '\0');
	if (!b->failed) {
		text = b->p;
		b->p = NULL;
		b->cap = 0;
	}
	buf_reset(b, b->cap);
	return text;
}
