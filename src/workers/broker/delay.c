/*
 * delay: the job that delivers delayed messages when they are due.
 *
 * Runs in:    the broker process of a master, in the turn's end, at most DELIVER_STEP messages a turn.
 * Owns:       how far each level has been delivered.
 * Must not:   move on before the copy is in the log; read from the disk (warm does); deliver before the log's tail was
 *             looked through for copies that a killed broker has left (delay_mark.h).
 * If it dies: nothing is lost and nothing comes twice: see delay_mark.h.
 *
 * A level's queue is in the order of its due times, so only its next message has to be looked at. One timer runs to the earliest of
 * them; once a second all are looked at again, for the clock may have been set.
 */
#include "workers/broker/delay.h"

#include <errno.h>
#include <stdio.h>

#include "common/clock.h"
#include "workers/broker/answer.h"
#include "workers/broker/cold.h"
#include "workers/broker/delay_mark.h"
#include "workers/broker/sends.h"
#include "workers/broker/txn.h"

#define DELIVER_STEP  256	  /* messages of one turn, about half a millisecond: a send waits for one or two such turns */
#define DELIVER_BYTES (1 << 20)	  /* of one turn: far below the turn's buffer, so one commit has them all */
#define SCAN_STEP     8192	  /* records of one turn */
#define GAP_MS	      2		  /* between deliveries: those that fall due close together share a commit */
#define BREATH_MS     1		  /* behind a full turn: however many are due, most of the time is left to clients */
#define PAUSE_MS      1000	  /* after the log did not take a message */
#define NEVER	      INT64_MAX
#define HALF_TOPIC    "RMQ_SYS_TRANS_HALF_TOPIC"

struct level {
	struct delay	*delay;
	int		 number;
	struct store_queue *q;	/* during a run */
	int64_t		 next;	/* queue offset of what is to be staged next */
	int64_t		 due_ms; /* of that; NEVER: there is none, or it is not known */
	unsigned	 open;	/* staged, not told yet */
	bool		 refused; /* one of those was: all behind it are staged again */
	bool		 cold;	/* waits for warm */
	bool		 warmed; /* was just read by it */
	uint64_t	 delivered, left_out;
};

struct delay {
	struct broker	*b;
	struct delay_mark *mark;
	int64_t		 done[DELAY_LEVELS + 1];
	struct level	 level[DELAY_LEVELS + 1];
	int		 count, first;	/* levels; the one to begin with */
	bool		 scanned;
	bool		 wanted;	/* there may be something to do in this turn */
	int64_t		 last_run_ms, pause_until_ms, breathe_until_ms; /* of the steady clock */
	int64_t		 armed_ms;	/* wall clock; NEVER: the timer is off */
	ev_timer	 timer;
	int		 messages_left, bytes_left; /* in this turn */
	uint64_t	 left_out_said;
};

/* ---- levels */

int
delay_levels(const struct delay *d)
{
	return d->count;
}

/* The original does not start with a level that it cannot read: leaving one out would change the numbers of the others. */
static enum rc
count_levels(struct delay *d, struct err *e)
{
	struct slice rest = slice_of(d->b->conf->messageDelayLevel), word;
	int words = 0;

	while (str_next(&rest, ' ', &word))
		words += word.n > 0;
	d->count = store_delay_levels(d->b->store);
	if (words == d->count && words > 0 && words <= DELAY_LEVELS)
		return RC_OK;
	err_set(e, "messageDelayLevel \"%s\" cannot be read: it is a list of 1 to %d times such as 10s, 5m, 2h or 1d",
	    d->b->conf->messageDelayLevel, DELAY_LEVELS);
	return RC_INVAL;
}

static void
begin_levels(struct delay *d)
{
	d->scanned = true;
	for (int i = 1; i <= d->count; i++)
		d->level[i] = (struct level){.delay = d, .number = i, .next = d->done[i], .due_ms = NEVER};
}

/* ---- what a delayed message looks like */

static bool
is_of_delay(struct slice name)
{
	return slice_is(name, "DELAY") || slice_is(name, "REAL_TOPIC") || slice_is(name, "REAL_QID") ||
	       slice_is(name, "TIMER_DELAY_SEC") || slice_is(name, "TIMER_DELAY_MS") || slice_is(name, "TIMER_DELIVER_MS");
}

static void
put_i32(struct buf *out, const char *name, int32_t value)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", value);
	props_put(out, name, slice_of(text));
}

