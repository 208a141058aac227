/*
 * sends: the sends of one turn, between store_stage and the answer.
 *
 * Runs in:    the broker process; the hot path.
 * Owns:       the lines of what is staged; the turn's arena.
 * Must not:   answer before the commit, or success after a commit that failed.
 */
#include "workers/broker/sends.h"

#include "common/clock.h"
#include "workers/broker/brstats.h"
#include "workers/broker/known.h"
#include "workers/broker/reply.h"
#include "workers/broker/role.h"
#include "workers/broker/send.h"
#include "workers/broker/waiters.h"

#define LINES_FIRST 1024

struct sends {
	struct broker	*b;
	struct pending	*lines;
	size_t		 count, cap;
	struct pending	*spare;			/* of spare_cap lines: the next turn's, while this one's are told; may be NULL */
	size_t		 spare_cap;
	struct arena	 arena;
	struct buf	 scratch, ids;
	char		 id_head[MSG_ID_TEXT];	/* what all our message ids begin with: the store host */
	size_t		 id_head_len;
	bool		 full_said;		/* the full disk has been reported */
};

struct sends *
sends_new(struct broker *b)
{
	struct sends *s = xcalloc(1, sizeof(*s));

	s->b = b;
	s->cap = LINES_FIRST;
	s->lines = xcalloc(s->cap, sizeof(s->lines[0]));
	s->id_head_len = message_id_text(&b->store_host, 0, s->id_head) - 16;
	return s;
}

void
sends_free(struct sends **s)
{
	if (*s == NULL)
		return;
	arena_free(&(*s)->arena);
	buf_free(&(*s)->scratch);
	buf_free(&(*s)->ids);
	free((*s)->lines);
	free((*s)->spare);
	free(*s);
	*s = NULL;
}

struct arena *
sends_arena(struct sends *s)
{
	return &s->arena;
}

struct buf *
sends_scratch(struct sends *s)
{
	s->scratch.len = 0;
	s->scratch.failed = false;
	return &s->scratch;
}

/* ---- staging */

static struct pending *
next_line(struct sends *s)
{
	if (s->count == s->cap) {
		s->cap *= 2;
		s->lines = xrealloc(s->lines, s->cap * sizeof(s->lines[0]));
	}
	return &s->lines[s->count++];
}

enum rc
sends_stage(struct sends *s, struct message *m, struct pending **p)
{
	struct store_put_result r;
	enum rc rc = store_stage(s->b->store, m, &r);

	if (UNLIKELY(rc == RC_AGAIN)) {
		sends_commit(s);
		rc = store_stage(s->b->store, m, &r);
	}
	if (UNLIKELY(rc != RC_OK))
		return rc == RC_AGAIN ? RC_LIMIT : rc;
	*p = next_line(s);
	**p = (struct pending){.queue_id = m->queue_id, .count = 1, .bytes = (uint32_t)(r.end - r.physical),
	    .queue_offset = r.queue_offset, .physical = r.physical, .end = r.end};
	return RC_OK;
}

enum rc
sends_stage_batch(struct sends *s, struct message *m, size_t n, struct pending **p)
{
	struct store_put_result *r = arena_alloc(&s->arena, n * sizeof(*r));
	enum rc rc = store_stage_batch(s->b->store, m, n, r);

	if (rc == RC_AGAIN) {
		sends_commit(s);
		rc = store_stage_batch(s->b->store, m, n, r);
	}
	if (rc != RC_OK)
		return rc == RC_AGAIN ? RC_LIMIT : rc;
	*p = next_line(s);
	**p = (struct pending){.queue_id = m[0].queue_id, .count = (unsigned)n, .bytes = (uint32_t)(r[n - 1].end - r[0].physical),
	    .queue_offset = r[0].queue_offset, .physical = r[0].physical, .end = r[n - 1].end, .batch = r};
	return RC_OK;
}

/* ---- answers */

void
sent_answer(struct broker *b, struct conn *c, const struct request_id *id, int code, const struct sent *sent)
{
	struct frame_out f;

	if (id->oneway || c->closed)
		return;
	frame_begin_response(&f, known_out(b->known, c, id), id, code);
	frame_field(&f, "msgId", sent->msg_id);
	frame_field_i64(&f, "queueId", sent->queue_id);
	frame_field_i64(&f, "queueOffset", sent->queue_offset);
	if (sent->transaction_id.n > 0)
		frame_field(&f, "transactionId", sent->transaction_id);
	if (UNLIKELY(sent->recall.n > 0))
		frame_field(&f, "recallHandle", sent->recall);
	frame_field(&f, "MSG_REGION", slice_of(b->conf->regionId));
	frame_field_bool(&f, "TRACE_ON", b->conf->traceOn);
	frame_end(&f, 0);
	conn_kick(c);
}

static void
put_id(const struct sends *s, int64_t physical, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";
	char hex[16];

	for (int i = 15; i >= 0; i--, physical = (int64_t)((uint64_t)physical >> 4))
		hex[i] = digits[physical & 15];
	buf_put(out, s->id_head, s->id_head_len);
	buf_put(out, hex, sizeof(hex));
}

void
sent_put_ids(struct broker *b, const struct pending *p, struct buf *out)
{
	if (p->batch == NULL)
		put_id(b->sends, p->physical, out);
	for (unsigned i = 0; p->batch != NULL && i < p->count; i++) {
		if (i > 0)
			buf_put_char(out, ',');
		put_id(b->sends, p->batch[i].physical, out);
	}
}

