/*
 * The state machine of pop consumption against a model: hundreds of thousands of random pops, acks, put-offs, ends of
 * invisible times and crashes that cut the log anywhere behind what was told. No message is lost, none is given out
 * while it is invisible. POP_SEED and POP_STEPS in the environment make other runs.
 */
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "t/unit/test.h"
#include "workers/broker/pop_state.h"

#define TOPIC SLICE_LIT("T")
#define GROUP SLICE_LIT("G")

#define QUEUES    4 /* the last is the retry topic's */
#define RETRY     (QUEUES - 1)
#define MSGS_MAX  60000
#define LOG_MAX   2000000
#define REVIVE_QS 2

enum where { WAITING, INVISIBLE, ACKED, COPIED };

struct msg { /* one place in one queue */
	enum where where;
	bool passes;           /* the filter */
	bool given;            /* to the consumer, who may ack it */
	bool unmarked;         /* copied, but a crash has taken the mark that says so */
	int64_t until;         /* invisible */
	int64_t start, pop_ms; /* its checkpoint */
	int32_t revive_queue;
};

struct rec { /* of the log */
	enum { REC_CK, REC_ACK, REC_COPY } kind;
	int queue;
	int64_t start, pop_ms, invisible_ms, offset, from_start, from_ms; /* offset: of an ack or a copy */
	int64_t taken_to;
	unsigned count;
	int64_t offsets[POP_BATCH_MAX];
	int32_t revive_queue;
	int64_t revive_offset;
	struct pop_ck *ck; /* to be told; the pointer is good until then */
};

static struct {
	struct msg *msg[QUEUES];
	int64_t max[QUEUES];
	struct rec *log;
	size_t n, staged; /* records; those behind n - staged are not told */
	int64_t revive_max[REVIVE_QS];
	int64_t now;
	struct pop_state *s;
	struct pop_queue *q[QUEUES];
	/* what the file of offsets says, and where the log was */
	int64_t saved_next[QUEUES], saved_low[REVIVE_QS];
	int64_t next[QUEUES]; /* offsets as told */
	size_t mark;
	uint64_t seed;
	uint64_t popped, acked, revived, put_off, crashes;
} w;

static uint32_t
rnd(uint32_t n)
{
	w.seed = w.seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(w.seed >> 33) % n;
}

static const char *const topics[QUEUES] = {"T", "T", "T", "%RETRY%G_T"};

static void
open_queues(void)
{
	for (int i = 0; i < QUEUES; i++)
		w.q[i] = pop_state_queue(w.s, slice_of(topics[i]), GROUP, i == RETRY ? 0 : i);
}

static struct rec *
add_rec(int kind, int queue, int32_t revive_queue)
{
	struct rec *r = &w.log[w.n++];

	CU_ASSERT_FATAL(w.n < LOG_MAX);
	*r = (struct rec){.queue = queue, .revive_queue = revive_queue, .from_start = -1, .revive_offset = -1};
	r->kind = kind;
	if (kind != REC_COPY)
		r->revive_offset = w.revive_max[revive_queue]++;
	w.staged++;
	return r;
}

static struct msg *
msg_at(int queue, int64_t offset)
{
	CU_ASSERT_FATAL(offset >= 0 && offset < w.max[queue]);
	return &w.msg[queue][offset];
}

static void
produce(void)
{
	int queue = (int)rnd(RETRY);

	for (uint32_t n = rnd(6); n > 0 && w.max[queue] < MSGS_MAX; n--)
		w.msg[queue][w.max[queue]++] = (struct msg){.where = WAITING, .passes = rnd(5) > 0};
}

static void
do_pop(void)
{
	int queue = (int)rnd(QUEUES);
	struct pop_batch b = {.q = w.q[queue],
			      .pop_ms = w.now,
			      .invisible_ms = (int64_t)rnd(2000),
			      .revive_queue = (int32_t)rnd(REVIVE_QS)};
	int64_t at = MAX_OF(w.q[queue]->next, w.saved_next[queue]);
	struct rec *r;

	b.start = at;
	for (unsigned want = 1 + rnd(8); at < w.max[queue] && b.count < want; at++)
		if (msg_at(queue, at)->passes)
			b.offset[b.count++] = at;
	if (b.count == 0) {
		w.q[queue]->next = at;
		return;
	}
	if (pop_state_find(w.s, b.q, b.start, b.pop_ms) != NULL)
		return;
	r = add_rec(REC_CK, queue, b.revive_queue);
	r->start = b.start;
	r->pop_ms = b.pop_ms;
	r->invisible_ms = b.invisible_ms;
	r->count = b.count;
	r->taken_to = at;
	memcpy(r->offsets, b.offset, sizeof(r->offsets));
	r->ck = pop_state_stage(w.s, &b, at);
}

