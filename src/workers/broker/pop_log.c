/*
 * pop_log: the revive log: what pop consumption writes of itself, and how its state is made of that at the start.
 *
 * Runs in:    the broker process of a master.
 * Owns:       the records in rmq_sys_REVIVE_LOG_<cluster>; the offsets of CID_RMQ_SYS_REVIVE_GROUP, each the last
 * record of its queue that is not needed any more; when a popped queue's offset may be stored. Must not:   let a stored
 * offset run ahead of records that are not flushed: a loss of power would lose what was popped. If it dies: the records
 * are read again from the stored offsets on.
 *
 * Records have the original's form and place, but stand there at once: the original sends them through its timer, and
 * reads them when they are due. TIMER_DELIVER_MS is the time of writing, by which the original, when it takes the store
 * over, sees how far its time has come. Records that the original has written come out of the timer queue: they are
 * read as they arrive.
 */
#include "common/clock.h"
#include "common/fault.h"
#include "workers/broker/cold.h"
#include "workers/broker/offsets.h"
#include "workers/broker/pop_int.h"
#include "workers/broker/timer.h"

#include <stdio.h>

#define MARK_BITS   54  /* of an offset in a mark, as in delay_mark.c and timer_mark.c */
#define MARK_COPY   129 /* a revived copy: the place of the message that it is of */
#define MARK_RECORD 130 /* a record of the revive log, by this broker: no offset */
#define READ_STEP   512 /* records of one turn */
#define BEHIND_MAX                                                                                                     \
	100000 /* a checkpoint with more records behind it is written anew: else all of them are read at a start */
#define REWRITE_STEP 256 /* of these in one second, of one queue */

struct revive_queue {
	int64_t read_to; /* all before it is in the state */
	int64_t low;     /* to be stored, when the log is flushed up to lows_end */
};

/* A popped queue's offset that waits for the flush of the checkpoint by which it has moved. */
struct move {
	TAILQ_ENTRY(move) all;
	struct pop_queue *q;
	int64_t offset, physical, end;
};

struct pop_log {
	struct revive_queue *queue;
	TAILQ_HEAD(move_list, move) moves;
	int64_t lows_end;  /* -1: none wait */
	int64_t mark;      /* of the offsets' file that was loaded: see log_mark */
	int64_t start_end; /* of the log, when it was read */
	unsigned writing;  /* checkpoints that are being written anew */
	bool arrived;      /* something has come that was not read */
	struct buf body, props;
};

/* ---- marks */

static int64_t
mark_of(int64_t kind, int64_t offset)
{
	return ~(kind << MARK_BITS | offset);
}

int64_t
pop_mark_of_copy(int64_t physical)
{
	return mark_of(MARK_COPY, physical);
}

bool
pop_mark_read_copy(int64_t prepared_offset, int64_t *physical)
{
	int64_t v = ~prepared_offset;

	if (prepared_offset >= 0 || v >> MARK_BITS != MARK_COPY)
		return false;
	*physical = v & ((INT64_C(1) << MARK_BITS) - 1);
	return true;
}

/* ---- writing */

static void
put_number(struct buf *out, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	props_put(out, name, slice_of(text));
}

static void
begin_record(struct pop *p, struct message *m, const char *tag, int32_t revive_queue, int64_t deliver_ms)
{
	struct pop_log *l = p->log;

	l->props.len = 0;
	props_put(&l->props, "TAGS", slice_of(tag));
	put_number(&l->props, "TIMER_DELIVER_MS", deliver_ms);
	*m = (struct message){.topic = slice_of(p->revive_topic),
			      .queue_id = revive_queue,
			      .born_ms = clock_wall_ms(),
			      .born_host = p->b->store_host,
			      .store_host = p->b->store_host,
			      .body = buf_slice(&l->body),
			      .prepared_offset = mark_of(MARK_RECORD, 0)};
}

static enum rc
append_record(struct pop *p, const char *tag, int32_t revive_queue, const struct append_to *to)
{
	struct message m;

	begin_record(p, &m, tag, revive_queue, clock_wall_ms());
	m.props[0] = buf_slice(&p->log->props);
	return append_message(p->b, &m, to);
}

