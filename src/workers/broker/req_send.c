/*
 * req_send: codes 10, 310 and 320: a message, or a batch of them, is checked and staged; the answer comes after the commit.
 *
 * Runs in:    the broker process; the hot path.
 * Must not:   store a message as another kind than its sender asked for.
 */
#include "workers/broker/delay.h"
#include "workers/broker/groups.h"
#include "workers/broker/orderly.h"
#include "workers/broker/send.h"
#include "workers/broker/sends.h"
#include "workers/broker/timer.h"
#include "workers/broker/txn.h"

#include "remoting/batch.h"

#define BATCH_MAX	 (1u << 16)	/* messages of one batch: bounds the memory; 4 MiB hold 130,000 empty ones */
#define BATCH_ITEM_MIN	 22		/* bytes of an empty message in a batch */
#define VERSION_3_4_9	 121		/* from here on maxReconsumeTimes counts */
#define RETRY_PREFIX	 "%RETRY%"
#define DLQ_PREFIX	 "%DLQ%"

/* One send on its way through the checks. */
struct send {
	struct broker	*b;
	struct conn	*c;
	struct command	*cmd;
	struct request_id id;
	struct send_header h;
	struct send_props p;
	struct topic	*topic;
	int32_t		 queue_id;
	int64_t		 timer_out_ms;	/* of a timer message */
	bool		 to_dead_letters, is_half;
};

/* ---- properties of the record */

static struct slice
arena_text(struct broker *b, const struct buf *text)
{
	return (struct slice){arena_slicedup(sends_arena(b->sends), buf_slice(text)), text->len};
}

/* The client's text with the broker's own names left out; for a dead letter without its delay. Rare. */
static struct slice
stripped(const struct send *s)
{
	struct buf *text = sends_scratch(s->b->sends);

	send_props_strip(s->h.props, s->to_dead_letters, text);
	if (s->to_dead_letters)
		props_put(text, "DELAY", SLICE_LIT("-1"));
	return arena_text(s->b, text);
}

/* A separator if the client's text lacks it, and the unique key if the client gave none. */
static struct slice
middle_piece(struct send *s, bool unterminated)
{
	static const char lone_separator[] = "\2";
	struct buf *text;
	char key[33];

	if (LIKELY(s->p.uniq_key.n > 0))
		return unterminated ? (struct slice){lone_separator, 1} : SLICE_NONE;
	message_unique_id(key);
	text = sends_scratch(s->b->sends);
	if (unterminated)
		buf_put_char(text, 2);
	props_put(text, "UNIQ_KEY", slice_of(key));
	s->p.uniq_key = (struct slice){arena_slicedup(sends_arena(s->b->sends), slice_of(key)), 32};
	return arena_text(s->b, text);
}

static void
set_props(struct send *s, struct message *m)
{
	bool strip = s->p.reserved || s->to_dead_letters;

	m->props[0] = strip ? stripped(s) : s->h.props;
	m->props[1] = middle_piece(s, !strip && s->p.unterminated);
	m->props[2] = (struct slice){s->b->props_suffix, s->b->props_suffix_len};
}

/* ---- retries and dead letters */

static bool
retries_are_over(const struct send *s, const struct group *g, struct slice group)
{
	int32_t max = g->retry_max;

	if (s->cmd->version >= VERSION_3_4_9 && s->h.has_max_reconsume)
		max = s->h.max_reconsume;
	return s->h.reconsume > max || orderly_group_locked(s->b->orderly, group);
}

/* A consumer sends a message back by itself. False: answered. */
static bool
check_retry(struct send *s)
{
	struct slice group = {s->h.topic.p + strlen(RETRY_PREFIX), s->h.topic.n - strlen(RETRY_PREFIX)};
	struct group *g = group_find_or_make(s->b->groups, group);
	char name[sizeof(DLQ_PREFIX) + 255];

	if (g == NULL) {
		send_refuse(s->b, s->c, &s->id, RES_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group not exist, %.*s " FAQ_HINT,
		    (int)group.n, group.p);
		return false;
	}
	if (!retries_are_over(s, g, group))
		return true;
	if (group.n > 255) {
		send_refuse_rc(s->b, s->c, &s->id, RC_LIMIT);
		return false;
	}
	memcpy(name, DLQ_PREFIX, strlen(DLQ_PREFIX));
	memcpy(name + strlen(DLQ_PREFIX), group.p, group.n);
	s->topic = topic_ensure(s->b->topics, (struct slice){name, strlen(DLQ_PREFIX) + group.n}, 1, PERM_READ | PERM_WRITE, 0);
	if (s->topic == NULL) {
		send_refuse(s->b, s->c, &s->id, RES_SYSTEM_ERROR, "topic[%s%.*s] not exist", DLQ_PREFIX, (int)group.n, group.p);
		return false;
	}
	s->queue_id = 0;
	s->to_dead_letters = true;
	s->p.delay_level = 0;
	s->p.timed = false;
	return true;
}

/* ---- kinds that this version does not have */

