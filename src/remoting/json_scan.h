/*
 * json_scan: what reading and writing JSON headers share: which of 16 bytes need a closer look.
 */
#ifndef REMOTING_JSON_SCAN_H
#define REMOTING_JSON_SCAN_H

#ifdef __SSE2__
#include <emmintrin.h>

/* Bits of the 16 bytes that are a quote or a backslash. */
static inline unsigned
special_mask(__m128i v)
{
	return (unsigned)_mm_movemask_epi8(
	    _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
}
#endif

#endif
