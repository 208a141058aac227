/*
 * req_txn: codes 37 and 323: a producer ends its transaction; an operator has one asked for again.
 *
 * Runs in:    the broker process.
 */
#include <errno.h>

#include "common/clock.h"
#include "common/fault.h"
#include "workers/broker/answer.h"
#include "workers/broker/cold.h"
#include "workers/broker/timer.h"
#include "workers/broker/txn_int.h"

#define PARKED_MAX 100000 /* beyond this, requests are served before all is read */

/* ---- one that waits */

static void
end_free(struct end **e)
{
	conn_unref(&(*e)->conn);
	free((*e)->group);
	free(*e);
	*e = NULL;
}

static struct end *
end_copy(const struct end *from)
{
	struct end *e = xmalloc(sizeof(*e));

	*e = *from;
	e->next = NULL;
	e->group = xstrdup(from->group);
	conn_ref(e->conn);
	return e;
}

static void
park(struct txn *t, const struct end *from)
{
	struct end *e = end_copy(from);

	*t->parked_end = e;
	t->parked_end = &e->next;
	t->parked_count++;
}

static void end_run(struct end *e);

void
ends_run_parked(struct txn *t)
{
	struct end *list = t->parked, *e;

	t->parked = NULL;
	t->parked_end = &t->parked;
	t->parked_count = 0;
	while ((e = list) != NULL) {
		list = e->next;
		end_run(e);
		end_free(&e);
	}
}

void
ends_free(struct txn *t)
{
	struct end *e;

	while ((e = t->parked) != NULL) {
		t->parked = e->next;
		end_free(&e);
	}
}

static void
warm_has_read(void *arg, int error)
{
	struct end *e = arg;

	if (error == 0) {
		e->warmed = true;
		end_run(e);
	} else if (error != ECANCELED) {
		conn_answer(e->conn, &e->id, RES_SYSTEM_ERROR, "the half message cannot be read: %s", strerror(error));
	}
	end_free(&e);
}

/* True: the rest comes later. */
static bool
must_wait(struct end *e)
{
	struct txn *t = e->b->txn;
	int64_t at, len;
	struct end *copy;

	if (t->phase != TXN_IDLE && t->phase != TXN_CHECK && !e->b->failed && t->parked_count < PARKED_MAX) {
		park(t, e);
		return true;
	}
	if (e->warmed || !store_record_is_cold(e->b->store, e->physical, 0, &at, &len))
		return false;
	copy = end_copy(e);
	if (cold_wait(e->b->cold, at, len, warm_has_read, copy) == RC_OK)
		return true;
	end_free(&copy);
	return false;
}

/* ---- checks */

static bool
refuse(struct end *e, int code, const char *why)
{
	conn_answer(e->conn, &e->id, code, "%s", why);
	return false;
}

/* A producer that set its own time for the first check must be done by then, or wait to be asked. */
static bool
is_too_late(const struct end *e, const struct message *half)
{
	if (e->from_check || props_get(half->props[0], PROP_IMMUNITY).n == 0)
		return false;
	return clock_wall_ms() - half->born_ms > txn_immunity_ms(e->b->txn, half);
}

static bool
check_half(struct end *e, struct message *half)
{
	if (txn_half_at(e->b->txn, e->physical, half) != RC_OK)
		return refuse(e, RES_SYSTEM_ERROR, "Find prepared transaction message failed");
	if (is_too_late(e, half))
		return refuse(e, RES_ILLEGAL_OPERATION,
			      "the transaction is older than its CHECK_IMMUNITY_TIME_IN_SECONDS: wait to be asked");
	if (!slice_is(props_get(half->props[0], PROP_GROUP), e->group))
		return refuse(e, RES_SYSTEM_ERROR, "The producer group wrong");
	if (half->queue_offset != e->half)
		return refuse(e, RES_SYSTEM_ERROR, "The transaction state table offset wrong");
	return true;
}

/* ---- the end */

static bool
make_final(const struct end *e, const struct message *half, struct message *m)
{
	append_copy(e->b, half, m);
	m->sysflag = (m->sysflag & ~MSG_SYS_TRAN_MASK) | MSG_SYS_TRAN_COMMIT;
	m->prepared_offset = e->physical;
	m->topic = props_get(half->props[0], PROP_REAL_TOPIC);
	m->props[0] = half->props[0];
	return m->topic.n > 0 && str_i32(props_get(half->props[0], PROP_REAL_QUEUE), &m->queue_id) == RC_OK &&
	       m->queue_id >= 0;
}

/*
 * A time that its producer has set counts from the commit. It was looked at when the half message came; if it is no good any more,
 * the message comes at once, for it is committed.
 */
static void
wait_for_its_time(const struct end *e, struct message *m)
{
	struct buf *text = &e->b->txn->text;
	struct slice topic = m->topic, props = m->props[0];
	int64_t out_ms;

	/* The original's half messages have had their time already, in the timer, if they have TIMER_OUT_MS. */
	if (!e->b->conf->timerWheelEnable || props_get(props, "TIMER_OUT_MS").n > 0 ||
	    timer_asked(e->b, props, &out_ms) != TIMER_LATER)
		return;
	text->len = 0;
	timer_wrap(m, out_ms, topic, m->queue_id, props, text);
	m->props[0] = buf_slice(text);
}