void
delay_wrap(const struct delay *d, struct message *m, int32_t level, struct slice real_topic, int32_t real_queue, struct slice props,
    struct buf *out)
{
	struct slice name, value;

	level = MIN_OF(level, d->count);
	while (props_next(&props, &name, &value)) {
		if (is_of_delay(name))
			continue;
		buf_put_slice(out, name);
		buf_put_char(out, 1);
		buf_put_slice(out, value);
		buf_put_char(out, 2);
	}
	put_i32(out, "DELAY", level);
	props_put(out, "REAL_TOPIC", real_topic);
	put_i32(out, "REAL_QID", real_queue);
	m->topic = SLICE_LIT(SCHEDULE_TOPIC);
	m->queue_id = level - 1;
}

/* The unit's record, and not what happens to stand where a blank unit of the original points. */
static bool
is_record_of(const struct level *l, struct slice record, int32_t size, struct message *m)
{
	return record.n == (size_t)size && message_decode(m, record.p, record.n, false) == RC_OK &&
	       slice_is(m->topic, SCHEDULE_TOPIC) && m->queue_id == l->number - 1;
}

/* Where it is to go. False: its record does not say so, or says what cannot be. */
static bool
real_place(const struct message *from, struct slice *topic, int32_t *queue_id)
{
	struct slice props = from->props[0];

	*topic = props_get(props, "REAL_TOPIC");
	return topic->n > 0 && topic->n <= MSG_TOPIC_MAX_V2 && topic_name_alphabet(*topic) && !slice_is(*topic, SCHEDULE_TOPIC) &&
	       !slice_is(*topic, HALF_TOPIC) && str_i32(props_get(props, "REAL_QID"), queue_id) == RC_OK && *queue_id >= 0;
}

/* ---- delivering */

static void
pause_all(struct delay *d)
{
	d->pause_until_ms = clock_mono_ms() + PAUSE_MS;
}

/* The copy is in the log, or was refused. Within a level they are told in their order. */
static void
told(void *arg, int64_t offset, const struct appended *a)
{
	struct level *l = arg;
	struct delay *d = l->delay;

	l->open--;
	if (!append_is_stored(a->code))
		l->refused = true;
	else if (!l->refused) {
		d->done[l->number] = offset + 1;
		l->delivered++;
	}
	if (l->open > 0)
		return;
	if (l->refused) {
		l->next = d->done[l->number];
		pause_all(d);
	} else {
		d->done[l->number] = l->next; /* what was left out behind it counts as done */
	}
	l->refused = false;
}

static void
go_on(struct level *l, int64_t next)
{
	l->next = next;
	l->warmed = false;
	if (l->open == 0)
		l->delay->done[l->number] = next;
}

/* Its record is gone, or nobody can say where it belongs. */
static bool
leave_out(struct level *l)
{
	l->left_out++;
	go_on(l, l->next + 1);
	return true;
}

/* False: the log does not take it now. The copy keeps the text of the properties, as the original's does. */
static bool
deliver(struct level *l, const struct message *from)
{
	struct delay *d = l->delay;
	struct append_to to = {.done = told, .arg = l, .tag = l->next, .no_wait = true};
	struct message m;
	struct slice topic;
	int32_t queue_id;
	enum rc rc;

	if (!real_place(from, &topic, &queue_id))
		return leave_out(l);
	append_copy(d->b, from, &m);
	m.topic = topic;
	m.queue_id = queue_id;
	m.props[0] = from->props[0];
	m.prepared_offset = delay_mark_of(l->number, l->next);
	rc = append_message(d->b, &m, &to);
	if (rc == RC_LIMIT)
		return leave_out(l);
	if (rc != RC_OK) {
		pause_all(d);
		return false;
	}
	l->open++;
	d->messages_left--;
	d->bytes_left -= (int)from->size;
	go_on(l, l->next + 1);
	return true;
}

static void
is_warm(void *arg, int error)
{
	struct level *l = arg;

	if (error == ECANCELED)
		return;
	l->cold = false;
	l->warmed = error == 0;
	if (error == 0)
		l->delay->wanted = true;
	else /* the next second tries again */
		log_warn("a message of delay level %d could not be read: %s", l->number, strerror(error));
}

