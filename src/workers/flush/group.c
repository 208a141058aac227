/*
 * group: decides when the log is synced.
 */
#include "workers/flush/group.h"

#define SPIN_MAX_US 100  /* one sender that waits for each answer comes back within this; who is slower is not waited for */
#define GAP_MAX_US  1000 /* a pause; longer ones count as this, so one idle night is forgotten after a few records */

enum group_verdict
group_decide(const struct group_rule *r, int64_t appended, int64_t flushed, struct group_since since, int64_t *wait_ms)
{
	*wait_ms = 0;
	if (appended <= flushed)
		return GROUP_REST;
	if (r->sync || since.sync_ms >= r->thorough_ms)
		return GROUP_SYNC;
	*wait_ms = MIN_OF(r->interval_ms, r->thorough_ms - since.sync_ms);
	if (since.look_ms < *wait_ms) {
		*wait_ms -= since.look_ms;
		return GROUP_WAIT;
	}
	return appended / GROUP_PAGE - flushed / GROUP_PAGE >= r->least_pages ? GROUP_SYNC : GROUP_WAIT;
}

int64_t
group_spin_us(const struct group_spin *s)
{
	return s->ewma_us > 0 && s->ewma_us <= SPIN_MAX_US ? SPIN_MAX_US : 0;
}

void
group_spin_learn(struct group_spin *s, int64_t gap_us)
{
	gap_us = MIN_OF(MAX_OF(gap_us, 1), GAP_MAX_US);
	s->ewma_us = s->ewma_us == 0 ? gap_us : (s->ewma_us * 7 + gap_us) / 8;
}
