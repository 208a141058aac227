/*
 * pop_take: takes messages for one pop: of one or all queues of a topic, and of the group's retry topic.
 *
 * Runs in:    the broker process.
 * Must not:   touch log bytes that may have to come from the disk: warm reads them first; take what is in flight.
 */
#include <errno.h>

#include "common/clock.h"
#include "workers/broker/cold.h"
#include "workers/broker/offsets.h"
#include "workers/broker/pop_answer.h"

#define PERCENT      100
#define PERCENT_STEP 61 /* has no divisor in common with 100: all values come, evenly spread */
#define ASKS_MAX     16 /* of warm; then the range is read as it is: slow is better than never */

/* One pass of a request. */
struct taking {
	struct pop *pop;
	struct conn *conn;
	const struct request_id *id;
	const struct pop_ask *ask;
	struct topic *topic;
	const struct tag_filter *filter;
	struct pop_answer *answer; /* NULL: nothing was found yet */
	int64_t pop_ms, rest;
	int32_t revive_queue;
	uint32_t percent;
	bool away; /* it waits for warm, or was answered */
};

/* ---- taking from one queue */

static unsigned
have(const struct taking *t)
{
	return t->answer != NULL ? t->answer->messages : 0;
}

static void
take_unordered(struct taking *t, struct pop_part *part)
{
	struct pop_answer *a = t->answer;
	struct pop_batch batch = {.q = part->q,
				  .start = part->start,
				  .pop_ms = t->pop_ms,
				  .invisible_ms = t->ask->invisible_ms,
				  .revive_queue = t->revive_queue,
				  .count = part->count};
	struct append_to to = {.done = pop_answer_ck_told, .arg = a, .tag = (int64_t)a->parts - 1, .no_wait = true};

	memcpy(batch.offset, &a->offset[part->first], part->count * sizeof(batch.offset[0]));
	part->ck = pop_state_stage(t->pop->state, &batch, part->next);
	a->open++;
	if (pop_log_put_ck(t->pop, part->ck, NULL, &to) == RC_OK)
		return;
	pop_state_refused(t->pop->state, part->ck);
	part->ck = NULL;
	a->open--;
}

/* The group's offset stays at the batch: it moves with the acks. */
static void
take_ordered(struct taking *t, struct pop_part *part)
{
	const struct pop_ask *ask = t->ask;
	struct pop_answer *a = t->answer;
	const struct pop_order_batch *b;
	struct buf counts = {0};

	b = pop_order_popped(t->pop->order, ask->topic, ask->group, part->q->id, ask->attempt, t->pop_ms,
			     ask->invisible_ms, &a->offset[part->first], part->count);
	pop_order_put_counts(b, (char)part->flag, part->q->id, &counts);
	part->order_counts = buf_steal(&counts);
	(void)offset_commit(t->pop->b->offsets, t->conn->peer_text, ask->group, ask->topic, part->q->id, part->start);
	a->open++;
	pop_order_changed(t->pop, ask->topic, ask->group, part->q->id, pop_answer_order_told, a, (int64_t)a->parts - 1);
}

/* The checkpoint is known by its queue, start and time: there must be none yet. */
static bool
is_new(const struct taking *t, const struct pop_queue *q)
{
	return t->ask->order || pop_state_find(t->pop->state, q, q->next, t->pop_ms) == NULL;
}

static void
skip_to(struct taking *t, struct pop_queue *q, int64_t next)
{
	if (q->next == next)
		return;
	q->next = next;
	if (t->ask->order)
		(void)offset_commit(t->pop->b->offsets, t->conn->peer_text, q->sub->group, q->sub->topic, q->id, next);
	else
		pop_log_move_offset(t->pop, q, next, pos_read(&t->pop->b->w->shm->broker.appended), 0);
}

/* The ask, copied for the time that warm needs. */
struct waiting {
	struct pop *pop;
	struct conn *conn; /* a reference */
	struct request_id id;
	struct pop_ask ask;
};

static void
is_warm(void *arg, int error)
{
	struct waiting *w = arg;

	if (error != ECANCELED && !w->conn->closed && w->pop->state != NULL) {
		pop_ask_run(w->pop, w->conn, &w->id, &w->ask);
	}
	conn_unref(&w->conn);
	free(w);
}

