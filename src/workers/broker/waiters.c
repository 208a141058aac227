/*
 * waiters: stored messages whose answer waits until flush or ha have passed them.
 *
 * Runs in:    the broker process.
 * Owns:       a ring of what is to be answered, in the order of the log, each with a reference of its connection.
 * Must not:   answer success for what is not where the configuration promises it to be.
 */
#include "workers/broker/waiters.h"

#include "common/clock.h"
#include "workers/broker/reply.h"
#include "workers/broker/send.h"

#define RING_FIRST 4096
#define KEY_INLINE 64 /* usual unique keys have 32 or 56 characters */
#define ID_INLINE  MSG_ID_TEXT

struct waiter {
	struct conn	*conn;		/* a reference */
	struct request_id id;
	struct reply	*reply;
	int64_t		 end, queue_offset, deadline_us;
	int64_t		 physical;	/* for `to` */
	int32_t		 queue_id;
	bool		 internal;	/* `to` is told, nobody is answered */
	struct append_to to;
	uint16_t	 key_len, id_len; /* inline ones; long ones are in `text` */
	char		 key[KEY_INLINE], msg_id[ID_INLINE];
	char		*text;		/* NULL, or message ids, key and recall handle one after the other, owned */
	size_t		 text_ids, text_key, text_recall; /* lengths */
};

struct waiters {
	struct broker	*b;
	struct waiter	*ring;
	size_t		 head, count, cap;	/* cap is a power of two */
	struct conn	**paused;		/* references */
	size_t		 paused_count, paused_cap;
	struct buf	 ids;
};

struct waiters *
waiters_new(struct broker *b)
{
	struct waiters *w = xcalloc(1, sizeof(*w));

	w->b = b;
	w->cap = RING_FIRST;
	w->ring = xcalloc(w->cap, sizeof(w->ring[0]));
	return w;
}

size_t
waiters_count(const struct waiters *w)
{
	return w->count;
}

/* ---- the ring */

static struct waiter *
first(struct waiters *w)
{
	return &w->ring[w->head];
}

static void
grow(struct waiters *w)
{
	struct waiter *ring = xcalloc(w->cap * 2, sizeof(ring[0]));

	for (size_t i = 0; i < w->count; i++)
		ring[i] = w->ring[(w->head + i) & (w->cap - 1)];
	free(w->ring);
	w->ring = ring;
	w->head = 0;
	w->cap *= 2;
}

static struct waiter *
push(struct waiters *w)
{
	if (w->count == w->cap)
		grow(w);
	return &w->ring[(w->head + w->count++) & (w->cap - 1)];
}

static void
drop_first(struct waiters *w)
{
	struct waiter *it = first(w);

	free(it->text);
	if (it->conn != NULL)
		conn_unref(&it->conn);
	w->head = (w->head + 1) & (w->cap - 1);
	w->count--;
}

void
waiters_free(struct waiters **w)
{
	if (*w == NULL)
		return;
	while ((*w)->count > 0)
		drop_first(*w);
	while ((*w)->paused_count > 0)
		conn_unref(&(*w)->paused[--(*w)->paused_count]);
	free((*w)->paused);
	buf_free(&(*w)->ids);
	free((*w)->ring);
	free(*w);
	*w = NULL;
}

/* ---- the bound: whoever sends while too many wait is not read for a while */

static void
pause_conn(struct waiters *w, struct conn *c)
{
	for (size_t i = 0; i < w->paused_count; i++)
		if (w->paused[i] == c)
			return;
	if (w->paused_count == w->paused_cap) {
		w->paused_cap = w->paused_cap == 0 ? 16 : w->paused_cap * 2;
		w->paused = xrealloc(w->paused, w->paused_cap * sizeof(w->paused[0]));
	}
	conn_ref(c);
	w->paused[w->paused_count++] = c;
	conn_pause(c, true);
}

static void
resume_all(struct waiters *w)
{
	if (w->count > WAITERS_LOW)
		return;
	while (w->paused_count > 0) {
		struct conn *c = w->paused[--w->paused_count];

		if (!c->closed)
			conn_pause(c, false);
		conn_unref(&c);
	}
}

/* ---- in */

static void
keep_text(struct waiter *it, struct slice ids, struct slice key, struct slice recall)
{
	if (ids.n <= ID_INLINE && key.n <= KEY_INLINE && recall.n == 0) {
		memcpy(it->msg_id, ids.p, ids.n);
		if (key.n > 0)
			memcpy(it->key, key.p, key.n);
		it->id_len = (uint16_t)ids.n;
		it->key_len = (uint16_t)key.n;
		return;
	}
	it->text = xmalloc(ids.n + key.n + recall.n);
	memcpy(it->text, ids.p, ids.n);
	if (key.n > 0)
		memcpy(it->text + ids.n, key.p, key.n);
	if (recall.n > 0)
		memcpy(it->text + ids.n + key.n, recall.p, recall.n);
	it->text_ids = ids.n;
	it->text_key = key.n;
	it->text_recall = recall.n;
}

