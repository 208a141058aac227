/*
 * req_invisible: code 200053: a popped message is put off: it comes again after another time, counted from now.
 *
 * Runs in:    the broker process.
 * Owns:       requests whose records are not in the log yet.
 *
 * The message gets a checkpoint of its own, which names the one that it was in, and behind it in the log stands its ack
 * in the old one, for the original. If only the first of them reaches the log it is enough: see pop_state_read_ck.
 */
#include "common/clock.h"
#include "common/fault.h"
#include "workers/broker/answer.h"
#include "workers/broker/offsets.h"
#include "workers/broker/pop_ack.h"

#define TEXT(s) (int)(s).n, (s).p

struct put_off {
	struct pop *pop;
	struct conn *conn; /* a reference */
	struct request_id id;
	struct pop_queue *q;
	struct pop_ck *ck; /* the new one, until it is told */
	int64_t old_start, old_ms;
	uint32_t old_bit; /* 0: the old one is not known here */
	int64_t pop_ms, invisible_ms;
	int32_t revive_queue;
	bool stored;
};

static void
answer(struct conn *c, const struct request_id *id, int64_t pop_ms, int64_t invisible_ms, int32_t revive_queue)
{
	struct frame_out f;

	if (!answer_begin(&f, c, id, RES_SUCCESS))
		return;
	frame_field_i64(&f, "popTime", pop_ms);
	frame_field_i64(&f, "invisibleTime", invisible_ms);
	frame_field_i64(&f, "reviveQid", revive_queue);
	answer_end(&f, c);
}

static void
refuse(struct conn *c, const struct request_id *id, const char *why)
{
	conn_answer(c, id, RES_SYSTEM_ERROR, "the message is not put off: %s",
		    why != NULL ? why : "the log does not take it now");
}

static void
end(struct put_off *w)
{
	conn_unref(&w->conn);
	free(w);
}

/* ---- its new checkpoint, and the ack in the old one */

static void
leave_old(struct put_off *w)
{
	struct pop_ck *old = pop_state_find(w->pop->state, w->q, w->old_start, w->old_ms);

	if (old == NULL)
		return;
	old->acking &= ~w->old_bit;
	if (w->stored)
		(void)pop_state_done(w->pop->state, old, w->old_bit);
}

static void
ck_told(void *arg, int64_t tag, const struct appended *t)
{
	struct put_off *w = arg;

	(void)tag;
	pop_log_told(w->pop, w->revive_queue, t);
	w->stored = append_is_stored(t->code);
	if (w->stored)
		pop_state_stored(w->pop->state, w->ck, t->queue_offset);
	else
		pop_state_refused(w->pop->state, w->ck);
	w->ck = NULL;
	leave_old(w);
	w->pop->wanted = true;
	fault_hit(FAULT_POP_AFTER_PUT_OFF);
	if (w->stored)
		answer(w->conn, &w->id, w->pop_ms, w->invisible_ms, w->revive_queue);
	else
		refuse(w->conn, &w->id, t->why);
	end(w);
}

static void
ack_told(void *arg, int64_t revive_queue, const struct appended *t)
{
	if (revive_queue >= 0)
		pop_log_told(arg, (int32_t)revive_queue, t);
}

/* No other checkpoint of that message may have the same time. */
static int64_t
free_time(struct pop *p, const struct pop_queue *q, const struct pop_acked *w)
{
	int64_t ms = MAX_OF(clock_wall_ms(), w->pop_ms + 1);

	while (pop_state_find(p->state, q, w->offset, ms) != NULL)
		ms++;
	return ms;
}

static struct put_off *
stage(struct pop *p, struct conn *c, const struct request_id *id, struct pop_queue *q, const struct pop_acked *w,
      int64_t invisible_ms)
{
	struct pop_batch batch = {.q = q,
				  .start = w->offset,
				  .pop_ms = free_time(p, q, w),
				  .invisible_ms = invisible_ms,
				  .revive_queue = w->revive_queue,
				  .count = 1,
				  .offset = {w->offset}};
	struct put_off *it = xcalloc(1, sizeof(*it));

	*it = (struct put_off){.pop = p,
			       .conn = c,
			       .id = *id,
			       .q = q,
			       .old_start = w->start,
			       .old_ms = w->pop_ms,
			       .pop_ms = batch.pop_ms,
			       .invisible_ms = invisible_ms,
			       .revive_queue = w->revive_queue};
	conn_ref(c);
	it->ck = pop_state_stage(p->state, &batch, -1);
	return it;
}

