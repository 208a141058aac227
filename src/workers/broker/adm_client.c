/*
 * adm_client: who is connected (203, 204, 328), and questions that a consumer answers itself (223, 307, 309).
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/admin.h"
#include "workers/broker/clients.h"
#include "workers/broker/relay.h"
#include "workers/broker/reread.h"

#define RUNNING_INFO_VERSION	62	/* older clients do not know 307 and 309 */
#define STATUS_VERSION		28	/* nor 221 */
#define STATUS_MS		5000

/* ---- lists */

static void
put_connections(const struct member *m, struct buf *out)
{
	buf_put_str(out, "\"connectionSet\":[");
	for (; m != NULL; m = m->next) {
		admin_comma(out);
		buf_put_str(out, "{\"clientAddr\":");
		buf_put_json(out, slice_of(m->conn->peer_text));
		buf_put_str(out, ",\"clientId\":");
		buf_put_json(out, slice_of(m->client_id));
		buf_printf(out, ",\"language\":\"%s\",\"version\":%d}", language_name(m->language), m->version);
	}
	buf_put_char(out, ']');
}

static void
put_subscriptions(const struct consumer_group *g, struct buf *out)
{
	buf_put_str(out, "\"subscriptionTable\":{");
	for (unsigned i = 0; i < g->sub_count; i++) {
		admin_comma(out);
		buf_put_json(out, g->subs[i]->topic);
		buf_put_char(out, ':');
		subscription_put_json(g->subs[i], out);
	}
	buf_put_char(out, '}');
}

void
adm_consumer_connections(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice group = admin_need(c, cmd, "consumerGroup");
	const struct consumer_group *g = consumer_group_find(b->clients, group);
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (group.n == 0)
		return;
	if (g == NULL) {
		conn_answer(c, &id, RES_CONSUMER_NOT_ONLINE, "the consumer group[%.*s] not online", TEXT_OF(group));
		return;
	}
	buf_put_char(&body, '{');
	put_connections(g->members, &body);
	buf_printf(&body, ",\"consumeFromWhere\":\"%s\",\"consumeType\":\"%s\",\"messageModel\":\"%s\",", consume_from_names[g->from_where],
	    consume_type_names[g->consume_type], message_model_names[g->model]);
	put_subscriptions(g, &body);
	buf_put_char(&body, '}');
	answer_buf(c, &id, &body);
}

void
adm_producer_connections(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice group = admin_need(c, cmd, "producerGroup");
	const struct producer_group *g = producer_group_find(b->clients, group);
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (group.n == 0)
		return;
	if (g == NULL) {
		conn_answer(c, &id, RES_SYSTEM_ERROR, "the producer group[%.*s] not exist", TEXT_OF(group));
		return;
	}
	buf_put_char(&body, '{');
	put_connections(g->members, &body);
	buf_put_char(&body, '}');
	answer_buf(c, &id, &body);
}

static void
put_producers(void *arg, struct producer_group *g)
{
	struct buf *out = arg;

	admin_comma(out);
	buf_put_json(out, slice_of(g->name));
	buf_put_str(out, ":[");
	for (const struct member *m = g->members; m != NULL; m = m->next) {
		admin_comma(out);
		buf_put_str(out, "{\"clientId\":");
		buf_put_json(out, slice_of(m->client_id));
		buf_printf(out, ",\"language\":\"%s\",\"lastUpdateTimestamp\":%lld,\"remoteIP\":\"/%s\",\"version\":%d}",
		    language_name(m->language), (long long)m->last_ms, m->conn->peer_text, m->version);
	}
	buf_put_char(out, ']');
}

void
adm_all_producers(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct buf body = {.limit = FRAME_MAX - HEADER_MAX};

	request_id_of(&id, cmd);
	buf_put_str(&body, "{\"data\":{");
	producer_groups_each(b->clients, put_producers, &body);
	buf_put_str(&body, "}}");
	answer_buf(c, &id, &body);
}

/* ---- 307, 309 */

/* The consumer that shall answer; NULL: answered. An empty client id means any of the group. */
static const struct member *
find_consumer(struct broker *b, struct conn *c, const struct request_id *id, struct slice group, struct slice client)
{
	const struct consumer_group *g = consumer_group_find(b->clients, group);
	const struct member *m = g == NULL ? NULL : client.n > 0 ? consumer_member(g, client) : g->members;

	if (m == NULL)
		conn_answer(c, id, RES_SYSTEM_ERROR, "The Consumer <%.*s> <%.*s> not online", TEXT_OF(group), TEXT_OF(client));
	else if (m->version < RUNNING_INFO_VERSION)
		conn_answer(c, id, RES_SYSTEM_ERROR, "The Consumer <%s> Version <%d> too low to finish, please upgrade it to V3_1_8_SNAPSHOT",
		    m->client_id, m->version);
	else
		return m;
	return NULL;
}

static void
begin_relay(struct call_out *o, struct broker *b, struct conn *c, const struct request_id *id, const struct member *m, struct slice group)
{
	char *who = xasprintf("<%.*s> <%s>", TEXT_OF(group), m->client_id);

	relay_begin(o, b, m->conn, c, id, who);
	free(who);
}

void
adm_consumer_running_info(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice group = admin_need(c, cmd, "consumerGroup");
	const struct member *m;
	struct request_id id;
	struct call_out o;

	request_id_of(&id, cmd);
	if (group.n == 0 || (m = find_consumer(b, c, &id, group, field_get(cmd, "clientId"))) == NULL)
		return;
	begin_relay(&o, b, c, &id, m, group);
	relay_fields(&o, cmd, NULL);
	call_end(&o, SLICE_NONE);
}

