/*
 * hold: pulls that found nothing and wait for messages of their queue (long polling).
 */
#ifndef BROKER_HOLD_H
#define BROKER_HOLD_H

#include "workers/broker/pull.h"

#define HOLD_MAX	200000	/* beyond that a pull is answered at once */

struct hold	*hold_new(struct broker *b);
void		 hold_free(struct hold **h);
/* Copies the pull, which waits for units that pass f in q (may be NULL: none yet). RC_FULL: HOLD_MAX. */
enum rc		 hold_add(struct hold *h, struct conn *c, const struct request_id *id, const struct pull *p, struct store_queue *q,
		    const struct tag_filter *f, int64_t timeout_ms) MUST_CHECK;
void		 hold_conn_closed(struct hold *h, struct conn *c);
/* Once a second: those whose time is over are answered; every 5 s all are looked at again. */
void		 hold_second(struct hold *h);
/* Something was dispatched to q (store_ops.on_arrival). */
void		 hold_arrival(struct hold *h, struct store_queue *q, int64_t tags_code, struct slice props);
/* All are answered: nothing was found (the broker stops). */
void		 hold_answer_all(struct hold *h);
/* At the end of a turn: runs the pulls that were woken. */
void		 hold_run(struct hold *h);
size_t		 hold_count(const struct hold *h);

#endif