/* A message that the consumer has; NULL: none was found. */
static struct msg *
pick_given(int *queue, int64_t *offset)
{
	for (int tries = 0; tries < 30; tries++) {
		*queue = (int)rnd(QUEUES);
		if (w.max[*queue] == 0)
			continue;
		*offset = w.max[*queue] - 1 - (int64_t)rnd(60);
		if (*offset < 0)
			continue;
		if (msg_at(*queue, *offset)->given && msg_at(*queue, *offset)->where == INVISIBLE)
			return msg_at(*queue, *offset);
	}
	return NULL;
}

static struct pop_ck *
ck_of(int queue, const struct msg *m, int64_t offset, uint32_t *bit)
{
	struct pop_ck *ck = pop_state_find(w.s, w.q[queue], m->start, m->pop_ms);
	int i = ck != NULL ? pop_ck_index(ck, offset) : -1;

	if (i < 0 || ((ck->acked | ck->acking) >> i & 1) || ck->state != POP_CK_WAITS)
		return NULL;
	*bit = UINT32_C(1) << i;
	return ck;
}

static void
put_ack_rec(int queue, const struct msg *m, int64_t offset)
{
	struct rec *r = add_rec(REC_ACK, queue, m->revive_queue);

	r->start = m->start;
	r->pop_ms = m->pop_ms;
	r->offset = offset;
}

static void
do_ack(void)
{
	int64_t offset;
	uint32_t bit;
	int queue;
	struct msg *m = pick_given(&queue, &offset);
	struct pop_ck *ck = m != NULL ? ck_of(queue, m, offset, &bit) : NULL;

	if (m == NULL)
		return;
	/* In flight as the state says, unless its time is over. */
	CU_ASSERT_FATAL(ck != NULL || m->until <= w.now || w.staged > 0);
	if (ck == NULL)
		return;
	ck->acking |= bit;
	put_ack_rec(queue, m, offset);
}

static void
do_put_off(void)
{
	int64_t offset;
	uint32_t bit;
	int queue;
	struct msg *m = pick_given(&queue, &offset);
	struct pop_ck *ck = m != NULL ? ck_of(queue, m, offset, &bit) : NULL;
	struct pop_batch b;
	struct rec *r;

	if (ck == NULL)
		return;
	b = (struct pop_batch){.q = w.q[queue],
			       .start = offset,
			       .pop_ms = MAX_OF(w.now, m->pop_ms + 1),
			       .invisible_ms = rnd(2000),
			       .revive_queue = m->revive_queue,
			       .count = 1,
			       .offset = {offset}};
	while (pop_state_find(w.s, b.q, b.start, b.pop_ms) != NULL)
		b.pop_ms++;
	r = add_rec(REC_CK, queue, b.revive_queue);
	r->start = offset;
	r->pop_ms = b.pop_ms;
	r->invisible_ms = b.invisible_ms;
	r->count = 1;
	r->offsets[0] = offset;
	r->from_start = m->start;
	r->from_ms = m->pop_ms;
	r->taken_to = -1;
	r->ck = pop_state_stage(w.s, &b, -1);
	ck->acking |= bit;
	put_ack_rec(queue, m, offset);
}

/* ---- what is in the log has happened */

static void
model_ck(const struct rec *r, bool given)
{
	for (unsigned i = 0; i < r->count; i++) {
		struct msg *m = msg_at(r->queue, r->offsets[i]);

		/* else it is given out twice */
		CU_ASSERT_EQUAL_FATAL(m->where, r->from_start < 0 ? WAITING : INVISIBLE);
		m->where = INVISIBLE;
		m->given = given;
		m->until = r->pop_ms + r->invisible_ms;
		m->start = r->start;
		m->pop_ms = r->pop_ms;
		m->revive_queue = r->revive_queue;
		w.popped += r->from_start < 0;
		w.put_off += r->from_start >= 0;
	}
}

static void
model_ack(const struct rec *r)
{
	struct msg *m = msg_at(r->queue, r->offset);

	if (m->where == INVISIBLE && m->start == r->start && m->pop_ms == r->pop_ms) {
		m->where = ACKED;
		w.acked++;
	}
}