enum rc
pop_log_put_ck(struct pop *p, const struct pop_ck *ck, const struct pop_handle *from, const struct append_to *to)
{
	struct buf *body = &p->log->body;

	body->len = 0;
	pop_ck_put(ck, slice_of(p->b->conf->brokerName), from != NULL ? from->start : -1,
		   from != NULL ? from->pop_ms : -1, body);
	fault_hit(FAULT_POP_BEFORE_CHECKPOINT);
	return append_record(p, POP_TAG_CK, ck->revive_queue, to);
}

/* The checkpoint is in the timer queue, so its ack has to go the same way, behind it. */
static enum rc
append_through_timer(struct pop *p, const char *tag, int32_t revive_queue, int64_t at_ms, const struct append_to *to)
{
	struct buf wrapped = {0};
	struct message m;
	enum rc rc;

	begin_record(p, &m, tag, revive_queue, at_ms);
	timer_wrap(&m, at_ms, slice_of(p->revive_topic), revive_queue, buf_slice(&p->log->props), &wrapped);
	m.prepared_offset = 0;
	m.props[0] = buf_slice(&wrapped);
	rc = append_message(p->b, &m, to);
	buf_free(&wrapped);
	return rc;
}

enum rc
pop_log_put_acks(struct pop *p, const struct pop_record_ack *a, int32_t revive_queue, int64_t through_timer,
		 const struct append_to *to)
{
	const char *tag = a->count > 1 ? POP_TAG_ACKS : POP_TAG_ACK;

	p->log->body.len = 0;
	pop_ack_put(a, slice_of(p->b->conf->brokerName), &p->log->body);
	if (through_timer >= 0)
		return append_through_timer(p, tag, revive_queue, through_timer, to);
	return append_record(p, tag, revive_queue, to);
}

enum rc
pop_log_put_order(struct pop *p, struct slice body, const struct append_to *to)
{
	p->log->body.len = 0;
	buf_put_slice(&p->log->body, body);
	return append_record(p, POP_TAG_ORDER, 0, to);
}

void
pop_log_told(struct pop *p, int32_t revive_queue, const struct appended *a)
{
	struct revive_queue *rq = &p->log->queue[revive_queue];

	if (append_is_stored(a->code) && rq->read_to == a->queue_offset)
		rq->read_to++;
}

/* ---- reading */

static void
read_ck(struct pop *p, const struct message *m)
{
	struct pop_record_ck r;
	json_t *mem;

	if (pop_ck_read(m->body, &r, &mem) == RC_OK) {
		r.revive_queue = m->queue_id;
		r.revive_offset = m->queue_offset;
		r.foreign |= props_get(m->props[0], "TIMER_OUT_MS").n > 0;
		r.raises = m->physical >= p->log->mark;
		if (pop_state_read_ck(p->state, &r) != RC_OK)
			log_warn("%s, queue %d, offset %lld: a checkpoint with numbers that cannot be is left out",
				 p->revive_topic, m->queue_id, (long long)m->queue_offset);
	}
	json_decref(mem);
}

static void
read_ack(struct pop *p, const struct message *m)
{
	struct pop_record_ack a;
	struct pop_queue *q;
	json_t *mem;

	if (pop_ack_read(m->body, &a, &mem) == RC_OK) {
		q = pop_state_find_queue(p->state, a.topic, a.group, a.queue_id);
		for (unsigned i = 0; q != NULL && i < a.count; i++)
			pop_state_read_ack(p->state, q, a.start, a.pop_ms, a.offset[i]);
	}
	json_decref(mem);
}

/* The group's offset went with what the record says, and may be older in its file. */
static void
follow_order(struct pop *p, const json_t *entry)
{
	struct slice topic = slice_of(json_get_str(entry, "t", "")), group = slice_of(json_get_str(entry, "c", ""));
	int32_t id = (int32_t)json_get_i64(entry, "q", -1);
	int64_t next = pop_order_next(p->order, topic, group, id);

	if (next >= 0)
		(void)offset_commit(p->b->offsets, "an ordered pop", group, topic, id, next);
}

