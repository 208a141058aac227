/*
 * str: text and numbers as RocketMQ's peers write them.
 */
#ifndef COMMON_STR_H
#define COMMON_STR_H

#include "common/base.h"

/* Decimal, optional sign, nothing else. RC_INVAL: not a number or out of range; *v is unchanged. */
enum rc	str_i64(struct slice s, int64_t *v) MUST_CHECK;
enum rc	str_i32(struct slice s, int32_t *v) MUST_CHECK;
/* Java's rule: "true" in any case is true, all else false. */
bool	str_bool(struct slice s);
/* Java's String.hashCode over UTF-16 units of UTF-8 text; broken UTF-8 counts as U+FFFD per byte. */
int32_t	str_java_hash(struct slice s);
/* Goes on from the hash of what stands before s (0: nothing). */
int32_t	str_java_hash_more(int32_t before, struct slice s);
/* Copies s to *room, which moves behind it: for several texts in one allocation. */
struct slice	str_copy_into(struct slice s, char **room);
/* Takes white space off both ends. */
struct slice	str_trim(struct slice s);
/*
 * Cuts the next piece up to `sep` off *rest. False: nothing left. Pieces between two separators may be empty; behind a
 * separator at the very end there is none.
 */
bool	str_next(struct slice *rest, char sep, struct slice *piece);
bool	str_is_utf8(struct slice s);
/* How many bytes the UTF-8 character at p takes, of which n > 0 are there; 0: it is none. */
unsigned	str_utf8_len(const char *p, size_t n);
/* How many single-character changes make a into b; for "did you mean". */
unsigned	str_distance(const char *a, const char *b);
/* 512, "64k", "10m", "2g". RC_INVAL as for str_i64. */
enum rc	str_bytes(struct slice s, int64_t *v) MUST_CHECK;

#endif
