/*
 * adm_progress: who consumes what, and how far (208, 300, 303, 308, 314, 317, 343, 345).
 *
 * Runs in:    the broker process.
 */
#include <time.h>

#include "common/clock.h"
#include "workers/broker/admin.h"
#include "workers/broker/brstats.h"
#include "workers/broker/clients.h"
#include "workers/broker/offsets.h"
#include "workers/broker/reread.h"

/* Names that are collected while a table must not change. */
static void
note_name(void *arg, struct slice name)
{
	json_object_setn_new(arg, name.p, name.n, json_true());
}

static json_t *
topics_of_group(struct broker *b, struct slice group)
{
	json_t *names = json_object();

	offsets_each_topic_of(b->offsets, group, note_name, names);
	return names;
}

static void
put_names(const json_t *names, struct buf *out)
{
	const char *name;
	json_t *v;

	buf_put_char(out, '[');
	json_object_foreach((json_t *)names, name, v) {
		admin_comma(out);
		buf_put_json(out, slice_of(name));
	}
	buf_put_char(out, ']');
}

/* The group is online and consumes other topics only. */
static bool
subscribes_others(struct broker *b, struct slice group, struct slice topic)
{
	const struct consumer_group *g = consumer_group_find(b->clients, group);

	return g != NULL && g->sub_count > 0 && consumer_group_sub(g, topic) == NULL;
}

/* ---- 208, 317 */

struct sums {
	int64_t	behind, in_flight;
};

/* One queue of one group: {mq}:{"brokerOffset":..} */
static void
put_progress(struct broker *b, struct slice group, struct topic *t, int32_t id, struct sums *sums, struct buf *out)
{
	struct store_queue *q = topic_queue(b, t, id);
	int64_t end = q != NULL ? queue_max(q) : 0;
	int64_t consumed = MAX_OF(0, offset_get(b->offsets, group, t->name_slice, id));
	int64_t pulled = MAX_OF(consumed, offset_last_pull(b->offsets, group, t->name_slice, id));
	int64_t last_ms = q != NULL && consumed > 0 ? store_time_at(b->store, q, consumed - 1) : 0;

	sums->behind += end - consumed;
	sums->in_flight += pulled - consumed;
	admin_put_mq_key(out, b, t->name_slice, id);
	buf_printf(out, "{\"brokerOffset\":%lld,\"consumerOffset\":%lld,\"lastTimestamp\":%lld,\"pullOffset\":%lld}", (long long)end,
	    (long long)consumed, (long long)MAX_OF(last_ms, 0), (long long)pulled);
}

static void
put_progress_of_topic(struct broker *b, struct slice group, struct slice topic, double *tps, struct sums *sums, struct buf *out)
{
	struct topic *t = topic_find(b->topics, topic);

	if (t == NULL)
		return;
	for (int32_t q = 0; q < t->read_queues; q++)
		put_progress(b, group, t, q, sums, out);
	*tps += brstats_group_get_tps(b->stats, topic, group);
}

/* The topics that 208 asks for, and whether it names them itself (then subscriptions do not matter). */
static json_t *
asked_topics(struct broker *b, struct slice group, const struct command *cmd, bool *named)
{
	struct slice list = field_get(cmd, "topicList"), one = field_get(cmd, "topic"), piece;
	json_t *names;

	*named = list.n > 0;
	if (list.n == 0 && one.n == 0)
		return topics_of_group(b, group);
	names = json_object();
	if (list.n == 0)
		note_name(names, one);
	while (str_next(&list, ';', &piece))
		if (piece.n > 0)
			note_name(names, piece);
	return names;
}

