/*
 * ns_route: requests about topics and routes.
 */
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "workers/namesrv/namesrv.h"

#define TOPIC_QUEUES_MAX 65536 /* broker names in one registration of a topic */

/* needWaitForService: a name server that has just started knows too little; clients then ask another one. */
static bool
is_ready(const struct namesrv *s)
{
	return !s->conf->needWaitForService ||
	       clock_mono_ms() - s->started_ms >= (int64_t)s->conf->waitSecondsForService * 1000;
}

static enum rc
find_route(struct ns_req *q, struct slice topic, struct slice *body)
{
	struct namesrv *s = q->s;
	struct slice order = SLICE_NONE;

	if (s->conf->orderMessageEnable)
		order = ns_kv_value(s, SLICE_LIT(KV_ORDER_TOPICS), topic);
	if (field_bool(q->cmd, "__ZONE_MODE", false) && field_get(q->cmd, "__ZONE_NAME").n > 0)
		return routes_answer_zone(&s->routes, topic, order, field_get(q->cmd, "__ZONE_NAME"), body);
	return routes_answer(&s->routes, topic, order, body);
}

void
ns_route_of_topic(struct ns_req *q)
{
	struct slice topic = field_get(q->cmd, "topic"), body;

	q->s->route_queries++;
	if (!is_ready(q->s)) {
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "name server not ready");
		return;
	}
	if (find_route(q, topic, &body) == RC_OK)
		conn_answer_body(q->c, &q->id, RES_SUCCESS, body);
	else
		conn_answer(q->c, &q->id, RES_TOPIC_NOT_EXIST,
		    "No topic route info in name server for the topic: %.*s\n"
		    "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
		    topic.n > 0 ? (int)topic.n : 4, topic.n > 0 ? topic.p : "null");
}

void
ns_cluster_info(struct ns_req *q)
{
	routes_put_cluster_info(&q->s->routes, ns_body(q));
	ns_answer_body(q);
}

/* False: the operator does not want such lists, and the request is answered. */
static bool
is_enabled(struct ns_req *q, bool enabled)
{
	if (!enabled)
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "disable");
	return enabled;
}

void
ns_all_topics(struct ns_req *q)
{
	if (!is_enabled(q, q->s->conf->enableAllTopicList))
		return;
	routes_put_all_topics(&q->s->routes, ns_body(q));
	ns_answer_body(q);
}

void
ns_topics_by_cluster(struct ns_req *q)
{
	struct slice cluster;

	if (!is_enabled(q, q->s->conf->enableTopicList) || !ns_need(q, "cluster", &cluster))
		return;
	routes_put_cluster_topics(&q->s->routes, cluster, ns_body(q));
	ns_answer_body(q);
}

void
ns_system_topics(struct ns_req *q)
{
	routes_put_system_topics(&q->s->routes, ns_body(q));
	ns_answer_body(q);
}

static void
answer_unit_topics(struct ns_req *q, int32_t with, int32_t without)
{
	if (!is_enabled(q, q->s->conf->enableTopicList))
		return;
	routes_put_unit_topics(&q->s->routes, with, without, ns_body(q));
	ns_answer_body(q);
}

void
ns_unit_topics(struct ns_req *q)
{
	answer_unit_topics(q, UNIT_FLAG, 0);
}

void
ns_unit_sub_topics(struct ns_req *q)
{
	answer_unit_topics(q, UNIT_SUB_FLAG, 0);
}

void
ns_unit_sub_ununit_topics(struct ns_req *q)
{
	answer_unit_topics(q, UNIT_SUB_FLAG, UNIT_FLAG);
}

static void
answer_field_i64(struct ns_req *q, const char *name, int64_t value)
{
	struct frame_out f;

	if (q->id.oneway || q->c->closed)
		return;
	frame_begin_response(&f, &q->c->out, &q->id, RES_SUCCESS);
	frame_field_i64(&f, name, value);
	frame_end(&f, 0);
	conn_kick(q->c);
}

static void
set_writable(struct ns_req *q, bool writable, const char *count_name)
{
	struct slice broker;
	int32_t n;

	if (!ns_need(q, "brokerName", &broker))
		return;
	n = routes_set_writable(&q->s->routes, broker, writable);
	log_info("%s %s the write permission of %.*s in %d topics", q->c->peer_text, writable ? "adds" : "wipes",
		 (int)broker.n, broker.p, (int)n);
	answer_field_i64(q, count_name, n);
}

void
ns_wipe_write_perm(struct ns_req *q)
{
	set_writable(q, false, "wipeTopicCount");
}

void
ns_add_write_perm(struct ns_req *q)
{
	set_writable(q, true, "addTopicCount");
}

void
ns_delete_topic(struct ns_req *q)
{
	struct slice topic;

	if (!ns_need(q, "topic", &topic))
		return;
	log_info("%s deletes the topic %.*s", q->c->peer_text, (int)topic.n, topic.p);
	routes_delete_topic(&q->s->routes, topic, field_get(q->cmd, "clusterName"));
	ns_answer_ok(q);
}

static int32_t
get_i32(const json_t *o, const char *key)
{
	int64_t v = json_get_i64(o, key, 0);

	return v < INT32_MIN || v > INT32_MAX ? 0 : (int32_t)v;
}

/* The queueDatas of a TopicRouteData. */
static enum rc
register_queues(struct ns_req *q, struct slice topic, const json_t *list)
{
	size_t n = json_array_size(list);
	struct queue_def *defs = xcalloc(n, sizeof(*defs));
	enum rc rc;

	for (size_t i = 0; i < n; i++) {
		const json_t *o = json_array_get(list, i);

		defs[i] = (struct queue_def){
		    .broker = slice_of(json_get_str(o, "brokerName", "")),
		    .read_queues = get_i32(o, "readQueueNums"),
		    .write_queues = get_i32(o, "writeQueueNums"),
		    .perm = get_i32(o, "perm"),
		    .sysflag = get_i32(o, "topicSysFlag"),
		};
	}
	rc = routes_register_topic(&q->s->routes, topic, defs, n);
	free(defs);
	return rc;
}

void
ns_register_topic(struct ns_req *q)
{
	struct slice topic;
	struct err e;
	json_t *o;

	if (!ns_need(q, "topic", &topic))
		return;
	if (q->cmd->body.n == 0) { /* as an empty list of queues */
		ns_answer_ok(q);
		return;
	}
	if (json_load_relaxed(q->cmd->body, &o, &e) != RC_OK) {
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "the route to register cannot be read: %s", e.text);
		return;
	}
	if (json_array_size(json_object_get(o, "queueDatas")) > TOPIC_QUEUES_MAX)
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "more than %d queueDatas", TOPIC_QUEUES_MAX);
	else {
		if (register_queues(q, topic, json_object_get(o, "queueDatas")) != RC_OK)
			log_warn("%s registers the topic %.*s with a broker that is not known: not taken",
				 q->c->peer_text, (int)topic.n, topic.p);
		ns_answer_ok(q);
	}
	json_decref(o);
}
