/*
 * pop_order: ordered pops: which queue of a group is blocked, by which messages, until when.
 * config/consumerOrderInfo.json.
 *
 * A queue is blocked while a message of the last batch is neither acked nor visible again; the same attempt may pop its
 * batch again. The group's stored offset stays at the first message that is not acked. Without a clock of its own,
 * files or connections.
 */
#ifndef BROKER_POP_ORDER_H
#define BROKER_POP_ORDER_H

#include "common/heap.h"
#include "common/json.h"

#define POP_ORDER_BATCH   32
#define POP_ORDER_ATTEMPT 128                         /* bytes of an attempt's id that are kept */
#define POP_ORDER_KEEP_MS (INT64_C(24) * 3600 * 1000) /* without use */

struct pop_order;

struct pop_order_batch { /* one queue's */
	int64_t pop_ms, invisible_ms, used_ms;
	uint64_t acked; /* bit n: message n */
	unsigned count;
	int64_t offset[POP_ORDER_BATCH];
	int64_t visible_ms[POP_ORDER_BATCH]; /* of those that were put off; -1: by pop time */
	int32_t times[POP_ORDER_BATCH];      /* delivered before */
	char attempt[POP_ORDER_ATTEMPT + 1]; /* "": none */
};

struct pop_order *pop_order_new(void);
void pop_order_free(struct pop_order **o);

/* Is the queue blocked at `now` for that attempt? invisible_ms: for batches that do not say theirs; 0: none. */
bool pop_order_blocked(struct pop_order *o, struct slice topic, struct slice group, int32_t queue_id,
		       struct slice attempt, int64_t invisible_ms, int64_t now);
/* A batch was popped. The result belongs to the table. */
const struct pop_order_batch *pop_order_popped(struct pop_order *o, struct slice topic, struct slice group,
					       int32_t queue_id, struct slice attempt, int64_t pop_ms,
					       int64_t invisible_ms, const int64_t *offset, unsigned count);
/* "flag queue%offset times;..", as the answer's orderCountInfo. */
void pop_order_put_counts(const struct pop_order_batch *b, char flag, int32_t queue_id, struct buf *out);

enum pop_order_ack { POP_ORDER_MOVE, POP_ORDER_STALE, POP_ORDER_UNKNOWN };
/* POP_ORDER_MOVE: *next is the group's offset from now on. STALE: of an older pop, nothing happens. UNKNOWN: no such
 * message. */
enum pop_order_ack pop_order_ack(struct pop_order *o, struct slice topic, struct slice group, int32_t queue_id,
				 int64_t offset, int64_t pop_ms, int64_t *next);
/* The first offset of the last batch that is not acked; -1: there was none. */
int64_t pop_order_next(const struct pop_order *o, struct slice topic, struct slice group, int32_t queue_id);
/* The message is visible again at that time. False: it is not of the last batch. */
bool pop_order_put_off(struct pop_order *o, struct slice topic, struct slice group, int32_t queue_id, int64_t offset,
		       int64_t pop_ms, int64_t visible_ms);
/* The group's offset was reset. */
void pop_order_clear(struct pop_order *o, struct slice topic, struct slice group, int32_t queue_id);
/* SLICE_NONE: any. */
void pop_order_remove(struct pop_order *o, struct slice topic, struct slice group);
/* Those that nobody has used for a day. True: some went. */
bool pop_order_expire(struct pop_order *o, int64_t now);
/* When the next queue that is blocked is free again; -1: none is. */
int64_t pop_order_next_free(const struct pop_order *o);
/* Calls each queue that has become free by `now`, once. */
void pop_order_each_free(struct pop_order *o, int64_t now,
			 void (*free_now)(void *arg, struct slice topic, struct slice group, int32_t queue_id),
			 void *arg);
size_t pop_order_count(const struct pop_order *o);

/* ---- file and log */

void pop_order_put_json(const struct pop_order *o, struct buf *out);
/* What the file has; what cannot be is left out. */
void pop_order_read_json(struct pop_order *o, const json_t *root);
/* One queue for the log: {"t":..,"c":..,"q":..,"v":{..}}; v is missing where there is no batch. */
void pop_order_put_entry(struct pop_order *o, struct slice topic, struct slice group, int32_t queue_id,
			 struct buf *out);
/* RC_BADDATA: it is none. */
enum rc pop_order_read_entry(struct pop_order *o, const json_t *entry) MUST_CHECK;

#endif
