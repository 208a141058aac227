/*
 * txn_check: reads at the start which transactions are settled, and asks from time to time for those that are not.
 *
 * Runs in:    the broker process, a bounded step per turn of the loop.
 * Must not:   read from the disk: warm does, and the step goes on later; stop at an entry that cannot be read.
 */
#include <stdio.h>

#include "common/clock.h"
#include "workers/broker/clients.h"
#include "workers/broker/cold.h"
#include "workers/broker/offsets.h"
#include "workers/broker/topics.h"
#include "workers/broker/txn_int.h"

#define STEP_RECORDS 64 /* read in one turn */
#define HOUR_MS      3600000
#define WINDOW_LONG  (1 << 20) /* a transaction that is immune for long is copied when so many stand behind it */

/* ---- reading */

static struct store_queue *
queue_of(const struct txn *t, const char *topic)
{
	return store_queue_find(t->b->store, slice_of(topic), 0);
}

void
txn_warm_has_read(void *arg, int error)
{
	struct txn *t = arg;

	(void)error; /* what cannot be read is passed over like any bad entry */
	t->waits = false;
	t->warmed = true;
}

/* RC_OK: the message at that place of the queue. RC_AGAIN: it comes from the disk. RC_NOTFOUND: none can be read. */
static enum rc
read_at(struct txn *t, struct store_queue *q, int64_t offset, struct message *m)
{
	int64_t physical, code, at, len;
	struct slice record;
	int32_t size;

	if (store_unit_at(t->b->store, q, offset, &physical, &size, &code) != RC_OK)
		return RC_NOTFOUND;
	if (!t->warmed && store_record_is_cold(t->b->store, physical, size, &at, &len) &&
	    cold_wait(t->b->cold, at, len, txn_warm_has_read, t) == RC_OK) {
		t->waits = true;
		return RC_AGAIN;
	}
	t->warmed = false;
	if (store_record_at(t->b->store, physical, &record) != RC_OK ||
	    message_decode(m, record.p, record.n, false) != RC_OK)
		return RC_NOTFOUND;
	return m->queue_offset == offset && slice_eq(m->topic, queue_topic(q)) ? RC_OK : RC_NOTFOUND;
}

/* ---- after the start: op messages */

static void
note_op(struct txn *t, const struct message *op, int64_t half_end)
{
	struct slice rest = op->body, piece;
	int64_t offset, highest = -1;

	while (str_next(&rest, ',', &piece)) {
		if (str_i64(str_trim(piece), &offset) != RC_OK || offset < 0 || offset >= half_end)
			continue;
		txn_window_set(&t->w, offset);
		highest = MAX_OF(highest, offset);
	}
	txn_window_op(&t->w, op->queue_offset, highest);
}

static bool
is_over(const struct txn *t, int64_t end)
{
	return t->at >= end && pos_read(&t->b->w->shm->broker.dispatched) >= t->read_until;
}

static bool
read_ops(struct txn *t)
{
	struct store_queue *ops = queue_of(t, TXN_OP_TOPIC), *halves = queue_of(t, TXN_HALF_TOPIC);
	int64_t end = ops != NULL ? queue_max(ops) : 0;
	struct message m;
	enum rc rc;

	for (int n = 0; n < STEP_RECORDS && t->at < end; n++, t->at++) {
		if ((rc = read_at(t, ops, t->at, &m)) == RC_AGAIN)
			return false;
		if (rc == RC_OK && slice_is(props_get(m.props[0], "TAGS"), "d"))
			note_op(t, &m, halves != NULL ? queue_max(halves) : 0);
		else
			txn_window_op(&t->w, t->at, -1);
	}
	if (!is_over(t, end))
		return t->at < end;
	t->phase = TXN_READ_HALVES;
	t->at = t->w.next;
	return true;
}

/* ---- after the start: copies */