/* False: answered. */
static bool
check_time(struct send *s)
{
	enum timer_ask asked = TIMER_NO_NUMBER;

	if (!s->b->conf->timerWheelEnable) {
		send_refuse(s->b, s->c, &s->id, RES_SYSTEM_ERROR, "this broker takes no timer messages: timerWheelEnable is false");
		return false;
	}
	asked = timer_asked(s->b, s->h.props, &s->timer_out_ms);
	s->p.timed = asked == TIMER_LATER;
	if (asked == TIMER_NO_NUMBER)
		send_refuse(s->b, s->c, &s->id, RES_MESSAGE_ILLEGAL, "the timer message is illegal: its time is no number");
	else if (asked == TIMER_TOO_FAR)
		send_refuse(s->b, s->c, &s->id, RES_MESSAGE_ILLEGAL,
		    "the timer message is illegal: its time is further away than the %d s that this broker keeps (timerMaxDelaySec)",
		    s->b->conf->timerMaxDelaySec);
	else if (asked == TIMER_AT_ONCE && props_get(s->h.props, "TIMER_DEL_UNIQKEY").n > 0)
		send_refuse(s->b, s->c, &s->id, RES_MESSAGE_ILLEGAL, "the recall is illegal: the message's time has come");
	else
		return true;
	return false;
}

static bool
check_kind(struct send *s)
{
	if (UNLIKELY(s->p.half && !(s->h.reconsume > 0 && s->p.delay_level > 0))) {
		if (s->b->conf->rejectTransactionMessage) {
			send_refuse(s->b, s->c, &s->id, RES_NO_PERMISSION, "the broker[%s] sending transaction message is forbidden",
			    s->b->conf->brokerIP1);
			return false;
		}
		s->is_half = true;
		s->p.delay_level = 0; /* levels have no effect on it; a time has when it is committed */
	}
	if (UNLIKELY(s->p.timed && s->p.delay_level > 0))
		s->p.timed = false; /* the level wins */
	if (UNLIKELY(s->p.timed && !check_time(s)))
		return false;
	s->p.timed &= !s->is_half;
	return true;
}

static bool
check_content(struct send *s)
{
	const char *policy;

	if (UNLIKELY(s->cmd->body.n == 0)) {
		send_refuse(s->b, s->c, &s->id, RES_SYSTEM_ERROR, "java.lang.NullPointerException, the request has no body");
		return false;
	}
	if (LIKELY(s->p.keys || json_object_size(s->topic->attributes) == 0))
		return true;
	policy = json_get_str(s->topic->attributes, "cleanup.policy", "");
	if (strcmp(policy, "COMPACTION") != 0)
		return true;
	send_refuse(s->b, s->c, &s->id, RES_MESSAGE_ILLEGAL, "Required message key is missing");
	return false;
}

/* ---- staging */

static void
fill_message(const struct send *s, struct message *m)
{
	*m = (struct message){.topic = s->topic->name_slice, .queue_id = s->queue_id, .flag = s->h.flag,
	    .sysflag = s->h.sys_flag | (s->topic->multi_tag ? MSG_SYS_MULTI_TAGS : 0), .reconsume_times = s->h.reconsume,
	    .born_ms = s->h.born_ms, .born_host = s->c->peer, .store_host = s->b->store_host, .body = s->cmd->body};
}

static void
fill_pending(const struct send *s, struct pending *p)
{
	p->conn = s->c;
	p->id = s->id;
	p->topic = s->topic;
	p->queue_id = s->queue_id; /* of a delayed message too: the one that was asked for */
	p->uniq_key = s->p.uniq_key;
	p->no_wait = s->p.no_wait;
}

/* It waits in another topic; the queue offset and the id of the answer are of there. */
static void
delay_message(struct send *s, struct message *m)
{
	struct buf *text = sends_scratch(s->b->sends);

	delay_wrap(s->b->delay, m, s->p.delay_level, m->topic, m->queue_id, s->h.props, text);
	s->h.props = arena_text(s->b, text);
	s->p.unterminated = false;
	s->topic = topic_find(s->b->topics, m->topic);
}

/* It waits in the timer queue, as a message with a delay level does in that level's. */
static void
timer_message(struct send *s, struct message *m)
{
	struct buf *text = sends_scratch(s->b->sends);

	timer_wrap(m, s->timer_out_ms, m->topic, m->queue_id, s->h.props, text);
	s->h.props = arena_text(s->b, text);
	s->p.unterminated = false;
	s->topic = topic_find(s->b->topics, m->topic);
}

static struct slice
recall_handle(const struct send *s)
{
	struct buf *text = sends_scratch(s->b->sends);

	if (slice_starts(s->h.topic, RETRY_PREFIX))
		return SLICE_NONE;
	timer_put_handle(s->b, s->h.topic, s->timer_out_ms, s->p.uniq_key, text);
	return arena_text(s->b, text);
}

/* It waits in another topic for its producer's decision; the queue id of the answer is still the one that was asked for. */
static void
make_half(struct send *s, struct message *m)
{
	struct buf *text = sends_scratch(s->b->sends);

	buf_put_slice(text, m->props[1]);
	txn_make_half(m, s->p.uniq_key, text);
	m->props[1] = arena_text(s->b, text);
	s->topic = topic_find(s->b->topics, m->topic);
}

