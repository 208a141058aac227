/*
 * timer: the job that delivers timer messages when they are due.
 *
 * Runs in:    the broker process of a master, in the turn's end, at most READ_STEP messages read and DELIVER_STEP delivered a turn.
 * Owns:       what waits, how far the timer queue was read, what was delivered.
 * Must not:   call a message delivered before its copy is in the log; read from the disk (warm does); deliver before it knows
 *             what a killed broker has delivered and what was recalled (timer_mark.h).
 * If it dies: nothing is lost and nothing comes twice: see timer_mark.h. What waits is read from the queue again.
 *
 * A message is in one of four places: in the queue and not read, in the heap, aside (warm reads its record), or in
 * flight (staged and not told). From the last two it goes back to the heap if it does not work out.
 */
#include "workers/broker/timer.h"

#include <errno.h>
#include <stdio.h>

#include "common/clock.h"
#include "workers/broker/answer.h"
#include "workers/broker/cold.h"
#include "workers/broker/timer_heap.h"
#include "workers/broker/timer_int.h"
#include "workers/broker/timer_log.h"
#include "workers/broker/topics.h"

#define DELIVER_STEP  256       /* messages of one turn, about half a millisecond: a send waits for one or two such turns */
#define DELIVER_BYTES (1 << 20) /* of one turn: far below the turn's buffer, so one commit has them all */
#define READ_STEP     1024      /* messages of one turn that are read from the queue */
#define SCAN_STEP     8192      /* records of one turn, at the start */
#define GAP_MS        2         /* between deliveries: those that fall due close together share a commit */
#define BREATH_MS     1         /* behind a full turn: however many are due, most of the time is left to clients */
#define PAUSE_MS      1000      /* after the log did not take a message, or warm has no room */
#define NEVER         INT64_MAX

/* ---- finishing */

static void
pause_all(struct timer *t)
{
	t->pause_until_ms = clock_mono_ms() + PAUSE_MS;
}

static void
note_done(struct timer *t, const struct timer_entry *e)
{
	if (!timer_before(t->done_ms, t->done_at, e->due_ms, e->at))
		return;
	t->done_ms = e->due_ms;
	t->done_at = e->at;
}

/* It needs nothing any more: delivered, recalled, or it cannot be delivered. */
static void
finish(struct timer *t, const struct timer_entry *e)
{
	timer_heap_finish(&t->heap, e->at);
	if (e->topic > 0)
		timer_topic_count(t, e->topic, -1);
	note_done(t, e);
}

static void
leave_out(struct timer *t, const struct timer_entry *e)
{
	t->left_out++;
	finish(t, e);
}

/* ---- delivering */

static void
told(void *arg, int64_t flight, const struct appended *a)
{
	struct timer *t = arg;
	const struct timer_entry *e = &t->flight[flight];

	t->open--;
	if (append_is_stored(a->code)) {
		t->delivered++;
		finish(t, e);
	} else {
		timer_heap_put_back(&t->heap, e);
		pause_all(t);
	}
}

/* When it came into the queue, and when it leaves it, as the original's copies have it. */
static void
put_times(const struct message *from, struct buf *out)
{
	out->len = 0;
	if (from->props[0].n > 0 && from->props[0].p[from->props[0].n - 1] != 2)
		buf_put_char(out, 2);
	buf_put_str(out, "TIMER_ENQUEUE_MS\1");
	buf_put_i64(out, from->store_ms);
	buf_put_str(out, "\2TIMER_DEQUEUE_MS\1");
	buf_put_i64(out, clock_wall_ms());
	buf_put_char(out, 2);
}

/* A text that has no room for the two times goes without them. */
static enum rc
append_with_times(struct timer *t, const struct message *from, struct message *m)
{
	struct append_to to = {.done = told, .arg = t, .tag = t->flights, .no_wait = true};
	enum rc rc;

	put_times(from, &t->text);
	m->props[0] = from->props[0];
	m->props[1] = buf_slice(&t->text);
	rc = append_message(t->b, m, &to);
	if (rc != RC_LIMIT)
		return rc;
	m->props[1] = SLICE_NONE;
	return append_message(t->b, m, &to);
}

