/*
 * expire: which files of the log go, and when writes are refused. The decisions are pure: clock and disk are given.
 */
#ifndef WORKERS_CLEAN_EXPIRE_H
#define WORKERS_CLEAN_EXPIRE_H

#include "common/conf.h"

#define DISK_UNKNOWN (-1)

struct expire_rule {
	uint32_t	hours;		/* bit h: deleteWhen names hour h */
	int64_t		reserved_ms;	/* fileReservedTime */
	int		max_pct;	/* diskMaxUsedSpaceRatio, 10..95 */
	int		forcibly_pct;	/* diskSpaceCleanForciblyRatio, 30..85 */
	int		warning_pct;	/* diskSpaceWarningLevelRatio, 35..90 */
	bool		forcibly;	/* cleanFileForciblyEnable */
	size_t		batch_max;	/* deleteFileBatchMax */
};
/* Reads and clamps the parameters. An hour that is none is passed over with a warning. */
void	expire_rule_of(const struct broker_conf *c, struct expire_rule *r);

/* Used percent of a disk as the original counts it: used of used plus usable, rounded up. */
int	expire_used_pct(uint64_t total, uint64_t free_all, uint64_t free_usable);

struct expire_plan {
	bool	full;	/* refuse writes */
	bool	look;	/* remove what has expired */
	bool	force;	/* remove the oldest even if they have not */
};
/* hour: local time. Percent: DISK_UNKNOWN counts as room. asked: an operator wants it now. */
struct expire_plan	expire_decide(const struct expire_rule *r, int hour, int log_pct, int queue_pct, bool asked);
/*
 * How many of the files go in this round, oldest first; mtimes_ms are those of all files that may go (the one in use, and
 * what is not dispatched, left out). Stops at the first that is not due.
 */
size_t	expire_count(const struct expire_rule *r, const struct expire_plan *p, const int64_t *mtimes_ms, size_t count,
	    int64_t now_ms);

#endif
