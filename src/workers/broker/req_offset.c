/*
 * req_offset: consumed offsets, and the bounds of queues (14, 15, 29, 30, 31, 32, 43).
 *
 * Runs in:    the broker process.
 */
#include <strings.h>
#include <unistd.h>

#include "workers/broker/answer.h"
#include "workers/broker/groups.h"
#include "workers/broker/offsets.h"
#include "workers/broker/reread.h"

#define TEXT(s) (int)(s).n, (s).p

struct place {
	struct slice	group, topic;
	int32_t		queue_id;
};

/* False: a field is missing, answered already. */
static bool
read_place(struct place *p, struct conn *c, const struct command *cmd, bool with_group)
{
	const char *missing = NULL;

	p->group = field_get(cmd, "consumerGroup");
	p->topic = field_get(cmd, "topic");
	if (field_need_i32(cmd, "queueId", &p->queue_id) != RC_OK)
		missing = "queueId";
	else if (p->topic.n == 0)
		missing = "topic";
	else if (with_group && p->group.n == 0)
		missing = "consumerGroup";
	if (missing != NULL)
		broker_bad_field(c, cmd, missing);
	return missing == NULL;
}

/* NULL: there is no such topic or queue. */
static struct store_queue *
find_queue(struct broker *b, const struct place *p)
{
	struct topic *t = topic_find(b->topics, p->topic);

	return t != NULL ? topic_queue(b, t, p->queue_id) : NULL;
}

static void
answer_number(struct conn *c, const struct request_id *id, const char *name, int64_t value)
{
	struct frame_out f;

	if (answer_begin(&f, c, id, RES_SUCCESS)) {
		frame_field_i64(&f, name, value);
		answer_end(&f, c);
	}
}

/* ---- 14, 15, 43 */

bool
offset_first_is_near(struct broker *b, struct store_queue *q)
{
	int64_t memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	int64_t near = memory / 100 * b->conf->accessMessageInMemoryMaxRatio;
	int64_t physical, tags_code;
	int32_t size;

	if (q == NULL || queue_min(q) > 0 || store_unit_at(b->store, q, 0, &physical, &size, &tags_code) != RC_OK)
		return false;
	return pos_read(&b->w->shm->broker.appended) - physical <= near;
}

void
req_offset_query(struct broker *b, struct conn *c, struct command *cmd)
{
	struct place p;
	struct request_id id;
	int64_t offset;
	bool near;

	request_id_of(&id, cmd);
	if (!read_place(&p, c, cmd, true))
		return;
	offset = offset_get(b->offsets, p.group, p.topic, p.queue_id);
	reread_begin(b);
	near = offset < 0 && field_bool(cmd, "setZeroIfNotFound", true) && offset_first_is_near(b, find_queue(b, &p));
	if (reread_needed(b, c, cmd, req_offset_query))
		return;
	if (offset >= 0)
		answer_number(c, &id, "offset", offset);
	else if (!field_bool(cmd, "setZeroIfNotFound", true))
		conn_answer(c, &id, RES_QUERY_NOT_FOUND, "Not found, do not set to zero, maybe this group boot first");
	else if (near)
		answer_number(c, &id, "offset", 0);
	else
		conn_answer(c, &id, RES_QUERY_NOT_FOUND, "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first");
}

/* Why the commit is refused: the code, sentence in e; RES_SUCCESS: it is not. */
static int
check_commit(struct broker *b, const struct command *cmd, struct place *p, int64_t *offset, struct err *e)
{
	p->group = field_get(cmd, "consumerGroup");
	p->topic = field_get(cmd, "topic");
	if (group_find(b->groups, p->group) == NULL) {
		err_set(e, "Group %.*s not exist!", TEXT(p->group));
		return RES_SUBSCRIPTION_GROUP_NOT_EXIST;
	}
	if (topic_find(b->topics, p->topic) == NULL) {
		err_set(e, "Topic %.*s not exist!", TEXT(p->topic));
		return RES_TOPIC_NOT_EXIST;
	}
	if (field_need_i32(cmd, "queueId", &p->queue_id) != RC_OK)
		err_set(e, "QueueId is null, topic is %.*s", TEXT(p->topic));
	else if (field_need_i64(cmd, "commitOffset", offset) != RC_OK)
		err_set(e, "Offset is null, topic is %.*s", TEXT(p->topic));
	else
		return RES_SUCCESS;
	return RES_INVALID_PARAMETER;
}

