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
	int64_t		min_free, clean_free; /* diskMinFreeBytes, diskCleanFreeBytes; 0: the percents alone */
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
struct disk { /* one look at a disk */
	int	 pct;		/* used; DISK_UNKNOWN counts as room */
	int64_t	 total, usable;	/* bytes */
};
/* hour: local time. asked: an operator wants it now. */
struct expire_plan	expire_decide(const struct expire_rule *r, int hour, const struct disk *log, const struct disk *queue, bool asked);
/* How many bytes may still be written to it before writes are refused. */
int64_t	expire_room(const struct expire_rule *r, const struct disk *d);

/* How fast a disk fills: fed with each look, remembers a mean over about the last ten minutes. */
struct growth {
	int64_t	at_ms, usable;	/* of the last look; at_ms 0: none */
	double	per_s;		/* bytes */
	int64_t	seen_s;		/* of time that the mean is over */
};
void	growth_look(struct growth *g, int64_t mono_ms, int64_t usable);
/* Seconds until `room` bytes are full; -1: not at this rate, or not known yet. */
int64_t	growth_full_in_s(const struct growth *g, int64_t room);
/*
 * How many of the files go in this round, oldest first; mtimes_ms are those of all files that may go (the one in use, and
 * what is not dispatched, left out). Stops at the first that is not due.
 */
size_t	expire_count(const struct expire_rule *r, const struct expire_plan *p, const int64_t *mtimes_ms, size_t count,
	    int64_t now_ms);

#endif