/* False: the log does not take it now. */
static bool
append_copy_of(struct timer *t, const struct timer_entry *e, const struct message *from, const struct timer_msg *tm)
{
	struct message m;
	enum rc rc;

	append_copy(t->b, from, &m);
	m.topic = tm->real_topic;
	m.queue_id = tm->real_queue;
	m.prepared_offset = timer_mark_of(e->at);
	t->flight[t->flights] = *e;
	rc = append_with_times(t, from, &m);
	if (rc == RC_LIMIT) {
		leave_out(t, e);
		return true;
	}
	if (rc != RC_OK) {
		timer_heap_put_back(&t->heap, e);
		pause_all(t);
		return false;
	}
	t->flights++;
	t->open++;
	t->bytes_left -= (int)from->size;
	return true;
}

/*
 * The original stores what is far away once more each time that it has put it off (rolled), and never again looks at the copy before:
 * the last one counts.
 */
static void
note_put_off(struct timer *t, const struct timer_msg *tm)
{
	char *key = xasprintf("%.*s+%.*s#%d", (int)tm->real_topic.n, tm->real_topic.p, (int)tm->uniq_key.n, tm->uniq_key.p,
			      tm->roll_times - 1);

	recalls_add(&t->rolled, slice_of(key), false);
	free(key);
}

static bool
was_put_off(const struct timer *t, const struct timer_msg *tm)
{
	char *key;
	bool found;

	if (t->rolled.count == 0)
		return false;
	key = xasprintf("%.*s#%d", (int)tm->uniq_key.n, tm->uniq_key.p, tm->roll_times);
	found = recalls_have(&t->rolled, tm->real_topic, slice_of(key));
	free(key);
	return found;
}

static bool
deliver(struct timer *t, const struct timer_entry *e)
{
	struct slice record;
	struct timer_msg tm;
	struct message from;

	if (store_record_at(t->b->store, e->physical, &record) != RC_OK ||
	    message_decode(&from, record.p, record.n, false) != RC_OK || !timer_msg_read(&from, &tm)) {
		leave_out(t, e);
		return true;
	}
	if (UNLIKELY(recalls_have(&t->recalls, tm.real_topic, tm.uniq_key))) {
		t->dropped++;
		finish(t, e);
		return true;
	}
	if (UNLIKELY(was_put_off(t, &tm))) {
		finish(t, e);
		return true;
	}
	return append_copy_of(t, e, &from, &tm);
}

/* ---- aside: warm reads the record */

static void
is_warm(void *arg, int error)
{
	struct timer_aside *a = arg;

	if (error == ECANCELED)
		return;
	if (error == 0) {
		a->state = ASIDE_READY;
	} else {
		log_warn("a timer message could not be read: %s", strerror(error));
		timer_heap_put_back(&a->timer->heap, &a->entry);
		a->state = ASIDE_FREE;
		pause_all(a->timer);
	}
	a->timer->wanted = true;
}

static struct timer_aside *
free_aside(struct timer *t)
{
	for (unsigned i = 0; i < TIMER_ASIDE_MAX; i++)
		if (t->aside[i].state == ASIDE_FREE)
			return &t->aside[i];
	return NULL;
}

enum warmth { WARM, WARM_LATER, WARM_FULL };

static enum warmth
ask_for(struct timer *t, const struct timer_entry *e)
{
	struct timer_aside *a;
	int64_t at, len;
	enum rc rc;

	if (!store_record_is_cold(t->b->store, e->physical, e->size, &at, &len))
		return WARM;
	if ((a = free_aside(t)) == NULL)
		return WARM_FULL;
	*a = (struct timer_aside){.timer = t, .entry = *e, .state = ASIDE_ASKED};
	rc = cold_wait(t->b->cold, at, len, is_warm, a);
	if (rc == RC_OK)
		return WARM_LATER;
	a->state = ASIDE_FREE;
	return rc == RC_FULL ? WARM_FULL : WARM; /* no warm at all: slow is better than never */
}

static bool
may_go_on(const struct timer *t)
{
	return t->flights < DELIVER_STEP && t->bytes_left > 0;
}

static bool
deliver_ready(struct timer *t)
{
	for (unsigned i = 0; i < TIMER_ASIDE_MAX && may_go_on(t); i++) {
		struct timer_aside *a = &t->aside[i];

		if (a->state != ASIDE_READY)
			continue;
		a->state = ASIDE_FREE;
		if (!deliver(t, &a->entry))
			return false;
	}
	return true;
}

