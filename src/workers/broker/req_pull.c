/*
 * req_pull: codes 11 and 361: messages of one queue from an offset on, sent straight from the mapped log.
 *
 * Runs in:    the broker process.
 * Must not:   touch log bytes that may have to come from the disk: those pulls go by way of `cold`.
 */
#include "workers/broker/brstats.h"
#include "workers/broker/cold.h"
#include "workers/broker/hold.h"
#include "workers/broker/offsets.h"
#include "workers/broker/slave.h"

#include "common/clock.h"

/* forbiddenType of an answer with code 16 */
enum forbidden { FORBIDDEN_BROKER = 1, FORBIDDEN_GROUP, FORBIDDEN_TOPIC, FORBIDDEN_BROADCAST, FORBIDDEN_SUBSCRIPTION };

#define FORBIDDEN_READ_BIT (1 << 2)

/* One pass of a pull through the checks. */
struct pass {
	struct broker	*b;
	struct conn	*c;
	const struct request_id *id;
	const struct pull *p;
	struct group	*group;
	struct topic	*topic;
	struct subscription *own;	/* made from the request's text; NULL: the heartbeat's or "all" */
	struct sql_filter *own_sql;	/* a reference; so */
	struct tag_filter filter;
	bool		 to_master;	/* of a slave: the consumer is sent there */
};

/* ---- header */

static void
set_text(struct pull *p, struct slice name, struct slice value)
{
	if (slice_is(name, "consumerGroup"))
		p->group = value;
	else if (slice_is(name, "topic"))
		p->topic = value;
	else if (slice_is(name, "subscription"))
		p->sub = value;
	else if (slice_is(name, "expressionType"))
		p->type = value;
}

/* Bits of the numbers that must be there. */
enum { HAS_QUEUE = 1, HAS_OFFSET = 2, HAS_MAX = 4, HAS_FLAG = 8, HAS_ALL = 15 };

/* Reads one field; the bit of a number that is now there. False: it is no number. */
static bool
set_field(struct pull *p, const struct field *f, unsigned *has)
{
	switch (f->name.n) {
	case 7:
		if (slice_is(f->name, "queueId"))
			return *has |= HAS_QUEUE, str_i32(f->value, &p->queue_id) == RC_OK;
		if (slice_is(f->name, "sysFlag"))
			return *has |= HAS_FLAG, str_i32(f->value, &p->sys_flag) == RC_OK;
		return true;
	case 10:
		if (slice_is(f->name, "maxMsgNums"))
			return *has |= HAS_MAX, str_i32(f->value, &p->max) == RC_OK;
		if (slice_is(f->name, "subVersion"))
			return str_i64(f->value, &p->sub_version) == RC_OK;
		return true;
	case 11:
		if (slice_is(f->name, "queueOffset"))
			return *has |= HAS_OFFSET, str_i64(f->value, &p->offset) == RC_OK;
		return true;
	case 12:
		if (slice_is(f->name, "commitOffset"))
			return str_i64(f->value, &p->commit_offset) == RC_OK;
		break;
	case 20:
		if (slice_is(f->name, "suspendTimeoutMillis"))
			return str_i64(f->value, &p->suspend_ms) == RC_OK;
		return true;
	}
	set_text(p, f->name, f->value);
	return true;
}

static const char *
missing_name(const struct pull *p, unsigned has)
{
	if (p->group.n == 0)
		return "consumerGroup";
	if (p->topic.n == 0)
		return "topic";
	if (!(has & HAS_QUEUE))
		return "queueId";
	if (!(has & HAS_OFFSET))
		return "queueOffset";
	return has & HAS_MAX ? "sysFlag" : "maxMsgNums";
}

static bool
header_read(struct pull *p, struct conn *c, const struct command *cmd, const struct request_id *id)
{
	unsigned has = 0;
	char name[32];

	for (unsigned i = 0; i < cmd->field_count; i++) {
		const struct field *f = &cmd->fields[i];

		if (f->value.n == 0 || LIKELY(set_field(p, f, &has)))
			continue;
		memcpy(name, f->name.p, MIN_OF(f->name.n, sizeof(name) - 1));
		name[MIN_OF(f->name.n, sizeof(name) - 1)] = '\0';
		broker_bad_value(c, id, name, f->value);
		return false;
	}
	if (LIKELY(has == HAS_ALL && p->group.n > 0 && p->topic.n > 0))
		return true;
	broker_bad_value(c, id, missing_name(p, has), SLICE_NONE);
	return false;
}

