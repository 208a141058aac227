/*
 * adm_reset: an operator moves a group's offsets by time or by number (222).
 *
 * Runs in:    the broker process.
 *
 * Two ways. By default the broker keeps the new offset and tells the consumer at its next pull. With useServerSideResetOffset off,
 * as 4.9 does, the consumers that are online are told and commit the new offsets themselves.
 */
#include "workers/broker/admin.h"
#include "workers/broker/clients.h"
#include "workers/broker/offsets.h"
#include "workers/broker/reread.h"

#define RESET_CLIENT_VERSION 28	/* older clients do not know 220 */

struct reset {
	struct broker	*b;
	struct topic	*topic;
	struct slice	 group;
	int32_t		 queue_id;	/* -1: all */
	int64_t		 offset;	/* -1: by time */
	int64_t		 when;		/* ms; -1: the newest */
	bool		 force;
};

static struct store_queue *
queue_of(const struct reset *r, int32_t id)
{
	return topic_queue(r->b, r->topic, id);
}

static int64_t
offset_by_time(const struct reset *r, int32_t id)
{
	struct store_queue *q = queue_of(r, id);

	if (q == NULL)
		return 0;
	return MAX_OF(0, r->when < 0 ? queue_max(q) : store_offset_by_time(r->b->store, q, r->when, BOUNDARY_LOWER));
}

static bool
in_range(const struct reset *r, struct conn *c, const struct request_id *id)
{
	struct store_queue *q = queue_of(r, r->queue_id);
	int64_t min = q != NULL ? queue_min(q) : 0, max = q != NULL ? queue_max(q) : 0;

	if (r->offset >= min && r->offset <= max + 1)
		return true;
	conn_answer(c, id, RES_SYSTEM_ERROR, "Target offset %lld not in consume queue range [%lld-%lld]", (long long)r->offset,
	    (long long)min, (long long)max);
	return false;
}

static void
put_one(const struct reset *r, int32_t id, int64_t offset, struct buf *out)
{
	admin_put_mq_key(out, r->b, r->topic->name_slice, id);
	buf_put_i64(out, offset);
}

static void
reset_here(const struct reset *r, struct conn *c, const struct request_id *id)
{
	struct buf body = {0};
	int32_t from = r->queue_id >= 0 ? r->queue_id : 0;
	int32_t to = r->queue_id >= 0 ? r->queue_id + 1 : r->topic->read_queues;

	if (r->queue_id >= 0 && r->offset >= 0 && !in_range(r, c, id))
		return;
	buf_put_str(&body, "{\"offsetTable\":{");
	for (int32_t q = from; q < to; q++) {
		int64_t offset = r->queue_id >= 0 && r->offset >= 0 ? r->offset : offset_by_time(r, q);

		offset_reset(r->b->offsets, r->group, r->topic->name_slice, q, offset);
		put_one(r, q, offset, &body);
	}
	buf_put_str(&body, "}}");
	answer_buf(c, id, &body);
}

/* ---- the classic way */

/* False: some queue has no stored offset, answered. as_list: the form for C++ clients. */
static bool
put_targets(const struct reset *r, struct conn *c, const struct request_id *id, bool as_list, struct buf *out)
{
	buf_put_str(out, as_list ? "{\"offsetTable\":[" : "{\"offsetTable\":{");
	for (int32_t q = 0; q < r->topic->write_queues; q++) {
		int64_t stored = offset_get(r->b->offsets, r->group, r->topic->name_slice, q);
		int64_t target = offset_by_time(r, q);

		if (stored < 0) {
			conn_answer(c, id, RES_SYSTEM_ERROR, "THe consumer group <%.*s> not exist", TEXT_OF(r->group));
			return false;
		}
		if (!r->force && target >= stored)
			target = stored;
		if (!as_list) {
			put_one(r, q, target, out);
			continue;
		}
		admin_comma(out);
		buf_put_str(out, "{\"brokerName\":");
		buf_put_json(out, slice_of(r->b->conf->brokerName));
		buf_printf(out, ",\"offset\":%lld,\"queueId\":%d,\"topic\":", (long long)target, q);
		buf_put_json(out, r->topic->name_slice);
		buf_put_char(out, '}');
	}
	buf_put_str(out, as_list ? "]}" : "}}");
	return true;
}