/* ---- due */

/* False: nothing more for now. */
static bool
deliver_next(struct timer *t, int64_t now)
{
	const struct timer_entry *top = timer_heap_top(&t->heap);
	struct timer_entry e;
	enum warmth warmth;

	if (top == NULL || top->due_ms > now)
		return false;
	e = timer_heap_pop(&t->heap);
	if (e.topic == 0) {
		recalls_drop(&t->recalls, e.recalled, false);
		finish(t, &e);
		return true;
	}
	warmth = ask_for(t, &e);
	if (warmth == WARM)
		return deliver(t, &e);
	if (warmth == WARM_LATER)
		return true;
	timer_heap_put_back(&t->heap, &e);
	t->full = true; /* those that are aside go on when they are ready */
	return false;
}

static void
deliver_due(struct timer *t)
{
	int64_t now = clock_wall_ms();

	t->flights = 0;
	t->bytes_left = DELIVER_BYTES;
	t->full = false;
	t->last_run_ms = clock_mono_ms();
	if (!deliver_ready(t))
		return;
	for (int n = 0; n < DELIVER_STEP * 4 && may_go_on(t); n++)
		if (!deliver_next(t, now))
			return;
	t->breathe_until_ms = clock_mono_ms() + BREATH_MS;
}

/* ---- reading the queue */

static void
reading_is_warm(void *arg, int error)
{
	struct timer *t = arg;

	if (error == ECANCELED)
		return;
	t->reading_cold = false;
	t->reading_warmed = error == 0;
	if (error != 0) /* the next second tries again */
		log_warn("the timer queue's messages could not be read: %s", strerror(error));
	else
		t->wanted = true;
}

/* True: reading goes on when warm has read it. */
static bool
reading_waits(struct timer *t, int64_t physical, int32_t size)
{
	int64_t at, len;
	enum rc rc;

	if (t->reading_warmed || !store_record_is_cold(t->b->store, physical, size, &at, &len))
		return false;
	rc = cold_wait(t->b->cold, at, len, reading_is_warm, t);
	t->reading_cold = rc == RC_OK;
	return rc == RC_OK || rc == RC_FULL; /* full: in a second again */
}

static void
add(struct timer *t, const struct message *record, int64_t physical)
{
	struct timer_entry e = {.at = t->next, .physical = physical, .size = (int32_t)record->size};
	struct timer_msg tm;

	if (!timer_msg_read(record, &tm)) {
		t->left_out++;
		return;
	}
	if (UNLIKELY(tm.rolled && tm.uniq_key.n > 0))
		note_put_off(t, &tm);
	e.due_ms = tm.due_ms;
	if (tm.recalls.n > 0)
		e.due_ms = tm.out_ms + TIMER_OUT_SPREAD_MS + 1;
	if (timer_mark_delivered(t->mark, t->next, e.due_ms, tm.out_ms)) {
		note_done(t, &e);
		return;
	}
	if (tm.recalls.n > 0) {
		e.recalled = recalls_add(&t->recalls, tm.recalls, false);
	} else {
		e.topic = timer_topic_number(t, tm.real_topic);
		timer_topic_count(t, e.topic, 1);
	}
	timer_heap_add(&t->heap, &e);
	t->read++;
}

/* One message. False: nothing more, or it waits. */
static bool
read_next(struct timer *t, struct store_queue *q)
{
	int64_t physical, tags_code;
	struct slice record;
	struct message m;
	int32_t size;

	if (t->next >= queue_max(q))
		return false;
	if (store_unit_at(t->b->store, q, t->next, &physical, &size, &tags_code) != RC_OK) {
		if (t->next >= queue_min(q))
			return false;
		t->next = queue_min(q);
		return true;
	}
	if (reading_waits(t, physical, size))
		return false;
	if (store_record_at(t->b->store, physical, &record) != RC_OK ||
	    message_decode(&m, record.p, record.n, false) != RC_OK)
		t->left_out++;
	else
		add(t, &m, physical);
	t->reading_warmed = false;
	t->next++;
	return true;
}