/* True: the request waits for warm, or is refused since too many do. */
static bool
go_cold(struct taking *t)
{
	struct waiting *w;
	enum rc rc;

	if (t->ask->asked >= ASKS_MAX)
		return false;
	w = xcalloc(1, sizeof(*w) + pop_ask_size(t->ask));
	w->pop = t->pop;
	w->conn = t->conn;
	w->id = *t->id;
	pop_ask_copy(&w->ask, t->ask, (char *)(w + 1));
	w->ask.asked++;
	conn_ref(w->conn);
	rc = cold_wait_list(t->pop->b->cold, store_cold(t->pop->b->store), is_warm, w);
	if (rc == RC_OK) {
		count_add(&t->pop->b->w->shm->counters.cold_pulls, 1);
		return true;
	}
	conn_unref(&w->conn);
	free(w);
	if (rc == RC_FULL)
		conn_answer(t->conn, t->id, RES_SYSTEM_BUSY, "[OVERLOAD]system busy, start flow control for a while");
	return rc == RC_FULL;
}

/* False: nothing is to be taken here now. */
static bool
read_queue(struct taking *t, struct store_queue *sq, struct pop_queue *q, struct get_result *r)
{
	struct store_filter f = tag_filter_for_store(t->filter);
	int32_t max = t->ask->max - (int32_t)have(t);

	store_get(t->pop->b->store, sq, q->next, max, &f, true, r);
	if (r->status == GET_OFFSET_TOO_SMALL || r->status == GET_OFFSET_OVERFLOW_BADLY ||
	    r->status == GET_OFFSET_FOUND_NULL) {
		skip_to(t, q, r->next);
		store_get(t->pop->b->store, sq, q->next, max, &f, true, r);
	}
	if (r->status != GET_COLD)
		return true;
	if (have(t) > 0)
		return false; /* the next pop finds it */
	if (go_cold(t)) {
		t->away = true;
		return false;
	}
	store_get(t->pop->b->store, sq, q->next, max, &f, false, r);
	return true;
}

static void
reset_told(void *arg, int64_t tag, const struct appended *a)
{
	(void)arg, (void)tag, (void)a; /* where the log did not take it the file will have it */
}

/* An operator has reset the group's offset: what was in flight by then no longer matters for where it goes on. */
static void
take_reset(struct taking *t, struct pop_queue *q)
{
	struct offsets *o = t->pop->b->offsets;
	int64_t to = offset_take_reset(o, q->sub->group, q->sub->topic, q->id);

	if (LIKELY(to < 0))
		return;
	pop_order_clear(t->pop->order, q->sub->topic, q->sub->group, q->id);
	pop_order_changed(t->pop, q->sub->topic, q->sub->group, q->id, reset_told, NULL, 0);
	(void)offset_commit(o, "a reset", q->sub->group, q->sub->topic, q->id, to);
	q->next = q->committed = to;
}

static void
set_first_offset(struct taking *t, struct pop_queue *q, struct store_queue *sq)
{
	if (LIKELY(q->next >= 0))
		return;
	pop_log_set_first(t->pop, q, pop_first_offset(t->pop, q->sub->topic, sq, t->ask->init_mode));
}

/* May nothing more of that queue be given out? */
static bool
is_stopped(struct taking *t, const struct pop_queue *q)
{
	const struct broker_conf *conf = t->pop->b->conf;
	struct pop_facts facts;

	if (conf->enablePopMessageThreshold && q->in_flight > conf->popInflightMessageThreshold)
		return true;
	pop_state_facts(t->pop->state, &facts);
	if (LIKELY(facts.checkpoints < POP_CKS_MAX)) {
		t->pop->full_said = false;
		return false;
	}
	if (!t->pop->full_said)
		log_warn("%zu checkpoints of pops are in flight: nothing is popped until some are acked or their time "
			 "is over",
			 facts.checkpoints);
	return t->pop->full_said = true;
}

static bool
is_blocked(struct taking *t, int32_t queue_id)
{
	const struct pop_ask *ask = t->ask;

	return ask->order && pop_order_blocked(t->pop->order, ask->topic, ask->group, queue_id, ask->attempt,
					       ask->invisible_ms, t->pop_ms);
}

static void
take_found(struct taking *t, struct pop_queue *q, enum pop_flag flag, const struct get_result *r)
{
	struct pop_part *part;

	if (t->answer == NULL)
		t->answer = pop_answer_new(t->pop, t->conn, t->id, t->ask, t->pop_ms, t->revive_queue);
	part = pop_answer_add(t->answer, q, flag, q->next, r);
	if (part->count == 0)
		pop_answer_drop_last(t->answer);
	else if (t->ask->order)
		take_ordered(t, part);
	else
		take_unordered(t, part);
}