size_t
pull_copy_size(const struct pull *p)
{
	return p->group.n + p->topic.n + p->sub.n + p->type.n;
}

void
pull_copy(struct pull *to, const struct pull *from, char *room)
{
	*to = *from;
	to->group = str_copy_into(from->group, &room);
	to->topic = str_copy_into(from->topic, &room);
	to->sub = str_copy_into(from->sub, &room);
	to->type = str_copy_into(from->type, &room);
}

/* ---- checks; each answers when it refuses */

static bool
forbid(struct pass *s, enum forbidden type, const char *fmt, ...) PRINTF_LIKE(3, 4);

static bool
forbid(struct pass *s, enum forbidden type, const char *fmt, ...)
{
	struct frame_out f;
	struct err e;
	va_list ap;

	if (s->id->oneway || s->c->closed)
		return false;
	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	frame_begin_response(&f, &s->c->out, s->id, RES_NO_PERMISSION);
	frame_remark(&f, slice_of(e.text));
	frame_field_i64(&f, "forbiddenType", type);
	frame_end(&f, 0);
	conn_kick(s->c);
	return false;
}

#define REFUSE(s, code, ...) (conn_answer((s)->c, (s)->id, code, __VA_ARGS__), false)
#define TEXT(slice) (int)(slice).n, (slice).p

static bool
check_broker(struct pass *s)
{
	const struct broker_conf *conf = s->b->conf;

	if (!broker_readable(s->b))
		return forbid(s, FORBIDDEN_BROKER, "the broker[%s] pulling message is forbidden", conf->brokerIP1);
	if (s->id->code == REQ_LITE_PULL_MESSAGE && !conf->litePullMessageEnable)
		return forbid(s, FORBIDDEN_BROKER, "the broker[%s] for lite pull consumer is forbidden", conf->brokerIP1);
	if (!broker_is_master(s->b) && !conf->slaveReadEnable)
		return REFUSE(s, RES_SYSTEM_BUSY, "[REJECTREQUEST]system busy, start flow control for a while");
	return true;
}