static void
commit(struct end *e, const struct message *half, struct settle *s)
{
	struct slice topic;
	struct message m;
	enum rc rc;

	if (!make_final(e, half, &m)) {
		settle_free(&s);
		(void)refuse(e, RES_SYSTEM_ERROR, "the half message does not say its real topic and queue");
		return;
	}
	topic = m.topic;
	wait_for_its_time(e, &m);
	fault_hit(FAULT_TXN_BEFORE_COMMIT);
	if ((rc = settle_append(&s, &m)) == RC_OK) {
		txn_metrics_add(e->b->txn->metrics, topic, -1);
		return;
	}
	settle_free(&s);
	if (rc == RC_LIMIT)
		(void)refuse(e, RES_MESSAGE_ILLEGAL,
			     "the message is illegal, maybe msg body or properties length not matched.");
	else
		conn_answer(e->conn, &e->id, RES_SERVICE_NOT_AVAILABLE, "service not available now. %s",
			    store_refusal(e->b->store) != NULL ? store_refusal(e->b->store)
							       : "The message could not be stored");
}

static void
end_run(struct end *e)
{
	struct txn *t = e->b->txn;
	struct copied *copied;
	struct settle *s;
	struct message half;
	int64_t first, newest;

	if (must_wait(e) || !check_half(e, &half))
		return;
	first = txn_first_offset(&half);
	copied = txn_copied(t, first);
	newest = copied != NULL ? copied->newest : e->half;
	/* The first decision stands. What has left the window may have been given up: then its producer may still. */
	if (newest >= t->w.next && txn_window_is_settled(&t->w, newest)) {
		conn_answer(e->conn, &e->id, RES_SUCCESS, NULL);
		return;
	}
	s = settle_new(t, e->what == MSG_SYS_TRAN_COMMIT ? SETTLE_COMMIT : SETTLE_ROLLBACK, e->half, newest, first);
	settle_for(s, e->conn, &e->id);
	if (s->kind == SETTLE_COMMIT) {
		commit(e, &half, s);
	} else {
		settle_begin(&s);
		txn_metrics_add(t->metrics, props_get(half.props[0], PROP_REAL_TOPIC), -1);
	}
}

void
req_end_transaction(struct broker *b, struct conn *c, struct command *cmd)
{
	struct end e = {.b = b, .conn = c, .from_check = field_bool(cmd, "fromTransactionCheck", false)};
	char group[256];
	struct slice name = field_get(cmd, "producerGroup");

	if (name.n == 0 || name.n >= sizeof(group))
		return broker_bad_field(c, cmd, "producerGroup");
	if (field_need_i64(cmd, "tranStateTableOffset", &e.half) != RC_OK)
		return broker_bad_field(c, cmd, "tranStateTableOffset");
	if (field_need_i64(cmd, "commitLogOffset", &e.physical) != RC_OK)
		return broker_bad_field(c, cmd, "commitLogOffset");
	if (field_need_i32(cmd, "commitOrRollback", &e.what) != RC_OK)
		return broker_bad_field(c, cmd, "commitOrRollback");
	if (field_get(cmd, "msgId").n == 0)
		return broker_bad_field(c, cmd, "msgId");
	request_id_of(&e.id, cmd);
	memcpy(group, name.p, name.n);
	group[name.n] = '\0';
	e.group = group;
	if (!broker_is_master(b))
		(void)refuse(&e, RES_SLAVE_NOT_AVAILABLE, "this broker is a slave: transactions end at the master");
	else if (e.what == MSG_SYS_TRAN_COMMIT || e.what == MSG_SYS_TRAN_ROLLBACK)
		end_run(&e);
}

/* ---- 323 */

struct resume {
	struct conn *conn;
	struct request_id id;
};

static void
resumed(void *arg, int64_t tag, const struct appended *a)
{
	struct resume *r = arg;

	(void)tag;
	if (append_is_stored(a->code))
		conn_answer(r->conn, &r->id, RES_SUCCESS, NULL);
	else
		conn_answer(r->conn, &r->id, RES_SYSTEM_ERROR, "Put message back to " TXN_HALF_TOPIC " failed. %s",
			    a->why);
	conn_unref(&r->conn);
	free(r);
}

/* The half message itself, or what was made of it when it was given up. */
static bool
read_given_up(struct broker *b, struct slice id, struct message *m)
{
	struct addr host;
	struct slice record;
	int64_t physical;

	return message_id_parse(id, &host, &physical) == RC_OK &&
	       store_record_at(b->store, physical, &record) == RC_OK &&
	       message_decode(m, record.p, record.n, false) == RC_OK &&
	       (slice_is(m->topic, TXN_HALF_TOPIC) || slice_is(m->topic, TXN_GIVEN_UP_TOPIC));
}

void
req_resume_check(struct broker *b, struct conn *c, struct command *cmd)
{
	struct append_to to = {.done = resumed};
	struct request_id id;
	struct resume *r;
	struct message old, m;

	request_id_of(&id, cmd);
	if (!broker_is_master(b) || !read_given_up(b, field_get(cmd, "msgId"), &old)) {
		conn_answer(c, &id, RES_SYSTEM_ERROR,
			    "Put message back to " TXN_HALF_TOPIC " failed: no half message has that id here");
		return;
	}
	txn_copy_props(b->txn, &old, 0);
	append_copy(b, &old, &m);
	m.sysflag &= ~MSG_SYS_TRAN_MASK;
	m.topic = SLICE_LIT(TXN_HALF_TOPIC);
	m.props[0] = buf_slice(&b->txn->text);
	r = xmalloc(sizeof(*r));
	*r = (struct resume){c, id};
	to.arg = r;
	conn_ref(c);
	if (append_message(b, &m, &to) == RC_OK) {
		txn_opened(b->txn, props_get(old.props[0], PROP_REAL_TOPIC));
		return;
	}
	resumed(r, 0, &(struct appended){.code = RES_SERVICE_NOT_AVAILABLE, .why = "Writes are refused now"});
}