static int64_t
patience_us(const struct broker *b)
{
	int64_t ms = b->conf->syncFlushTimeout;

	if (b->conf->brokerRole == ROLE_SYNC_MASTER)
		ms = b->conf->flushDiskType == FLUSH_SYNC ? MAX_OF(ms, b->conf->slaveTimeout) : b->conf->slaveTimeout;
	return ms * 1000;
}

void
waiters_add(struct waiters *w, const struct pending *p)
{
	struct waiter *it = push(w);

	*it = (struct waiter){.id = p->id, .reply = p->reply, .end = p->end, .queue_offset = p->queue_offset,
	    .physical = p->physical, .queue_id = p->queue_id, .deadline_us = clock_mono_us() + patience_us(w->b),
	    .internal = p->internal};
	if (p->internal) {
		it->to = p->to;
		return;
	}
	w->ids.len = 0;
	sent_put_ids(w->b, p, &w->ids);
	keep_text(it, buf_slice(&w->ids), p->uniq_key, p->recall);
	if (p->reply != NULL)
		return;
	it->conn = p->conn;
	conn_ref(it->conn);
	if (UNLIKELY(w->count > WAITERS_HIGH))
		pause_conn(w, it->conn);
}

/* ---- out */

/* The first one is the broker's own. It is taken out before: who is told may append more. */
static void
tell_first(struct waiters *w, int code, const char *why)
{
	const struct waiter *it = first(w);
	struct appended a = {.code = code, .why = why, .physical = it->physical, .queue_offset = it->queue_offset, .end = it->end};
	struct append_to to = it->to;

	drop_first(w);
	if (to.done != NULL)
		to.done(to.arg, to.tag, &a);
}

static void
answer_first(struct waiters *w, int code)
{
	const struct waiter *it = first(w);
	struct sent sent = {.queue_id = it->queue_id, .queue_offset = it->queue_offset};

	if (it->internal)
		return tell_first(w, code, NULL);
	if (it->text != NULL) {
		sent.msg_id = (struct slice){it->text, it->text_ids};
		sent.transaction_id = (struct slice){it->text + it->text_ids, it->text_key};
		sent.recall = (struct slice){it->text + it->text_ids + it->text_key, it->text_recall};
	} else {
		sent.msg_id = (struct slice){it->msg_id, it->id_len};
		sent.transaction_id = (struct slice){it->key, it->key_len};
	}
	if (it->reply != NULL)
		reply_stored(it->reply, &sent);
	else
		sent_answer(w->b, it->conn, &it->id, code, &sent);
	drop_first(w);
}

void
waiters_release(struct waiters *w, int64_t safe)
{
	while (w->count > 0 && first(w)->end <= safe)
		answer_first(w, RES_SUCCESS);
	if (UNLIKELY(w->paused_count > 0))
		resume_all(w);
}

bool
waiters_kept_here(const struct broker *b, int64_t end)
{
	return b->conf->flushDiskType != FLUSH_SYNC || store_flushed_position(b->store) >= end;
}

void
waiters_release_alone(struct waiters *w)
{
	while (w->count > 0 && waiters_kept_here(w->b, first(w)->end))
		answer_first(w, RES_SLAVE_NOT_AVAILABLE);
	if (UNLIKELY(w->paused_count > 0))
		resume_all(w);
}

/* What has not happened in time to the record that ends there. */
static int
late_code(const struct broker *b, int64_t end)
{
	if (!waiters_kept_here(b, end))
		return RES_FLUSH_DISK_TIMEOUT;
	return store_lacks_copies(b->store) ? RES_SLAVE_NOT_AVAILABLE : RES_FLUSH_SLAVE_TIMEOUT;
}

void
waiters_expire(struct waiters *w, int64_t now_us)
{
	while (w->count > 0 && first(w)->deadline_us <= now_us)
		answer_first(w, late_code(w->b, first(w)->end));
	if (w->paused_count > 0)
		resume_all(w);
}

void
waiters_fail(struct waiters *w, const char *why)
{
	while (w->count > 0) {
		struct waiter *it = first(w);

		if (it->internal) {
			tell_first(w, RES_SYSTEM_ERROR, why);
			continue;
		}
		if (it->reply != NULL)
			reply_stored(it->reply, NULL);
		else
			send_refuse(w->b, it->conn, &it->id, RES_SYSTEM_ERROR, "%s", why);
		drop_first(w);
	}
	resume_all(w);
}