static void
model_copy(const struct rec *r)
{
	struct msg *m = msg_at(r->queue, r->offset);

	CU_ASSERT_EQUAL_FATAL(m->where, INVISIBLE);
	CU_ASSERT_FATAL(m->until <= w.now);
	m->where = COPIED;
	w.revived++;
	CU_ASSERT_FATAL(w.max[RETRY] < MSGS_MAX);
	w.msg[RETRY][w.max[RETRY]++] = (struct msg){.where = WAITING, .passes = true};
}

static void
model(const struct rec *r, bool given)
{
	if (r->kind == REC_CK)
		model_ck(r, given);
	else if (r->kind == REC_ACK)
		model_ack(r);
	else
		model_copy(r);
}

static void
tell(struct rec *r, bool stored)
{
	struct pop_ck *ck;
	int i;

	if (r->kind == REC_CK && !stored) {
		pop_state_refused(w.s, r->ck);
	} else if (r->kind == REC_CK) {
		pop_state_stored(w.s, r->ck, r->revive_offset);
		if (r->taken_to >= 0)
			w.next[r->queue] = r->taken_to;
	} else if (r->kind == REC_ACK) {
		ck = pop_state_find(w.s, w.q[r->queue], r->start, r->pop_ms);
		i = ck != NULL ? pop_ck_index(ck, r->offset) : -1;
		if (i >= 0) {
			ck->acking &= ~(UINT32_C(1) << i);
			if (stored)
				(void)pop_state_done(w.s, ck, UINT32_C(1) << i);
		}
	}
	r->ck = NULL;
}

static void
drop_staged(size_t keep)
{
	while (w.staged > keep) {
		struct rec *r = &w.log[--w.n];

		if (r->kind != REC_COPY)
			w.revive_max[r->revive_queue]--;
		w.staged--;
	}
}

static void
tell_all(void)
{
	bool stored = rnd(20) > 0;

	for (size_t i = w.n - w.staged; i < w.n; i++) {
		if (stored)
			model(&w.log[i], true);
		tell(&w.log[i], stored);
	}
	if (!stored)
		drop_staged(0);
	w.staged = 0;
}

/* ---- time */

static void
stage_revival(struct pop_ck *ck, int queue)
{
	uint32_t done = 0;

	for (int i = 0; i < ck->count; i++) {
		int64_t offset = ck->start + ck->diff[i];
		struct msg *m = msg_at(queue, offset);

		if (ck->acked >> i & 1)
			continue;
		if (m->where != COPIED) { /* else its copy is there from before a crash */
			struct rec *r = add_rec(REC_COPY, queue, 0);

			r->offset = offset;
		}
		m->unmarked = false;
		put_ack_rec(queue,
			    &(struct msg){.start = ck->start, .pop_ms = ck->pop_ms, .revive_queue = ck->revive_queue},
			    offset);
		done |= UINT32_C(1) << i;
	}
	if (rnd(50) == 0)
		return; /* a crash comes before the log has it: see maybe_crash */
	for (size_t i = w.n - w.staged; i < w.n; i++)
		model(&w.log[i], true);
	w.staged = 0;
	pop_state_revived(w.s, ck, done, 0);
}

static void crash(void);

static void
revive(void)
{
	struct pop_ck *ck;

	if (w.staged > 0)
		tell_all();
	while ((ck = pop_state_take_due(w.s, w.now)) != NULL) {
		int queue = 0;

		while (w.q[queue] != ck->q)
			queue++;
		stage_revival(ck, queue);
		if (w.staged > 0) {
			crash();
			return;
		}
	}
}

static void
save(void)
{
	if (w.staged > 0)
		tell_all();
	for (int i = 0; i < QUEUES; i++)
		w.saved_next[i] = w.next[i];
	for (int i = 0; i < REVIVE_QS; i++)
		w.saved_low[i] = pop_state_low(w.s, i, w.revive_max[i]);
	w.mark = w.n;
}

/* ---- crash */

static void
read_log(void)
{
	for (size_t i = 0; i < w.n; i++) {
		const struct rec *r = &w.log[i];
		struct pop_record_ck ck = {.topic = slice_of(topics[r->queue]),
					   .group = GROUP,
					   .queue_id = r->queue == RETRY ? 0 : r->queue,
					   .revive_queue = r->revive_queue,
					   .revive_offset = r->revive_offset,
					   .start = r->start,
					   .pop_ms = r->pop_ms,
					   .invisible_ms = r->invisible_ms,
					   .count = r->count,
					   .raises = i >= w.mark,
					   .from_start = r->from_start,
					   .from_ms = r->from_ms};

		if (r->kind == REC_COPY || r->revive_offset < w.saved_low[r->revive_queue])
			continue;
		for (unsigned k = 0; k < r->count; k++)
			ck.diff[k] = (int32_t)(r->offsets[k] - r->start);
		if (r->kind == REC_CK) {
			CU_ASSERT_EQUAL_FATAL(pop_state_read_ck(w.s, &ck), RC_OK);
		} else
			pop_state_read_ack(w.s, w.q[r->queue], r->start, r->pop_ms, r->offset);
	}
}

