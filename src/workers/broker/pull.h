/*
 * pull: one pull request and its passes: the first, again after it was woken or its time was over, after warm was done.
 */
#ifndef BROKER_PULL_H
#define BROKER_PULL_H

#include "workers/broker/filter_tag.h"

#define PULL_COMMIT	1	/* sysFlag: commitOffset is valid */
#define PULL_SUSPEND	2	/* may be held */
#define PULL_OWN_SUB	4	/* the subscription field is filled */

struct pull { /* slices belong to the frame, or to who holds the pull */
	struct slice	group, topic, sub, type;
	int64_t		offset, commit_offset, suspend_ms, sub_version;
	int32_t		queue_id, max, sys_flag;
	/* how this pass is to be done */
	bool		first;		/* commits the offset; may be held */
	uint8_t		asked;		/* how often warm was asked */
};

/* Answers, or gives it to hold or cold. */
void	pull_run(struct broker *b, struct conn *c, const struct request_id *id, const struct pull *p);
/* Bytes that a copy needs, and the copy: slices point behind `to` then. room is what pull_copy_size said. */
size_t	pull_copy_size(const struct pull *p);
void	pull_copy(struct pull *to, const struct pull *from, char *room);

#endif
