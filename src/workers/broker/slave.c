/*
 * slave: a slave's side of everything that is not in the log. See slave.h.
 *
 * Runs in:    the broker process of a slave.
 * Owns:       the connection to the master.
 * Must not:   take anything from a node whose epoch is below ours: it was the master once and does not know better.
 * If it dies: the next one asks for everything; commits of clients that the master was not told of are in
 * consumerOffset.json and count when this node becomes the master.
 */
#include "workers/broker/slave.h"

#include <stdio.h>

#include "common/clock.h"
#include "workers/broker/announce.h"
#include "workers/broker/followers.h"
#include "workers/broker/offsets.h"
#include "workers/broker/resolve.h"
#include "workers/broker/slave_take.h"

#define ANSWER_MS          3000 /* a master that does not answer is left */
#define RETRY_FIRST_MS     50
#define RETRY_MAX_MS       2000
#define THERE_MS           5000  /* an answer so young says that the master lives */
#define PAUSE_BYTES_PER_MS 20000 /* large tables are not asked for again and again: as announce */
#define PLAIN_PERIOD_MS    3000  /* between rounds of questions to a stock master */
#define PLAIN_RARE         4     /* each so many rounds the tables that change rarely */
#define ASK_NAMES_MAX_S    10    /* without a master the name servers are asked for it up to that rarely */

struct slave {
	struct broker *b;
	bool running;
	char learned[256], ha[256]; /* what the name servers say */
	bool ha_told;               /* ha knows the latter */
	char addr[256];             /* of the master that is asked, or tried */
	unsigned tries;             /* which of the places where it may be comes next */
	struct resolve *resolve;
	struct conn *conn; /* a reference */
	bool asking;
	bool plain;           /* it does not know our question */
	unsigned round, step; /* of questions to a stock master */
	char have[1024];      /* what it is to be told that we know; "": nothing */
	json_t *own;          /* commits that go with the question under way */
	int64_t answered_ms;  /* monotonic; 0 never */
	bool fits;            /* ha was connected when we last looked */
	bool anew;            /* the next question is for everything */
	int retry_ms;
	unsigned quiet_s; /* seconds without it */
	ev_timer later;   /* the next try or question */
	char error[256];
};

static void ask(struct slave *s);
static void plain_next(struct slave *s);

static void
ask_later(struct slave *s, int64_t ms)
{
	ev_timer_stop(s->b->w->loop, &s->later);
	ev_timer_set(&s->later, (double)ms / 1000., 0.);
	ev_timer_start(s->b->w->loop, &s->later);
}

static void
say(struct slave *s, const char *why)
{
	if (strcmp(s->error, why) != 0)
		log_warn("master %s: %s", s->addr, why);
	snprintf(s->error, sizeof(s->error), "%.*s", (int)sizeof(s->error) - 1, why);
}

/* ---- where it may be */

/* The n-th place, round and round. False: none is known. */
static bool
place(struct slave *s, unsigned n, char *out, size_t size)
{
	const struct cluster_spec *cluster = s->b->w->cluster;
	const struct broker_spec *it = NULL;
	unsigned count = s->learned[0] != '\0';

	while ((it = spec_sibling(cluster, s->b->w->node, it)) != NULL)
		count++;
	if (count == 0)
		return false;
	n %= count;
	if (s->learned[0] != '\0' && n-- == 0) {
		snprintf(out, size, "%s", s->learned);
		return true;
	}
	while ((it = spec_sibling(cluster, s->b->w->node, it)) != NULL && n > 0)
		n--;
	snprintf(out, size, strchr(it->conf.brokerIP1, ':') != NULL ? "[%s]:%d" : "%s:%d", it->conf.brokerIP1,
		 it->conf.listenPort);
	return true;
}

/* ---- the connection */

static void
leave(struct slave *s, const char *why)
{
	struct conn *c = s->conn;

	say(s, why);
	if (c == NULL)
		return;
	s->conn = NULL;
	s->asking = false;
	c->user = NULL;
	call_conn_closed(s->b->calls, c, why);
	conn_close(c, "%s", why);
	conn_unref(&c);
}