void
adm_consume_stats(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice group = admin_need(c, cmd, "consumerGroup");
	struct request_id id;
	struct buf body = {.limit = FRAME_MAX - HEADER_MAX}, table = {.limit = FRAME_MAX - HEADER_MAX};
	struct sums sums = {0, 0};
	double tps = 0;
	bool named;
	const char *name;
	json_t *names, *v;

	request_id_of(&id, cmd);
	if (group.n == 0)
		return;
	reread_begin(b);
	names = asked_topics(b, group, cmd, &named);
	json_object_foreach(names, name, v)
		if (named || !subscribes_others(b, group, slice_of(name)))
			put_progress_of_topic(b, group, slice_of(name), &tps, &sums, &table);
	json_decref(names);
	buf_put_str(&body, "{\"consumeTps\":");
	admin_put_double(&body, tps);
	buf_put_str(&body, ",\"offsetTable\":{");
	buf_put_slice(&body, buf_slice(&table));
	buf_put_str(&body, "}}");
	body.failed |= table.failed;
	buf_free(&table);
	if (reread_needed(b, c, cmd, adm_consume_stats))
		buf_free(&body);
	else
		answer_buf(c, &id, &body);
}

struct all_stats {
	struct broker	*b;
	bool		 order_only;
	struct sums	 sums;
	struct buf	 out;
};

static void
put_topic_stats(struct all_stats *a, struct slice group, struct slice topic)
{
	const struct topic *t = topic_find(a->b->topics, topic);
	struct buf table = {.limit = FRAME_MAX - HEADER_MAX};
	double tps = 0;

	if (t == NULL || (a->order_only && !t->order) || subscribes_others(a->b, group, topic))
		return;
	put_progress_of_topic(a->b, group, topic, &tps, &a->sums, &table);
	admin_comma(&a->out);
	buf_put_str(&a->out, "{\"consumeTps\":");
	admin_put_double(&a->out, tps);
	buf_put_str(&a->out, ",\"offsetTable\":{");
	buf_put_slice(&a->out, buf_slice(&table));
	buf_put_str(&a->out, "}}");
	a->out.failed |= table.failed;
	buf_free(&table);
}

static void
put_group_stats(void *arg, struct group *g)
{
	struct all_stats *a = arg;
	struct slice group = slice_of(g->name);
	json_t *names = topics_of_group(a->b, group), *v;
	const char *name;

	admin_comma(&a->out);
	buf_put_char(&a->out, '{');
	buf_put_json(&a->out, group);
	buf_put_str(&a->out, ":[");
	json_object_foreach(names, name, v)
		put_topic_stats(a, group, slice_of(name));
	buf_put_str(&a->out, "]}");
	json_decref(names);
}

void
adm_broker_consume_stats(struct broker *b, struct conn *c, struct command *cmd)
{
	struct all_stats a = {.b = b, .order_only = field_bool(cmd, "isOrder", false), .out = {.limit = FRAME_MAX - HEADER_MAX}};
	struct request_id id;

	request_id_of(&id, cmd);
	reread_begin(b);
	buf_put_str(&a.out, "{\"brokerAddr\":");
	buf_put_json(&a.out, slice_of(b->store_host_text));
	buf_put_str(&a.out, ",\"consumeStatsList\":[");
	groups_each(b->groups, put_group_stats, &a);
	buf_printf(&a.out, "],\"totalDiff\":%lld,\"totalInflightDiff\":%lld}", (long long)a.sums.behind, (long long)a.sums.in_flight);
	if (reread_needed(b, c, cmd, adm_broker_consume_stats))
		buf_free(&a.out);
	else
		answer_buf(c, &id, &a.out);
}

/* ---- 300, 343, 345 */

struct topic_groups {
	struct slice	 topic;
	json_t		*names;
};

static void
note_subscriber(void *arg, struct consumer_group *g)
{
	struct topic_groups *t = arg;

	if (consumer_group_sub(g, t->topic) != NULL)
		json_object_set_new(t->names, g->name, json_true());
}