void
req_offset_update(struct broker *b, struct conn *c, struct command *cmd)
{
	struct place p;
	struct request_id id;
	struct err e;
	int64_t offset;
	int code;

	request_id_of(&id, cmd);
	code = check_commit(b, cmd, &p, &offset, &e);
	if (code != RES_SUCCESS)
		conn_answer(c, &id, code, "%s", e.text);
	else if (offset_commit(b->offsets, c->peer_text, p.group, p.topic, p.queue_id, offset))
		conn_answer(c, &id, RES_SUCCESS, NULL);
	else
		conn_answer(c, &id, RES_SUCCESS, "Offset has been previously reset");
}

void
req_offset_all(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct buf body = {.limit = FRAME_MAX};

	request_id_of(&id, cmd);
	offsets_put_json(b->offsets, &body);
	answer_buf(c, &id, &body);
}

/* ---- 29 to 32; an unknown topic or queue is an empty one */

void
req_offset_by_time(struct broker *b, struct conn *c, struct command *cmd)
{
	struct place p;
	struct request_id id;
	struct slice boundary = field_get(cmd, "boundaryType");
	enum boundary which = boundary.n == 5 && strncasecmp(boundary.p, "upper", 5) == 0 ? BOUNDARY_UPPER : BOUNDARY_LOWER;
	struct store_queue *q;
	int64_t when, offset;

	request_id_of(&id, cmd);
	if (!read_place(&p, c, cmd, false))
		return;
	if (field_need_i64(cmd, "timestamp", &when) != RC_OK) {
		broker_bad_field(c, cmd, "timestamp");
		return;
	}
	q = find_queue(b, &p);
	reread_begin(b);
	offset = q != NULL ? store_offset_by_time(b->store, q, when, which) : 0;
	if (!reread_needed(b, c, cmd, req_offset_by_time))
		answer_number(c, &id, "offset", offset);
}

void
req_offset_max(struct broker *b, struct conn *c, struct command *cmd)
{
	struct place p;
	struct request_id id;
	struct store_queue *q;

	request_id_of(&id, cmd);
	if (!read_place(&p, c, cmd, false))
		return;
	q = find_queue(b, &p);
	answer_number(c, &id, "offset", q != NULL ? queue_max(q) : 0);
}

void
req_offset_min(struct broker *b, struct conn *c, struct command *cmd)
{
	struct place p;
	struct request_id id;
	struct store_queue *q;
	int64_t min;

	request_id_of(&id, cmd);
	if (!read_place(&p, c, cmd, false))
		return;
	q = find_queue(b, &p);
	reread_begin(b);
	min = q != NULL ? queue_min(q) : 0;
	if (!reread_needed(b, c, cmd, req_offset_min))
		answer_number(c, &id, "offset", min);
}

void
req_offset_earliest(struct broker *b, struct conn *c, struct command *cmd)
{
	struct place p;
	struct request_id id;
	struct store_queue *q;
	int64_t ms;

	request_id_of(&id, cmd);
	if (!read_place(&p, c, cmd, false))
		return;
	q = find_queue(b, &p);
	reread_begin(b);
	ms = q != NULL ? store_time_at(b->store, q, queue_min(q)) : -1;
	if (!reread_needed(b, c, cmd, req_offset_earliest))
		answer_number(c, &id, "timestamp", ms);
}
