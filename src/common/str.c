/*
 * str: numbers, Java's string hash, UTF-8, cutting text.
 */
#include "common/str.h"

#include <string.h>
#include <strings.h>

/* Digits of s from i on into a negative number, which holds one value more than a positive one. */
static bool
digits_negated(struct slice s, size_t i, int64_t *v)
{
	int64_t r = 0;

	if (i == s.n)
		return false;
	for (; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - (unsigned)'0';

		if (d > 9 || __builtin_mul_overflow(r, 10, &r) || __builtin_sub_overflow(r, (int64_t)d, &r))
			return false;
	}
	*v = r;
	return true;
}

enum rc
str_i64(struct slice s, int64_t *v)
{
	bool sign = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+');
	int64_t r;

	if (!digits_negated(s, sign, &r))
		return RC_INVAL;
	if (!(sign && s.p[0] == '-') && __builtin_sub_overflow(0, r, &r))
		return RC_INVAL;
	*v = r;
	return RC_OK;
}

enum rc
str_i32(struct slice s, int32_t *v)
{
	int64_t r;

	if (str_i64(s, &r) != RC_OK || r < INT32_MIN || r > INT32_MAX)
		return RC_INVAL;
	*v = (int32_t)r;
	return RC_OK;
}

bool
str_bool(struct slice s)
{
	return s.n == 4 && strncasecmp(s.p, "true", 4) == 0;
}

static inline bool
is_tail(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

unsigned
str_utf8_len(const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	if (n < 2 || !is_tail(p[1]))
		return 0;
	if (p[0] < 0xe0)
		return 2;
	if (n < 3 || !is_tail(p[2]))
		return 0;
	if (p[0] < 0xf0) /* neither overlong nor half of a surrogate pair */
		return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
	if (n < 4 || !is_tail(p[3]))
		return 0;
	return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
}

bool
str_is_utf8(struct slice s)
{
	unsigned len;

	for (size_t i = 0; i < s.n; i += len)
		if ((len = str_utf8_len(s.p + i, s.n - i)) == 0)
			return false;
	return true;
}

/* The code point of a valid character of len bytes. */
static uint32_t
code_point(const char *text, unsigned len)
{
	const unsigned char *p = (const unsigned char *)text;
	uint32_t c = len == 2 ? p[0] & 0x1f : len == 3 ? p[0] & 0x0f : p[0] & 0x07;

	for (unsigned i = 1; i < len; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

/* Goes on with the hash over text that is not all ASCII. */
static uint32_t
hash_wide(uint32_t h, struct slice s)
{
	for (size_t i = 0; i < s.n;) {
		unsigned len = str_utf8_len(s.p + i, s.n - i);
		uint32_t c = len == 0 ? 0xfffd : len == 1 ? (unsigned char)s.p[i] : code_point(s.p + i, len);

		if (c >= 0x10000) {
			h = 31 * h + (0xd800 + ((c - 0x10000) >> 10));
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		h = 31 * h + c;
		i += len == 0 ? 1 : len;
	}
	return h;
}

#define P2 (31u * 31)
#define P3 (31u * 31 * 31)
#define P4 (31u * 31 * 31 * 31)

int32_t
str_java_hash(struct slice s)
{
	return str_java_hash_more(0, s);
}

int32_t
str_java_hash_more(int32_t before, struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	uint32_t h = (uint32_t)before;
	size_t i = 0;

	/* four at a time: one multiplication in the chain instead of four */
	for (; s.n - i >= 4 && ((p[i] | p[i + 1] | p[i + 2] | p[i + 3]) & 0x80) == 0; i += 4)
		h = P4 * h + P3 * p[i] + P2 * p[i + 1] + 31 * p[i + 2] + p[i + 3];
	for (; i < s.n && p[i] < 0x80; i++)
		h = 31 * h + p[i];
	if (i < s.n)
		h = hash_wide(h, (struct slice){s.p + i, s.n - i});
	return (int32_t)h;
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct slice
str_copy_into(struct slice s, char **room)
{
	char *to = *room;

	if (s.n > 0)
		memcpy(to, s.p, s.n);
	*room += s.n;
	return (struct slice){to, s.n};
}

struct slice
str_trim(struct slice s)
{
	while (s.n > 0 && is_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool
str_next(struct slice *rest, char sep, struct slice *piece)
{
	const char *at;

	if (rest->n == 0)
		return false;
	at = memchr(rest->p, sep, rest->n);
	*piece = (struct slice){rest->p, at == NULL ? rest->n : (size_t)(at - rest->p)};
	if (at == NULL) {
		*rest = SLICE_NONE;
		return true;
	}
	rest->p += piece->n + 1;
	rest->n -= piece->n + 1;
	return true;
}

#define DISTANCE_MAX 128 /* longer words are not compared */

unsigned
str_distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	unsigned row[DISTANCE_MAX + 1];

	if (na > DISTANCE_MAX || nb > DISTANCE_MAX)
		return (unsigned)MAX_OF(na, nb);
	for (size_t j = 0; j <= nb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned above = row[j], change = diagonal + (a[i - 1] != b[j - 1]);

			row[j] = MIN_OF(change, MIN_OF(above, row[j - 1]) + 1);
			diagonal = above;
		}
	}
	return row[nb];
}

/* 0 if c is no unit. */
static int64_t
unit_bytes(char c)
{
	switch (c) {
	case 'k':
	case 'K':
		return 1 << 10;
	case 'm':
	case 'M':
		return 1 << 20;
	case 'g':
	case 'G':
		return 1 << 30;
	default:
		return 0;
	}
}

enum rc
str_bytes(struct slice s, int64_t *v)
{
	int64_t unit = s.n > 0 ? unit_bytes(s.p[s.n - 1]) : 0;
	int64_t r;

	if (unit != 0)
		s.n--;
	if (str_i64(s, &r) != RC_OK || __builtin_mul_overflow(r, unit != 0 ? unit : 1, &r))
		return RC_INVAL;
	*v = r;
	return RC_OK;
}
