/*
 * adm_topic: an operator makes, changes, deletes and looks at topics (17, 18, 21, 202, 215, 305, 316, 321, 351).
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/admin.h"
#include "workers/broker/brstats.h"
#include "workers/broker/clients.h"
#include "workers/broker/filters.h"
#include "workers/broker/known.h"
#include "workers/broker/offsets.h"
#include "workers/broker/pop.h"
#include "workers/broker/reread.h"
#include "workers/broker/topic_attrs.h"

#define QUEUES_MAX	65536
#define CQ_UNITS_MAX	1000	/* of one answer to 321 */

/* ---- 17, 18 */

/* Why that name may not be changed: code, sentence in e; RES_SUCCESS: it may. */
static int
check_name(struct broker *b, struct slice name, struct err *e)
{
	if (topic_name_fault(name, e) != NULL)
		return RES_INVALID_PARAMETER;
	if (b->conf->validateSystemTopicWhenUpdateTopic && topic_is_system(b->topics, name)) {
		err_set(e, "The topic[%.*s] is conflict with system topic.", TEXT_OF(name));
		return RES_INVALID_PARAMETER;
	}
	return RES_SUCCESS;
}

static int
check_queues(const struct topic *t, struct err *e)
{
	if (t->read_queues >= 0 && t->read_queues <= QUEUES_MAX && t->write_queues >= 0 && t->write_queues <= QUEUES_MAX)
		return RES_SUCCESS;
	err_set(e, "the numbers of queues must lie within 0 and %d: readQueueNums %d, writeQueueNums %d", QUEUES_MAX, t->read_queues,
	    t->write_queues);
	return RES_INVALID_PARAMETER;
}

static int
update(struct broker *b, const struct topic *wanted, struct slice attributes, struct err *e)
{
	int code = check_queues(wanted, e);

	if (code != RES_SUCCESS)
		return code;
	if (!b->conf->enableMixedMessageType && attributes.n > 0 && memmem(attributes.p, attributes.n, "+message.type=MIXED", 19) != NULL) {
		err_set(e, "MIXED message type is not supported.");
		return RES_INVALID_PARAMETER;
	}
	return topic_update(b->topics, wanted, attributes, e) == RC_OK ? RES_SUCCESS : RES_SYSTEM_ERROR;
}

/* Header of 17. False: answered. */
static bool
read_header(struct topic *t, struct conn *c, const struct command *cmd, const struct request_id *id)
{
	struct slice filter = field_get(cmd, "topicFilterType");
	const char *missing = NULL;

	if (!slice_is(filter, "SINGLE_TAG") && !slice_is(filter, "MULTI_TAG")) {
		conn_answer(c, id, RES_SYSTEM_ERROR, "topicFilterType = [%.*s] value invalid", TEXT_OF(filter));
		return false;
	}
	if (field_need_i32(cmd, "perm", &t->perm) != RC_OK)
		missing = "perm";
	else if (field_need_i32(cmd, "readQueueNums", &t->read_queues) != RC_OK)
		missing = "readQueueNums";
	else if (field_need_i32(cmd, "writeQueueNums", &t->write_queues) != RC_OK)
		missing = "writeQueueNums";
	t->multi_tag = slice_is(filter, "MULTI_TAG");
	t->sys_flag = field_i32(cmd, "topicSysFlag", 0);
	t->order = field_bool(cmd, "order", false);
	if (missing != NULL)
		broker_bad_field(c, cmd, missing);
	return missing == NULL;
}

static void
answer_code(struct broker *b, struct conn *c, const struct request_id *id, int code, const struct err *e)
{
	struct frame_out f;

	if (code != RES_SUCCESS) {
		conn_answer(c, id, code, "%s", e->text);
		return;
	}
	if (id->oneway)
		return;
	known_hold(b->known, c, id);
	frame_begin_response(&f, known_out(b->known, c, id), id, code);
	frame_end(&f, 0);
	conn_kick(c);
}

