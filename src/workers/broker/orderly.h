/*
 * orderly: which client holds which queue of a group (codes 41 and 42); in memory, 60 s each.
 */
#ifndef BROKER_ORDERLY_H
#define BROKER_ORDERLY_H

#include "workers/broker/broker.h"

struct orderly	*orderly_new(struct broker *b);
void		 orderly_free(struct orderly **o);

struct mq_name { /* a queue as clients name it */
	struct slice	 broker_name, topic;
	int32_t		 queue_id;
};
/* True: the client holds the queue now: it was free, its own (renewed), or its holder has not renewed it in time. */
bool		 orderly_lock(struct orderly *o, struct slice group, const struct mq_name *mq, struct slice client_id);
/* Frees it if that client holds it. */
void		 orderly_unlock(struct orderly *o, struct slice group, const struct mq_name *mq, struct slice client_id);
/* Some client holds a live lock of the group: its failed messages go to the dead letters. */
bool		 orderly_group_locked(struct orderly *o, struct slice group);
void		 orderly_remove_group(struct orderly *o, struct slice group);
/* Drops locks that are long over (once a minute). */
void		 orderly_expire(struct orderly *o);

#endif