static bool
check_group(struct pass *s)
{
	s->group = group_find_or_make(s->b->groups, s->p->group);
	if (s->group == NULL)
		return REFUSE(s, RES_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group [%.*s] does not exist, " FAQ_HINT, TEXT(s->p->group));
	if (!s->group->consume_enable)
		return forbid(s, FORBIDDEN_GROUP, "subscription group no permission, %.*s", TEXT(s->p->group));
	return true;
}

static bool
check_topic(struct pass *s)
{
	s->topic = topic_find(s->b->topics, s->p->topic);
	if (s->topic == NULL)
		return REFUSE(s, RES_TOPIC_NOT_EXIST, "topic[%.*s] not exist, apply first please! " FAQ_HINT, TEXT(s->p->topic));
	if (!(s->topic->perm & PERM_READ))
		return forbid(s, FORBIDDEN_TOPIC, "the topic[%.*s] pulling message is forbidden", TEXT(s->p->topic));
	if (s->p->queue_id < 0 || s->p->queue_id >= s->topic->read_queues)
		return REFUSE(s, RES_INVALID_PARAMETER, "queueId[%d] is illegal, topic:[%.*s] topicConfig.readQueueNums:[%d] consumer:[/%s]",
		    s->p->queue_id, TEXT(s->p->topic), s->topic->read_queues, s->c->peer_text);
	return true;
}

static bool
is_tag_type(struct slice type)
{
	return type.n == 0 || slice_is(type, "TAG");
}

static bool
refuse_type(struct pass *s, const char *type)
{
	return REFUSE(s, RES_SYSTEM_ERROR, "The broker does not support consumer to filter message by %s", type);
}

/* The filter of a SQL92 subscription. sql NULL: all pass. */
static void
use_sql(struct pass *s, struct sql_filter *sql)
{
	s->filter = (struct tag_filter){.all = true, .sql = sql};
	if (!s->b->conf->filterSupportRetry || !slice_starts(s->p->topic, RETRY_PREFIX))
		return;
	s->filter.retried = s->b->filters;
	s->filter.group = s->p->group;
}

/* The original delivers everything where the text cannot be read. A client cannot mean that: it is told. */
static bool
check_own_sql(struct pass *s)
{
	const struct pull *p = s->p;
	char type[32];
	struct err e;

	if (p->sub.n == 0)
		return REFUSE(s, RES_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed");
	if (!s->b->conf->enablePropertyFilter || !slice_is(p->type, "SQL92")) {
		memcpy(type, p->type.p, MIN_OF(p->type.n, sizeof(type) - 1));
		type[MIN_OF(p->type.n, sizeof(type) - 1)] = '\0';
		return refuse_type(s, type);
	}
	s->own_sql = filters_compile(s->b->filters, p->sub, &e);
	if (s->own_sql == NULL)
		return REFUSE(s, RES_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed: %s", e.text);
	return true;
}

/* The request brings its subscription along. */
static bool
check_own_sub(struct pass *s)
{
	const struct pull *p = s->p;
	bool sql = !is_tag_type(p->type);

	if (sql && !check_own_sql(s))
		return false;
	if (subscription_make(p->topic, p->sub, p->type, p->sub_version, &s->own) != RC_OK)
		return REFUSE(s, RES_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed");
	if (p->first)
		clients_note_pull_sub(s->b->clients, p->group, s->own);
	if (sql)
		use_sql(s, s->own_sql);
	else
		s->filter = tag_filter_of(s->own);
	return true;
}

static bool
check_heartbeat_sql(struct pass *s, const struct subscription *sub)
{
	const struct group_filter *f = filters_find(s->b->filters, s->p->topic, s->p->group);

	if (f == NULL)
		return REFUSE(s, RES_FILTER_DATA_NOT_EXIST, "The broker's consumer filter data is not exist!Your expression may be wrong!");
	if (f->version < s->p->sub_version)
		return REFUSE(s, RES_FILTER_DATA_NOT_LATEST, "the consumer's consumer filter data not latest");
	if (!s->b->conf->enablePropertyFilter)
		return refuse_type(s, sub->expression_type);
	use_sql(s, f->sql);
	if (sub->class_filter)
		s->filter = tag_filter_of(sub);
	return true;
}

static bool
check_heartbeat_sub(struct pass *s)
{
	struct consumer_group *g = consumer_group_find(s->b->clients, s->p->group);
	struct subscription *sub;

	if (g == NULL)
		return REFUSE(s, RES_SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist" FAQ_HINT);
	if (!s->group->broadcast_enable && g->model == BROADCASTING)
		return forbid(s, FORBIDDEN_BROADCAST, "the consumer group[%.*s] can not consume by broadcast way", TEXT(s->p->group));
	if (group_forbidden(s->b->groups, s->p->group, s->p->topic) & FORBIDDEN_READ_BIT)
		return forbid(s, FORBIDDEN_SUBSCRIPTION, "the consumer group[%.*s] is forbidden for topic[%.*s]", TEXT(s->p->group),
		    TEXT(s->p->topic));
	if ((sub = consumer_group_sub(g, s->p->topic)) == NULL)
		return REFUSE(s, RES_SUBSCRIPTION_NOT_EXIST, "the consumer's subscription not exist" FAQ_HINT);
	if (sub->version < s->p->sub_version)
		return REFUSE(s, RES_SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest");
	if (!is_tag_type(slice_of(sub->expression_type)))
		return check_heartbeat_sql(s, sub);
	s->filter = tag_filter_of(sub);
	return true;
}

static bool
conn_is_member(const struct consumer_group *g, const struct conn *c)
{
	for (const struct member *m = g->members; m != NULL; m = m->next)
		if (m->conn == c)
			return true;
	return false;
}

static bool
check_registered(struct pass *s)
{
	struct consumer_group *g;

	if (LIKELY(!s->b->conf->rejectPullConsumerEnable) || slice_starts(s->p->group, "CID_RMQ_SYS_"))
		return true;
	g = consumer_group_find(s->b->clients, s->p->group);
	if (g != NULL && (g->consume_type != CONSUME_ACTIVELY || conn_is_member(g, s->c)))
		return true;
	return REFUSE(s, RES_SUBSCRIPTION_NOT_EXIST,
	    "the consumer's group info not exist, or the pull consumer is rejected by server." FAQ_HINT);
}

static bool
check_all(struct pass *s)
{
	if (!check_broker(s) || !check_group(s) || !check_topic(s))
		return false;
	if (!(s->p->sys_flag & PULL_OWN_SUB ? check_own_sub(s) : check_heartbeat_sub(s)))
		return false;
	return check_registered(s);
}

/* ---- the answer */

static int
code_of(enum get_status status, int64_t asked)
{
	switch (status) {
	case GET_FOUND:
		return RES_SUCCESS;
	case GET_NO_MATCHED_MESSAGE:
	case GET_MESSAGE_WAS_REMOVING:
		return RES_PULL_RETRY_IMMEDIATELY;
	case GET_NO_MATCHED_LOGIC_QUEUE:
	case GET_NO_MESSAGE_IN_QUEUE:
		return asked == 0 ? RES_PULL_NOT_FOUND : RES_PULL_OFFSET_MOVED;
	case GET_OFFSET_FOUND_NULL:
	case GET_OFFSET_OVERFLOW_ONE:
		return RES_PULL_NOT_FOUND;
	case GET_OFFSET_OVERFLOW_BADLY:
	case GET_OFFSET_TOO_SMALL:
		return RES_PULL_OFFSET_MOVED;
	case GET_COLD:
		break; /* never answered */
	}
	return RES_SYSTEM_ERROR;
}

static int64_t
suggested_broker(const struct pass *s, const struct get_result *r)
{
	if (!s->b->conf->slaveReadEnable || s->to_master)
		return 0;
	return r->suggest_slave ? s->group->slow_broker_id : s->group->broker_id;
}

static void
put_answer(struct pass *s, const struct get_result *r, const char *status, int code)
{
	struct conn *c = s->c;
	struct frame_out f;

	if (s->id->oneway || c->closed)
		return;
	frame_begin_response(&f, &c->out, s->id, code);
	frame_remark(&f, slice_of(status));
	frame_field_i64(&f, "suggestWhichBrokerId", suggested_broker(s, r));
	frame_field_i64(&f, "nextBeginOffset", r->next);
	frame_field_i64(&f, "minOffset", r->min);
	frame_field_i64(&f, "maxOffset", r->max);
	frame_field_i64(&f, "topicSysFlag", s->topic->sys_flag);
	frame_field_i64(&f, "groupSysFlag", s->group->sys_flag);
	frame_end(&f, code == RES_SUCCESS ? r->bytes : 0);
	for (unsigned i = 0; code == RES_SUCCESS && i < r->ranges; i++)
		conn_put_ref(c, r->range[i].p, r->range[i].n);
	conn_kick(c);
}

static void
count_answer(struct pass *s, const struct get_result *r, int code)
{
	struct shm_counters *k = &s->b->w->shm->counters;

	if (code != RES_SUCCESS) {
		count_add(&k->get_missed, 1);
		return;
	}
	count_add(&k->get_found, 1);
	count_add(&k->get_msgs, (uint64_t)r->messages);
	count_add(&k->get_bytes, r->bytes);
	brstats_get(s->b->stats, s->topic->name_slice, s->p->group, (uint64_t)r->messages, r->bytes);
}

static bool
hold_it(struct pass *s, struct store_queue *q)
{
	int64_t timeout = s->b->conf->longPollingEnable ? s->p->suspend_ms : s->b->conf->shortPollingTimeMills;

	if (!s->p->first || !(s->p->sys_flag & PULL_SUSPEND) || s->b->stopping)
		return false;
	return hold_add(s->b->hold, s->c, s->id, s->p, q, &s->filter, timeout) == RC_OK;
}

static void
commit_offset(struct pass *s, int64_t next)
{
	const struct pull *p = s->p;

	offset_note_pull(s->b->offsets, p->group, p->topic, p->queue_id, next);
	if (p->first && (p->sys_flag & PULL_COMMIT) && p->commit_offset >= 0)
		(void)offset_commit(s->b->offsets, s->c->peer_text, p->group, p->topic, p->queue_id, p->commit_offset);
}

/* A slave does not correct offsets: its queue may lag behind what the master has told the consumer. */
static int
code_on_slave(struct pass *s, struct get_result *r, int code)
{
	if (broker_is_master(s->b) || s->b->conf->offsetCheckInSlave || code != RES_PULL_OFFSET_MOVED)
		return code;
	if (r->status != GET_OFFSET_TOO_SMALL)
		r->next = s->p->offset;
	return RES_PULL_RETRY_IMMEDIATELY;
}

/* While the master is there, a slave serves those that lag behind the master's memory, and sends all others back to it. */
static int
code_beside_master(struct pass *s, const struct get_result *r, int code)
{
	s->to_master = !broker_is_master(s->b) && !r->suggest_slave && slave_master_is_there(s->b->slave);
	return s->to_master && code != RES_SUCCESS ? RES_PULL_RETRY_IMMEDIATELY : code;
}

static void
finish(struct pass *s, struct store_queue *q, struct get_result *r)
{
	int code = code_beside_master(s, r, code_on_slave(s, r, code_of(r->status, s->p->offset)));

	commit_offset(s, r->next);
	if (code == RES_PULL_NOT_FOUND && hold_it(s, q))
		return;
	count_answer(s, r, code);
	put_answer(s, r, get_status_name(r->status), code);
}

/* An operator has reset the group's offset: the consumer is told here. */
static bool
answer_reset(struct pass *s, struct store_queue *q)
{
	struct get_result r = {.status = GET_OFFSET_TOO_SMALL};
	int64_t to;

	if (!s->b->conf->useServerSideResetOffset)
		return false;
	to = offset_take_reset(s->b->offsets, s->p->group, s->p->topic, s->p->queue_id);
	if (LIKELY(to < 0))
		return false;
	r.next = to;
	r.min = q != NULL ? queue_min(q) : 0;
	r.max = q != NULL ? queue_max(q) : 0;
	/* The offset that this pull would commit is from before the reset. */
	offset_note_pull(s->b->offsets, s->p->group, s->p->topic, s->p->queue_id, to);
	put_answer(s, &r, "OFFSET_RESET", RES_PULL_OFFSET_MOVED);
	return true;
}

/* True: the pull waits for warm, or is refused since too many do. */
static bool
go_cold(struct pass *s)
{
	enum rc rc = cold_add(s->b->cold, s->c, s->id, s->p, store_cold(s->b->store));

	if (rc == RC_FULL)
		conn_answer(s->c, s->id, RES_SYSTEM_BUSY, "[OVERLOAD]system busy, start flow control for a while");
	return rc == RC_OK || rc == RC_FULL;
}

static void
note_time(struct broker *b, int64_t us)
{
	shm_u64 *longest = &b->w->shm->counters.get_us_max;

	if ((uint64_t)us > atomic_load_explicit(longest, memory_order_relaxed))
		atomic_store_explicit(longest, (uint64_t)us, memory_order_relaxed);
}

static void
read_queue(struct pass *s)
{
	struct store_queue *q = topic_queue(s->b, s->topic, s->p->queue_id);
	struct store_filter f = tag_filter_for_store(&s->filter);
	int64_t began = clock_mono_us();
	struct get_result r;

	if (answer_reset(s, q))
		return;
	r.ranges = 0;
	store_get(s->b->store, q, s->p->offset, s->p->max, &f, true, &r);
	if (UNLIKELY(r.status == GET_COLD)) {
		if (go_cold(s))
			return;
		store_get(s->b->store, q, s->p->offset, s->p->max, &f, false, &r);
	}
	note_time(s->b, clock_mono_us() - began);
	finish(s, q, &r);
}

void
pull_run(struct broker *b, struct conn *c, const struct request_id *id, const struct pull *p)
{
	struct pass s = {.b = b, .c = c, .id = id, .p = p};

	if (check_all(&s))
		read_queue(&s);
	if (s.own != NULL)
		subscription_free(&s.own);
	sql_filter_unref(&s.own_sql);
}

void
req_pull(struct broker *b, struct conn *c, struct command *cmd)
{
	struct pull p = {.first = true, .commit_offset = -1};
	struct request_id id;

	request_id_of(&id, cmd);
	if (header_read(&p, c, cmd, &id))
		pull_run(b, c, &id, &p);
}