/* A crash between a copy and the op message of the old one leaves both: the copy counts. */
static void
note_half(struct txn *t, const struct message *half)
{
	int64_t first = txn_first_offset(half), old;
	struct copied *it = txn_copied(t, first);

	if (first == half->queue_offset)
		return;
	old = it != NULL ? it->newest : first;
	txn_note_copy(t, first, half->queue_offset);
	if (!txn_window_is_settled(&t->w, old)) {
		struct settle *s = settle_new(t, SETTLE_CHECKED, old, old, first);

		settle_begin(&s);
	}
}

static bool
read_halves(struct txn *t)
{
	struct store_queue *q = queue_of(t, TXN_HALF_TOPIC);
	int64_t end = q != NULL ? queue_max(q) : 0;
	struct message m;
	enum rc rc;

	t->at = txn_window_open_from(&t->w, t->at, end);
	for (int n = 0; n < STEP_RECORDS && t->at < end; n++, t->at = txn_window_open_from(&t->w, t->at + 1, end)) {
		if ((rc = read_at(t, q, t->at, &m)) == RC_AGAIN)
			return false;
		if (rc == RC_OK)
			note_half(t, &m);
	}
	if (t->at < end)
		return true;
	t->phase = TXN_READ_TAIL;
	txn_begin_tail(t);
	return true;
}

/* All is known: transactions end from now on. */
static bool
end_reading(struct txn *t)
{
	struct store_queue *q = queue_of(t, TXN_HALF_TOPIC);
	int64_t end = q != NULL ? queue_max(q) : 0;

	t->phase = TXN_IDLE;
	t->last_check_ms = clock_mono_ms();
	if (t->w.next < end)
		log_info("transactions: %lld are not settled", (long long)(end - t->w.next - t->w.settled));
	ends_run_parked(t);
	return false;
}

static int64_t
offset_within(struct txn *t, const char *topic)
{
	struct store_queue *q = queue_of(t, topic);
	int64_t stored = offset_get(t->b->offsets, SLICE_LIT(TXN_GROUP), slice_of(topic), 0);

	if (q == NULL)
		return 0;
	/* Ahead of the queue: the offsets are of a store that was lost; all is read then. */
	return stored > queue_max(q) ? queue_min(q) : MAX_OF(stored, queue_min(q));
}

void
txn_begin_reading(struct txn *t)
{
	txn_window_begin(&t->w, offset_within(t, TXN_HALF_TOPIC), offset_within(t, TXN_OP_TOPIC));
	t->read_until = pos_read(&t->b->w->shm->broker.appended);
	t->phase = TXN_READ_OPS;
	t->at = t->w.op_next;
}

/* ---- asking */

static struct conn *
producer_to_ask(struct txn *t, struct slice group)
{
	struct producer_group *g = group.n > 0 ? producer_group_find(t->b->clients, group) : NULL;
	struct member *m;

	if (g == NULL || g->member_count == 0)
		return NULL;
	for (unsigned tries = 0; tries < g->member_count; tries++) {
		m = g->members;
		for (unsigned n = t->turns++ % g->member_count; n > 0 && m->next != NULL; n--)
			m = m->next;
		if (!m->conn->closed && conn_out_pending(m->conn) < CONN_OUT_HIGH)
			return m->conn;
	}
	return NULL;
}

/* The half message as its producer sent it: of its real topic and queue. */
static bool
put_real(const struct message *half, struct buf *out)
{
	struct message m = *half;
	char *room;
	size_t n;

	m.topic = props_get(half->props[0], PROP_REAL_TOPIC);
	if (m.topic.n == 0 || m.topic.n > MSG_TOPIC_MAX_V2 ||
	    str_i32(props_get(half->props[0], PROP_REAL_QUEUE), &m.queue_id) != RC_OK)
		return false;
	n = message_size(&m);
	if ((room = buf_room(out, n)) == NULL)
		return false;
	message_encode(&m, room);
	out->len += n;
	return true;
}

