/*
 * txn_settle: half messages on their way to being settled: the copy, the op message behind it, the answer.
 *
 * Runs in:    the broker process.
 * Owns:       what is pending (its op message is not staged) and what flies (it is, and is not known to be safe).
 * Must not:   let an op message into the log before the copy that it speaks of; answer before the op message is safe.
 */
#include "common/clock.h"
#include "common/fault.h"
#include "workers/broker/answer.h"
#include "workers/broker/sends.h"
#include "workers/broker/txn_int.h"

#define OFFSET_TEXT 21   /* an offset and its comma */
#define OP_REST     1024 /* of an op message's record: all but its body */

struct settle *
settle_new(struct txn *t, enum settle_kind kind, int64_t named, int64_t newest, int64_t first)
{
	struct settle *s = xcalloc(1, sizeof(*s));

	*s = (struct settle){.txn = t, .kind = kind, .named = named, .newest = newest, .first = first};
	return s;
}

void
settle_for(struct settle *s, struct conn *c, const struct request_id *id)
{
	s->id = *id;
	if (id->oneway)
		return;
	conn_ref(c);
	s->conn = c;
}

void
settle_free(struct settle **s)
{
	if ((*s)->conn != NULL)
		conn_unref(&(*s)->conn);
	free(*s);
	*s = NULL;
}

static void
answer(struct settle *s, int code, const char *why)
{
	if (s->conn == NULL)
		return;
	conn_answer(s->conn, &s->id, code, why != NULL ? "%s" : NULL, why);
	conn_unref(&s->conn);
}

/* ---- the copy */

static void
append_pending(struct txn *t, struct settle *s)
{
	s->next = NULL;
	*t->pending_end = s;
	t->pending_end = &s->next;
	t->ops_due = true;
}

void
settle_begin(struct settle **sp)
{
	struct settle *s = *sp;

	txn_window_set(&s->txn->w, s->named);
	txn_window_set(&s->txn->w, s->newest);
	append_pending(s->txn, s);
	*sp = NULL;
}

/* The check's own copies: the offset that the new one has is known now. */
static void
note_stored(struct settle *s, const struct appended *a)
{
	struct shm_counters *k = &s->txn->b->w->shm->counters;

	s->stored = true;
	if (s->kind == SETTLE_COMMIT) {
		count_add(&k->txn_committed, 1);
	} else if (s->kind == SETTLE_GIVEN_UP) {
		count_add(&k->txn_given_up, 1);
	} else {
		txn_note_copy(s->txn, s->first, a->queue_offset);
	}
	if (s->kind == SETTLE_CHECKED) {
		count_add(&k->txn_checked, 1);
		txn_ask(s->txn, a->physical);
	}
}

static void
copy_told(void *arg, int64_t tag, const struct appended *a)
{
	struct settle *s = arg;

	(void)tag;
	if (append_is_stored(a->code)) {
		note_stored(s, a);
		return;
	}
	s->failed = true;
	txn_window_clear(&s->txn->w, s->newest);
	answer(s, a->code, a->why);
}

enum rc
settle_append(struct settle **s, struct message *m)
{
	struct append_to to = {.done = copy_told, .arg = *s};
	enum rc rc = append_message((*s)->txn->b, m, &to);

	if (rc == RC_OK)
		settle_begin(s);
	return rc;
}

/* ---- op messages */

/* What had a copy that failed is forgotten. */
static void
op_written(struct op *op, int64_t op_offset)
{
	struct txn *t = op->txn;
	struct settle *s;

	txn_window_op(&t->w, op_offset, op->highest);
	fault_hit(FAULT_TXN_AFTER_COMMIT);
	while ((s = op->settles) != NULL) {
		op->settles = s->next;
		if (s->kind == SETTLE_ROLLBACK)
			count_add(&t->b->w->shm->counters.txn_rolled_back, 1);
		if (s->kind != SETTLE_CHECKED && s->kind != SETTLE_MOVED)
			txn_forget_copy(t, s->first);
		answer(s, RES_SUCCESS, NULL);
		settle_free(&s);
	}
}

/* A rollback is not settled then: its producer is told, or asked again. A copy is there: its op message is tried again. */
static void
op_failed(struct txn *t, struct settle *list, int code, const char *why)
{
	struct settle *s;

	while ((s = list) != NULL) {
		list = s->next;
		if (s->failed) {
			settle_free(&s);
		} else if (s->kind == SETTLE_ROLLBACK) {
			txn_window_clear(&t->w, s->newest);
			answer(s, code, why);
			settle_free(&s);
		} else {
			if (s->stored)
				answer(s, RES_SUCCESS, NULL);
			append_pending(t, s);
		}
	}
	t->ops_due = false; /* in a second */
}

