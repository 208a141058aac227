/*
 * txn: transactional messages: what the other parts of the broker see of them. See txn.h.
 *
 * Runs in:    the broker process.
 * Owns:       the offsets of CID_RMQ_SYS_TRANS: where the half messages and the op messages begin that are needed.
 * If it dies: the op messages tell which transactions are settled; the offsets tell where to begin reading.
 */
#include "workers/broker/txn.h"

#include <stdio.h>

#include "common/clock.h"
#include "workers/broker/offsets.h"
#include "workers/broker/txn_int.h"

struct txn *
txn_new(struct broker *b)
{
	struct txn *t = xcalloc(1, sizeof(*t));

	t->b = b;
	t->pending_end = &t->pending;
	t->flying_end = &t->flying;
	t->parked_end = &t->parked;
	t->metrics = txn_metrics_new(b);
	return t;
}

void
txn_free(struct txn **tp)
{
	struct txn *t = *tp;
	struct copied *it, *tmp;

	if (t == NULL)
		return;
	settles_free(t);
	ends_free(t);
	HASH_ITER (hh, t->copied, it, tmp) {
		HASH_DEL(t->copied, it);
		free(it);
	}
	txn_window_free(&t->w);
	txn_metrics_free(&t->metrics);
	buf_free(&t->text);
	free(t);
	*tp = NULL;
}

void
txn_start(struct txn *t)
{
	txn_metrics_load(t->metrics);
	if (broker_is_master(t->b))
		txn_begin_reading(t);
}

/* ---- half messages */

void
txn_make_half(struct message *m, struct slice unique_key, struct buf *out)
{
	char queue[16];

	snprintf(queue, sizeof(queue), "%d", m->queue_id);
	props_put(out, PROP_REAL_TOPIC, m->topic);
	props_put(out, PROP_REAL_QUEUE, slice_of(queue));
	if (unique_key.n > 0)
		props_put(out, "__transactionId__", unique_key);
	m->topic = SLICE_LIT(TXN_HALF_TOPIC);
	m->queue_id = 0;
	m->sysflag &= ~MSG_SYS_TRAN_MASK;
}

void
txn_opened(struct txn *t, struct slice real_topic)
{
	txn_metrics_add(t->metrics, real_topic, 1);
}

enum rc
txn_half_at(struct txn *t, int64_t physical, struct message *half)
{
	struct slice record;

	if (store_record_at(t->b->store, physical, &record) != RC_OK ||
	    message_decode(half, record.p, record.n, false) != RC_OK)
		return RC_NOTFOUND;
	return slice_is(half->topic, TXN_HALF_TOPIC) ? RC_OK : RC_NOTFOUND;
}

int64_t
txn_first_offset(const struct message *half)
{
	int64_t first;

	if (str_i64(props_get(half->props[0], PROP_FIRST), &first) == RC_OK && first >= 0 && first < half->queue_offset)
		return first;
	return half->queue_offset;
}

/* ---- copies */

struct copied *
txn_copied(struct txn *t, int64_t first)
{
	struct copied *it;

	HASH_FIND(hh, t->copied, &first, sizeof(first), it);
	return it;
}

void
txn_note_copy(struct txn *t, int64_t first, int64_t newest)
{
	struct copied *it = txn_copied(t, first);

	if (it == NULL) {
		it = xcalloc(1, sizeof(*it));
		it->first = first;
		HASH_ADD(hh, t->copied, first, sizeof(it->first), it);
	}
	it->newest = MAX_OF(it->newest, newest);
}

void
txn_forget_copy(struct txn *t, int64_t first)
{
	struct copied *it = txn_copied(t, first);

	if (it == NULL)
		return;
	HASH_DEL(t->copied, it);
	free(it);
}

/* ---- time */

bool
txn_turn(struct txn *t)
{
	bool more = false;

	if (t->phase != TXN_OFF && t->phase != TXN_IDLE && !t->waits)
		more = txn_step(t);
	if (UNLIKELY(t->ops_due))
		settle_put_ops(t);
	return more;
}

static int64_t
half_end(const struct txn *t)
{
	const struct store_queue *q = store_queue_find(t->b->store, SLICE_LIT(TXN_HALF_TOPIC), 0);

	return q != NULL ? queue_max(q) : 0;
}

static void
keep_offset(struct txn *t, const char *topic, int64_t offset)
{
	struct slice group = SLICE_LIT(TXN_GROUP), name = slice_of(topic);

	if (offset_get(t->b->offsets, group, name, 0) != offset)
		(void)offset_commit(t->b->offsets, "the check of transactions", group, name, 0, offset);
}

void
txn_note_progress(struct txn *t)
{
	if (t->phase != TXN_IDLE && t->phase != TXN_CHECK)
		return;
	txn_window_advance(&t->w, MIN_OF(half_end(t), settle_lowest_flying(t)));
	keep_offset(t, TXN_HALF_TOPIC, t->w.next);
	keep_offset(t, TXN_OP_TOPIC, t->w.op_next);
}

void
txn_second(struct txn *t)
{
	struct txn_state s;

	if (!broker_is_master(t->b) || t->b->failed) {
		t->phase = TXN_OFF;
		return;
	}
	if (t->phase == TXN_OFF)
		txn_begin_reading(t);
	t->ops_due |= t->pending != NULL;
	txn_note_progress(t);
	txn_state(t, &s);
	atomic_store_explicit(&t->b->w->shm->counters.txn_undecided, (uint64_t)s.undecided, memory_order_relaxed);
	if (t->phase == TXN_IDLE && !t->b->stopping &&
	    clock_mono_ms() - t->last_check_ms >= t->b->conf->transactionCheckInterval)
		txn_begin_check(t);
}

bool
txn_knows(const struct txn *t)
{
	return t->phase == TXN_IDLE || t->phase == TXN_CHECK;
}

/* ---- status */

static int64_t
born_of(struct txn *t, int64_t offset)
{
	struct store_queue *q = store_queue_find(t->b->store, SLICE_LIT(TXN_HALF_TOPIC), 0);
	int64_t physical, code, at, len;
	struct message half;
	int32_t size;

	if (q == NULL || store_unit_at(t->b->store, q, offset, &physical, &size, &code) != RC_OK ||
	    store_record_is_cold(t->b->store, physical, size, &at, &len) || txn_half_at(t, physical, &half) != RC_OK)
		return -1;
	return half.born_ms;
}

void
txn_state(struct txn *t, struct txn_state *s)
{
	int64_t first, end = half_end(t);

	*s = (struct txn_state){0, -1};
	if (t->phase != TXN_IDLE && t->phase != TXN_CHECK)
		return;
	s->undecided = MAX_OF(end - t->w.next - t->w.settled, 0);
	first = txn_window_open_from(&t->w, t->w.next, end);
	if (s->undecided > 0 && first < end)
		s->oldest_ms = born_of(t, first);
}