static void
ask(struct txn *t, struct conn *c, const struct message *half, struct slice body)
{
	struct slice key = props_get(half->props[0], "UNIQ_KEY");
	char id[MSG_ID_TEXT];
	struct call_out o;

	message_id_text(&half->store_host, half->physical, id);
	call_begin(&o, t->b->calls, c, REQ_CHECK_TRANSACTION_STATE, 0, NULL, NULL);
	frame_field(&o.f, "topic", half->topic);
	frame_field_i64(&o.f, "tranStateTableOffset", half->queue_offset);
	frame_field_i64(&o.f, "commitLogOffset", half->physical);
	frame_field(&o.f, "msgId", key);
	frame_field(&o.f, "transactionId", key);
	frame_field(&o.f, "offsetMsgId", slice_of(id));
	frame_field(&o.f, "bname", slice_of(t->b->conf->brokerName));
	call_end(&o, body);
}

void
txn_ask(struct txn *t, int64_t physical)
{
	struct message half;
	struct conn *c;
	struct buf body = {0};

	if (txn_half_at(t, physical, &half) != RC_OK)
		return;
	if ((c = producer_to_ask(t, props_get(half.props[0], PROP_GROUP))) == NULL)
		return; /* the copy has counted it; it is asked for again */
	if (put_real(&half, &body))
		ask(t, c, &half, buf_slice(&body));
	buf_free(&body);
}

/* ---- the check */

int64_t
txn_immunity_ms(const struct txn *t, const struct message *half)
{
	int64_t seconds;

	if (str_i64(props_get(half->props[0], PROP_IMMUNITY), &seconds) != RC_OK || seconds == -1 ||
	    seconds > INT64_MAX / 1000 || seconds < INT64_MIN / 1000)
		return t->b->conf->transactionTimeOut;
	return seconds * 1000;
}

/* The properties without what a check sets. */
static void
put_props(struct buf *out, struct slice props)
{
	struct slice rest = props, name, value;

	out->len = 0;
	while (props_next(&rest, &name, &value)) {
		if (slice_is(name, PROP_CHECKS) || slice_is(name, PROP_FIRST))
			continue;
		buf_put_slice(out, name);
		buf_put_char(out, 1);
		buf_put_slice(out, value);
		buf_put_char(out, 2);
	}
}

static void
put_number(struct buf *out, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	props_put(out, name, slice_of(text));
}

static enum rc
stage_copy(struct txn *t, const struct message *half, enum settle_kind kind, const char *topic)
{
	struct settle *s = settle_new(t, kind, half->queue_offset, half->queue_offset, txn_first_offset(half));
	struct message m;
	enum rc rc;

	append_copy(t->b, half, &m);
	m.sysflag &= ~MSG_SYS_TRAN_MASK;
	m.topic = slice_of(topic);
	m.props[0] = buf_slice(&t->text);
	if ((rc = settle_append(&s, &m)) != RC_OK)
		settle_free(&s);
	return rc;
}

void
txn_copy_props(struct txn *t, const struct message *half, int64_t checks)
{
	put_props(&t->text, half->props[0]);
	put_number(&t->text, PROP_CHECKS, checks);
}

static enum rc
check_again(struct txn *t, const struct message *half, int32_t checks)
{
	txn_copy_props(t, half, checks + 1);
	put_number(&t->text, PROP_FIRST, txn_first_offset(half));
	return stage_copy(t, half, SETTLE_CHECKED, TXN_HALF_TOPIC);
}