static void
answer_stored(struct sends *s, const struct pending *p)
{
	struct sent sent = {.transaction_id = p->uniq_key, .recall = p->recall, .queue_id = p->queue_id,
	    .queue_offset = p->queue_offset};

	s->ids.len = 0;
	sent_put_ids(s->b, p, &s->ids);
	sent.msg_id = buf_slice(&s->ids);
	if (p->reply != NULL)
		reply_stored(p->reply, &sent);
	else
		sent_answer(s->b, p->conn, &p->id, RES_SUCCESS, &sent);
}

/* ---- the turn's end */

/* The lines of one commit, taken out of the table: whoever is told may stage more. */
struct batch {
	struct pending	*lines;
	size_t		 count, cap;
	size_t		 internal;	/* how many of them are the broker's own; known when they were counted */
};

static struct batch
take_lines(struct sends *s)
{
	struct batch t = {s->lines, s->count, s->cap, 0};

	if (s->spare == NULL) {
		s->spare_cap = LINES_FIRST;
		s->spare = xcalloc(s->spare_cap, sizeof(s->spare[0]));
	}
	s->lines = s->spare;
	s->cap = s->spare_cap;
	s->spare = NULL;
	s->count = 0;
	return t;
}

static void
give_lines(struct sends *s, struct batch *t)
{
	if (s->spare != NULL) {
		free(t->lines);
		return;
	}
	s->spare = t->lines;
	s->spare_cap = t->cap;
}

/* Neighbours of one topic are counted together. */
static void
count_all(struct sends *s, struct batch *t)
{
	struct shm_counters *k = &s->b->w->shm->counters;
	uint64_t requests = 0, msgs = 0, bytes = 0, all_msgs = 0, all_bytes = 0;

	for (size_t i = 0; i < t->count; i++) {
		const struct pending *p = &t->lines[i];

		requests++;
		t->internal += p->internal;
		msgs += p->count;
		bytes += p->bytes;
		if (i + 1 < t->count && t->lines[i + 1].topic == p->topic)
			continue;
		if (LIKELY(p->topic != NULL))
			brstats_put(s->b->stats, p->topic->name_slice, requests, msgs, bytes);
		all_msgs += msgs;
		all_bytes += bytes;
		requests = msgs = bytes = 0;
	}
	count_add(&k->put_requests, t->count - t->internal);
	count_add(&k->put_msgs, all_msgs);
	count_add(&k->put_bytes, all_bytes);
	count_add(&k->commits, 1);
}

static void
tell(const struct pending *p, int code, const char *why)
{
	struct appended a = {.code = code, .why = why, .physical = p->physical, .queue_offset = p->queue_offset, .end = p->end};

	if (p->to.done != NULL)
		p->to.done(p->to.arg, p->to.tag, &a);
}

static void
refuse_all(struct sends *s, const struct batch *t, enum rc rc, const struct err *e)
{
	bool unavailable = rc == RC_FULL || rc == RC_BUSY;

	if (!s->full_said) {
		s->full_said = true;
		worker_event(s->b->w, "writes are refused: %s", e->text);
	}
	for (size_t i = 0; i < t->count; i++) {
		const struct pending *p = &t->lines[i];

		if (p->internal)
			tell(p, unavailable ? RES_SERVICE_NOT_AVAILABLE : RES_SYSTEM_ERROR, e->text);
		else if (p->reply != NULL)
			reply_stored(p->reply, NULL);
		else if (unavailable)
			send_refuse(s->b, p->conn, &p->id, RES_SERVICE_NOT_AVAILABLE, "service not available now. %s", e->text);
		else
			send_refuse(s->b, p->conn, &p->id, RES_SYSTEM_ERROR, "the message was not written: %s", e->text);
	}
}

static void
note_time(struct broker *b, int64_t us)
{
	shm_u64 *longest = &b->w->shm->counters.put_us_max;

	if ((uint64_t)us > atomic_load_explicit(longest, memory_order_relaxed))
		atomic_store_explicit(longest, (uint64_t)us, memory_order_relaxed);
}

static bool
need_not_wait(const struct pending *p, int64_t safe)
{
	return p->end <= safe || (p->no_wait && p->reply == NULL);
}

/* The broker's own last: what they cause must not come among the waiters before its elders. */
static void
answer_or_wait(struct sends *s, const struct batch *t)
{
	int64_t safe = store_safe_position(s->b->store);

	for (size_t i = 0; i < t->count; i++) {
		const struct pending *p = &t->lines[i];

		if (!need_not_wait(p, safe))
			waiters_add(s->b->waiters, p);
		else if (!p->internal)
			answer_stored(s, p);
	}
	for (size_t i = 0; t->internal > 0 && i < t->count; i++)
		if (t->lines[i].internal && need_not_wait(&t->lines[i], safe))
			tell(&t->lines[i], RES_SUCCESS, NULL);
}

void
sends_commit(struct sends *s)
{
	struct batch t;
	int64_t began;
	struct err e;
	enum rc rc;

	if (s->count == 0)
		return;
	began = clock_mono_us();
	rc = store_commit(s->b->store, &e);
	note_time(s->b, clock_mono_us() - began);
	if (UNLIKELY(rc == RC_OK && (s->b->failed || role_is_fenced(s->b)))) {
		err_set(&e, "%s", s->b->failed ? s->b->failed_why : role_refusal(s->b));
		rc = RC_BUSY;
	}
	t = take_lines(s);
	if (LIKELY(rc == RC_OK)) {
		s->full_said = false;
		count_all(s, &t);
		answer_or_wait(s, &t);
		worker_wake(s->b->w, WORKER_FLUSH);
		worker_wake(s->b->w, WORKER_HA);
	} else {
		refuse_all(s, &t, rc, &e);
	}
	give_lines(s, &t);
}

bool
sends_staged(const struct sends *s)
{
	return s->count > 0;
}

void
sends_turn_over(struct sends *s)
{
	arena_reset(&s->arena);
}
