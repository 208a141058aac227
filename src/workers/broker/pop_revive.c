/*
 * pop_revive: messages whose invisible time is over go to the group's retry topic, from which they are popped again.
 *
 * Runs in:    the broker process of a master, in the turn's end, a bounded step a turn.
 * Must not:   read from the disk (warm does); let the mark "it is revived" reach the log without the copy.
 * If it dies: each copy stands before its mark, in one write of the log. A write that was cut between the two is found
 * at the start: the copy names the message that it is of, and what stands at the end of the retry topic is not revived
 * again.
 */
#include <errno.h>

#include "common/clock.h"
#include "common/fault.h"
#include "workers/broker/append.h"
#include "workers/broker/cold.h"
#include "workers/broker/offsets.h"
#include "workers/broker/pop_int.h"
#include "workers/broker/sends.h"
#include "workers/broker/timer.h"

#include <stdio.h>

#define CKS_STEP    256        /* checkpoints of one turn */
#define BYTES_STEP  (4 << 20)  /* of copies, of one turn */
#define RECORD_REST 1024       /* of an ack's record: all but the names in it */
#define AGAIN_MS    100        /* later, when an ack of it is on its way */
#define FOREIGN_MS  500        /* later, when the timer is behind: it may have an ack */
#define TAIL_BYTES  (64 << 20) /* at the log's end: no write is larger */
#define TRIES_MAX   3          /* of warm for one checkpoint */

struct revival { /* one checkpoint on its way */
	struct pop *pop;
	struct pop_ck *ck;
	uint32_t done;    /* bits */
	unsigned open;    /* copies that are not told; one more while it is gone through */
	int64_t again_ms; /* for what is left; 0: nothing is */
	bool cold;        /* warm reads: the rest comes then */
};

enum step { STEP_NEXT, STEP_STOP };

static void
close_one(struct revival *r)
{
	struct pop *p = r->pop;

	if (--r->open > 0)
		return;
	pop_state_revived(p->state, r->ck, r->done, r->again_ms > 0 ? r->again_ms : clock_wall_ms() + AGAIN_MS);
	p->wanted = true;
	free(r);
}

static void
pause_all(struct revival *r)
{
	r->pop->revive_pause_ms = clock_mono_ms() + POP_PAUSE_MS;
	r->again_ms = clock_wall_ms() + POP_PAUSE_MS;
}

/* ---- one message */

static void
copy_told(void *arg, int64_t bit, const struct appended *a)
{
	struct revival *r = arg;

	fault_hit(FAULT_POP_AFTER_REVIVE);
	if (append_is_stored(a->code)) {
		r->done |= UINT32_C(1) << bit;
		count_add(&r->pop->b->w->shm->counters.pop_revived, 1);
	} else {
		pause_all(r);
	}
	close_one(r);
}

static void
mark_told(void *arg, int64_t revive_queue, const struct appended *a)
{
	pop_log_told(arg, (int32_t)revive_queue, a);
}

/* In the log it is an ack: the original reads it too. */
static void
put_mark(struct revival *r, int64_t offset)
{
	const struct pop_ck *ck = r->ck;
	struct pop_record_ack a = {.topic = ck->q->sub->topic,
				   .group = ck->q->sub->group,
				   .queue_id = ck->q->id,
				   .start = ck->start,
				   .pop_ms = ck->pop_ms,
				   .count = 1,
				   .offset = {offset}};
	struct append_to to = {.done = mark_told, .arg = r->pop, .tag = ck->revive_queue, .no_wait = true};

	if (pop_log_put_acks(r->pop, &a, ck->revive_queue, -1, &to) != RC_OK)
		log_warn(
		    "a message of %.*s was revived, but that is not in the log: after a crash it would come once more",
		    (int)ck->q->sub->topic.n, ck->q->sub->topic.p);
}

/* It cannot come again: say so, and let it go. */
static void
leave_out(struct revival *r, unsigned i, const char *why)
{
	const struct pop_ck *ck = r->ck;

	r->pop->left_out++;
	log_warn("a popped message is left out: topic %.*s, queue %d, offset %lld, group %.*s: %s",
		 (int)ck->q->sub->topic.n, ck->q->sub->topic.p, ck->q->id, (long long)(ck->start + ck->diff[i]),
		 (int)ck->q->sub->group.n, ck->q->sub->group.p, why);
	put_mark(r, ck->start + ck->diff[i]);
	r->done |= UINT32_C(1) << i;
}

static bool
retry_topic(const struct pop *p, const struct pop_sub *sub, struct pop_name *name)
{
	if (pop_flag_of(sub->topic) == POP_NORMAL)
		return pop_retry_name(sub->group, sub->topic,
				      p->b->conf->enableRetryTopicV2 ? POP_RETRY_V2 : POP_RETRY_V1, name);
	memcpy(name->text, sub->topic.p, sub->topic.n);
	name->text[sub->topic.n] = '\0';
	return true;
}

