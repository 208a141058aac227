/*
 * fuzz: what the fuzz targets share. Each is one function that takes any bytes; what must hold is said with must().
 *
 * Built twice: with driver.c as a plain test that runs its corpus (make check), and by libFuzzer (--enable-fuzz, make fuzz).
 */
#ifndef T_FUZZ_FUZZ_H
#define T_FUZZ_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "common/base.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond);                      \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* A copy of exactly n bytes, so that ASan sees each access beyond them. The caller frees it. */
static inline char *
fuzz_copy(const void *p, size_t n)
{
	char *copy = malloc(n ? n : 1);

	must(copy != NULL);
	if (n)
		memcpy(copy, p, n);
	return copy;
}

/* s lies within p[0..n), or is empty. */
static inline bool
fuzz_within(struct slice s, const char *p, size_t n)
{
	return s.n == 0 || (s.p >= p && s.p <= p + n && s.n <= (size_t)(p + n - s.p));
}

#endif