static void
send_single(struct send *s)
{
	struct pending *p;
	struct message m;
	enum rc rc;

	if (UNLIKELY(slice_starts(s->h.topic, RETRY_PREFIX)) && !check_retry(s))
		return;
	if (!check_content(s) || !check_kind(s))
		return;
	fill_message(s, &m);
	if (UNLIKELY(s->p.delay_level > 0))
		delay_message(s, &m);
	else if (UNLIKELY(s->p.timed))
		timer_message(s, &m);
	set_props(s, &m);
	if (UNLIKELY(s->is_half))
		make_half(s, &m);
	if (UNLIKELY((rc = sends_stage(s->b->sends, &m, &p)) != RC_OK)) {
		send_refuse_rc(s->b, s->c, &s->id, rc);
		return;
	}
	fill_pending(s, p);
	if (UNLIKELY(s->is_half))
		txn_opened(s->b->txn, s->h.topic);
	if (UNLIKELY(s->p.timed))
		p->recall = recall_handle(s);
}

/* ---- batches */

/* The header's properties go behind each message's own, with a separator between when it is missing. */
static struct slice
batch_tail(struct send *s)
{
	struct buf *text = sends_scratch(s->b->sends);

	send_props_strip(s->h.props, false, text);
	buf_put(text, s->b->props_suffix, s->b->props_suffix_len);
	return arena_text(s->b, text);
}

/* The messages of the body, in the turn's arena. 0: bad or too many, answered. */
static size_t
read_batch(struct send *s, struct message **out)
{
	size_t room = MIN_OF(s->cmd->body.n / BATCH_ITEM_MIN, BATCH_MAX), n = 0;
	struct slice rest = s->cmd->body, tail = batch_tail(s);
	struct batch_item item;
	struct message *m = arena_alloc(sends_arena(s->b->sends), (room + 1) * sizeof(*m));
	enum rc rc;

	while ((rc = batch_next(&rest, &item)) == RC_OK && n < room) {
		fill_message(s, &m[n]);
		m[n].flag = item.flag;
		m[n].body = item.body;
		m[n].props[0] = item.props;
		m[n].props[1] = item.props.n > 0 && item.props.p[item.props.n - 1] != 2 ? SLICE_LIT("\2") : SLICE_NONE;
		m[n++].props[2] = tail;
	}
	*out = m;
	if (rc == RC_NOTFOUND && n > 0)
		return n;
	send_refuse_rc(s->b, s->c, &s->id, RC_LIMIT);
	return 0;
}

static bool
check_batch(struct send *s)
{
	if (s->topic->name_slice.n > MSG_TOPIC_MAX) {
		send_refuse(s->b, s->c, &s->id, RES_MESSAGE_ILLEGAL, "message topic length too long %zu", s->topic->name_slice.n);
		return false;
	}
	if (slice_starts(s->h.topic, RETRY_PREFIX)) {
		send_refuse(s->b, s->c, &s->id, RES_MESSAGE_ILLEGAL, "batch request does not support retry group %.*s",
		    (int)s->h.topic.n, s->h.topic.p);
		return false;
	}
	if (s->cmd->body.n > (size_t)s->b->conf->maxMessageSize) {
		send_refuse_rc(s->b, s->c, &s->id, RC_LIMIT);
		return false;
	}
	return check_content(s);
}

static void
send_batch(struct send *s)
{
	struct message *m;
	struct pending *p;
	size_t n;
	enum rc rc;

	s->p.keys = true; /* each message has its own; the header's say nothing */
	if (!check_batch(s) || (n = read_batch(s, &m)) == 0)
		return;
	if ((rc = sends_stage_batch(s->b->sends, m, n, &p)) != RC_OK) {
		send_refuse_rc(s->b, s->c, &s->id, rc);
		return;
	}
	fill_pending(s, p);
}

/* Fewer copies than minInSyncReplicas: the original does not even store what would be waited for. */
static bool
enough_copies(struct send *s)
{
	const struct broker_conf *conf = s->b->conf;

	if (LIKELY(conf->brokerRole != ROLE_SYNC_MASTER) || s->p.no_wait ||
	    atomic_load_explicit(&s->b->w->shm->ha.slaves_in_sync, memory_order_relaxed) + 1 >= conf->minInSyncReplicas)
		return true;
	send_refuse(s->b, s->c, &s->id, RES_SYSTEM_ERROR, "in-sync replicas not enough");
	return false;
}

void
req_send(struct broker *b, struct conn *c, struct command *cmd)
{
	struct send s = {.b = b, .c = c, .cmd = cmd};

	if (!send_header_read(&s.h, c, cmd))
		return;
	request_id_of(&s.id, cmd);
	if ((s.topic = send_check(b, c, &s.id, &s.h, &s.queue_id)) == NULL)
		return;
	send_props_scan(s.h.props, &s.p);
	if (!enough_copies(&s))
		return;
	if (UNLIKELY(s.h.batch))
		send_batch(&s);
	else
		send_single(&s);
}