/* NULL: there is none and it cannot be. */
static struct topic *
ensure_retry_topic(struct pop *p, const struct pop_sub *sub, struct pop_name *name)
{
	struct pop_queue *q;
	struct topic *t;

	if (topic_find(p->b->topics, pop_normal_topic(sub->topic, sub->group)) == NULL || !retry_topic(p, sub, name))
		return NULL;
	t = topic_ensure(p->b->topics, slice_of(name->text), 1, PERM_READ | PERM_WRITE, 0);
	q = t != NULL ? pop_state_queue(p->state, t->name_slice, sub->group, 0) : NULL;
	if (q == NULL)
		return NULL;
	pop_log_follow_offset(p, q);
	if (q->next < 0)
		pop_log_set_first(p, q, 0);
	return t;
}

static enum rc
append_copy_of(struct revival *r, unsigned i, const struct message *from, const struct topic *to_topic,
	       int64_t physical)
{
	struct append_to to = {.done = copy_told, .arg = r, .tag = i, .no_wait = true};
	struct buf *text = &r->pop->text;
	struct message m;
	char ms[24];
	enum rc rc;

	append_copy(r->pop->b, from, &m);
	m.born_host = r->pop->b->store_host;
	m.sysflag &= ~(MSG_SYS_BORN_V6 | MSG_SYS_STORE_V6);
	m.reconsume_times++;
	m.topic = to_topic->name_slice;
	m.queue_id = 0;
	m.prepared_offset = pop_mark_of_copy(physical);
	m.props[0] = from->props[0];
	text->len = 0;
	if (from->reconsume_times == 0 || props_get(from->props[0], "1ST_POP_TIME").n == 0) {
		if (m.props[0].n > 0 && m.props[0].p[m.props[0].n - 1] != 2)
			buf_put_char(text, 2);
		snprintf(ms, sizeof(ms), "%lld", (long long)r->ck->pop_ms);
		props_put(text, "1ST_POP_TIME", slice_of(ms));
	}
	m.props[1] = buf_slice(text);
	rc = append_message(r->pop->b, &m, &to);
	if (rc != RC_LIMIT || text->len == 0)
		return rc;
	m.props[1] = SLICE_NONE; /* no room for it */
	return append_message(r->pop->b, &m, &to);
}

/* ---- after a crash */

struct copies { /* what the last bytes of a retry topic are copies of */
	struct copies *next;
	char *topic;
	size_t count;
	int64_t *of; /* places of messages in the log, ascending */
};

static int
compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
add_copy(struct copies *c, int64_t of)
{
	if ((c->count & (c->count - 1)) == 0)
		c->of = xrealloc(c->of, MAX_OF(c->count * 2, (size_t)1) * sizeof(c->of[0]));
	c->of[c->count++] = of;
}

static void
find_copies(const struct pop *p, struct copies *c)
{
	struct store_queue *q = store_queue_find(p->b->store, slice_of(c->topic), 0);
	int64_t at, code, of, floor = pop_log_start_end(p) - TAIL_BYTES;
	struct slice record;
	struct message m;
	int32_t size;

	for (int64_t offset = q != NULL ? queue_max(q) : 0; offset-- > 0;) {
		if (store_unit_at(p->b->store, q, offset, &at, &size, &code) != RC_OK || at < floor)
			break;
		if (store_record_at(p->b->store, at, &record) == RC_OK &&
		    message_decode(&m, record.p, record.n, false) == RC_OK &&
		    pop_mark_read_copy(m.prepared_offset, &of))
			add_copy(c, of);
	}
	if (c->count > 0)
		qsort(c->of, c->count, sizeof(c->of[0]), compare);
}

/* Was this message's copy written before the crash that left no mark of it? */
static bool
has_copy(struct pop *p, const struct topic *retry, int64_t physical)
{
	struct copies *c = p->copies;

	while (c != NULL && !slice_is(retry->name_slice, c->topic))
		c = c->next;
	if (c == NULL) {
		c = xcalloc(1, sizeof(*c));
		c->topic = xstrdup(retry->name);
		find_copies(p, c);
		c->next = p->copies;
		p->copies = c;
	}
	return c->count > 0 && bsearch(&physical, c->of, c->count, sizeof(c->of[0]), compare) != NULL;
}

void
pop_revive_free(struct pop *p)
{
	struct copies *c;

	while ((c = p->copies) != NULL) {
		p->copies = c->next;
		free(c->topic);
		free(c->of);
		free(c);
	}
}

/* ---- a checkpoint */

static void
is_warm(void *arg, int error)
{
	struct revival *r = arg;

	if (error == ECANCELED) { /* the broker ends */
		free(r);
		return;
	}
	if (error != 0)
		log_warn("a popped message that is to come again could not be read: %s", strerror(error));
	r->again_ms = clock_wall_ms() + (error != 0 ? POP_PAUSE_MS : 0);
	close_one(r);
}