static void
read_order(struct pop *p, const struct message *m)
{
	json_t *entry = NULL;
	struct err e;

	if (json_load_relaxed(m->body, &entry, &e) == RC_OK) {
		if (m->physical >= p->order_mark && pop_order_read_entry(p->order, entry) != RC_OK)
			log_warn("%s: a record of an ordered pop that cannot be is left out", p->revive_topic);
		if (p->log->mark >= 0 && m->physical >= p->log->mark)
			follow_order(p, entry);
	}
	json_decref(entry);
}

/* Is it one that this process has written itself? Its state has it already. */
static bool
is_own(const struct pop *p, const struct message *m)
{
	return m->prepared_offset == mark_of(MARK_RECORD, 0) && m->physical >= p->log->start_end;
}

static void
read_record(struct pop *p, const struct message *m)
{
	struct slice tag = props_get(m->props[0], "TAGS");

	if (is_own(p, m))
		return;
	if (slice_is(tag, POP_TAG_CK))
		read_ck(p, m);
	else if (slice_is(tag, POP_TAG_ACK) || slice_is(tag, POP_TAG_ACKS))
		read_ack(p, m);
	else if (slice_is(tag, POP_TAG_ORDER))
		read_order(p, m);
}

/* One record by its unit. False: it is not there (any more). */
static bool
read_unit(struct pop *p, struct store_queue *q, int64_t offset)
{
	int64_t physical, tags_code;
	struct slice record;
	struct message m;
	int32_t size;

	if (store_unit_at(p->b->store, q, offset, &physical, &size, &tags_code) != RC_OK ||
	    store_record_at(p->b->store, physical, &record) != RC_OK ||
	    message_decode(&m, record.p, record.n, false) != RC_OK)
		return false;
	m.queue_id = queue_id(q);
	m.queue_offset = offset;
	read_record(p, &m);
	return true;
}

/* Up to max records of one queue. */
static void
read_queue(struct pop *p, int32_t id, int64_t max)
{
	struct store_queue *q = store_queue_find(p->b->store, slice_of(p->revive_topic), id);
	struct revive_queue *rq = &p->log->queue[id];

	if (q == NULL)
		return;
	rq->read_to = MAX_OF(rq->read_to, queue_min(q));
	for (; max > 0 && rq->read_to < queue_max(q); max--, rq->read_to++)
		if (!read_unit(p, q, rq->read_to))
			log_warn("%s, queue %d: the record at %lld cannot be read and is left out", p->revive_topic, id,
				 (long long)rq->read_to);
	p->log->arrived |= rq->read_to < queue_max(q);
}

void
pop_log_arrived(struct pop *p, struct store_queue *q)
{
	if (p->state == NULL || queue_id(q) >= p->revive_queues || p->log->queue[queue_id(q)].read_to >= queue_max(q))
		return;
	p->log->arrived = true;
	p->wanted = true;
}

bool
pop_log_turn(struct pop *p)
{
	if (LIKELY(!p->log->arrived))
		return false;
	p->log->arrived = false;
	for (int32_t i = 0; i < p->revive_queues; i++)
		read_queue(p, i, READ_STEP);
	return p->log->arrived;
}

/* ---- at the start */

/* What stands in the log and not in its queue yet: with SYNC_FLUSH it is dispatched when flush has confirmed it. */
static void
read_tail(struct pop *p)
{
	int64_t at = pos_read(&p->b->w->shm->broker.dispatched);
	struct slice record;
	struct message m;

	while (store_next_record(p->b->store, &at, &record) == RC_OK) {
		if (message_decode(&m, record.p, record.n, false) != RC_OK || !slice_is(m.topic, p->revive_topic) ||
		    m.queue_id < 0 || m.queue_id >= p->revive_queues ||
		    m.queue_offset < p->log->queue[m.queue_id].read_to)
			continue;
		read_record(p, &m);
		p->log->queue[m.queue_id].read_to = m.queue_offset + 1;
	}
}

