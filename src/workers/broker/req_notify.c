/*
 * req_notify: codes 200054, 200055 and 200052: is there something to be popped, how many wait for it, a look at it
 * without popping.
 *
 * Runs in:    the broker process.
 */
#include "common/clock.h"
#include "workers/broker/answer.h"
#include "workers/broker/offsets.h"
#include "workers/broker/pop_int.h"

#define POLL_MAX_MS (10 * 60 * 1000)
#define EARLY_MS    50 /* before the client's time is over, so that its answer arrives in it */
#define INIT_MIN    0  /* initMode; else the last message */

#define TEXT(s) (int)(s).n, (s).p

/* ---- what the requests share */

bool
pop_ask_read(struct pop_ask *ask, struct conn *c, const struct command *cmd)
{
	int64_t now = clock_wall_ms(), left;

	ask->group = field_get(cmd, "consumerGroup");
	ask->topic = field_get(cmd, "topic");
	ask->born_ms = field_i64(cmd, "bornTime", 0);
	if (ask->born_ms <= 0)
		ask->born_ms = now;
	if (ask->group.n == 0 || ask->topic.n == 0)
		return broker_bad_field(c, cmd, ask->group.n == 0 ? "consumerGroup" : "topic"), false;
	if (field_need_i32(cmd, "queueId", &ask->queue_id) != RC_OK)
		return broker_bad_field(c, cmd, "queueId"), false;
	if (field_need_i64(cmd, "pollTime", &ask->poll_ms) != RC_OK)
		return broker_bad_field(c, cmd, "pollTime"), false;
	ask->queue_id = MAX_OF(ask->queue_id, -1);
	ask->poll_ms = MIN_OF(MAX_OF(ask->poll_ms, 0), (int64_t)POLL_MAX_MS);
	left = MIN_OF(ask->born_ms - now, (int64_t)0) + ask->poll_ms -
	       EARLY_MS; /* by the client's clock, unless that is ahead */
	ask->deadline_ms = ask->poll_ms > 0 ? clock_mono_ms() + left : 0;
	return true;
}

size_t
pop_ask_size(const struct pop_ask *ask)
{
	return ask->group.n + ask->topic.n + ask->exp.n + ask->exp_type.n + ask->attempt.n;
}

void
pop_ask_copy(struct pop_ask *to, const struct pop_ask *from, char *room)
{
	*to = *from;
	to->group = str_copy_into(from->group, &room);
	to->topic = str_copy_into(from->topic, &room);
	to->exp = str_copy_into(from->exp, &room);
	to->exp_type = str_copy_into(from->exp_type, &room);
	to->attempt = str_copy_into(from->attempt, &room);
}

struct topic *
pop_check(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask)
{
	struct topic *t = topic_find(p->b->topics, ask->topic);
	const struct group *g;

	if (t == NULL)
		conn_answer(c, id, RES_TOPIC_NOT_EXIST, "topic[%.*s] not exist, apply first please! " FAQ_HINT,
			    TEXT(ask->topic));
	else if (!(t->perm & PERM_READ))
		conn_answer(c, id, RES_NO_PERMISSION, "the topic[%.*s] peeking message is forbidden", TEXT(ask->topic));
	else if (ask->queue_id >= t->read_queues)
		conn_answer(c, id, RES_INVALID_PARAMETER,
			    "queueId[%d] is illegal, topic:[%.*s] topicConfig.readQueueNums:[%d] consumer:[/%s]",
			    ask->queue_id, TEXT(ask->topic), t->read_queues, c->peer_text);
	else if ((g = group_find_or_make(p->b->groups, ask->group)) == NULL)
		conn_answer(c, id, RES_SUBSCRIPTION_GROUP_NOT_EXIST,
			    "subscription group [%.*s] does not exist, " FAQ_HINT, TEXT(ask->group));
	else if (!g->consume_enable)
		conn_answer(c, id, RES_NO_PERMISSION, "subscription group no permission, %.*s", TEXT(ask->group));
	else
		return t;
	return NULL;
}

void
pop_ask_run(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask)
{
	if (ask->kind == POP_MESSAGES)
		pop_take_run(p, c, id, ask);
	else
		pop_notice_run(p, c, id, ask);
}

/* The original's rule, as for code 14: a young topic is read from its start, whatever the consumer prefers. */
int64_t
pop_first_offset(struct pop *p, struct slice topic, struct store_queue *q, int32_t init_mode)
{
	if (init_mode == INIT_MIN || slice_starts(topic, POP_RETRY_PREFIX))
		return queue_min(q);
	if (p->b->conf->initPopOffsetByCheckMsgInMem && offset_first_is_near(p->b, q))
		return 0;
	return MAX_OF(queue_max(q) - 1, 0);
}

