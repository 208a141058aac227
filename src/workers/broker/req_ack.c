/*
 * req_ack: codes 200051 and 200151: popped messages are done.
 *
 * Runs in:    the broker process.
 * Owns:       requests whose records are not in the log yet.
 * Must not:   answer success before the ack is as safe as a send would be.
 */
#include "common/clock.h"
#include "common/fault.h"
#include "workers/broker/offsets.h"
#include "workers/broker/pop_ack.h"

#define TEXT(s) (int)(s).n, (s).p

/* ---- the request */

static struct acking *
acking_new(struct pop *p, struct conn *c, const struct request_id *id)
{
	struct acking *a = xcalloc(1, sizeof(*a));

	*a = (struct acking){.pop = p, .conn = c, .id = *id, .open = 1, .code = RES_SUCCESS};
	conn_ref(c);
	return a;
}

static void
fail(struct acking *a, int code, const char *why)
{
	a->code = code;
	err_set(&a->why, "%s", why != NULL ? why : "the log does not take it now");
}

static void
close_one(struct acking *a)
{
	if (--a->open > 0)
		return;
	conn_answer(a->conn, &a->id, a->code, a->code == RES_SUCCESS ? NULL : "%s", a->why.text);
	conn_unref(&a->conn);
	free(a);
}

/* ---- one checkpoint's */

struct ack_job {
	struct acking *all;
	struct pop_queue *q; /* NULL: its checkpoint is not known here */
	int64_t start, pop_ms;
	uint32_t bits;
};

/* Pops may have waited for messages to be done. */
static void
wake_stopped(struct pop *p, const struct pop_queue *q)
{
	if (p->b->conf->enablePopMessageThreshold)
		pop_hold_wake(p->hold, pop_normal_topic(q->sub->topic, q->sub->group), q->sub->group, q->id);
}

static void
told(void *arg, int64_t revive_queue, const struct appended *t)
{
	struct ack_job *job = arg;
	struct acking *a = job->all;
	struct pop *p = a->pop;
	struct pop_ck *ck = job->q != NULL ? pop_state_find(p->state, job->q, job->start, job->pop_ms) : NULL;

	fault_hit(FAULT_POP_AFTER_ACK);
	if (job->q != NULL)
		pop_log_told(p, (int32_t)revive_queue, t);
	if (ck != NULL)
		ck->acking &= ~job->bits;
	if (!append_is_stored(t->code))
		fail(a, RES_SYSTEM_ERROR, t->why);
	else if (ck != NULL)
		(void)pop_state_done(p->state, ck, job->bits);
	if (job->q != NULL && append_is_stored(t->code)) {
		count_add(&p->b->w->shm->counters.pop_acked, (uint64_t)__builtin_popcount(job->bits));
		wake_stopped(p, job->q);
	}
	free(job);
	close_one(a);
}

static void
append_acks(struct acking *a, struct ack_job from, const struct pop_record_ack *r, int32_t revive_queue,
	    int64_t through_timer)
{
	struct ack_job *job = xmalloc(sizeof(*job));
	struct append_to to = {.done = told, .arg = job, .tag = revive_queue};

	*job = from;
	a->open++;
	if (pop_log_put_acks(a->pop, r, revive_queue, through_timer, &to) == RC_OK)
		return;
	a->open--;
	free(job);
	fail(a, RES_SYSTEM_ERROR, store_refusal(a->pop->b->store));
}

static void
ack_known(struct acking *a, struct pop_ck *ck, uint32_t bits)
{
	struct pop_record_ack r = {.topic = ck->q->sub->topic,
				   .group = ck->q->sub->group,
				   .queue_id = ck->q->id,
				   .start = ck->start,
				   .pop_ms = ck->pop_ms};
	struct ack_job job = {a, ck->q, ck->start, ck->pop_ms, bits & ~ck->acked};

	if (job.bits == 0 || ck->state == POP_CK_REVIVING) /* done before, or too late */
		return;
	for (unsigned i = 0; i < ck->count; i++)
		if (job.bits >> i & 1)
			r.offset[r.count++] = ck->start + ck->diff[i];
	append_acks(a, job, &r, ck->revive_queue, -1);
	if (a->code == RES_SUCCESS)
		ck->acking |= job.bits;
}

/* Whose checkpoint is on its way, in the timer queue, where the original puts it: the ack goes behind it. */
static void
ack_foreign(struct acking *a, const struct pop_acked *w, const int64_t *offset, unsigned count)
{
	struct pop_record_ack r = {.topic = w->topic,
				   .group = w->group,
				   .queue_id = w->queue_id,
				   .start = w->start,
				   .pop_ms = w->pop_ms,
				   .count = count};
	int64_t end;

	if (__builtin_add_overflow(w->pop_ms, w->invisible_ms, &end) || end <= clock_wall_ms() ||
	    !pop_log_may_come(a->pop))
		return; /* done long ago */
	memcpy(r.offset, offset, count * sizeof(r.offset[0]));
	append_acks(a, (struct ack_job){.all = a}, &r, w->revive_queue, end);
}

