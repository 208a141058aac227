/*
 * group: when the log is to be synced, and for how long to watch for more before sleeping. Decisions only: no clock, no file.
 */
#ifndef WORKERS_FLUSH_GROUP_H
#define WORKERS_FLUSH_GROUP_H

#include "common/base.h"

#define GROUP_PAGE 4096 /* the page of flushCommitLogLeastPages, as the original counts it */

struct group_rule {
	bool	sync;		/* SYNC_FLUSH: producers wait for each record */
	int64_t	interval_ms;	/* flushIntervalCommitLog */
	int64_t	least_pages;	/* flushCommitLogLeastPages; 0: any byte */
	int64_t	thorough_ms;	/* flushCommitLogThoroughInterval */
};

enum group_verdict {
	GROUP_REST,  /* nothing is unsynced: sleep until woken */
	GROUP_SYNC,  /* now */
	GROUP_WAIT   /* something is, not enough: look again after *wait_ms */
};

/* Times since all was synced last, and since the last look that decided to wait (or the sync, if that is later). */
struct group_since {
	int64_t	sync_ms, look_ms;
};
enum group_verdict	group_decide(const struct group_rule *r, int64_t appended, int64_t flushed, struct group_since since,
			    int64_t *wait_ms);

/*
 * How long it pays to keep looking at `appended` after a sync: records that come back to back find flush awake. Follows
 * what happened: it only spins while records really come within that time, so an idle node burns nothing.
 */
struct group_spin {
	int64_t	ewma_us;	/* mean time from the end of a sync to the next record */
};
int64_t	group_spin_us(const struct group_spin *s);
void	group_spin_learn(struct group_spin *s, int64_t gap_us);

#endif
