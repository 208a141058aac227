/*
 * base: what every file of the project may use: results, error texts, slices, byte order, checks.
 */
#ifndef COMMON_BASE_H
#define COMMON_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN __attribute__((noreturn))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

/* The results a call may have. A header says which of them to expect from each call. */
enum rc {
	RC_OK = 0,
	RC_AGAIN,    /* not now: call again later (would block, not there yet) */
	RC_FULL,     /* no room: disk, table or queue; nothing was changed */
	RC_NOTFOUND, /* no such thing; often an expected answer */
	RC_BADDATA,  /* bytes that do not have the form they must have */
	RC_LIMIT,    /* larger or more than is allowed */
	RC_IO,       /* the system refused: errno tells */
	RC_CLOSED,   /* the other side has gone */
	RC_INVAL,    /* an argument or setting that cannot be meant */
	RC_BUSY      /* somebody else holds it */
};

const char	*rc_name(enum rc rc);

/* A sentence for a person, filled by the callee that failed: what, where, the number, what to do. */
struct err {
	char	text[512];
};

void	err_set(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Puts "context: " in front of the sentence. */
void	err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Bytes that belong to somebody else; not terminated. p may be NULL when n is 0. */
struct slice {
	const char	*p;
	size_t		 n;
};

#define SLICE_NONE ((struct slice){NULL, 0})
#define SLICE_LIT(s) ((struct slice){(s), sizeof(s) - 1})

static inline struct slice
slice_of(const char *s)
{
	return (struct slice){s, s ? strlen(s) : 0};
}

static inline bool
slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool
slice_is(struct slice a, const char *s)
{
	return slice_eq(a, slice_of(s));
}

static inline bool
slice_starts(struct slice a, const char *prefix)
{
	size_t n = strlen(prefix);

	return a.n >= n && memcmp(a.p, prefix, n) == 0;
}

/* Big-endian integers, as on RocketMQ's wire and in its files. The caller has checked the length. */
static inline uint16_t
be16_get(const void *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return __builtin_bswap16(v);
}

static inline uint32_t
be32_get(const void *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static inline uint64_t
be64_get(const void *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return __builtin_bswap64(v);
}

static inline void
be16_put(void *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, 2);
}

static inline void
be32_put(void *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}

static inline void
be64_put(void *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, 8);
}

/* Our own broken invariant: says where, and stops this worker. The supervisor and recovery know what to do. */
#define ensure(cond) ((cond) ? (void)0 : ensure_failed(#cond, __FILE__, __LINE__, __func__))
void	ensure_failed(const char *cond, const char *file, int line, const char *func) NORETURN;

#endif