static void
crash(void)
{
	size_t keep = rnd((uint32_t)w.staged + 1);

	drop_staged(keep); /* the rest of the write is in the log, and nobody was told */
	for (size_t i = w.n - keep; i < w.n; i++) {
		model(&w.log[i], false);
		w.log[i].ck = NULL;
	}
	if (keep > 0 && w.log[w.n - 1].kind == REC_COPY)
		msg_at(w.log[w.n - 1].queue, w.log[w.n - 1].offset)->unmarked = true;
	w.staged = 0;
	pop_state_free(&w.s);
	w.s = pop_state_new(REVIVE_QS);
	open_queues();
	read_log();
	for (int i = 0; i < QUEUES; i++)
		w.next[i] = w.q[i]->next = MAX_OF(w.q[i]->next, w.saved_next[i]);
	w.crashes++;
}

/* ---- a run */

static void
check_counts(void)
{
	struct pop_facts f;
	size_t invisible = 0;

	if (w.staged > 0)
		return;
	for (int i = 0; i < QUEUES; i++)
		for (int64_t at = 0; at < w.max[i]; at++)
			invisible += w.msg[i][at].where == INVISIBLE || w.msg[i][at].unmarked;
	pop_state_facts(w.s, &f);
	CU_ASSERT_EQUAL_FATAL(f.messages, invisible);
}

static void
step(void)
{
	uint32_t r = rnd(1000);

	if (r < 150)
		produce();
	else if (r < 400)
		do_pop();
	else if (r < 600)
		for (uint32_t n = rnd(12); n > 0; n--)
			do_ack();
	else if (r < 660)
		do_put_off();
	else if (r < 860 && w.staged > 0)
		tell_all();
	else if (r < 900)
		w.now += rnd(400);
	else if (r < 980)
		revive();
	else if (r < 995)
		save();
	else if (r == 999)
		crash();
}

static bool
all_done(void)
{
	for (int i = 0; i < QUEUES; i++)
		for (int64_t at = 0; at < w.max[i]; at++) {
			const struct msg *m = &w.msg[i][at];

			if (m->passes && m->where != ACKED && m->where != COPIED)
				return false;
		}
	return true;
}

/* Whatever was sent is acked in the end. */
static void
finish(void)
{
	for (int round = 0; round < 4000 && !all_done(); round++) {
		for (int i = 0; i < 50; i++) {
			do_pop();
			do_ack();
		}
		if (w.staged > 0)
			tell_all();
		w.now += 100;
		revive();
	}
	CU_ASSERT_TRUE_FATAL(all_done());
}

static uint64_t
from_environment(const char *name, uint64_t dflt)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 10) : dflt;
}

static void
nothing_is_lost_or_given_out_twice_in_a_long_run_with_crashes(void)
{
	uint64_t seed = from_environment("POP_SEED", 20261120), steps = from_environment("POP_STEPS", 200000);

	memset(&w, 0, sizeof(w));
	w.seed = seed;
	w.now = 1000000;
	w.log = xcalloc(LOG_MAX, sizeof(w.log[0]));
	for (int i = 0; i < QUEUES; i++)
		w.msg[i] = xcalloc(MSGS_MAX, sizeof(struct msg));
	w.s = pop_state_new(REVIVE_QS);
	open_queues();
	for (uint64_t i = 0; i < steps; i++) {
		step();
		if (i % 2000 == 0)
			check_counts();
	}
	finish();
	printf("\n  seed %llu: %llu popped, %llu acked, %llu revived, %llu put off, %llu crashes ",
	       (unsigned long long)seed, (unsigned long long)w.popped, (unsigned long long)w.acked,
	       (unsigned long long)w.revived, (unsigned long long)w.put_off, (unsigned long long)w.crashes);
	CU_ASSERT(steps < 100000 || (w.crashes > 50 && w.revived > 1000 && w.put_off > 1000));
	pop_state_free(&w.s);
	for (int i = 0; i < QUEUES; i++)
		free(w.msg[i]);
	free(w.log);
}

TEST_MAIN("broker/pop_model", TEST(nothing_is_lost_or_given_out_twice_in_a_long_run_with_crashes))