void
adm_topic_update(struct broker *b, struct conn *c, struct command *cmd)
{
	struct topic wanted = {.name_slice = field_get(cmd, "topic")};
	struct request_id id;
	struct err e;
	int code;

	request_id_of(&id, cmd);
	if (admin_refused_on_slave(b, c, &id))
		return;
	code = check_name(b, wanted.name_slice, &e);
	if (code == RES_SUCCESS) {
		if (!read_header(&wanted, c, cmd, &id))
			return;
		code = update(b, &wanted, field_get(cmd, "attributes"), &e);
	}
	if (code == RES_SUCCESS)
		log_info("%s sets topic %.*s: %d read, %d write queues, perm %d", c->peer_text, TEXT_OF(wanted.name_slice),
		    wanted.read_queues, wanted.write_queues, wanted.perm);
	answer_code(b, c, &id, code, &e);
}

static int
update_from_json(struct broker *b, const json_t *config, struct err *e)
{
	struct topic wanted = {.name_slice = slice_of(json_get_str(config, "topicName", "")), .attributes = json_object()};
	struct buf attributes = {0};
	int code = check_name(b, wanted.name_slice, e);

	if (code == RES_SUCCESS) {
		topic_read_json(&wanted, config);
		topic_attrs_change_text(json_object_get(config, "attributes"), &attributes);
		code = update(b, &wanted, buf_slice(&attributes), e);
	}
	json_decref(wanted.attributes);
	buf_free(&attributes);
	return code;
}

/* All names are looked at before the first change. */
void
adm_topic_update_list(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct err e = {""};
	json_t *body, *list;
	int code = RES_SUCCESS;

	request_id_of(&id, cmd);
	if (admin_refused_on_slave(b, c, &id) || (body = admin_body(c, &id, cmd)) == NULL)
		return;
	list = json_object_get(body, "topicConfigList");
	if (!json_is_array(list)) {
		code = RES_SYSTEM_ERROR;
		err_set(&e, "the body has no topicConfigList");
	}
	for (size_t i = 0; i < json_array_size(list) && code == RES_SUCCESS; i++)
		code = check_name(b, slice_of(json_get_str(json_array_get(list, i), "topicName", "")), &e);
	for (size_t i = 0; i < json_array_size(list) && code == RES_SUCCESS; i++)
		code = update_from_json(b, json_array_get(list, i), &e);
	json_decref(body);
	answer_code(b, c, &id, code, &e);
}

/* ---- 215 */

static void
delete_topic(struct broker *b, struct slice name)
{
	topic_remove(b->topics, name);
	offsets_remove_topic(b->offsets, name);
	pop_remove_topic(b->pop, name);
	brstats_remove_topic(b->stats, name);
	store_topic_delete(b->store, name);
}

/* Topics that pop consumption has made for a group and this topic. */
struct pop_topics {
	struct broker	*b;
	struct slice	 topic;
	json_t		*names;
};

static void
note_pop_topics(void *arg, struct slice group)
{
	struct pop_topics *p = arg;
	static const char joints[] = {'_', '+'};

	for (size_t i = 0; i < sizeof joints; i++) {
		char *name = xasprintf("%%RETRY%%%.*s%c%.*s", TEXT_OF(group), joints[i], TEXT_OF(p->topic));

		if (topic_find(p->b->topics, slice_of(name)) != NULL)
			json_array_append_new(p->names, json_string(name));
		free(name);
	}
}