static int64_t
log_mark(void *arg)
{
	const struct pop *p = arg;
	const struct move *first = TAILQ_FIRST(&p->log->moves);
	int64_t appended = pos_read(&p->b->w->shm->broker.appended);

	return first != NULL ? MIN_OF(first->physical, appended) : appended;
}

enum rc
pop_log_load(struct pop *p, struct err *e)
{
	struct pop_log *l = p->log;
	struct pop_facts facts;
	int64_t began = clock_mono_ms(), records = 0;

	(void)e;
	l->start_end = pos_read(&p->b->w->shm->broker.appended);
	l->mark = offsets_log_mark(p->b->offsets);
	l->queue = xcalloc((size_t)p->revive_queues, sizeof(l->queue[0]));
	for (int32_t i = 0; i < p->revive_queues; i++) {
		l->queue[i].read_to =
		    offset_get(p->b->offsets, SLICE_LIT(POP_REVIVE_GROUP), slice_of(p->revive_topic), i) + 1;
		records -= l->queue[i].read_to;
		read_queue(p, i, INT64_MAX);
	}
	read_tail(p);
	for (int32_t i = 0; i < p->revive_queues; i++)
		records += l->queue[i].read_to;
	offsets_set_log_mark(p->b->offsets, log_mark, p);
	pop_state_facts(p->state, &facts);
	if (facts.messages > 0)
		log_info("%zu popped messages are in flight, in %zu checkpoints; %lld records of the revive log were "
			 "read in %lld ms",
			 facts.messages, facts.checkpoints, (long long)records, (long long)(clock_mono_ms() - began));
	return RC_OK;
}

int64_t
pop_log_start_end(const struct pop *p)
{
	return p->log->start_end;
}

struct pop_log *
pop_log_new(struct pop *p)
{
	struct pop_log *l = xcalloc(1, sizeof(*l));

	(void)p;
	l->lows_end = -1;
	TAILQ_INIT(&l->moves);
	return l;
}

void
pop_log_free(struct pop_log **lp)
{
	struct pop_log *l = *lp;
	struct move *m;

	if (l == NULL)
		return;
	while ((m = TAILQ_FIRST(&l->moves)) != NULL) {
		TAILQ_REMOVE(&l->moves, m, all);
		free(m);
	}
	buf_free(&l->body);
	buf_free(&l->props);
	free(l->queue);
	free(l);
	*lp = NULL;
}

/* ---- offsets of popped queues */

void
pop_log_follow_offset(struct pop *p, struct pop_queue *q)
{
	int64_t stored = offset_get(p->b->offsets, q->sub->group, q->sub->topic, q->id);

	if (!q->known)
		q->next = MAX_OF(q->next, stored);
	else if (stored != q->committed)
		q->next = stored; /* an operator, or a consumer that pulls */
	q->known = true;
	q->committed = stored;
}

void
pop_log_set_first(struct pop *p, struct pop_queue *q, int64_t offset)
{
	(void)offset_commit(p->b->offsets, "a first pop", q->sub->group, q->sub->topic, q->id, offset);
	q->committed = offset_get(p->b->offsets, q->sub->group, q->sub->topic, q->id);
	q->next = offset;
}

void
pop_log_move_offset(struct pop *p, struct pop_queue *q, int64_t offset, int64_t physical, int64_t end)
{
	struct move *last = TAILQ_LAST(&p->log->moves, move_list);

	if (last != NULL && last->q == q) {
		last->offset = offset;
		last->end = MAX_OF(last->end, end);
		return;
	}
	last = xmalloc(sizeof(*last));
	*last = (struct move){.q = q, .offset = offset, .physical = physical, .end = end};
	TAILQ_INSERT_TAIL(&p->log->moves, last, all);
}

/* Where somebody else has set the offset meanwhile, that stands. */
static void
store_offset(struct pop *p, const struct move *m)
{
	struct pop_queue *q = m->q;

	if (offset_get(p->b->offsets, q->sub->group, q->sub->topic, q->id) != q->committed)
		return;
	if (offset_commit(p->b->offsets, "a pop", q->sub->group, q->sub->topic, q->id, m->offset))
		q->committed = m->offset;
}

