/*
 * hold: pulls that found nothing and wait for messages of their queue (long polling), and pulls that wait for warm.
 */
#ifndef BROKER_HOLD_H
#define BROKER_HOLD_H

#include "workers/broker/broker.h"

struct hold	*hold_new(struct broker *b);
void		 hold_free(struct hold **h);
void		 hold_conn_closed(struct hold *h, struct conn *c);
/* Once a second: those whose time is over are answered; every 5 s all are looked at again. */
void		 hold_second(struct hold *h);
/* Something was dispatched to q (store_ops.on_arrival). */
void		 hold_arrival(struct hold *h, struct store_queue *q, int64_t tags_code, struct slice props);
/* At the end of a turn: runs the pulls that were woken. */
void		 hold_run(struct hold *h);
size_t		 hold_count(const struct hold *h);

#endif