/* True: the level goes on when warm has read it. */
static bool
wait_for_warm(struct level *l, int64_t physical, int32_t size)
{
	int64_t at, len;
	enum rc rc;

	if (l->warmed || !store_record_is_cold(l->delay->b->store, physical, size, &at, &len))
		return false;
	rc = cold_wait(l->delay->b->cold, at, len, is_warm, l);
	l->cold = rc == RC_OK;
	return l->cold || rc == RC_FULL; /* full: in a second again; no warm at all: slow is better than never */
}

/* Nothing is further away than the level's own time; if it is, the clock was set back: then it is due, as in the original. */
static int64_t
due_of(const struct level *l, int64_t due_ms, int64_t now)
{
	return due_ms > now + store_delay_ms(l->delay->b->store, l->number) ? now : due_ms;
}

/* The file knows more than the queue: right only while the queue is behind the log. */
static void
check_end(struct level *l)
{
	const struct shm_line_broker *line = &l->delay->b->w->shm->broker;
	int64_t max = l->q != NULL ? queue_max(l->q) : 0;

	if (l->next <= max || l->open > 0 || pos_read(&line->dispatched) < pos_read(&line->appended))
		return;
	log_warn("delay level %d was delivered up to %lld, but its queue ends at %lld: it goes on from there", l->number,
	    (long long)l->next, (long long)max);
	go_on(l, max);
}

/* One message. False: the level has nothing more for now. */
static bool
deliver_next(struct level *l, int64_t now)
{
	struct store *s = l->delay->b->store;
	int64_t physical, due;
	struct slice record;
	struct message from;
	int32_t size;

	if (l->q == NULL || l->next >= queue_max(l->q)) {
		check_end(l);
		return false;
	}
	if (store_unit_at(s, l->q, l->next, &physical, &size, &due) != RC_OK) {
		if (l->next >= queue_min(l->q))
			return false;
		go_on(l, queue_min(l->q));
		return true;
	}
	due = due_of(l, due, now);
	if (due > now) {
		l->due_ms = due;
		return false;
	}
	if (wait_for_warm(l, physical, size))
		return false;
	if (store_record_at(s, physical, &record) != RC_OK || !is_record_of(l, record, size, &from))
		return leave_out(l);
	return deliver(l, &from);
}

static void
run_level(struct level *l, int64_t now)
{
	struct delay *d = l->delay;

	l->due_ms = NEVER;
	if (l->cold)
		return;
	l->q = store_queue_find(d->b->store, SLICE_LIT(SCHEDULE_TOPIC), l->number - 1);
	while (d->messages_left > 0 && d->bytes_left > 0)
		if (!deliver_next(l, now))
			return;
}

/* ---- when */

static void
arm(struct delay *d, int64_t due_ms)
{
	int64_t now = clock_wall_ms(), wait = due_ms - now;
	int64_t gap = (d->breathe_until_ms > d->last_run_ms ? d->breathe_until_ms : d->last_run_ms + GAP_MS) - clock_mono_ms();

	d->armed_ms = due_ms;
	ev_timer_stop(d->b->w->loop, &d->timer);
	if (due_ms == NEVER)
		return;
	/* What is more than a second away is found by the second. */
	wait = MAX_OF(MIN_OF(wait, 2000), MAX_OF(gap, 0));
	ev_now_update(d->b->w->loop);
	ev_timer_set(&d->timer, (double)wait / 1000, 0.);
	ev_timer_start(d->b->w->loop, &d->timer);
}

static void
arm_for_next(struct delay *d)
{
	int64_t due = NEVER;

	for (int i = 1; i <= d->count; i++)
		due = MIN_OF(due, d->level[i].due_ms);
	arm(d, due);
}

static void
timer_over(struct ev_loop *loop, ev_timer *t, int events)
{
	struct delay *d = t->data;

	(void)loop, (void)events;
	d->armed_ms = NEVER;
	d->wanted = true;
}

void
delay_arrived(struct delay *d, struct store_queue *q, int64_t tags_code)
{
	int level = queue_id(q) + 1;

	if (!d->scanned || level > d->count || d->level[level].due_ms <= tags_code)
		return;
	d->level[level].due_ms = tags_code;
	if (tags_code < d->armed_ms)
		arm(d, tags_code);
}

static bool
may_deliver(const struct delay *d)
{
	const struct broker *b = d->b;

	return broker_is_master(b) && !b->stopping && !b->failed && store_refusal(b->store) == NULL &&
	       clock_mono_ms() >= d->pause_until_ms;
}