/* Somewhere else, a little later. */
static void
try_next(struct slave *s, const char *why)
{
	leave(s, why);
	s->tries++;
	if (!s->running)
		return;
	ask_later(s, s->retry_ms);
	s->retry_ms = MIN_OF(s->retry_ms * 2, RETRY_MAX_MS);
}

static void
on_resolved(void *arg, const struct addr *addr, const char *why)
{
	struct slave *s = arg;
	struct err e;

	s->resolve = NULL;
	if (addr == NULL) {
		try_next(s, why);
		return;
	}
	if (conn_open(&s->b->outgoing, addr, &s->conn, &e) != RC_OK) {
		try_next(s, e.text);
		return;
	}
	s->conn->tag = CONN_TO_MASTER;
	s->conn->user = s;
	s->plain = false;
	s->have[0] = '\0';
	s->round = s->step = 0;
	ask(s);
}

static void
on_later(struct ev_loop *loop, ev_timer *t, int events)
{
	struct slave *s = t->data;

	(void)loop, (void)events;
	if (s->conn != NULL)
		s->plain ? plain_next(s) : ask(s);
	else if (s->resolve == NULL && place(s, s->tries, s->addr, sizeof(s->addr)))
		resolve_start(s->b->w->loop, s->addr, on_resolved, s, &s->resolve);
}

void
slave_conn_closed(struct slave *s, struct conn *c, const char *why)
{
	if (s->conn != c)
		return;
	c->user = NULL;
	conn_unref(&s->conn);
	s->asking = false;
	try_next(s, why);
}

static void
answered(struct slave *s)
{
	if (s->error[0] != '\0' || s->answered_ms == 0)
		log_info("follows master %s%s", s->addr,
			 s->plain ? ", a stock one: its tables come each few seconds" : "");
	s->answered_ms = clock_mono_ms();
	s->error[0] = '\0';
	s->retry_ms = RETRY_FIRST_MS;
	s->quiet_s = 0;
}

/* ---- a master of this system */

static void
keep_have(struct slave *s, struct slice have)
{
	snprintf(s->have, sizeof(s->have), "%.*s", have.n < sizeof(s->have) ? (int)have.n : 0,
		 have.p != NULL ? have.p : "");
}

static void
commits_told(struct slave *s)
{
	if (s->own == NULL)
		return;
	offsets_own_told(s->b->offsets, s->own);
	json_decref(s->own);
	s->own = NULL;
}

static void
take_answer(struct slave *s, struct command *cmd)
{
	struct err e;

	if (field_i64(cmd, "epoch", 0) < pos_read(&s->b->w->shm->master.epoch)) {
		try_next(s, "it is a master of an earlier epoch");
		return;
	}
	if (slave_take_changes(s->b, cmd->body, s->fits, &e) != RC_OK) {
		try_next(s, e.text);
		return;
	}
	keep_have(s, field_get(cmd, "have"));
	commits_told(s);
	answered(s);
	ask_later(s, (int64_t)cmd->body.n / PAUSE_BYTES_PER_MS);
}

static void
on_answer(void *arg, struct command *cmd, const char *why)
{
	struct slave *s = arg;
	struct err e;

	if (!s->running || s->conn == NULL)
		return;
	s->asking = false;
	if (cmd == NULL) {
		try_next(s, why);
	} else if (cmd->code == RES_SUCCESS) {
		take_answer(s, cmd);
	} else if (cmd->code == RES_REQUEST_CODE_NOT_SUPPORTED) {
		s->plain = true;
		plain_next(s);
	} else {
		err_set(&e, "it answers code %d: %.*s", cmd->code, (int)MIN_OF(cmd->remark.n, 160), cmd->remark.p);
		try_next(s, e.text);
	}
}