/* Nothing is known to be missing: the queue is built up to the log's end of the start, and was read. */
static void
look_if_ready(struct timer *t, struct store_queue *q)
{
	if (t->ready || pos_read(&t->b->w->shm->broker.dispatched) < t->start_end)
		return;
	if (q != NULL && t->next < queue_max(q))
		return;
	if (t->next > (q != NULL ? queue_max(q) : 0)) {
		log_warn("the timer queue was read up to %lld before, but it ends at %lld: it goes on from there",
			 (long long)t->next, (long long)(q != NULL ? queue_max(q) : 0));
		t->next = q != NULL ? queue_max(q) : 0;
	}
	timer_mark_settle(t->mark);
	t->ready = true;
	if (t->heap.count > 0)
		log_info("%zu timer messages wait to be delivered", t->heap.count);
}

static void
read_queue(struct timer *t)
{
	struct store_queue *q = store_queue_find(t->b->store, SLICE_LIT(TIMER_TOPIC), 0);
	int n = 0;

	if (t->reading_cold)
		return;
	while (q != NULL && n < READ_STEP && read_next(t, q))
		n++;
	if (n == READ_STEP)
		t->wanted = true;
	look_if_ready(t, q);
}

/* ---- when */

static void
arm(struct timer *t)
{
	const struct timer_entry *top = timer_heap_top(&t->heap);
	int64_t wait, gap = (t->breathe_until_ms > t->last_run_ms ? t->breathe_until_ms : t->last_run_ms + GAP_MS) - clock_mono_ms();

	ev_timer_stop(t->b->w->loop, &t->timer);
	if (!t->ready || t->full || top == NULL)
		return;
	/* What is more than a second away is found by the second. */
	wait = MAX_OF(MIN_OF(top->due_ms - clock_wall_ms(), 2000), MAX_OF(gap, 0));
	ev_now_update(t->b->w->loop);
	ev_timer_set(&t->timer, (double)wait / 1000, 0.);
	ev_timer_start(t->b->w->loop, &t->timer);
}

static void
timer_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct timer *t = timer->data;

	(void)loop, (void)events;
	t->wanted = true;
}

void
timer_arrived(struct timer *t)
{
	t->wanted = true;
}

static bool
may_run(const struct timer *t)
{
	const struct broker *b = t->b;

	return b->conf->timerWheelEnable && broker_is_master(b) && !b->stopping && !b->failed && t->open == 0;
}

static bool
may_deliver(const struct timer *t)
{
	return t->ready && !t->b->conf->timerStopDequeue && store_refusal(t->b->store) == NULL && clock_mono_ms() >= t->pause_until_ms;
}

bool
timer_turn(struct timer *t)
{
	if (LIKELY(!t->wanted))
		return false;
	t->wanted = false;
	if (!may_run(t))
		return false;
	if (!t->scanned) {
		t->scanned = !timer_mark_scan(t->mark, SCAN_STEP);
		t->wanted = true;
		return true;
	}
	if (LIKELY(!t->b->conf->timerStopEnqueue))
		read_queue(t);
	if (may_deliver(t) && clock_mono_ms() >= t->breathe_until_ms)
		deliver_due(t);
	if (!t->wanted && may_deliver(t)) /* else the second looks again */
		arm(t);
	return t->wanted;
}

bool
timer_wanted(const struct timer *t)
{
	return t->wanted;
}

/* ---- how far it is */

/* False: something in the heap was due before what was delivered, and no place can say so. */
static bool
take_place(struct timer *t, struct timer_place *p)
{
	const struct timer_entry *top = timer_heap_top(&t->heap);

	if (!t->ready || t->open > 0 || (top != NULL && !timer_before(t->done_ms, t->done_at, top->due_ms, top->at)))
		return false;
	*p = (struct timer_place){
	    .read_to = t->next, .low = timer_heap_low(&t->heap, t->next), .done_ms = t->done_ms, .done_at = t->done_at};
	for (unsigned i = 0; i < TIMER_ASIDE_MAX; i++)
		if (t->aside[i].state != ASIDE_FREE)
			p->except[p->excepted++] = t->aside[i].entry.at;
	return true;
}

static void
say_left_out(struct timer *t)
{
	if (t->left_out == t->left_out_said)
		return;
	log_warn(
	    "%llu timer messages cannot be delivered: their records are gone, or do not say when and where they belong",
	    (unsigned long long)(t->left_out - t->left_out_said));
	t->left_out_said = t->left_out;
}