static const struct member *
first_too_old(const struct consumer_group *g)
{
	const struct member *m = g->members;

	while (m != NULL && m->version >= RESET_CLIENT_VERSION)
		m = m->next;
	return m;
}

static void
push_to_members(const struct reset *r, const struct consumer_group *g, struct slice body)
{
	for (const struct member *m = g->members; m != NULL; m = m->next) {
		struct call_out o;

		call_begin(&o, r->b->calls, m->conn, REQ_RESET_CONSUMER_CLIENT_OFFSET, 0, NULL, NULL);
		frame_field(&o.f, "topic", r->topic->name_slice);
		frame_field(&o.f, "group", r->group);
		frame_field_i64(&o.f, "timestamp", r->when);
		frame_field_bool(&o.f, "isForce", r->force);
		frame_field_i64(&o.f, "queueId", -1);
		call_end(&o, body);
	}
}

static void
reset_by_clients(const struct reset *r, struct conn *c, const struct request_id *id, bool as_list)
{
	const struct consumer_group *g = consumer_group_find(r->b->clients, r->group);
	const struct member *old;
	struct buf pushed = {0}, body = {0};

	if (!put_targets(r, c, id, as_list, &pushed) || !put_targets(r, c, id, false, &body)) {
		buf_free(&pushed);
		buf_free(&body);
		return;
	}
	if (g == NULL) {
		conn_answer(c, id, RES_CONSUMER_NOT_ONLINE,
		    "Consumer not online, so can not reset offset, Group: %.*s Topic: %s Timestamp: %lld", TEXT_OF(r->group),
		    r->topic->name, (long long)r->when);
		buf_free(&body);
	} else if ((old = first_too_old(g)) != NULL) {
		conn_answer(c, id, RES_SYSTEM_ERROR, "the client does not support this feature. version=%d", old->version);
		buf_free(&body);
	} else {
		push_to_members(r, g, buf_slice(&pushed));
		answer_buf(c, id, &body);
	}
	buf_free(&pushed);
}

/* ---- 222 */

static bool
find_both(struct reset *r, struct conn *c, const struct request_id *id, struct slice topic)
{
	r->topic = topic_find(r->b->topics, topic);
	if (r->topic == NULL)
		conn_answer(c, id, RES_TOPIC_NOT_EXIST, "Topic %.*s does not exist", TEXT_OF(topic));
	else if (group_find(r->b->groups, r->group) == NULL)
		conn_answer(c, id, RES_SUBSCRIPTION_GROUP_NOT_EXIST, "Group %.*s does not exist", TEXT_OF(r->group));
	else
		return true;
	return false;
}

/* Looks at all that the reset will: afterwards that is in memory. */
static void
look_at_queues(const struct reset *r)
{
	for (int32_t id = 0; id < MAX_OF(r->topic->read_queues, r->topic->write_queues); id++) {
		struct store_queue *q = queue_of(r, id);

		(void)(q != NULL && queue_min(q) > 0);
		(void)offset_by_time(r, id);
	}
}

void
adm_reset_offset(struct broker *b, struct conn *c, struct command *cmd)
{
	struct reset r = {.b = b, .queue_id = field_i32(cmd, "queueId", -1), .offset = field_i64(cmd, "offset", -1),
	    .when = field_i64(cmd, "timestamp", 0), .force = field_bool(cmd, "isForce", false)};
	struct slice topic = admin_need(c, cmd, "topic");
	struct request_id id;

	request_id_of(&id, cmd);
	if (topic.n == 0 || (r.group = admin_need(c, cmd, "group")).n == 0)
		return;
	if (!broker_is_master(b)) {
		conn_answer(c, &id, RES_SYSTEM_ERROR, "Can not reset offset in slave broker");
		return;
	}
	if (!find_both(&r, c, &id, topic))
		return;
	reread_begin(b);
	look_at_queues(&r);
	if (reread_needed(b, c, cmd, adm_reset_offset))
		return;
	log_info("%s resets the offsets of group %.*s for topic %.*s to time %lld", c->peer_text, TEXT_OF(r.group), TEXT_OF(topic),
	    (long long)r.when);
	if (b->conf->useServerSideResetOffset)
		reset_here(&r, c, &id);
	else
		reset_by_clients(&r, c, &id, cmd->language == LANG_CPP);
}