void
adm_topic_consumers(struct broker *b, struct conn *c, struct command *cmd)
{
	struct topic_groups t = {admin_need(c, cmd, "topic"), NULL};
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (t.topic.n == 0)
		return;
	t.names = json_object();
	consumer_groups_each(b->clients, note_subscriber, &t);
	offsets_each_group_of(b->offsets, t.topic, note_name, t.names);
	buf_put_str(&body, "{\"groupList\":");
	put_names(t.names, &body);
	buf_put_char(&body, '}');
	json_decref(t.names);
	answer_buf(c, &id, &body);
}

void
adm_group_topics(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice group = admin_need(c, cmd, "group");
	struct request_id id;
	struct buf body = {0};
	json_t *names;

	request_id_of(&id, cmd);
	if (group.n == 0)
		return;
	names = topics_of_group(b, group);
	buf_put_str(&body, "{\"brokerAddr\":");
	buf_put_json(&body, slice_of(b->store_host_text));
	buf_put_str(&body, ",\"topicList\":");
	put_names(names, &body);
	buf_put_char(&body, '}');
	json_decref(names);
	answer_buf(c, &id, &body);
}

void
adm_group_subscription(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice group = admin_need(c, cmd, "group"), topic = field_get(cmd, "topic");
	const struct subscription *s = clients_known_sub(b->clients, group, topic);
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (group.n == 0)
		return;
	buf_put_str(&body, "{\"group\":");
	buf_put_json(&body, group);
	if (s != NULL) {
		buf_put_str(&body, ",\"subscriptionData\":");
		subscription_put_json(s, &body);
	}
	buf_put_str(&body, ",\"topic\":");
	buf_put_json(&body, topic);
	buf_put_char(&body, '}');
	answer_buf(c, &id, &body);
}

/* ---- 303 */

/* "x":ms,"xStr":"2026-11-20#13:23:23:327", in local time as the original */
static void
put_time(struct buf *out, const char *name, int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	char text[32];

	localtime_r(&seconds, &tm);
	strftime(text, sizeof text, "%Y-%m-%d#%H:%M:%S", &tm);
	buf_printf(out, "\"%s\":%lld,\"%sStr\":\"%s:%03d\",", name, (long long)ms, name, text, (int)(ms % 1000));
}

static void
put_span(struct broker *b, struct slice group, struct topic *t, int32_t id, struct buf *out)
{
	struct store_queue *q = topic_queue(b, t, id);
	int64_t min = q != NULL ? queue_min(q) : 0, max = q != NULL ? queue_max(q) : 0;
	int64_t consumed = MAX_OF(0, offset_get(b->offsets, group, t->name_slice, id));
	int64_t first_ms = max > min ? MAX_OF(0, store_time_at(b->store, q, min)) : 0;
	int64_t last_ms = max > min ? MAX_OF(0, store_time_at(b->store, q, max - 1)) : 0;
	int64_t consumed_ms = max > min && consumed > min ? MAX_OF(0, store_time_at(b->store, q, consumed - 1)) : first_ms;
	int64_t next_ms = consumed < max ? store_time_at(b->store, q, MAX_OF(consumed, min)) : -1;

	admin_comma(out);
	buf_put_char(out, '{');
	put_time(out, "consumeTimeStamp", consumed_ms);
	buf_printf(out, "\"delayTime\":%lld,", (long long)(next_ms >= 0 ? MAX_OF(0, clock_wall_ms() - next_ms) : 0));
	put_time(out, "maxTimeStamp", last_ms);
	buf_put_str(out, "\"messageQueue\":");
	put_mq_json(out, b, t->name_slice, id);
	buf_put_char(out, ',');
	put_time(out, "minTimeStamp", first_ms);
	if (!out->failed)
		out->p[out->len - 1] = '}'; /* in place of the last comma */
}