void
adm_topic_delete(struct broker *b, struct conn *c, struct command *cmd)
{
	struct pop_topics pop = {b, field_get(cmd, "topic"), json_array()};
	struct request_id id;
	size_t i;
	json_t *name;

	request_id_of(&id, cmd);
	if (admin_refused_on_slave(b, c, &id)) {
		json_decref(pop.names);
		return;
	}
	if (str_trim(pop.topic).n == 0) {
		conn_answer(c, &id, RES_INVALID_PARAMETER, "The specified topic is blank.");
	} else if (b->conf->validateSystemTopicWhenUpdateTopic && topic_is_system(b->topics, pop.topic)) {
		conn_answer(c, &id, RES_INVALID_PARAMETER, "The topic[%.*s] is conflict with system topic.", TEXT_OF(pop.topic));
	} else {
		log_info("%s deletes topic %.*s", c->peer_text, TEXT_OF(pop.topic));
		if (b->conf->clearRetryTopicWhenDeleteTopic)
			offsets_each_group_of(b->offsets, pop.topic, note_pop_topics, &pop);
		json_array_foreach(pop.names, i, name)
			delete_topic(b, slice_of(json_string_value(name)));
		delete_topic(b, pop.topic);
		conn_answer(c, &id, RES_SUCCESS, NULL);
	}
	json_decref(pop.names);
}

/* ---- 21, 305, 351 */

void
adm_topic_all(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct buf body = {.limit = FRAME_MAX - HEADER_MAX};

	request_id_of(&id, cmd);
	topics_put_wrapper_json(b->topics, -1, &body);
	answer_buf(c, &id, &body);
}

void
adm_topic_system(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	topics_put_system_json(b->topics, &body);
	answer_buf(c, &id, &body);
}

void
adm_topic_get(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct slice name = field_get(cmd, "topic");
	const struct topic *t = topic_find(b->topics, name);
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (t == NULL) {
		conn_answer(c, &id, RES_TOPIC_NOT_EXIST, "No topic in this broker. topic: %.*s", TEXT_OF(name));
		return;
	}
	topic_put_json(t, &body);
	answer_buf(c, &id, &body);
}

/* ---- 202 */

static void
put_queue_stats(struct broker *b, struct topic *t, int32_t id, struct buf *out)
{
	struct store_queue *q = topic_queue(b, t, id);
	int64_t min = q != NULL ? queue_min(q) : 0, max = q != NULL ? queue_max(q) : 0;
	int64_t last = max > 0 ? store_time_at(b->store, q, max - 1) : 0;

	admin_put_mq_key(out, b, t->name_slice, id);
	buf_printf(out, "{\"lastUpdateTimestamp\":%lld,\"maxOffset\":%lld,\"minOffset\":%lld}", (long long)MAX_OF(last, 0),
	    (long long)max, (long long)min);
}

void
adm_topic_stats(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct slice name = admin_need(c, cmd, "topic");
	struct topic *t = topic_find(b->topics, name);
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (name.n == 0)
		return;
	if (t == NULL) {
		conn_answer(c, &id, RES_TOPIC_NOT_EXIST, "topic[%.*s] not exist", TEXT_OF(name));
		return;
	}
	reread_begin(b);
	buf_put_str(&body, "{\"offsetTable\":{");
	for (int32_t q = 0; q < MAX_OF(t->read_queues, t->write_queues); q++)
		put_queue_stats(b, t, q, &body);
	buf_put_str(&body, "},\"topicPutTps\":");
	admin_put_double(&body, brstats_topic_put_tps(b->stats, name));
	buf_put_char(&body, '}');
	if (reread_needed(b, c, cmd, adm_topic_stats))
		buf_free(&body);
	else
		answer_buf(c, &id, &body);
}

/* ---- 316 */

struct unused {
	struct broker	*b;
	json_t		*names;		/* topics with queues on disk and no configuration */
};

static void
note_unused(void *arg, struct store_queue *q)
{
	struct unused *u = arg;
	struct slice topic = queue_topic(q);

	if (topic_find(u->b->topics, topic) == NULL && !topic_is_system(u->b->topics, topic))
		json_object_setn_new(u->names, topic.p, topic.n, json_true());
}

void
adm_topic_clean_unused(struct broker *b, struct conn *c, struct command *cmd)
{
	struct unused u = {b, json_object()};
	struct request_id id;
	const char *name;
	json_t *v;

	request_id_of(&id, cmd);
	store_queues_each(b->store, note_unused, &u);
	json_object_foreach(u.names, name, v) {
		log_info("%s cleans unused topics: the queues of %s are removed", c->peer_text, name);
		store_topic_delete(b->store, slice_of(name));
	}
	json_decref(u.names);
	conn_answer(c, &id, RES_SUCCESS, NULL);
}

