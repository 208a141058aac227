/*
 * txn_tail: half messages that were committed by the turn that a kill has cut: their copies are in the log, the op message is not.
 *
 * Runs in:    the broker process, after its start, a bounded step per turn of the loop.
 * Must not:   read from the disk: warm does, and the step goes on later.
 *
 * A turn's copies and its op message are one write of the log, but two at the end of a segment, and a kill may cut any write. So such
 * copies stand behind the last op message; and behind what delayOffset.json says of the log, for a turn is whole when it
 * is published. They get their op message now: nobody is asked for them, and nothing is delivered twice.
 */
#include "workers/broker/cold.h"
#include "workers/broker/delay.h"
#include "workers/broker/txn_int.h"

#define STEP_RECORDS 4096 /* looked at in one turn */

/* Behind the last op message that was dispatched; 0: there is none. */
static int64_t
behind_ops(const struct txn *t)
{
	struct store_queue *q = store_queue_find(t->b->store, SLICE_LIT(TXN_OP_TOPIC), 0);
	int64_t physical, code;
	int32_t size;

	if (q == NULL || store_unit_at(t->b->store, q, queue_max(q) - 1, &physical, &size, &code) != RC_OK)
		return 0;
	return physical + size;
}

void
txn_begin_tail(struct txn *t)
{
	int64_t saved = delay_saved_end(t->b->delay);

	t->at = MAX_OF(behind_ops(t), pos_read(&t->b->w->shm->clean.min));
	if (saved <= t->read_until)
		t->at = MAX_OF(t->at, saved);
}

static bool
is_committed_copy(const struct message *m)
{
	return (m->sysflag & MSG_SYS_TRAN_MASK) == MSG_SYS_TRAN_COMMIT && m->prepared_offset > 0;
}

static void
settle_copy(struct txn *t, const struct message *half)
{
	int64_t first = txn_first_offset(half);
	struct copied *copied = txn_copied(t, first);
	int64_t newest = copied != NULL ? copied->newest : half->queue_offset;
	struct settle *s;

	if (txn_window_is_settled(&t->w, newest))
		return;
	s = settle_new(t, SETTLE_COMMIT, half->queue_offset, newest, first);
	settle_begin(&s);
	txn_metrics_add(t->metrics, props_get(half->props[0], PROP_REAL_TOPIC), -1);
	log_info("transactions: the one at half queue offset %lld was committed before the start, its op message follows now",
	    (long long)half->queue_offset);
}

/* False: its half message comes from the disk. What cannot be read is passed over. */
static bool
look_at_copy(struct txn *t, const struct message *m)
{
	int64_t at, len;
	struct message half;

	if (!t->warmed && store_record_is_cold(t->b->store, m->prepared_offset, 0, &at, &len) &&
	    cold_wait(t->b->cold, at, len, txn_warm_has_read, t) == RC_OK) {
		t->waits = true;
		return false;
	}
	t->warmed = false;
	if (txn_half_at(t, m->prepared_offset, &half) == RC_OK)
		settle_copy(t, &half);
	return true;
}

bool
txn_read_tail(struct txn *t, bool *over)
{
	struct slice record;
	struct message m;

	for (int n = 0; n < STEP_RECORDS; n++) {
		int64_t at = t->at;

		*over = at >= t->read_until || store_next_record(t->b->store, &at, &record) != RC_OK;
		if (*over)
			return false;
		if (message_decode(&m, record.p, record.n, false) == RC_OK && is_committed_copy(&m) && !look_at_copy(t, &m))
			return false;
		t->at = at;
	}
	return true;
}
