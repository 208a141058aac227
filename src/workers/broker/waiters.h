/*
 * waiters: stored messages whose answer waits until flush or ha have passed them, in the order of the log.
 */
#ifndef BROKER_WAITERS_H
#define BROKER_WAITERS_H

#include "workers/broker/sends.h"

/* Connections whose sends wait are not read any more above the high mark, and again below the low one. */
#define WAITERS_HIGH	200000
#define WAITERS_LOW	100000

struct waiters	*waiters_new(struct broker *b);
void		 waiters_free(struct waiters **w);
/* Takes what it needs of p: the frame may go. p->end is not below that of any earlier one. */
void		 waiters_add(struct waiters *w, const struct pending *p);
/* Answers all whose end is at or below safe. */
void		 waiters_release(struct waiters *w, int64_t safe);
/* There are fewer copies in sync than are asked for: all that our own disk has as promised are told so at once. */
void		 waiters_release_alone(struct waiters *w);
/* Has our own copy reached what is promised of it? */
bool		 waiters_kept_here(const struct broker *b, int64_t end);
/* Answers those whose time is over with the full header and the code that says what did not happen. */
void		 waiters_expire(struct waiters *w, int64_t now_us);
/* The node failed: all get an error, none success. */
void		 waiters_fail(struct waiters *w, const char *why);
size_t		 waiters_count(const struct waiters *w);

#endif
