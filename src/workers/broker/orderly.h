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
/* Moves on when a queue gets another holder or none; of this process' life only. */
int64_t		 orderly_version(const struct orderly *o);
/* {"group":{"queueId topic brokerName":"clientId"}} */
void		 orderly_put_json(struct orderly *o, struct buf *out);
/* A slave: its table becomes that one. */
void		 orderly_take(struct orderly *o, const json_t *locks);
/* A slave becomes master: whoever held a queue holds it as if renewed now, for the renewals went to the old master. */
void		 orderly_renew_all(struct orderly *o);
/* Drops locks that are long over (once a minute). */
void		 orderly_expire(struct orderly *o);

#endif