static void
remove_flying(struct txn *t, struct op *op)
{
	struct op **at = &t->flying;

	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	if (op->next == NULL)
		t->flying_end = at;
}

static void
op_told(void *arg, int64_t tag, const struct appended *a)
{
	struct op *op = arg;

	(void)tag;
	remove_flying(op->txn, op);
	if (append_is_stored(a->code))
		op_written(op, a->queue_offset);
	else
		op_failed(op->txn, op->settles, a->code, a->why);
	free(op);
}

static enum rc
append_op(struct op *op, struct slice offsets)
{
	struct broker *b = op->txn->b;
	struct append_to to = {.done = op_told, .arg = op};
	struct buf *text = &op->txn->text;
	struct message m = {.topic = SLICE_LIT(TXN_OP_TOPIC),
			    .body = offsets,
			    .born_ms = clock_wall_ms(),
			    .born_host = b->store_host,
			    .store_host = b->store_host};

	text->len = 0;
	props_put(text, "TAGS", SLICE_LIT("d"));
	props_put(text, "WAIT", SLICE_LIT("true"));
	m.props[0] = buf_slice(text);
	return append_message(b, &m, &to);
}

/* Takes as many of the pending ones as go into one op message. */
static struct op *
collect(struct txn *t, struct buf *offsets)
{
	size_t most = (size_t)MAX_OF(t->b->conf->transactionOpMsgMaxSize, OFFSET_TEXT * 2);
	struct op *op = xcalloc(1, sizeof(*op));
	struct settle **end = &op->settles, *s;

	op->txn = t;
	op->highest = -1;
	while ((s = t->pending) != NULL && offsets->len + OFFSET_TEXT * 2 <= most) {
		if ((t->pending = s->next) == NULL)
			t->pending_end = &t->pending;
		s->next = NULL;
		if (s->failed) {
			settle_free(&s);
			continue;
		}
		buf_printf(offsets, "%lld,", (long long)s->named);
		if (s->newest != s->named)
			buf_printf(offsets, "%lld,", (long long)s->newest);
		op->highest = MAX_OF(op->highest, MAX_OF(s->named, s->newest));
		*end = s;
		end = &s->next;
	}
	return op;
}

/* False: it cannot be stored now. */
static bool
put_op(struct txn *t)
{
	struct buf offsets = {0};
	struct op *op = collect(t, &offsets);
	enum rc rc = op->settles != NULL ? append_op(op, buf_slice(&offsets)) : RC_NOTFOUND;

	buf_free(&offsets);
	if (rc == RC_OK) {
		*t->flying_end = op;
		t->flying_end = &op->next;
		return true;
	}
	if (rc != RC_NOTFOUND)
		op_failed(t, op->settles, RES_SERVICE_NOT_AVAILABLE, "the end of the transaction could not be stored");
	free(op);
	return rc == RC_NOTFOUND;
}

/* Staging the op message must not commit: a copy that failed then would still be named by it. */
static void
make_room(struct txn *t)
{
	if (!store_has_room(t->b->store, (size_t)MAX_OF(t->b->conf->transactionOpMsgMaxSize, 0) + OP_REST))
		sends_commit(t->b->sends);
}

void
settle_put_ops(struct txn *t)
{
	t->ops_due = false;
	do
		make_room(t);
	while (t->pending != NULL && put_op(t));
}

/* ---- all of them */

static int64_t
lowest_of(const struct settle *s, int64_t lowest)
{
	for (; s != NULL; s = s->next)
		lowest = MIN_OF(lowest, MIN_OF(s->named, s->newest));
	return lowest;
}

int64_t
settle_lowest_flying(const struct txn *t)
{
	int64_t lowest = lowest_of(t->pending, INT64_MAX);

	for (const struct op *op = t->flying; op != NULL; op = op->next)
		lowest = lowest_of(op->settles, lowest);
	return lowest;
}

static void
free_list(struct settle *s)
{
	struct settle *next;

	for (; s != NULL; s = next) {
		next = s->next;
		settle_free(&s);
	}
}

void
settles_free(struct txn *t)
{
	struct op *op, *next;

	free_list(t->pending);
	for (op = t->flying; op != NULL; op = next) {
		next = op->next;
		free_list(op->settles);
		free(op);
	}
	t->pending = NULL;
	t->flying = NULL;
}
