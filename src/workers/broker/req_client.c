/*
 * req_client: heartbeats, leaving, who is in a group (34, 35, 38, 46).
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/answer.h"
#include "workers/broker/filters.h"

/* The body as JSON; NULL: answered already. */
static json_t *
load_body(struct conn *c, const struct request_id *id, struct slice body)
{
	struct err e = {""};
	json_t *o = NULL;

	if (body.n > 0 && json_load_relaxed(body, &o, &e) == RC_OK && json_is_object(o))
		return o;
	json_decref(o);
	conn_answer(c, id, RES_SYSTEM_ERROR, "the body of request %d is not what it must be: %s", id->code,
	    body.n == 0 ? "it is empty" : e.text[0] != '\0' ? e.text : "no JSON object");
	return NULL;
}

/* ---- 34 */

static bool
subscribes_order_topic(struct broker *b, const json_t *subs)
{
	for (size_t i = 0; i < json_array_size(subs); i++) {
		const struct topic *t = topic_find(b->topics, slice_of(json_get_str(json_array_get(subs, i), "topic", "")));

		if (t != NULL && t->order)
			return true;
	}
	return false;
}

/* The group consumes %RETRY%group by itself, so its route must be there soon. */
static void
make_retry_topic(struct broker *b, const struct group *g, const json_t *data)
{
	char *name = xasprintf("%%RETRY%%%s", g->name);
	int32_t sys_flag = json_get_bool(data, "unitMode", false) ? TOPIC_SYS_UNIT_SUB : 0;
	struct topic *t = topic_ensure(b->topics, slice_of(name), g->retry_queues, PERM_READ | PERM_WRITE, sys_flag);

	topic_set_order(b->topics, t, subscribes_order_topic(b, json_object_get(data, "subscriptionDataSet")));
	free(name);
}

/* False: the client left its subscriptions out and must send them. */
static bool
take_consumer(struct broker *b, const struct client_info *who, const json_t *data, bool with_subs)
{
	struct group *g = group_find_or_make(b->groups, slice_of(json_get_str(data, "groupName", "")));

	if (g == NULL)
		return true;
	if (with_subs)
		make_retry_topic(b, g, data);
	return clients_register_consumer(b->clients, who, data, with_subs);
}

static bool
take_consumers(struct broker *b, const struct client_info *who, const json_t *heartbeat)
{
	const json_t *set = json_object_get(heartbeat, "consumerDataSet");
	bool with_subs = !json_get_bool(heartbeat, "withoutSub", false);
	bool known = true;

	for (size_t i = 0; i < json_array_size(set); i++)
		if (!take_consumer(b, who, json_array_get(set, i), with_subs))
			known = false;
	return known;
}

static void
take_producers(struct broker *b, const struct client_info *who, const json_t *heartbeat)
{
	const json_t *set = json_object_get(heartbeat, "producerDataSet");

	for (size_t i = 0; i < json_array_size(set); i++)
		clients_register_producer(b->clients, who, slice_of(json_get_str(json_array_get(set, i), "groupName", "")));
}

void
req_heartbeat(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct frame_out f;
	struct client_info who = {.conn = c, .language = cmd->language, .version = cmd->version};
	json_t *heartbeat;
	bool send_subs;

	request_id_of(&id, cmd);
	heartbeat = load_body(c, &id, cmd->body);
	if (heartbeat == NULL)
		return;
	who.client_id = slice_of(json_get_str(heartbeat, "clientID", ""));
	who.fingerprint = (int32_t)json_get_i64(heartbeat, "heartbeatFingerprint", 0);
	take_producers(b, &who, heartbeat);
	/* An old form (no fingerprint) is always complete; true is what the original answers to it. */
	send_subs = !take_consumers(b, &who, heartbeat) || who.fingerprint == 0;
	json_decref(heartbeat);
	if (answer_begin(&f, c, &id, RES_SUCCESS)) {
		frame_field_bool(&f, "IS_SUPPORT_HEART_BEAT_V2", true);
		frame_field_bool(&f, "IS_SUB_CHANGE", send_subs);
		answer_end(&f, c);
	}
}

/* ---- 35, 38, 46 */

void
req_unregister(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;

	request_id_of(&id, cmd);
	clients_unregister_producer(b->clients, c, field_get(cmd, "producerGroup"));
	clients_unregister_consumer(b->clients, c, field_get(cmd, "consumerGroup"));
	conn_answer(c, &id, RES_SUCCESS, NULL);
}

/* Two connections with one id are one consumer: it shall not be given two shares. */
static bool
named_before(const struct consumer_group *g, const struct member *m)
{
	const struct member *other = g->members;

	while (other != m && strcmp(other->client_id, m->client_id) != 0)
		other = other->next;
	return other != m;
}

void
req_consumer_list(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice group = field_get(cmd, "consumerGroup");
	struct consumer_group *g = consumer_group_find(b->clients, group);
	struct request_id id;
	struct buf body = {0};
	bool first = true;

	request_id_of(&id, cmd);
	if (group.n == 0) {
		broker_bad_field(c, cmd, "consumerGroup");
		return;
	}
	if (g == NULL) {
		conn_answer(c, &id, RES_SYSTEM_ERROR, "no consumer for this group, %.*s", (int)group.n, group.p);
		return;
	}
	buf_put_str(&body, "{\"consumerIdList\":[");
	for (const struct member *m = g->members; m != NULL; m = m->next) {
		if (named_before(g, m))
			continue;
		if (!first)
			buf_put_char(&body, ',');
		first = false;
		buf_put_json(&body, slice_of(m->client_id));
	}
	buf_put_str(&body, "]}");
	answer_buf(c, &id, &body);
}

/* A subscription that is no TAG: whether heartbeat and pull would take it. */
static void
answer_sql_check(struct broker *b, struct conn *c, const struct request_id *id, const char *type, const char *expression)
{
	struct sql_filter *sql;
	struct err e;

	if (!b->conf->enablePropertyFilter) {
		conn_answer(c, id, RES_SYSTEM_ERROR, "The broker does not support consumer to filter message by %s", type);
		return;
	}
	if (strcmp(type, "SQL92") != 0) {
		conn_answer(c, id, RES_SUBSCRIPTION_PARSE_FAILED, "%s is no type of filter: TAG and SQL92 are", type);
		return;
	}
	sql = filters_compile(b->filters, slice_of(expression), &e);
	if (sql == NULL)
		conn_answer(c, id, RES_SUBSCRIPTION_PARSE_FAILED, "%s", e.text);
	else
		conn_answer(c, id, RES_SUCCESS, NULL);
	sql_filter_unref(&sql);
}

void
req_check_client_config(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	json_t *body, *sub;
	const char *type;

	request_id_of(&id, cmd);
	body = load_body(c, &id, cmd->body);
	if (body == NULL)
		return;
	sub = json_object_get(body, "subscriptionData");
	type = json_get_str(sub, "expressionType", "TAG");
	if (*type == '\0' || strcmp(type, "TAG") == 0)
		conn_answer(c, &id, RES_SUCCESS, NULL);
	else
		answer_sql_check(b, c, &id, type, json_get_str(sub, "subString", ""));
	json_decref(body);
}
