/*
 * pop_ack: what acks and the change of an invisible time have in common: which message is meant.
 */
#ifndef BROKER_POP_ACK_H
#define BROKER_POP_ACK_H

#include "workers/broker/pop_int.h"

struct pop_acked {                 /* slices belong to the request */
	struct slice group, topic; /* the retry topic where it was popped from that */
	int32_t queue_id, revive_queue;
	int64_t start, pop_ms, invisible_ms;
	int64_t offset;
};
/* Reads it and makes the original's checks. or_next: the offset to come is let through. False: answered. */
bool pop_acked_read(struct pop *p, struct conn *c, const struct command *cmd, bool or_next, struct pop_acked *w);

struct acking { /* one request: answered when all its records are told */
	struct pop *pop;
	struct conn *conn; /* a reference */
	struct request_id id;
	unsigned open; /* records that are not told; one more while it is being read */
	int code;
	struct err why;
};

#endif