static enum rc
give_up(struct txn *t, const struct message *half)
{
	enum rc rc;

	(void)topic_ensure(t->b->topics, SLICE_LIT(TXN_GIVEN_UP_TOPIC), 1, PERM_READ | PERM_WRITE, 0);
	t->text.len = 0;
	buf_put_slice(&t->text, half->props[0]);
	log_warn("transaction %.*s of producer group %.*s was never decided: it goes to " TXN_GIVEN_UP_TOPIC,
		 (int)props_get(half->props[0], "UNIQ_KEY").n, props_get(half->props[0], "UNIQ_KEY").p,
		 (int)props_get(half->props[0], PROP_GROUP).n, props_get(half->props[0], PROP_GROUP).p);
	rc = stage_copy(t, half, SETTLE_GIVEN_UP, TXN_GIVEN_UP_TOPIC);
	if (rc == RC_OK)
		txn_metrics_add(t->metrics, props_get(half->props[0], PROP_REAL_TOPIC), -1);
	return rc;
}

/* Immune for long: it must not keep the window's begin for ever. It goes behind the others without being counted. */
static enum rc
move_on(struct txn *t, const struct message *half, int64_t end)
{
	if (end - half->queue_offset < WINDOW_LONG)
		return RC_OK;
	put_props(&t->text, half->props[0]);
	put_number(&t->text, PROP_FIRST, txn_first_offset(half));
	return stage_copy(t, half, SETTLE_MOVED, TXN_HALF_TOPIC);
}

/* Other than RC_OK: nothing can be stored now. */
static enum rc
check_half(struct txn *t, const struct message *half, int64_t end)
{
	int64_t now = clock_wall_ms(), age = now - half->born_ms;
	int32_t checks = 0;
	enum rc rc;

	if (str_i32(props_get(half->props[0], PROP_CHECKS), &checks) != RC_OK || checks < 0)
		checks = 0;
	if (checks >= t->b->conf->transactionCheckMax || age > t->b->conf->fileReservedTime * (int64_t)HOUR_MS)
		return give_up(t, half);
	if (age >= 0 && age < txn_immunity_ms(t, half))
		return move_on(t, half, end);
	if ((rc = check_again(t, half, checks)) == RC_LIMIT) /* no room for the count: it would be asked for ever */
		rc = give_up(t, half);
	return rc;
}

static void
drop_bad(struct txn *t, int64_t offset)
{
	struct settle *s = settle_new(t, SETTLE_BAD, offset, offset, offset);

	log_warn("transactions: the half message at queue offset %lld cannot be read: it is passed over",
		 (long long)offset);
	settle_begin(&s);
}

static bool
end_check(struct txn *t)
{
	t->phase = TXN_IDLE;
	t->last_check_ms = clock_mono_ms();
	return false;
}

static bool
check_step(struct txn *t)
{
	struct store_queue *q = queue_of(t, TXN_HALF_TOPIC);
	int64_t end = q != NULL ? queue_max(q) : 0;
	struct message half;
	enum rc rc;

	t->at = txn_window_open_from(&t->w, t->at, end);
	for (int n = 0; n < STEP_RECORDS && t->at < end; n++, t->at = txn_window_open_from(&t->w, t->at + 1, end)) {
		if ((rc = read_at(t, q, t->at, &half)) == RC_AGAIN)
			return false;
		if (rc != RC_OK)
			drop_bad(t, t->at);
		else if (half.store_ms > t->began_ms || check_half(t, &half, end) != RC_OK || t->b->stopping)
			return end_check(t);
	}
	return t->at < end ? true : end_check(t);
}

void
txn_begin_check(struct txn *t)
{
	t->phase = TXN_CHECK;
	t->at = t->w.next;
	t->began_ms = clock_wall_ms();
}

bool
txn_step(struct txn *t)
{
	bool over = false, more;

	switch (t->phase) {
	case TXN_READ_OPS:
		return read_ops(t);
	case TXN_READ_HALVES:
		return read_halves(t);
	case TXN_READ_TAIL:
		more = txn_read_tail(t, &over);
		return over ? end_reading(t) : more;
	case TXN_CHECK:
		return check_step(t);
	case TXN_OFF:
	case TXN_IDLE:
		break;
	}
	return false;
}