/* ---- is there something */

/* Where the group's next pop of that queue begins, without having popped. */
static int64_t
next_offset(struct pop *p, struct slice topic, struct slice group, struct store_queue *sq)
{
	struct pop_queue *q = pop_state_find_queue(p->state, topic, group, queue_id(sq));
	int64_t stored;

	if (q != NULL) {
		pop_log_follow_offset(p, q);
		if (q->next >= 0)
			return q->next;
	}
	stored = offset_get(p->b->offsets, group, topic, queue_id(sq));
	return stored >= 0 ? stored : queue_min(sq);
}

static bool
queue_has_more(struct pop *p, const struct pop_ask *ask, struct topic *t, int32_t id)
{
	struct store_queue *sq = topic_queue(p->b, t, id);

	if (sq == NULL)
		return false;
	if (ask->order && pop_order_blocked(p->order, ask->topic, ask->group, id, ask->attempt, 0, clock_wall_ms()))
		return false;
	return queue_max(sq) > MAX_OF(next_offset(p, t->name_slice, ask->group, sq), queue_min(sq));
}

static bool
topic_has_more(struct pop *p, const struct pop_ask *ask, struct topic *t)
{
	for (int32_t i = 0; t != NULL && i < t->read_queues; i++)
		if (queue_has_more(p, ask, t, i))
			return true;
	return false;
}

static struct topic *
find_retry(const struct pop *p, const struct pop_ask *ask, enum pop_flag flag)
{
	struct pop_name name;

	return pop_retry_name(ask->group, ask->topic, flag, &name) ? topic_find(p->b->topics, slice_of(name.text))
								   : NULL;
}

static bool
has_more(struct pop *p, const struct pop_ask *ask, struct topic *t)
{
	const struct broker_conf *conf = p->b->conf;

	if (ask->queue_id < 0 ? topic_has_more(p, ask, t) : queue_has_more(p, ask, t, ask->queue_id))
		return true;
	if (conf->enableRetryTopicV2 && topic_has_more(p, ask, find_retry(p, ask, POP_RETRY_V2)))
		return true;
	return (!conf->enableRetryTopicV2 || conf->retrieveMessageFromPopRetryTopicV1) &&
	       topic_has_more(p, ask, find_retry(p, ask, POP_RETRY_V1));
}

/* ---- 200054 */

void
pop_notice_answer(struct conn *c, const struct request_id *id, bool has_message, bool full)
{
	struct frame_out f;

	if (!answer_begin(&f, c, id, RES_SUCCESS))
		return;
	frame_field_bool(&f, "hasMsg", has_message);
	frame_field_bool(&f, "pollingFull", full);
	answer_end(&f, c);
}

void
pop_notice_run(struct pop *p, struct conn *c, const struct request_id *id, const struct pop_ask *ask)
{
	struct topic *t = pop_check(p, c, id, ask);
	enum rc rc = RC_LIMIT;
	bool more;

	if (t == NULL)
		return;
	more = has_more(p, ask, t);
	if (!more && (rc = pop_hold_add(p->hold, c, id, ask, NULL)) == RC_OK)
		return;
	pop_notice_answer(c, id, more, rc == RC_FULL);
}

/* False: answered. */
static bool
check_broker(struct broker *b, struct conn *c, const struct request_id *id)
{
	if (!broker_readable(b))
		conn_answer(c, id, RES_NO_PERMISSION, "the broker[%s] peeking message is forbidden",
			    b->conf->brokerIP1);
	else if (b->pop->state == NULL)
		conn_answer(c, id, RES_SYSTEM_BUSY, "this broker is a slave: messages are popped from the master");
	else
		return true;
	return false;
}

void
req_notification(struct broker *b, struct conn *c, struct command *cmd)
{
	struct pop_ask ask = {
	    .kind = POP_NOTICE, .attempt = field_get(cmd, "attemptId"), .order = field_bool(cmd, "order", false)};
	struct request_id id;

	request_id_of(&id, cmd);
	if (pop_ask_read(&ask, c, cmd) && check_broker(b, c, &id))
		pop_notice_run(b->pop, c, &id, &ask);
}

/* ---- 200055 */