static void
put_commits(struct slave *s, struct buf *body)
{
	struct err e;

	json_decref(s->own);
	s->own = NULL;
	buf_put_str(body, "{\"offsets\":");
	if (!offsets_put_own(s->b->offsets, body)) {
		buf_reset(body, 0);
		return;
	}
	(void)!json_load_relaxed((struct slice){body->p + 11, body->len - 11}, &s->own, &e);
	buf_put_char(body, '}');
}

static void
ask(struct slave *s)
{
	struct broker *b = s->b;
	struct call_out o;
	struct buf body = {.limit = FRAME_MAX - HEADER_MAX};

	if (s->asking)
		return;
	if (s->anew)
		s->have[0] = '\0';
	s->anew = false;
	s->asking = true;
	put_commits(s, &body);
	call_begin(&o, b->calls, s->conn, REQ_SLAVE_SYNC, FOLLOW_HOLD_MS + ANSWER_MS, on_answer, s);
	frame_field(&o.f, "brokerName", slice_of(b->conf->brokerName));
	frame_field_i64(&o.f, "brokerId", b->conf->brokerId);
	frame_field(&o.f, "have", slice_of(s->have));
	frame_field_i64(&o.f, "holdMs", FOLLOW_HOLD_MS);
	call_end(&o, body.failed ? SLICE_NONE : buf_slice(&body));
	buf_free(&body);
}

/* ---- a stock master: one table after the other */

static const struct {
	int code;
	bool rare;
} plain_steps[] = {
    {REQ_GET_ALL_TOPIC_CONFIG, true},         {REQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, true},
    {REQ_GET_ALL_MESSAGE_REQUEST_MODE, true}, {REQ_GET_ALL_CONSUMER_OFFSET, false},
    {REQ_GET_ALL_DELAY_OFFSET, false},        {REQ_GET_TIMER_CHECK_POINT, false},
};

/* What clients have committed here goes to the master as a client's commit would, queue by queue. */
static void
give_back_one(struct slave *s, struct slice group, struct slice topic, const char *queue, int64_t offset)
{
	struct call_out o;

	call_begin(&o, s->b->calls, s->conn, REQ_UPDATE_CONSUMER_OFFSET, ANSWER_MS, NULL, NULL);
	frame_field(&o.f, "consumerGroup", group);
	frame_field(&o.f, "topic", topic);
	frame_field(&o.f, "queueId", slice_of(queue));
	frame_field_i64(&o.f, "commitOffset", offset);
	call_end(&o, SLICE_NONE);
}

static void
give_back(struct slave *s)
{
	struct buf body = {0};
	const char *key, *queue, *at;
	json_t *queues, *v;

	put_commits(s, &body);
	buf_free(&body);
	json_object_foreach (s->own, key, queues) {
		at = strchr(key, '@');
		json_object_foreach (queues, queue, v)
			give_back_one(s, slice_of(at + 1), (struct slice){key, (size_t)(at - key)}, queue,
				      json_integer_value(v));
	}
	commits_told(s);
}

static void
on_plain(void *arg, struct command *cmd, const char *why)
{
	struct slave *s = arg;
	struct err e;

	if (!s->running || s->conn == NULL)
		return;
	s->asking = false;
	if (cmd == NULL) {
		try_next(s, why);
		return;
	}
	/* An old one does not know all of them: it has no such table then. */
	if (cmd->code == RES_SUCCESS &&
	    slave_take_table(s->b, plain_steps[s->step].code, cmd->body, s->fits, &e) != RC_OK)
		say(s, e.text);
	else
		answered(s);
	if (plain_steps[s->step].code == REQ_GET_ALL_CONSUMER_OFFSET)
		give_back(s);
	s->step++;
	plain_next(s);
}

static void
plain_next(struct slave *s)
{
	struct call_out o;

	while (s->step < COUNT_OF(plain_steps) && plain_steps[s->step].rare && s->round % PLAIN_RARE != 0)
		s->step++;
	if (s->step == COUNT_OF(plain_steps)) {
		s->step = 0;
		s->round++;
		ask_later(s, PLAIN_PERIOD_MS);
		return;
	}
	if (s->asking)
		return;
	s->asking = true;
	call_begin(&o, s->b->calls, s->conn, plain_steps[s->step].code, ANSWER_MS, on_plain, s);
	call_end(&o, SLICE_NONE);
}