void
adm_time_span(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice name = admin_need(c, cmd, "topic"), group;
	struct topic *t = topic_find(b->topics, name);
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (name.n == 0 || (group = admin_need(c, cmd, "group")).n == 0)
		return;
	if (t == NULL) {
		conn_answer(c, &id, RES_TOPIC_NOT_EXIST, "topic[%.*s] not exist", TEXT_OF(name));
		return;
	}
	reread_begin(b);
	buf_put_str(&body, "{\"consumeTimeSpanSet\":[");
	for (int32_t q = 0; q < t->write_queues; q++)
		put_span(b, group, t, q, &body);
	buf_put_str(&body, "]}");
	if (reread_needed(b, c, cmd, adm_time_span))
		buf_free(&body);
	else
		answer_buf(c, &id, &body);
}

/* ---- 308 */

static bool
list_names(struct slice list, const char *name)
{
	struct slice piece;

	while (str_next(&list, ',', &piece))
		if (slice_is(piece, name))
			return true;
	return false;
}

/* The smallest offset that any of the groups has of that queue; -1: none has one that is still there. */
static int64_t
smallest_offset(struct broker *b, const json_t *groups, struct slice left_out, struct topic *t, int32_t id)
{
	struct store_queue *q = topic_queue(b, t, id);
	int64_t min = q != NULL ? queue_min(q) : 0, smallest = -1;
	const char *group;
	json_t *v;

	json_object_foreach((json_t *)groups, group, v) {
		int64_t at = offset_get(b->offsets, slice_of(group), t->name_slice, id);

		if (at >= min && !list_names(left_out, group) && (smallest < 0 || at < smallest))
			smallest = at;
	}
	return smallest;
}

static void
put_correction(struct broker *b, const json_t *groups, const struct command *cmd, struct topic *t, int32_t id, struct buf *out)
{
	int64_t smallest = smallest_offset(b, groups, field_get(cmd, "filterGroups"), t, id);
	int64_t own = offset_get(b->offsets, field_get(cmd, "compareGroup"), t->name_slice, id);

	if (smallest < 0)
		return;
	/* The compared group is behind all others: nothing to correct. */
	if (own >= 0 && smallest > own)
		smallest = INT64_MAX;
	admin_comma(out);
	buf_printf(out, "\"%d\":%lld", id, (long long)smallest);
}

void
adm_correction_offset(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice name = admin_need(c, cmd, "topic");
	struct topic *t = topic_find(b->topics, name);
	json_t *groups;
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (name.n == 0)
		return;
	reread_begin(b);
	groups = json_object();
	offsets_each_group_of(b->offsets, name, note_name, groups);
	buf_put_str(&body, "{\"correctionOffsets\":{");
	for (int32_t q = 0; t != NULL && q < t->read_queues; q++)
		put_correction(b, groups, cmd, t, q, &body);
	buf_put_str(&body, "}}");
	json_decref(groups);
	if (reread_needed(b, c, cmd, adm_correction_offset))
		buf_free(&body);
	else
		answer_buf(c, &id, &body);
}

/* ---- 314 */

void
adm_clone_offset(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice src = admin_need(c, cmd, "srcGroup"), dest, topic = field_get(cmd, "topic");
	bool offline = field_bool(cmd, "offline", false);
	struct request_id id;
	const char *name;
	json_t *names, *v;

	request_id_of(&id, cmd);
	if (src.n == 0 || (dest = admin_need(c, cmd, "destGroup")).n == 0)
		return;
	names = topics_of_group(b, src);
	json_object_foreach(names, name, v) {
		struct slice each = slice_of(name);

		if (topic.n > 0 && !slice_eq(each, topic))
			continue;
		if (topic_find(b->topics, each) != NULL && (offline || !subscribes_others(b, src, each)))
			offsets_clone(b->offsets, src, dest, each);
	}
	json_decref(names);
	log_info("%s gives group %.*s the offsets of %.*s", c->peer_text, TEXT_OF(dest), TEXT_OF(src));
	conn_answer(c, &id, RES_SUCCESS, NULL);
}