static void
store_moved(struct pop *p, int64_t flushed)
{
	struct move *m;

	while ((m = TAILQ_FIRST(&p->log->moves)) != NULL && m->end <= flushed) {
		TAILQ_REMOVE(&p->log->moves, m, all);
		store_offset(p, m);
		free(m);
	}
}

/* ---- offsets of the revive log */

static void
take_lows(struct pop *p)
{
	struct pop_log *l = p->log;

	for (int32_t i = 0; i < p->revive_queues; i++)
		l->queue[i].low = pop_state_low(p->state, i, l->queue[i].read_to);
	l->queue[0].low = MIN_OF(l->queue[0].low, pop_order_low(p));
	l->lows_end = pos_read(&p->b->w->shm->broker.appended);
}

static void
store_lows(struct pop *p)
{
	struct pop_log *l = p->log;

	for (int32_t i = 0; i < p->revive_queues; i++)
		if (l->queue[i].low > 0)
			(void)offset_commit(p->b->offsets, "pop", SLICE_LIT(POP_REVIVE_GROUP),
					    slice_of(p->revive_topic), i, l->queue[i].low - 1);
	l->lows_end = -1;
}

void
pop_log_settle_all(struct pop *p)
{
	store_moved(p, INT64_MAX);
	take_lows(p);
	store_lows(p);
}

/* ---- checkpoints that have waited long */

struct rewrite {
	struct pop *pop;
	struct pop_queue *q;
	int64_t start, pop_ms;
};

static void
rewritten(void *arg, int64_t revive_queue, const struct appended *a)
{
	struct rewrite *r = arg;
	struct pop *p = r->pop;
	struct pop_ck *ck = pop_state_find(p->state, r->q, r->start, r->pop_ms);

	p->log->writing--;
	pop_log_told(p, (int32_t)revive_queue, a);
	if (ck != NULL) {
		ck->moving = false;
		if (append_is_stored(a->code))
			pop_state_moved(p->state, ck, a->queue_offset);
	}
	free(r);
}

static bool
may_rewrite(const struct pop_ck *ck)
{
	return ck->state == POP_CK_WAITS && ck->acking == 0 && !ck->moving;
}

static void
rewrite(struct pop *p, struct pop_ck *ck)
{
	struct rewrite *r = xmalloc(sizeof(*r));
	struct append_to to = {.done = rewritten, .arg = r, .tag = ck->revive_queue, .no_wait = true};

	*r = (struct rewrite){p, ck->q, ck->start, ck->pop_ms};
	if (pop_log_put_ck(p, ck, NULL, &to) != RC_OK) {
		free(r);
		return;
	}
	ck->moving = true;
	p->log->writing++;
}

/* The first records of a queue, when those behind them are mostly not needed. */
static void
rewrite_oldest(struct pop *p, int32_t id)
{
	struct pop_facts facts;
	int64_t behind;
	int n = 0;

	pop_state_facts(p->state, &facts);
	behind = MAX_OF((int64_t)BEHIND_MAX, (int64_t)facts.checkpoints * 4 / p->revive_queues);
	for (struct pop_ck *ck = pop_state_oldest(p->state, id); ck != NULL && n < REWRITE_STEP;
	     ck = TAILQ_NEXT(ck, by_offset), n++) {
		if (p->log->queue[id].read_to - ck->revive_offset < behind)
			return;
		if (may_rewrite(ck))
			rewrite(p, ck);
	}
}

/* ---- time */

bool
pop_log_may_come(const struct pop *p)
{
	return timer_waits_for(p->b->timer, slice_of(p->revive_topic));
}

void
pop_log_second(struct pop *p)
{
	int64_t flushed = store_flushed_position(p->b->store);

	store_moved(p, flushed);
	if (p->log->lows_end >= 0 && p->log->lows_end <= flushed)
		store_lows(p);
	if (p->log->lows_end < 0)
		take_lows(p);
	for (int32_t i = 0; p->log->writing == 0 && i < p->revive_queues && store_refusal(p->b->store) == NULL; i++)
		rewrite_oldest(p, i);
}