/* The stored message of an offset message id. False: there is none, answered. */
static bool
find_record(struct broker *b, struct conn *c, struct command *cmd, const struct request_id *id, struct slice *record)
{
	struct slice msg_id = field_get(cmd, "msgId");
	bool found;
	struct addr host;
	int64_t physical;

	*record = SLICE_NONE;
	if (msg_id.n == 0)
		return true;
	reread_begin(b);
	found = message_id_parse(msg_id, &host, &physical) == RC_OK && store_record_at(b->store, physical, record) == RC_OK;
	if (reread_needed(b, c, cmd, adm_consume_directly))
		return false;
	if (found)
		return true;
	conn_answer(c, id, RES_SYSTEM_ERROR, "there is no message with the id %.*s", TEXT_OF(msg_id));
	return false;
}

void
adm_consume_directly(struct broker *b, struct conn *c, struct command *cmd)
{
	static const char *const own[] = {"brokerName", "topicSysFlag", "groupSysFlag", NULL};
	struct slice group = admin_need(c, cmd, "consumerGroup"), record;
	const struct topic *t = topic_find(b->topics, field_get(cmd, "topic"));
	const struct group *g = group_find(b->groups, group);
	const struct member *m;
	struct request_id id;
	struct call_out o;

	request_id_of(&id, cmd);
	if (group.n == 0 || !find_record(b, c, cmd, &id, &record))
		return;
	m = find_consumer(b, c, &id, group, field_get(cmd, "clientId"));
	if (m == NULL)
		return;
	begin_relay(&o, b, c, &id, m, group);
	relay_fields(&o, cmd, own);
	frame_field(&o.f, "brokerName", slice_of(b->conf->brokerName));
	if (t != NULL)
		frame_field_i64(&o.f, "topicSysFlag", t->sys_flag);
	if (g != NULL)
		frame_field_i64(&o.f, "groupSysFlag", g->sys_flag);
	call_end(&o, record);
}

/* ---- 223: each consumer's own view of its offsets */

struct status_round {
	struct conn	*asker;		/* a reference */
	struct request_id id;
	unsigned	 open;		/* answers to wait for, and one while they are asked */
	struct buf	 out;
};

struct status_call {
	struct status_round *round;
	char		*client_id;
};

static void
round_step_done(struct status_round *r)
{
	if (--r->open > 0)
		return;
	buf_put_str(&r->out, "},\"messageQueueTable\":{}}");
	answer_buf(r->asker, &r->id, &r->out);
	conn_unref(&r->asker);
	free(r);
}

/* Keys of the table are queues as JSON text: written back as they came. */
static void
put_status(struct buf *out, const char *client_id, json_t *table)
{
	const char *mq;
	json_t *v;

	admin_comma(out);
	buf_put_json(out, slice_of(client_id));
	buf_put_str(out, ":{");
	json_object_foreach(table, mq, v) {
		admin_comma(out);
		buf_put_str(out, mq);
		buf_put_char(out, ':');
		buf_put_i64(out, json_integer_value(v));
	}
	buf_put_char(out, '}');
}

static void
on_status(void *arg, struct command *cmd, const char *why)
{
	struct status_call *k = arg;
	json_t *body = NULL;
	struct err e;

	if (cmd == NULL)
		log_info("consumer %s does not tell its offsets: %s", k->client_id, why);
	else if (cmd->code == RES_SUCCESS && cmd->body.n > 0 && json_load_relaxed(cmd->body, &body, &e) == RC_OK)
		put_status(&k->round->out, k->client_id, json_object_get(body, "messageQueueTable"));
	json_decref(body);
	round_step_done(k->round);
	free(k->client_id);
	free(k);
}

static void
ask_status(struct broker *b, struct status_round *r, const struct member *m, const struct command *cmd)
{
	struct status_call *k = xcalloc(1, sizeof *k);
	struct call_out o;

	k->round = r;
	k->client_id = xstrdup(m->client_id);
	r->open++;
	call_begin(&o, b->calls, m->conn, REQ_GET_CONSUMER_STATUS_FROM_CLIENT, STATUS_MS, on_status, k);
	frame_field(&o.f, "topic", field_get(cmd, "topic"));
	frame_field(&o.f, "group", field_get(cmd, "group"));
	call_end(&o, SLICE_NONE);
}

void
adm_consumer_status(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice group = admin_need(c, cmd, "group"), client = field_get(cmd, "clientAddr");
	const struct consumer_group *g = consumer_group_find(b->clients, group);
	struct status_round *r;
	struct request_id id;

	request_id_of(&id, cmd);
	if (group.n == 0)
		return;
	if (g == NULL) {
		conn_answer(c, &id, RES_SYSTEM_ERROR, "No Any Consumer online in the consumer group: [%.*s]", TEXT_OF(group));
		return;
	}
	r = xcalloc(1, sizeof *r);
	r->asker = c;
	conn_ref(c);
	r->id = id;
	r->open = 1;
	r->out.limit = FRAME_MAX - HEADER_MAX;
	buf_put_str(&r->out, "{\"consumerTable\":{");
	for (const struct member *m = g->members; m != NULL; m = m->next)
		if (m->version >= STATUS_VERSION && (client.n == 0 || slice_is(client, m->client_id)))
			ask_status(b, r, m, cmd);
	round_step_done(r);
}
