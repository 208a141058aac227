/*
 * req_pop: code 200050: messages that are popped.
 *
 * Runs in:    the broker process.
 */
#include "common/clock.h"
#include "workers/broker/pop_answer.h"

#define LATE_MS 500 /* behind the time that the client waits: its answer would not be read */

/* One pass's filter. */
struct filtering {
	struct pop *pop;
	struct conn *conn;
	const struct request_id *id;
	const struct pop_ask *ask;
	struct subscription *own;
	struct sql_filter *sql; /* a reference */
	struct tag_filter filter;
};

static bool
is_tag_type(struct slice type)
{
	return type.n == 0 || slice_is(type, "TAG");
}

static bool
refuse_filter(struct filtering *t, const char *why)
{
	conn_answer(t->conn, t->id, RES_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed%s%s",
		    why != NULL ? ": " : "", why != NULL ? why : "");
	return false;
}

static bool
make_filter(struct filtering *t)
{
	const struct pop_ask *ask = t->ask;
	bool sql = ask->exp.n > 0 && !is_tag_type(ask->exp_type);
	struct slice exp = ask->exp.n > 0 ? ask->exp : SLICE_LIT("*");
	struct err e;

	if (sql && !slice_is(ask->exp_type, "SQL92"))
		return refuse_filter(t, "expType is neither TAG nor SQL92");
	if (sql && (t->sql = filters_compile(t->pop->b->filters, exp, &e)) == NULL)
		return refuse_filter(t, e.text);
	if (subscription_make(ask->topic, exp, ask->exp.n > 0 ? ask->exp_type : SLICE_NONE, clock_wall_ms(), &t->own) !=
	    RC_OK)
		return refuse_filter(t, NULL);
	if (!ask->again)
		clients_note_pull_sub(t->pop->b->clients, ask->group, t->own);
	t->filter = sql ? (struct tag_filter){.all = true, .sql = t->sql} : tag_filter_of(t->own);
	return true;
}

/* ---- requests */

void
pop_take_run(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask)
{
	struct filtering t = {.pop = p, .conn = c, .id = id, .ask = ask};
	struct topic *topic = pop_check(p, c, id, ask);

	if (topic != NULL && make_filter(&t))
		pop_take(p, c, id, ask, topic, &t.filter);
	if (t.own != NULL)
		subscription_free(&t.own);
	sql_filter_unref(&t.sql);
}

void
pop_ask_give_up(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask)
{
	(void)p;
	if (ask->kind == POP_MESSAGES)
		pop_answer_nothing(c, id, RES_POLLING_TIMEOUT, ask, 0, ask->order ? POP_ORDER_QUEUE : 0);
	else
		pop_notice_answer(c, id, false, false);
}

static bool
check_request(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask)
{
	int64_t over = clock_wall_ms() - ask->born_ms - MAX_OF(ask->poll_ms, 0);
	const char *why, *ip = p->b->conf->brokerIP1;
	struct pop_name name;
	int code;

	if (over > LATE_MS)
		conn_answer(c, id, RES_POLLING_TIMEOUT, "the broker[%s] pop message is timeout too much", ip);
	else if (!broker_readable(p->b))
		conn_answer(c, id, RES_NO_PERMISSION, "the broker[%s] pop message is forbidden", ip);
	else if (ask->max > POP_BATCH_MAX)
		conn_answer(c, id, RES_INVALID_PARAMETER, "the broker[%s] pop message's num is greater than 32", ip);
	else if (!p->b->conf->timerWheelEnable)
		conn_answer(c, id, RES_SYSTEM_ERROR,
			    "the broker[%s] pop message is forbidden because timerWheelEnable is false", ip);
	else if (p->state == NULL)
		conn_answer(c, id, RES_SYSTEM_BUSY, "this broker is a slave: messages are popped from the master");
	else if ((why = broker_send_refusal(p->b, &code)) != NULL)
		conn_answer(c, id, code, "%s", why);
	else if (!pop_retry_name(ask->group, ask->topic, POP_RETRY_V2, &name))
		conn_answer(c, id, RES_INVALID_PARAMETER,
			    "group and topic together are too long for the name of a retry topic: %zu bytes",
			    ask->group.n + ask->topic.n);
	else
		return true;
	return false;
}

void
req_pop(struct broker *b, struct conn *c, struct command *cmd)
{
	struct pop_ask ask = {.kind = POP_MESSAGES,
			      .exp = field_get(cmd, "exp"),
			      .exp_type = field_get(cmd, "expType"),
			      .attempt = field_get(cmd, "attemptId"),
			      .order = field_bool(cmd, "order", false)};
	struct request_id id;

	request_id_of(&id, cmd);
	if (!pop_ask_read(&ask, c, cmd))
		return;
	if (field_need_i32(cmd, "maxMsgNums", &ask.max) != RC_OK)
		return broker_bad_field(c, cmd, "maxMsgNums");
	if (field_need_i64(cmd, "invisibleTime", &ask.invisible_ms) != RC_OK)
		return broker_bad_field(c, cmd, "invisibleTime");
	if (field_need_i32(cmd, "initMode", &ask.init_mode) != RC_OK)
		return broker_bad_field(c, cmd, "initMode");
	if (check_request(b->pop, c, &id, &ask))
		pop_take_run(b->pop, c, &id, &ask);
}