/* ---- ordered */

static void
order_told(void *arg, int64_t tag, const struct appended *t)
{
	struct acking *a = arg;

	(void)tag;
	if (!append_is_stored(t->code))
		fail(a, RES_SYSTEM_ERROR, t->why);
	close_one(a);
}

/* False: no such message. */
static bool
ack_one_ordered(struct acking *a, const struct pop_acked *w, int64_t offset, bool *changed)
{
	struct offsets *o = a->pop->b->offsets;
	int64_t next;

	if (offset < offset_get(o, w->group, w->topic, w->queue_id))
		return true;
	switch (pop_order_ack(a->pop->order, w->topic, w->group, w->queue_id, offset, w->pop_ms, &next)) {
	case POP_ORDER_MOVE:
		(void)offset_commit(o, a->conn->peer_text, w->group, w->topic, w->queue_id, next);
		count_add(&a->pop->b->w->shm->counters.pop_acked, 1);
		*changed = true;
		return true;
	case POP_ORDER_STALE:
		return true;
	case POP_ORDER_UNKNOWN:
		break;
	}
	return false;
}

static void
end_ordered(struct acking *a, const struct pop_acked *w, bool changed)
{
	struct pop *p = a->pop;

	if (!changed)
		return;
	a->open++;
	pop_order_changed(p, w->topic, w->group, w->queue_id, order_told, a, 0);
	if (!pop_order_blocked(p->order, w->topic, w->group, w->queue_id, SLICE_NONE, w->invisible_ms, clock_wall_ms()))
		pop_hold_wake(p->hold, w->topic, w->group, w->queue_id);
}

static void
ack_ordered(struct acking *a, const struct pop_acked *w, int64_t offset)
{
	bool changed = false;

	if (ack_one_ordered(a, w, offset, &changed)) {
		end_ordered(a, w, changed);
		return;
	}
	a->code = RES_MESSAGE_ILLEGAL;
	err_set(&a->why, "offset is illegal, key:%.*s@%.*s@%d, commit:%lld: it is not one of the last pop",
		TEXT(w->topic), TEXT(w->group), w->queue_id, (long long)offset);
}

/* ---- code 200051 */

static void
ack_single(struct acking *a, const struct pop_acked *w)
{
	struct pop_queue *q;
	struct pop_ck *ck;
	int i;

	if (w->revive_queue == POP_ORDER_QUEUE) {
		ack_ordered(a, w, w->offset);
		return;
	}
	q = pop_state_find_queue(a->pop->state, w->topic, w->group, w->queue_id);
	ck = q != NULL ? pop_state_find(a->pop->state, q, w->start, w->pop_ms) : NULL;
	if (ck == NULL)
		ack_foreign(a, w, &w->offset, 1);
	else if ((i = pop_ck_index(ck, w->offset)) >= 0)
		ack_known(a, ck, UINT32_C(1) << i);
}

/* As the original, the last offset may be that of the message to come. */
static bool
is_in_queue(struct pop *p, const struct pop_acked *w, bool or_next, int64_t *min, int64_t *max)
{
	const struct store_queue *q = store_queue_find(p->b->store, w->topic, w->queue_id);

	*min = q != NULL ? queue_min(q) : 0;
	*max = q != NULL ? queue_max(q) : 0;
	return w->offset >= *min && w->offset < *max + or_next;
}

bool
pop_acked_read(struct pop *p, struct conn *c, const struct command *cmd, bool or_next, struct pop_acked *w)
{
	struct request_id id;
	const struct topic *topic;
	struct pop_handle h;
	int64_t min, max;

	request_id_of(&id, cmd);
	w->group = field_get(cmd, "consumerGroup");
	w->topic = field_get(cmd, "topic");
	if (w->group.n == 0 || w->topic.n == 0)
		return broker_bad_field(c, cmd, w->group.n == 0 ? "consumerGroup" : "topic"), false;
	if (field_need_i32(cmd, "queueId", &w->queue_id) != RC_OK)
		return broker_bad_field(c, cmd, "queueId"), false;
	if (field_need_i64(cmd, "offset", &w->offset) != RC_OK)
		return broker_bad_field(c, cmd, "offset"), false;
	topic = topic_find(p->b->topics, w->topic);
	if (p->state == NULL)
		conn_answer(c, &id, RES_SYSTEM_BUSY, "this broker is a slave: messages are acked at the master");
	else if (topic == NULL)
		conn_answer(c, &id, RES_TOPIC_NOT_EXIST, "topic[%.*s] not exist, apply first please! " FAQ_HINT,
			    TEXT(w->topic));
	else if (w->queue_id < 0 || w->queue_id >= topic->read_queues)
		conn_answer(c, &id, RES_MESSAGE_ILLEGAL,
			    "queueId[%d] is illegal, topic:[%.*s] topicConfig.readQueueNums:[%d] consumer:[/%s]",
			    w->queue_id, TEXT(w->topic), topic->read_queues, c->peer_text);
	else if (!is_in_queue(p, w, or_next, &min, &max))
		conn_answer(c, &id, RES_NO_MESSAGE, "offset is illegal, key:%.*s@%d, commit:%lld, store:%lld~%lld",
			    TEXT(w->topic), w->queue_id, (long long)w->offset, (long long)min, (long long)max);
	else if (pop_handle_read(field_get(cmd, "extraInfo"), &h) != RC_OK ||
		 (h.revive_queue != POP_ORDER_QUEUE && h.revive_queue >= p->revive_queues))
		conn_answer(c, &id, RES_SYSTEM_ERROR, "the extraInfo `%.*s` is no handle of a popped message",
			    TEXT(field_get(cmd, "extraInfo")));
	else {
		w->start = h.start;
		w->pop_ms = h.pop_ms;
		w->invisible_ms = h.invisible_ms;
		w->revive_queue = h.revive_queue;
		return true;
	}
	return false;
}

