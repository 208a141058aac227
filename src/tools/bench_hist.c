/*
 * bench_hist: a log-linear histogram.
 */
#include "tools/bench_hist.h"

#include <math.h>

#define SUB (1u << HIST_SUB_BITS)

/* Below 2 * SUB each value has its own bucket; from there each power of two has SUB of them. */
static unsigned
bucket_of(uint64_t v)
{
	unsigned shift;

	if (v < 2 * SUB)
		return (unsigned)v;
	shift = 63 - (unsigned)__builtin_clzll(v) - HIST_SUB_BITS;
	return (shift << HIST_SUB_BITS) + (unsigned)(v >> shift);
}

static uint64_t
top_of(unsigned bucket)
{
	unsigned shift;

	if (bucket < 2 * SUB)
		return bucket;
	shift = (bucket >> HIST_SUB_BITS) - 1;
	return (((uint64_t)bucket - ((uint64_t)shift << HIST_SUB_BITS) + 1) << shift) - 1;
}

void
hist_add(struct hist *h, uint64_t v)
{
	h->bucket[bucket_of(v)]++;
	h->count++;
	h->sum += v;
	if (v > h->max)
		h->max = v;
}

void
hist_merge(struct hist *to, const struct hist *from)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		to->bucket[i] += from->bucket[i];
	to->count += from->count;
	to->sum += from->sum;
	to->max = MAX_OF(to->max, from->max);
}

uint64_t
hist_at(const struct hist *h, double share)
{
	uint64_t want = (uint64_t)ceil(share * (double)h->count), seen = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= want && seen > 0)
			return MIN_OF(top_of(i), h->max);
	}
	return h->max;
}