static enum rc
put_records(struct put_off *it, const struct pop_acked *w, int64_t through_timer)
{
	struct pop_handle from = {.start = w->start, .pop_ms = w->pop_ms};
	struct pop_record_ack ack = {.topic = w->topic,
				     .group = w->group,
				     .queue_id = w->queue_id,
				     .start = w->start,
				     .pop_ms = w->pop_ms,
				     .count = 1,
				     .offset = {w->offset}};
	struct append_to to = {.done = ck_told, .arg = it, .no_wait = true};
	struct pop *p = it->pop;
	enum rc rc = pop_log_put_ck(p, it->ck, &from, &to);

	if (rc != RC_OK)
		return rc;
	to = (struct append_to){
	    .done = ack_told, .arg = p, .tag = through_timer < 0 ? w->revive_queue : -1, .no_wait = true};
	if (pop_log_put_acks(p, &ack, w->revive_queue, through_timer, &to) != RC_OK)
		log_info("a message was put off without an ack of its old checkpoint: this broker needs none");
	return RC_OK;
}

static void
put_off(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_acked *w, int64_t invisible_ms,
	struct pop_ck *old, uint32_t bit)
{
	struct pop_queue *q = pop_state_queue(p->state, w->topic, w->group, w->queue_id);
	struct put_off *it = q != NULL ? stage(p, c, id, q, w, invisible_ms) : NULL;
	int64_t end_ms = w->pop_ms + MIN_OF(MAX_OF(w->invisible_ms, 0), INT64_MAX - w->pop_ms);

	if (it == NULL)
		return refuse(c, id, "no queue can have that number");
	it->old_bit = bit;
	if (old != NULL)
		old->acking |= bit;
	if (put_records(it, w, old != NULL ? -1 : end_ms) == RC_OK)
		return;
	pop_state_refused(p->state, it->ck);
	leave_old(it);
	refuse(c, id, store_refusal(p->b->store));
	end(it);
}

static void
gone(struct conn *c, const struct request_id *id, const struct pop_acked *w)
{
	conn_answer(c, id, RES_NO_MESSAGE, "message %lld of %.*s, queue %d, was acked, or its invisible time is over",
		    (long long)w->offset, TEXT(w->topic), w->queue_id);
}

static void
put_off_unordered(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_acked *w,
		  int64_t invisible_ms)
{
	struct pop_queue *q = pop_state_find_queue(p->state, w->topic, w->group, w->queue_id);
	struct pop_ck *ck = q != NULL ? pop_state_find(p->state, q, w->start, w->pop_ms) : NULL;
	int i = ck != NULL ? pop_ck_index(ck, w->offset) : -1;
	uint32_t bit = i >= 0 ? UINT32_C(1) << i : 0;

	if (ck == NULL && pop_log_may_come(p))
		put_off(p, c, id, w, invisible_ms, NULL, 0);
	else if (i < 0 || ((ck->acked | ck->acking) & bit) || ck->state == POP_CK_REVIVING)
		gone(c, id, w);
	else
		put_off(p, c, id, w, invisible_ms, ck, bit);
}

/* ---- ordered */

static void
order_told(void *arg, int64_t tag, const struct appended *t)
{
	struct put_off *w = arg;

	(void)tag;
	if (append_is_stored(t->code))
		answer(w->conn, &w->id, w->pop_ms, w->invisible_ms, POP_ORDER_QUEUE);
	else
		refuse(w->conn, &w->id, t->why);
	end(w);
}

static void
put_off_ordered(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_acked *w,
		int64_t invisible_ms)
{
	int64_t visible = clock_wall_ms() + MIN_OF(MAX_OF(invisible_ms, 0), POP_DUE_MAX);
	struct put_off *it;

	if (w->offset < offset_get(p->b->offsets, w->group, w->topic, w->queue_id))
		return answer(c, id, 0, 0, 0);
	if (!pop_order_put_off(p->order, w->topic, w->group, w->queue_id, w->offset, w->pop_ms, visible))
		return answer(c, id, w->pop_ms, visible - w->pop_ms, POP_ORDER_QUEUE);
	it = xcalloc(1, sizeof(*it));
	*it =
	    (struct put_off){.pop = p, .conn = c, .id = *id, .pop_ms = w->pop_ms, .invisible_ms = visible - w->pop_ms};
	conn_ref(c);
	pop_order_changed(p, w->topic, w->group, w->queue_id, order_told, it, 0);
	p->wanted = true;
}

void
req_change_invisible(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct pop_acked w;
	int64_t invisible_ms;

	request_id_of(&id, cmd);
	if (field_need_i64(cmd, "invisibleTime", &invisible_ms) != RC_OK)
		return broker_bad_field(c, cmd, "invisibleTime");
	if (!pop_acked_read(b->pop, c, cmd, false, &w))
		return;
	if (w.revive_queue == POP_ORDER_QUEUE)
		put_off_ordered(b->pop, c, &id, &w, invisible_ms);
	else
		put_off_unordered(b->pop, c, &id, &w, invisible_ms);
}