void
req_ack(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct pop_acked w;
	struct acking *a;

	request_id_of(&id, cmd);
	if (!pop_acked_read(b->pop, c, cmd, true, &w))
		return;
	a = acking_new(b->pop, c, &id);
	ack_single(a, &w);
	close_one(a);
}

/* ---- code 200151 */

static void
ack_item_ordered(struct acking *a, const struct pop_acked *w, const struct pop_ack_item *item)
{
	bool changed = false;

	for (size_t bit = 0; bit < item->bits; bit++)
		if (pop_ack_item_has(item, bit) && !ack_one_ordered(a, w, item->start + (int64_t)bit, &changed)) {
			a->code = RES_MESSAGE_ILLEGAL;
			err_set(&a->why, "offset is illegal: %lld is not one of the last pop",
				(long long)(item->start + (int64_t)bit));
		}
	end_ordered(a, w, changed);
}

static uint32_t
bits_of(const struct pop_ck *ck, const struct pop_ack_item *item)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < ck->count; i++)
		if ((size_t)ck->diff[i] < item->bits && pop_ack_item_has(item, (size_t)ck->diff[i]))
			bits |= UINT32_C(1) << i;
	return bits;
}

static void
ack_item_foreign(struct acking *a, const struct pop_acked *w, const struct pop_ack_item *item)
{
	int64_t offset[POP_BATCH_MAX];
	unsigned n = 0;

	for (size_t bit = 0; bit < item->bits && n < POP_BATCH_MAX; bit++)
		if (pop_ack_item_has(item, bit))
			offset[n++] = item->start + (int64_t)bit;
	if (n > 0)
		ack_foreign(a, w, offset, n);
}

static void
ack_item(struct acking *a, const struct pop_ack_item *item)
{
	struct pop_acked w = {.group = item->group,
			      .topic = item->topic,
			      .queue_id = item->queue_id,
			      .revive_queue = item->revive_queue,
			      .start = item->start,
			      .pop_ms = item->pop_ms,
			      .invisible_ms = item->invisible_ms};
	struct pop_name name;
	struct pop_queue *q;
	struct pop_ck *ck;

	if (item->flag != POP_NORMAL) {
		if (!pop_retry_name(item->group, item->topic, item->flag, &name))
			return;
		w.topic = slice_of(name.text);
	}
	if (item->revive_queue == POP_ORDER_QUEUE) {
		ack_item_ordered(a, &w, item);
		return;
	}
	if (item->revive_queue >= a->pop->revive_queues)
		return;
	q = pop_state_find_queue(a->pop->state, w.topic, w.group, w.queue_id);
	ck = q != NULL ? pop_state_find(a->pop->state, q, w.start, w.pop_ms) : NULL;
	if (ck != NULL)
		ack_known(a, ck, bits_of(ck, item));
	else
		ack_item_foreign(a, &w, item);
}

static void
ack_list(struct acking *a, const json_t *mem, int count)
{
	struct pop_ack_item *item = xmalloc(sizeof(*item));

	for (int i = 0; i < count; i++) {
		if (pop_ack_list_get(mem, (size_t)i, item) == RC_OK) {
			ack_item(a, item);
			continue;
		}
		a->code = RES_SYSTEM_ERROR;
		err_set(&a->why, "number %d of the list of acks cannot be read; the others are done", i);
	}
	free(item);
}

void
req_ack_batch(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct acking *a;
	json_t *mem;
	struct err e;
	int count;

	request_id_of(&id, cmd);
	count = pop_ack_list(cmd->body, &mem, &e);
	if (b->pop->state == NULL) {
		conn_answer(c, &id, RES_SYSTEM_BUSY, "this broker is a slave: messages are acked at the master");
	} else if (count < 0) {
		conn_answer(c, &id, RES_SYSTEM_ERROR, "the body is no list of acks: %s", e.text);
	} else if (count == 0) {
		conn_answer(c, &id, RES_NO_MESSAGE, NULL);
	} else {
		a = acking_new(b->pop, c, &id);
		ack_list(a, mem, count);
		close_one(a);
	}
	json_decref(mem);
}