/* ---- what the name servers say */

static void
tell_ha(struct slave *s)
{
	const char *addr = s->b->conf->haMasterAddress[0] != '\0' ? s->b->conf->haMasterAddress : s->ha;

	if (!s->ha_told)
		s->ha_told = ipc_send(s->b->w->peer_fds[WORKER_HA], IPC_BROKER_HA_MASTER, addr) == RC_OK;
}

static bool
take_text(char *to, size_t size, const char *text)
{
	if (*text == '\0' || strlen(text) >= size || strcmp(to, text) == 0)
		return false;
	snprintf(to, size, "%s", text);
	return true;
}

void
slave_learned(struct slave *s, const char *master, const char *ha)
{
	if (!s->running)
		return;
	if (take_text(s->ha, sizeof(s->ha), ha))
		s->ha_told = false;
	if (take_text(s->learned, sizeof(s->learned), master)) {
		log_info("the name servers say that the master is %s, its replication %s", s->learned, s->ha);
		s->tries = 0;
		if (s->conn == NULL && s->resolve == NULL)
			ask_later(s, 0);
	}
	tell_ha(s);
}

/* ---- life */

/* What is not the master's may only be dropped while our log is a copy of its log: when that begins, all is asked for
 * again. */
static void
look_at_ha(struct slave *s)
{
	bool fits = atomic_load(&s->b->w->shm->ha.connected) != 0;

	if (fits && !s->fits) {
		s->anew = true;
		s->round = 0;
	}
	s->fits = fits;
}

void
slave_second(struct slave *s)
{
	if (!s->running)
		return;
	look_at_ha(s);
	tell_ha(s);
	if (s->conn != NULL || s->resolve != NULL)
		return;
	if (!ev_is_active(&s->later))
		ask_later(s, 0);
	/* 1, 2, 4, 8, then each so many seconds. */
	s->quiet_s++;
	if ((s->quiet_s & (s->quiet_s - 1)) == 0 || s->quiet_s % ASK_NAMES_MAX_S == 0)
		announce_changed(s->b->announce);
}

bool
slave_master_is_there(const struct slave *s)
{
	return s->running && s->conn != NULL && s->answered_ms > 0 && clock_mono_ms() - s->answered_ms < THERE_MS;
}

void
slave_start(struct slave *s)
{
	if (broker_is_master(s->b) || s->running)
		return;
	s->running = true;
	s->retry_ms = RETRY_FIRST_MS;
	tell_ha(s);
	ask_later(s, 0);
}

void
slave_stop(struct slave *s)
{
	if (!s->running)
		return;
	s->running = false;
	ev_timer_stop(s->b->w->loop, &s->later);
	resolve_cancel(&s->resolve);
	s->resolve = NULL;
	if (s->conn != NULL)
		leave(s, "this node is the master now");
	json_decref(s->own);
	s->own = NULL;
}

struct slave *
slave_new(struct broker *b)
{
	struct slave *s = xcalloc(1, sizeof(*s));

	s->b = b;
	ev_init(&s->later, on_later);
	s->later.data = s;
	return s;
}

void
slave_free(struct slave **sp)
{
	if (*sp == NULL)
		return;
	slave_stop(*sp);
	free(*sp);
	*sp = NULL;
}

void
slave_put_json(const struct slave *s, struct buf *out)
{
	buf_put_str(out, "{\"master\":");
	buf_put_json(out, slice_of(s->addr));
	buf_put_str(out, ",\"haMaster\":");
	buf_put_json(out, slice_of(s->ha));
	buf_printf(out, ",\"stock\":%s,\"ageMs\":%lld,\"error\":", s->plain ? "true" : "false",
		   (long long)(s->answered_ms > 0 ? clock_mono_ms() - s->answered_ms : -1));
	buf_put_json(out, slice_of(s->error));
	buf_put_char(out, '}');
}
