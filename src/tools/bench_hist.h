/*
 * bench_hist: latencies in a log-linear histogram: 128 steps per power of two, so a value is off by less than 1 %.
 */
#ifndef TOOLS_BENCH_HIST_H
#define TOOLS_BENCH_HIST_H

#include "common/base.h"

#define HIST_SUB_BITS	7
#define HIST_BUCKETS	((64 - HIST_SUB_BITS) << HIST_SUB_BITS)

struct hist {
	uint64_t	count, max, sum;
	uint64_t	bucket[HIST_BUCKETS];
};

void		hist_add(struct hist *h, uint64_t v);
void		hist_merge(struct hist *to, const struct hist *from);
/* The smallest value that at least `share` (0..1) of all are not above, rounded up to its step; 0 when empty. */
uint64_t	hist_at(const struct hist *h, double share);

#endif