static void
take_from(struct taking *t, struct topic *topic, enum pop_flag flag, int32_t queue_id)
{
	struct store_queue *sq = topic_queue(t->pop->b, topic, queue_id);
	struct pop_queue *q;
	struct get_result r;

	if (t->away || sq == NULL)
		return;
	q = pop_state_queue(t->pop->state, topic->name_slice, t->ask->group, queue_id);
	if (q == NULL)
		return;
	pop_log_follow_offset(t->pop, q);
	take_reset(t, q);
	set_first_offset(t, q, sq);
	if (is_blocked(t, queue_id))
		return;
	if (t->ask->order) /* what is not acked is read again */
		q->next = offset_get(t->pop->b->offsets, q->sub->group, q->sub->topic, q->id);
	if ((int32_t)have(t) >= t->ask->max || !is_new(t, q) || is_stopped(t, q) || !read_queue(t, sq, q, &r)) {
		t->rest += MAX_OF(queue_max(sq) - q->next, 0);
		return;
	}
	if (r.status == GET_FOUND)
		take_found(t, q, flag, &r);
	else if (r.status == GET_NO_MATCHED_MESSAGE || r.status == GET_MESSAGE_WAS_REMOVING)
		skip_to(t, q, r.next);
	t->rest += r.max - r.next;
}

/* ---- taking from all */

static void
take_from_topic(struct taking *t, struct topic *topic, enum pop_flag flag)
{
	int32_t queues = topic->read_queues;

	for (int32_t i = 0; i < queues && !t->away; i++)
		take_from(t, topic, flag, (int32_t)((t->percent + (uint32_t)i) % (uint32_t)queues));
}

/* Answers name a retry topic by V1 or V2, and only one of them may be in an answer: clients tell no more apart. */
static void
take_from_retry(struct taking *t)
{
	const struct broker_conf *conf = t->pop->b->conf;
	enum pop_flag flag = conf->enableRetryTopicV2 ? POP_RETRY_V2 : POP_RETRY_V1;
	struct topic *topic;
	struct pop_name name;

	if (t->away || t->ask->order)
		return;
	if (conf->enableRetryTopicV2 && conf->retrieveMessageFromPopRetryTopicV1 && t->percent % 2 == 0)
		flag = POP_RETRY_V1;
	if (!pop_retry_name(t->ask->group, t->ask->topic, flag, &name))
		return;
	topic = topic_find(t->pop->b->topics, slice_of(name.text));
	if (topic != NULL)
		take_from_topic(t, topic, flag);
}

static void
take_all(struct taking *t)
{
	bool retry_first = (int32_t)t->percent < t->pop->b->conf->popFromRetryProbability;

	if (retry_first)
		take_from_retry(t);
	if (t->ask->queue_id < 0)
		take_from_topic(t, t->topic, POP_NORMAL);
	else
		take_from(t, t->topic, POP_NORMAL, t->ask->queue_id);
	if (!retry_first && (int32_t)have(t) < t->ask->max)
		take_from_retry(t);
}

/* ---- the end of it */

static void
hold_or_answer(struct taking *t)
{
	enum rc rc = pop_hold_add(t->pop->hold, t->conn, t->id, t->ask, t->filter);

	count_add(rc == RC_OK ? &t->pop->b->w->shm->counters.held_pulls : &t->pop->b->w->shm->counters.get_missed, 1);
	if (rc == RC_OK)
		return;
	pop_answer_nothing(t->conn, t->id, rc == RC_FULL ? RES_POLLING_FULL : RES_POLLING_TIMEOUT, t->ask, t->rest,
			   t->revive_queue);
}

static void
finish(struct taking *t)
{
	if (t->away)
		return;
	if (t->answer == NULL || t->answer->parts == 0) {
		hold_or_answer(t);
		pop_answer_free(&t->answer);
		return;
	}
	t->answer->rest = t->rest;
	if (t->rest > 0) /* for one that waits as well */
		pop_hold_wake(t->pop->hold, t->ask->topic, t->ask->group, t->ask->queue_id);
	pop_answer_close(t->answer, store_refusal(t->pop->b->store));
}

void
pop_take(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask, struct topic *topic,
	 const struct tag_filter *f)
{
	struct taking t = {
	    .pop = p, .conn = c, .id = id, .ask = ask, .topic = topic, .filter = f, .pop_ms = clock_wall_ms()};

	t.percent = p->turns * PERCENT_STEP % PERCENT;
	t.revive_queue = ask->order ? POP_ORDER_QUEUE : (int32_t)(p->turns % (uint32_t)p->revive_queues);
	p->turns++;
	take_all(&t);
	finish(&t);
}