static bool
run_all(struct delay *d)
{
	int64_t now = clock_wall_ms();

	d->messages_left = DELIVER_STEP;
	d->bytes_left = DELIVER_BYTES;
	d->last_run_ms = clock_mono_ms();
	d->first = d->first % d->count + 1; /* a busy level must not keep the others waiting */
	for (int i = 0; i < d->count; i++)
		run_level(&d->level[(d->first - 1 + i) % d->count + 1], now);
	return d->messages_left <= 0 || d->bytes_left <= 0;
}

bool
delay_turn(struct delay *d)
{
	if (LIKELY(!d->wanted))
		return false;
	d->wanted = false;
	if (!may_deliver(d))
		return false;
	if (!d->scanned) {
		d->wanted = true;
		if (!delay_mark_scan(d->mark, SCAN_STEP))
			begin_levels(d);
		return true;
	}
	if (clock_mono_ms() < d->breathe_until_ms) {
		arm(d, clock_wall_ms());
		return false;
	}
	sends_commit(d->b->sends); /* so the buffer has room: what this turn delivers is in the log as a whole, or not at all */
	if (run_all(d)) {
		d->breathe_until_ms = clock_mono_ms() + BREATH_MS;
		arm(d, clock_wall_ms());
	} else {
		arm_for_next(d);
	}
	return false;
}

void
delay_second(struct delay *d)
{
	uint64_t left_out = 0;

	d->wanted = true;
	if (txn_knows(d->b->txn)) /* it reads the log's tail from the place that the file names */
		delay_mark_second(d->mark);
	for (int i = 1; i <= d->count; i++)
		left_out += d->level[i].left_out;
	if (left_out == d->left_out_said)
		return;
	log_warn("%llu delayed messages cannot be delivered: their records are gone, or do not say where they belong",
	    (unsigned long long)(left_out - d->left_out_said));
	d->left_out_said = left_out;
}

/* ---- life */

struct delay *
delay_new(struct broker *b)
{
	struct delay *d = xcalloc(1, sizeof *d);

	d->b = b;
	d->mark = delay_mark_new(b, d->done);
	d->armed_ms = NEVER;
	d->wanted = true;
	ev_init(&d->timer, timer_over);
	d->timer.data = d;
	return d;
}

enum rc
delay_load(struct delay *d, struct err *e)
{
	enum rc rc = count_levels(d, e);

	return rc == RC_OK ? delay_mark_load(d->mark, e) : rc;
}

void
delay_free(struct delay **dp)
{
	if (*dp == NULL)
		return;
	ev_timer_stop((*dp)->b->w->loop, &(*dp)->timer);
	delay_mark_free(&(*dp)->mark);
	free(*dp);
	*dp = NULL;
}

enum rc
delay_save(struct delay *d, struct err *e)
{
	return broker_is_master(d->b) ? delay_mark_save(d->mark, e) : delay_mark_keep(d->mark, e);
}

void
delay_follow(struct delay *d, const json_t *said)
{
	if (!broker_is_master(d->b) && !delay_mark_follow(d->mark, said))
		log_warn("the master's progress of delayed messages cannot be read");
}

void
delay_promote(struct delay *d)
{
	if (d->scanned)
		return;
	delay_mark_begin(d->mark);
	d->wanted = true;
}

int64_t
delay_saved_end(const struct delay *d)
{
	return delay_mark_saved_end(d->mark);
}

/* ---- facts */

void
delay_put_offsets(struct delay *d, struct buf *out)
{
	delay_mark_put_json(d->mark, out);
}

void
delay_state(const struct delay *d, int level, struct delay_state *s)
{
	struct store_queue *q = store_queue_find(d->b->store, SLICE_LIT(SCHEDULE_TOPIC), level - 1);
	int64_t physical;
	int32_t size;

	*s = (struct delay_state){.delay_ms = store_delay_ms(d->b->store, level), .delivered_to = d->done[level],
	    .queue_max = q != NULL ? queue_max(q) : 0, .next_due_ms = -1, .delivered = d->level[level].delivered};
	if (q != NULL && s->delivered_to < s->queue_max &&
	    store_unit_at(d->b->store, q, s->delivered_to, &physical, &size, &s->next_due_ms) != RC_OK)
		s->next_due_ms = -1;
}

void
req_delay_offsets(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	delay_put_offsets(b->delay, &body);
	answer_buf(c, &id, &body);
}