void
timer_second(struct timer *t)
{
	struct timer_place p;

	t->wanted = true;
	if (timer_mark_second(t->mark) && take_place(t, &p))
		timer_mark_take(t->mark, &p);
	if (!t->log_gone && timer_mark_on_disk(t->mark)) {
		timer_log_remove(t->b);
		t->log_gone = true;
	}
	say_left_out(t);
	timer_rates_second(t);
}

static bool
is_put_off(const struct timer *t, const struct timer_entry *e)
{
	struct slice record;
	struct timer_msg tm;
	struct message m;

	return t->rolled.count > 0 && e->topic > 0 && store_record_at(t->b->store, e->physical, &record) == RC_OK &&
	       message_decode(&m, record.p, record.n, false) == RC_OK && timer_msg_read(&m, &tm) && was_put_off(t, &tm);
}

/* Copies of all entries that are to be delivered, in the heap and aside. */
static struct timer_entry *
all_waiting(struct timer *t, size_t *count)
{
	struct timer_entry *v = xcalloc(t->heap.count + TIMER_ASIDE_MAX, sizeof(v[0]));

	*count = 0;
	for (size_t i = 0; i < t->heap.count; i++)
		if (!is_put_off(t, &t->heap.v[i]))
			v[(*count)++] = t->heap.v[i];
	for (unsigned i = 0; i < TIMER_ASIDE_MAX; i++)
		if (t->aside[i].state != ASIDE_FREE)
			v[(*count)++] = t->aside[i].entry;
	return v;
}

void
timer_leave(struct timer *t)
{
	struct timer_place p;
	struct timer_entry *v;
	struct err e;
	size_t count;

	if (!broker_is_master(t->b) || !take_place(t, &p) || p.read_to == 0)
		return;
	v = all_waiting(t, &count);
	t->left = timer_log_leave(t, v, count, p.read_to, &t->left_ms, &e) == RC_OK;
	if (!t->left)
		log_warn("no timer log is left for the original, which would deliver timer messages of the queue's offsets "
			 "%lld to %lld again: %s",
			 (long long)p.low, (long long)p.read_to, e.text);
	free(v);
}

enum rc
timer_save(struct timer *t, struct err *e)
{
	struct timer_place p;

	if (!broker_is_master(t->b) || !take_place(t, &p))
		return RC_OK; /* the file and the log's tail say it */
	p.left = t->left;
	p.read_ms = t->left_ms;
	return timer_mark_save(t->mark, &p, e);
}

/* ---- life */

struct timer *
timer_new(struct broker *b)
{
	struct timer *t = xcalloc(1, sizeof *t);

	t->b = b;
	t->mark = timer_mark_new(b);
	t->flight = xcalloc(DELIVER_STEP, sizeof(t->flight[0]));
	t->wanted = true;
	ev_init(&t->timer, timer_over);
	t->timer.data = t;
	return t;
}

static void
begin(struct timer *t)
{
	const struct timer_place *p = timer_mark_place(t->mark);

	t->next = p->low;
	t->done_ms = p->done_ms;
	t->done_at = p->done_at;
	t->start_end = pos_read(&t->b->w->shm->broker.appended);
}

enum rc
timer_load(struct timer *t, struct err *e)
{
	enum rc rc = timer_mark_load(t->mark, e);

	begin(t);
	return rc;
}

void
timer_follow(struct timer *t, struct slice page)
{
	if (!broker_is_master(t->b) && !timer_mark_follow(t->mark, page))
		log_warn("the master's progress of timer messages cannot be read");
}

void
timer_put_page(const struct timer *t, struct buf *out)
{
	timer_mark_put_page(t->mark, out);
}

void
timer_promote(struct timer *t)
{
	if (t->scanned)
		return;
	timer_mark_begin(t->mark);
	begin(t);
	t->wanted = true;
}

void
timer_free(struct timer **tp)
{
	struct timer *t = *tp;

	if (t == NULL)
		return;
	ev_timer_stop(t->b->w->loop, &t->timer);
	timer_mark_free(&t->mark);
	timer_heap_free(&t->heap);
	recalls_free(&t->recalls);
	recalls_free(&t->rolled);
	timer_topics_free(t);
	buf_free(&t->text);
	free(t->flight);
	free(t);
	*tp = NULL;
}

struct recalls *
timer_recalls(struct timer *t)
{
	return &t->recalls;
}

int64_t
timer_done_ms(const struct timer *t)
{
	return t->done_ms;
}
