/*
 * pop_answer: the answer to a pop while the records of what it has taken are on their way into the log.
 *
 * It goes when all of them are told: with those messages whose record is stored, or with a refusal when that is none.
 */
#ifndef BROKER_POP_ANSWER_H
#define BROKER_POP_ANSWER_H

#include "workers/broker/pop_int.h"

struct pop_part { /* what was taken from one queue */
	struct pop_queue *q;
	struct pop_ck *ck; /* until it is told; NULL: ordered */
	enum pop_flag flag;
	int64_t start, next;
	unsigned first, count; /* of the answer's messages */
	bool stored;
	char *order_counts; /* owned */
};

struct pop_answer {
	struct pop *pop;
	struct conn *conn; /* a reference */
	struct request_id id;
	struct pop_name topic; /* that was asked for */
	int64_t pop_ms, invisible_ms, rest;
	int32_t revive_queue;
	bool order;
	unsigned open; /* records that are not told; one more while it is being made */
	unsigned parts, messages;
	struct pop_part part[POP_BATCH_MAX];
	int64_t offset[POP_BATCH_MAX], physical[POP_BATCH_MAX];
	uint32_t size[POP_BATCH_MAX];
};

struct pop_answer *pop_answer_new(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask,
				  int64_t pop_ms, int32_t revive_queue);
void pop_answer_free(struct pop_answer **a);
/* Takes the messages of r, which was read from `start` on; it may have none. */
struct pop_part *pop_answer_add(struct pop_answer *a, struct pop_queue *q, enum pop_flag flag, int64_t start,
				const struct get_result *r);
/* The last part is left out again. */
void pop_answer_drop_last(struct pop_answer *a);
/* Told of the record of part `i`. */
append_done pop_answer_ck_told, pop_answer_order_told;
/* Nothing is added any more. why: what keeps the log from taking records, or NULL. It is gone, now or later. */
void pop_answer_close(struct pop_answer *a, const char *why);
/* The whole answer where nothing was found: 209 or 210. */
void pop_answer_nothing(struct conn *c, const struct request_id *id, int code, const struct pop_ask *ask, int64_t rest,
			int32_t revive_queue);

#endif