/* True: warm reads it, or has no room. */
static bool
goes_cold(struct revival *r, int64_t physical, int32_t size)
{
	int64_t at, len;
	enum rc rc;

	if (r->ck->tries >= TRIES_MAX || !store_record_is_cold(r->pop->b->store, physical, size, &at, &len))
		return false;
	rc = cold_wait(r->pop->b->cold, at, len, is_warm, r);
	if (rc == RC_OK) {
		r->ck->tries++;
		r->open++;
	} else if (rc == RC_FULL) {
		r->again_ms = clock_wall_ms() + POP_PAUSE_MS;
	}
	return rc == RC_OK || rc == RC_FULL;
}

/* The copy and its mark go into one write: the mark alone would be a loss. */
static void
make_room(struct pop *p, const struct message *from, const struct pop_sub *sub)
{
	size_t need = from->size + RECORD_REST * 2 + sub->topic.n * 3 + sub->group.n * 3;

	if (sends_staged(p->b->sends) && !store_has_room(p->b->store, need))
		sends_commit(p->b->sends);
}

static enum step
revive_record(struct revival *r, unsigned i, const struct topic *retry, const struct message *from, int *bytes)
{
	enum rc rc;

	make_room(r->pop, from, r->ck->q->sub);
	fault_hit(FAULT_POP_BEFORE_REVIVE);
	rc = append_copy_of(r, i, from, retry, from->physical);
	if (rc == RC_LIMIT) {
		leave_out(r, i, "its copy would be larger than a message may be");
		return STEP_NEXT;
	}
	if (rc != RC_OK) {
		pause_all(r);
		return STEP_STOP;
	}
	r->open++;
	put_mark(r, r->ck->start + r->ck->diff[i]);
	*bytes -= (int)from->size;
	return STEP_NEXT;
}

static enum step
revive_message(struct revival *r, unsigned i, const struct topic *retry, int *bytes)
{
	const struct pop_ck *ck = r->ck;
	struct store *s = r->pop->b->store;
	struct store_queue *q = store_queue_find(s, ck->q->sub->topic, ck->q->id);
	int64_t physical, code;
	struct slice record;
	struct message from;
	int32_t size;

	if (q == NULL || store_unit_at(s, q, ck->start + ck->diff[i], &physical, &size, &code) != RC_OK) {
		leave_out(r, i, "it is not in the log any more");
		return STEP_NEXT;
	}
	if (goes_cold(r, physical, size))
		return STEP_STOP;
	if (store_record_at(s, physical, &record) != RC_OK ||
	    message_decode(&from, record.p, record.n, false) != RC_OK) {
		leave_out(r, i, "its record is not in the log any more");
		return STEP_NEXT;
	}
	if (UNLIKELY(ck->from_log) && has_copy(r->pop, retry, physical)) {
		put_mark(r, ck->start + ck->diff[i]);
		r->done |= UINT32_C(1) << i;
		return STEP_NEXT;
	}
	return revive_record(r, i, retry, &from, bytes);
}

static void
revive(struct pop *p, struct pop_ck *ck, int *bytes)
{
	struct revival *r = xcalloc(1, sizeof(*r));
	uint32_t left = pop_ck_all(ck) & ~(ck->acked | ck->acking);
	const struct topic *retry;
	struct pop_name name;

	*r = (struct revival){.pop = p, .ck = ck, .open = 1};
	retry = ensure_retry_topic(p, ck->q->sub, &name);
	for (unsigned i = 0; i < ck->count; i++) {
		if (!(left >> i & 1))
			continue;
		if (retry == NULL)
			leave_out(r, i, "the topic is gone");
		else if (revive_message(r, i, retry, bytes) == STEP_STOP)
			break;
	}
	close_one(r);
}

/* Acks of it may still be in the timer queue. */
static bool
must_wait_for_timer(const struct pop *p, const struct pop_ck *ck)
{
	struct timer_state s;

	if (!ck->foreign)
		return false;
	timer_state(p->b->timer, &s);
	return !s.ready || s.unread > 0 || s.lag_ms > 0;
}

bool
pop_revive_turn(struct pop *p)
{
	int64_t now = clock_wall_ms();
	int bytes = BYTES_STEP;
	struct pop_ck *ck;

	if (store_refusal(p->b->store) != NULL || p->b->failed || p->b->stopping ||
	    clock_mono_ms() < p->revive_pause_ms)
		return false;
	for (int n = 0; n < CKS_STEP && bytes > 0; n++) {
		ck = pop_state_take_due(p->state, now);
		if (ck == NULL)
			return false;
		if (UNLIKELY(must_wait_for_timer(p, ck)))
			pop_state_revived(p->state, ck, 0, now + FOREIGN_MS);
		else
			revive(p, ck, &bytes);
	}
	return true;
}