/* ---- 321 */

static void
put_units(struct broker *b, struct store_queue *q, int64_t from, int32_t count, struct buf *out)
{
	int64_t physical, tags_code;
	int32_t size;

	buf_put_str(out, "\"queueData\":[");
	for (int64_t at = from; at < from + count && store_unit_at(b->store, q, at, &physical, &size, &tags_code) == RC_OK; at++) {
		admin_comma(out);
		buf_printf(out, "{\"eval\":false,\"physicOffset\":%lld,\"physicSize\":%d,\"tagsCode\":%lld}", (long long)physical, size,
		    (long long)tags_code);
	}
	buf_put_char(out, ']');
}

static void
put_filter_text(struct broker *b, struct slice group, const struct group_filter *filter, struct buf *out)
{
	char *name = xslicedup(group), *text;
	json_t *o = filters_entry_json(b->filters, name, filter);

	text = json_dumps(o, JSON_INDENT(1));
	buf_put_str(out, text != NULL ? text : "null");
	free(text);
	json_decref(o);
	free(name);
}

/* What the group's filter says of the queue, as far as there is one. */
static void
put_filter(struct broker *b, const struct subscription *sub, struct slice group, struct slice topic, struct buf *out)
{
	const struct group_filter *filter = filters_find(b->filters, topic, group);
	struct buf text = {0};

	if (group.n == 0)
		return;
	if (sub == NULL)
		buf_printf(&text, "%.*s@%.*s is not online!", TEXT_OF(group), TEXT_OF(topic));
	else if (filter != NULL)
		put_filter_text(b, group, filter, &text);
	else
		buf_put_str(&text, "null");
	buf_put_str(out, "\"filterData\":");
	buf_put_json(out, buf_slice(&text));
	buf_put_char(out, ',');
	buf_free(&text);
}

static void
answer_units(struct broker *b, struct conn *c, struct command *cmd, struct store_queue *q, int64_t from)
{
	struct slice group = field_get(cmd, "consumerGroup"), topic = queue_topic(q);
	const struct subscription *sub = clients_known_sub(b->clients, group, topic);
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	buf_put_char(&body, '{');
	put_filter(b, sub, group, topic, &body);
	buf_printf(&body, "\"maxQueueIndex\":%lld,\"minQueueIndex\":%lld,", (long long)queue_max(q), (long long)queue_min(q));
	put_units(b, q, from, MIN_OF(field_i32(cmd, "count", 0), CQ_UNITS_MAX), &body);
	if (sub != NULL) {
		buf_put_str(&body, ",\"subscriptionData\":");
		subscription_put_json(sub, &body);
	}
	buf_put_char(&body, '}');
	if (reread_needed(b, c, cmd, adm_topic_queue))
		buf_free(&body);
	else
		answer_buf(c, &id, &body);
}

void
adm_topic_queue(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice name = admin_need(c, cmd, "topic");
	struct topic *t = topic_find(b->topics, name);
	int32_t queue_id = field_i32(cmd, "queueId", 0);
	int64_t from = field_i64(cmd, "index", 0), min;
	struct store_queue *q = t != NULL ? topic_queue(b, t, queue_id) : NULL;
	struct request_id id;

	request_id_of(&id, cmd);
	if (name.n == 0)
		return;
	reread_begin(b);
	min = q != NULL ? queue_min(q) : 0;
	if (reread_needed(b, c, cmd, adm_topic_queue))
		return;
	reread_begin(b);
	if (q == NULL)
		conn_answer(c, &id, RES_SYSTEM_ERROR, "%d@%.*s is not exist!", queue_id, TEXT_OF(name));
	else if (from < min || from >= queue_max(q))
		conn_answer(c, &id, RES_SUCCESS, "Index %lld of %d@%.*s is not exist!", (long long)from, queue_id, TEXT_OF(name));
	else
		answer_units(b, c, cmd, q, from);
}