void
req_polling_info(struct broker *b, struct conn *c, struct command *cmd)
{
	struct pop_ask ask = {.group = field_get(cmd, "consumerGroup"), .topic = field_get(cmd, "topic")};
	struct request_id id;
	struct frame_out f;

	request_id_of(&id, cmd);
	if (ask.group.n == 0 || ask.topic.n == 0)
		return broker_bad_field(c, cmd, ask.group.n == 0 ? "consumerGroup" : "topic");
	if (field_need_i32(cmd, "queueId", &ask.queue_id) != RC_OK)
		return broker_bad_field(c, cmd, "queueId");
	if (!check_broker(b, c, &id) || pop_check(b->pop, c, &id, &ask) == NULL ||
	    !answer_begin(&f, c, &id, RES_SUCCESS))
		return;
	frame_field_i64(&f, "pollingNum",
			(int64_t)pop_hold_count_of(b->pop->hold, ask.topic, ask.group, MAX_OF(ask.queue_id, -1)));
	answer_end(&f, c);
}

/* ---- 200052 */

struct peek {
	struct pop *pop;
	const struct pop_ask *ask;
	int64_t rest;
	size_t bytes;
	int32_t messages;
	unsigned ranges;
	struct slice range[POP_BATCH_MAX * 2];
};

static void
peek_ranges(struct peek *k, const struct get_result *r)
{
	for (unsigned i = 0; i < r->ranges && k->ranges < COUNT_OF(k->range); i++) {
		k->range[k->ranges++] = r->range[i];
		k->bytes += r->range[i].n;
	}
	k->messages += r->messages;
}

/* What lies cold is left for a pop: a look is not worth the disk. */
static void
peek_queue(struct peek *k, struct topic *t, int32_t id)
{
	struct store_queue *sq = topic_queue(k->pop->b, t, id);
	struct get_result r;
	int64_t from;

	if (sq == NULL)
		return;
	from = MAX_OF(next_offset(k->pop, t->name_slice, k->ask->group, sq), queue_min(sq));
	k->rest += MAX_OF(queue_max(sq) - from, 0);
	if (k->messages >= k->ask->max)
		return;
	store_get(k->pop->b->store, sq, from, k->ask->max - k->messages, NULL, true, &r);
	if (r.status == GET_FOUND)
		peek_ranges(k, &r);
}

static void
peek_topic(struct peek *k, struct topic *t)
{
	for (int32_t i = 0; t != NULL && i < t->read_queues; i++)
		peek_queue(k, t, i);
}

static void
peek_answer(struct conn *c, const struct request_id *id, const struct peek *k)
{
	bool found = k->messages > 0;
	struct frame_out f;

	if (id->oneway || c->closed)
		return;
	frame_begin_response(&f, &c->out, id, found ? RES_SUCCESS : RES_PULL_NOT_FOUND);
	frame_remark(&f, slice_of(found ? "FOUND" : "NO_MESSAGE_IN_QUEUE"));
	frame_field_i64(&f, "popTime", 0);
	frame_field_i64(&f, "invisibleTime", 0);
	frame_field_i64(&f, "reviveQid", 0);
	frame_field_i64(&f, "restNum", k->rest);
	frame_end(&f, k->bytes);
	for (unsigned i = 0; i < k->ranges; i++)
		conn_put_ref(c, k->range[i].p, k->range[i].n);
	conn_kick(c);
}

void
req_peek(struct broker *b, struct conn *c, struct command *cmd)
{
	struct pop_ask ask = {.group = field_get(cmd, "consumerGroup"), .topic = field_get(cmd, "topic")};
	struct peek k = {.pop = b->pop, .ask = &ask};
	enum pop_flag flag = b->conf->enableRetryTopicV2 ? POP_RETRY_V2 : POP_RETRY_V1;
	struct request_id id;
	struct topic *t;

	request_id_of(&id, cmd);
	if (ask.group.n == 0 || ask.topic.n == 0)
		return broker_bad_field(c, cmd, ask.group.n == 0 ? "consumerGroup" : "topic");
	if (field_need_i32(cmd, "queueId", &ask.queue_id) != RC_OK)
		return broker_bad_field(c, cmd, "queueId");
	if (field_need_i32(cmd, "maxMsgNums", &ask.max) != RC_OK)
		return broker_bad_field(c, cmd, "maxMsgNums");
	ask.max = MIN_OF(ask.max, POP_BATCH_MAX);
	if (!check_broker(b, c, &id) || (t = pop_check(b->pop, c, &id, &ask)) == NULL)
		return;
	if (ask.queue_id < 0)
		peek_topic(&k, t);
	else
		peek_queue(&k, t, ask.queue_id);
	peek_topic(&k, find_retry(b->pop, &ask, flag));
	peek_answer(c, &id, &k);
}
