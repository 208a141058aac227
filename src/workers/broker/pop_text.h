/*
 * pop_text: what pop consumption writes and reads: handles of popped messages, records of the revive log, lists of
 * acks, the names of retry topics. All of it may come from a peer, or from another broker's store.
 */
#ifndef BROKER_POP_TEXT_H
#define BROKER_POP_TEXT_H

#include "common/json.h"
#include "workers/broker/pop_state.h"

#define POP_RETRY_PREFIX "%RETRY%"
#define POP_ORDER_QUEUE  999   /* a handle with this revive queue is one of an ordered pop */
#define POP_TOPIC_MAX    255   /* bytes: that is as long as a retry topic's name may be */
#define POP_BITS_MAX     65536 /* of the map of a batch of acks */

/* Which topic a message was popped from, as handles and answers say it. */
enum pop_flag { POP_NORMAL = '0', POP_RETRY_V1 = '1', POP_RETRY_V2 = '2' };

struct pop_name {
	char text[POP_TOPIC_MAX + 1];
};
/* "%RETRY%group_topic", with V2 "%RETRY%group+topic". False: too long to be a topic. */
bool pop_retry_name(struct slice group, struct slice topic, enum pop_flag flag, struct pop_name *out) MUST_CHECK;
enum pop_flag pop_flag_of(struct slice topic);
/* The topic that a group's retry topic belongs to; any other topic is its own. */
struct slice pop_normal_topic(struct slice topic, struct slice group);

/* ---- handles: what the client keeps of a popped message (POP_CK, extraInfo) */

struct pop_handle {
	int64_t start, pop_ms, invisible_ms;
	int32_t revive_queue;
	enum pop_flag flag;
	struct slice broker_name; /* in the text; SLICE_NONE: not said */
	int32_t queue_id;         /* -1: not said */
	int64_t offset;           /* -1: not said */
};
/* RC_INVAL: no handle. What stands behind the broker's name may be missing. */
enum rc pop_handle_read(struct slice text, struct pop_handle *h) MUST_CHECK;
void pop_handle_put(const struct pop_handle *h, struct buf *out);

/* ---- records of the revive log: bodies */

#define POP_TAG_CK    "ck"
#define POP_TAG_ACK   "ack"
#define POP_TAG_ACKS  "bAck"
#define POP_TAG_ORDER "order" /* only here: what an ordered pop has changed (pop_order.h) */

/* from_start -1: it was popped, else the message was put off from that checkpoint (only we write and read that). */
void pop_ck_put(const struct pop_ck *ck, struct slice broker_name, int64_t from_start, int64_t from_ms,
		struct buf *out);
/* Slices belong to *mem, which the caller frees (json_decref), also after a failure. RC_BADDATA: no checkpoint. */
enum rc pop_ck_read(struct slice body, struct pop_record_ck *r, json_t **mem) MUST_CHECK;

struct pop_record_ack {
	struct slice topic, group;
	int32_t queue_id;
	int64_t start, pop_ms;
	unsigned count;
	int64_t offset[POP_BATCH_MAX];
};
void pop_ack_put(const struct pop_record_ack *a, struct slice broker_name, struct buf *out);
enum rc pop_ack_read(struct slice body, struct pop_record_ack *a, json_t **mem) MUST_CHECK;

/* ---- code 200151 */

struct pop_ack_item {              /* acks of one checkpoint */
	struct slice group, topic; /* the normal topic */
	enum pop_flag flag;
	int32_t queue_id, revive_queue;
	int64_t start, pop_ms, invisible_ms;
	size_t bits; /* how many there may be */
	unsigned char map[POP_BITS_MAX / 8];
};
/* The number of acks; -1: the body is no list of acks, sentence in e. *mem is the caller's. */
int pop_ack_list(struct slice body, json_t **mem, struct err *e);
/* One of them. RC_INVAL: something in it cannot be. */
enum rc pop_ack_list_get(const json_t *mem, size_t i, struct pop_ack_item *item) MUST_CHECK;
static inline bool
pop_ack_item_has(const struct pop_ack_item *item, size_t bit)
{
	return item->map[bit / 8] >> bit % 8 & 1;
}

#endif
