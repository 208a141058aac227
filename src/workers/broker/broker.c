/*
 * broker: requests, the loop turn, the second, and what the other processes say. See broker.h; the start is in start.c.
 */
#include "workers/broker/broker.h"

#include <stdio.h>

#include "common/clock.h"
#include "workers/broker/announce.h"
#include "workers/broker/brstats.h"
#include "workers/broker/clients.h"
#include "workers/broker/cold.h"
#include "workers/broker/delay.h"
#include "workers/broker/followers.h"
#include "workers/broker/hold.h"
#include "workers/broker/offsets.h"
#include "workers/broker/orderly.h"
#include "workers/broker/pop.h"
#include "workers/broker/sends.h"
#include "workers/broker/role.h"
#include "workers/broker/siblings.h"
#include "workers/broker/slave.h"
#include "workers/broker/timer.h"
#include "workers/broker/txn.h"
#include "workers/broker/waiters.h"

#define DISPATCH_STEP	 4096	/* records dispatched in one turn behind flush or ha */
#define PATIENCE_S	 0.1	/* how exact the time-outs of waiting sends are */
#define LEAVE_SECONDS	 4	/* a stop waits so long for name servers and for sends that wait */
#define CLIENTS_SECONDS	 10
#define ORDERLY_SECONDS	 60

/* ---- requests */

static request_handler *
handler_of(int32_t code, bool *vip)
{
	switch (code) {
#define REQUEST(NAME, handler, on_vip)                                                                                 \
	case REQ_##NAME:                                                                                               \
		*vip = on_vip;                                                                                         \
		return handler;
#include "workers/broker/requests.tbl"
#undef REQUEST
	}
	return NULL;
}

static void
client_command(struct conn *c, struct command *cmd)
{
	struct broker *b = c->set->owner;
	request_handler *handler;
	struct request_id id;
	bool vip = false;

	if (UNLIKELY(command_is_response(cmd))) {
		(void)call_answered(b->calls, c, cmd);
		return;
	}
	count_add(&b->w->shm->counters.requests, 1);
	handler = handler_of(cmd->code, &vip);
	if (LIKELY(handler != NULL && (vip || c->tag != LISTENER_VIP))) {
		handler(b, c, cmd);
		return;
	}
	request_id_of(&id, cmd);
	conn_answer(c, &id, RES_REQUEST_CODE_NOT_SUPPORTED, " request type %d not supported", cmd->code);
}

static void
client_open(struct conn *c)
{
	c->user = xcalloc(1, sizeof(struct client_conn));
}

static void
client_close(struct conn *c, const char *why)
{
	struct broker *b = c->set->owner;

	call_conn_closed(b->calls, c, why);
	if (b->hold != NULL)
		hold_conn_closed(b->hold, c);
	if (b->pop != NULL)
		pop_conn_closed(b->pop, c);
	if (b->clients != NULL)
		clients_conn_closed(b->clients, c);
	free(c->user);
	c->user = NULL;
}

static void
namesrv_command(struct conn *c, struct command *cmd)
{
	struct broker *b = c->set->owner;

	if (command_is_response(cmd))
		(void)call_answered(b->calls, c, cmd);
}

static void
namesrv_close(struct conn *c, const char *why)
{
	struct broker *b = c->set->owner;

	call_conn_closed(b->calls, c, why);
	if (c->tag == CONN_TO_MASTER && c->user != NULL)
		slave_conn_closed(c->user, c, why);
	else if (c->tag == CONN_TO_NAMESRV && b->announce != NULL)
		announce_conn_closed(b->announce, c, why);
}

const struct conn_ops broker_client_ops = {client_command, client_open, client_close};
const struct conn_ops broker_namesrv_ops = {namesrv_command, NULL, namesrv_close};

void
broker_bad_value(struct conn *c, const struct request_id *id, const char *field, struct slice value)
{
	if (value.n == 0)
		conn_answer(c, id, RES_SYSTEM_ERROR,
		    "org.apache.rocketmq.remoting.exception.RemotingCommandException: the custom field <%s> is null", field);
	else
		conn_answer(c, id, RES_SYSTEM_ERROR, "java.lang.NumberFormatException: For input string: \"%.*s\" (field %s)",
		    (int)MIN_OF(value.n, 128), value.p, field);
}

void
broker_bad_field(struct conn *c, const struct command *cmd, const char *field)
{
	struct request_id id;

	request_id_of(&id, cmd);
	broker_bad_value(c, &id, field, field_get(cmd, field));
}

/* ---- what this broker may do */

#define PERM_BIT_WRITE 2
#define PERM_BIT_READ  4

bool
broker_is_master(const struct broker *b)
{
	return b->conf->brokerRole != ROLE_SLAVE && !b->fenced;
}

bool
broker_readable(const struct broker *b)
{
	return b->conf->brokerPermission & PERM_BIT_READ;
}

bool
broker_writable(const struct broker *b)
{
	return b->conf->brokerPermission & PERM_BIT_WRITE;
}

const char *
broker_send_refusal(struct broker *b, int *code)
{
	if (UNLIKELY(b->conf->brokerRole == ROLE_SLAVE)) {
		*code = RES_SYSTEM_BUSY;
		return "[REJECTREQUEST]system busy, start flow control for a while";
	}
	*code = RES_SERVICE_NOT_AVAILABLE;
	if (UNLIKELY(b->failed))
		return b->failed_why;
	if (UNLIKELY(role_refusal(b) != NULL))
		return role_refusal(b);
	return UNLIKELY(b->stopping) ? "service not available now. The broker is stopping" : NULL;
}

static void
set_state(struct broker *b, enum node_state state)
{
	atomic_store(&b->w->shm->broker.state, (int32_t)state);
}

static void
nothing(void *arg)
{
	(void)arg;
}

void
broker_fail(struct broker *b, const char *why)
{
	if (b->failed)
		return;
	b->failed = true;
	snprintf(b->failed_why, sizeof(b->failed_why), "service not available now. %s", why);
	set_state(b, NODE_FAILED);
	worker_event(b->w, "FAILED: %s; writes are refused from now on, the name servers are left", why);
	waiters_fail(b->waiters, b->failed_why);
	announce_leave(b->announce, nothing, b);
}

static void
look_at_flush(struct broker *b)
{
	int32_t error = atomic_load_explicit(&b->w->shm->flush.failed_errno, memory_order_relaxed);
	struct err e;

	if (LIKELY(error == 0 || b->failed))
		return;
	err_set(&e, "a sync of the commit log in %s failed: %s (errno %d); what the disk holds is not known. Look at the disk, then "
		    "restart this node", b->conf->storePathCommitLog, strerror(error), error);
	broker_fail(b, e.text);
}

void
put_mq_json(struct buf *out, const struct broker *b, struct slice topic, int32_t queue_id)
{
	buf_put_str(out, "{\"brokerName\":");
	buf_put_json(out, slice_of(b->conf->brokerName));
	buf_put_str(out, ",\"queueId\":");
	buf_put_i64(out, queue_id);
	buf_put_str(out, ",\"topic\":");
	buf_put_json(out, topic);
	buf_put_char(out, '}');
}

/* ---- the turn */

/* All is answered or given up: save, close and go. */
static void
finish(struct broker *b)
{
	struct err e;

	txn_note_progress(b->txn);
	if (!b->failed)
		timer_leave(b->timer);
	store_close(&b->store, !b->failed);
	pop_note_progress(b->pop); /* the offsets of what was popped may be known once the log is synced */
	if (offsets_save(b->offsets, &e) != RC_OK)
		log_error("consumer offsets were not saved: %s", e.text);
	if (!b->failed && delay_save(b->delay, &e) != RC_OK) /* after the log was synced; if that failed, its tail says it */
		log_error("the progress of delayed messages was not saved: %s", e.text);
	if (!b->failed && timer_save(b->timer, &e) != RC_OK)
		log_error("the progress of timer messages was not saved: %s", e.text);
	log_info("stopped");
	worker_exit(b->w, 0);
}

static bool
may_finish(const struct broker *b)
{
	if (!b->stopping || b->store == NULL)
		return false;
	return (b->left && waiters_count(b->waiters) == 0) || b->stop_seconds >= LEAVE_SECONDS;
}

/* Messages that were appended by those who were told in this turn go out with the next: the loop must not sleep before. */
static void
keep_going(struct broker *b, bool more)
{
	if (UNLIKELY(more || sends_staged(b->sends)))
		ev_idle_start(b->w->loop, &b->more);
	else if (UNLIKELY(ev_is_active(&b->more)))
		ev_idle_stop(b->w->loop, &b->more);
}

static void
release_waiters(struct broker *b)
{
	if (LIKELY(waiters_count(b->waiters) == 0 && !ev_is_active(&b->patience)))
		return;
	if (!b->failed && !b->fenced) {
		waiters_release(b->waiters, store_safe_position(b->store));
		if (UNLIKELY(store_lacks_copies(b->store)))
			waiters_release_alone(b->waiters);
	}
	if (waiters_count(b->waiters) == 0)
		ev_timer_stop(b->w->loop, &b->patience);
	else if (!ev_is_active(&b->patience))
		ev_timer_again(b->w->loop, &b->patience);
}

static void
broker_turn_end(struct ev_loop *loop, ev_prepare *p, int events)
{
	struct broker *b = p->data;
	bool more;

	(void)loop, (void)events;
	if (b->store == NULL)
		return;
	look_at_flush(b);
	role_turn(b);
	more = txn_turn(b->txn);
	sends_commit(b->sends);
	more |= delay_turn(b->delay);
	sends_commit(b->sends);
	more |= timer_turn(b->timer);
	sends_commit(b->sends);
	more |= store_progress(b->store, DISPATCH_STEP);
	more |= timer_wanted(b->timer);
	release_waiters(b);
	more |= pop_turn(b->pop);
	sends_commit(b->sends);
	more |= pop_wanted(b->pop);
	keep_going(b, more);
	hold_run(b->hold);
	followers_turn(b->followers);
	conn_set_flush(&b->outgoing);
	conn_set_flush(&b->conns);
	sends_turn_over(b->sends);
	count_add(&b->w->shm->counters.turns, 1);
	if (UNLIKELY(may_finish(b)))
		finish(b);
}

static void
more_to_do(struct ev_loop *loop, ev_idle *idle, int events)
{
	(void)loop, (void)idle, (void)events; /* being started is enough: the turn's end does the work */
}

static void
patience_over(struct ev_loop *loop, ev_timer *t, int events)
{
	struct broker *b = t->data;

	(void)loop, (void)events;
	waiters_expire(b->waiters, clock_mono_us());
}

/* ---- once a second */

static void
publish_counts(struct broker *b)
{
	struct shm_line_broker *line = &b->w->shm->broker;
	struct shm_counters *k = &b->w->shm->counters;
	int64_t producers, consumers;

	clients_count(b->clients, &producers, &consumers);
	atomic_store(&line->connections, (int64_t)b->conns.count);
	atomic_store(&line->producers, producers);
	atomic_store(&line->consumers, consumers);
	atomic_store(&line->topics, (int64_t)topics_count(b->topics));
	atomic_store(&line->groups, (int64_t)groups_count(b->groups));
	atomic_store(&k->accepted, b->conns.accepted);
	atomic_store(&k->bytes_in, b->conns.bytes_in);
	atomic_store(&k->bytes_out, b->conns.bytes_out);
	atomic_store(&k->bad_frames, b->conns.bad_frames);
}

static void
publish_state(struct broker *b)
{
	int32_t old = atomic_load(&b->w->shm->broker.state);
	enum node_state state = NODE_RUNNING;

	if (b->failed)
		state = NODE_FAILED;
	else if (b->stopping)
		state = NODE_STOPPING;
	else if (broker_is_master(b) && store_refusal(b->store) != NULL)
		state = NODE_READONLY;
	if (old == (int32_t)state)
		return;
	set_state(b, state);
	if (state == NODE_READONLY)
		worker_event(b->w, "writes are refused: %s", store_refusal(b->store));
	else if (old == NODE_READONLY && state == NODE_RUNNING)
		worker_event(b->w, "writes are taken again");
}

static void
on_second(struct worker *w)
{
	struct broker *b = w->state;

	b->seconds++;
	broker_ready(b); /* a name server that keeps us waiting is no reason to be taken for dead */
	if (b->stopping)
		b->stop_seconds++;
	if (b->store == NULL)
		return;
	store_second(b->store);
	siblings_push(b->siblings);
	hold_second(b->hold);
	cold_second(b->cold);
	delay_second(b->delay);
	timer_second(b->timer);
	pop_second(b->pop);
	txn_second(b->txn);
	slave_second(b->slave);
	brstats_second(b->stats);
	if (b->seconds % CLIENTS_SECONDS == 0)
		clients_expire(b->clients);
	if (b->seconds % ORDERLY_SECONDS == 0 && broker_is_master(b)) /* a slave has them from its master */
		orderly_expire(b->orderly);
	publish_counts(b);
	publish_state(b);
	if (worker_page_wanted(w))
		broker_page_write(b);
}

/* ---- messages from the other processes */

static void
on_peer(struct worker *w, enum role from, struct ipc_msg *m)
{
	struct broker *b = w->state;
	const char *text;
	int64_t id;
	int32_t error;

	if (m->type == IPC_WARM_BROKER_DONE) {
		id = ipc_i64(m);
		error = ipc_i32(m);
		ipc_end(m);
		if (b->store != NULL)
			cold_done(b->cold, id, error);
	} else if (m->type == IPC_FLUSH_BROKER_MARKED) {
		id = ipc_i64(m);
		ipc_end(m);
		if (b->store != NULL)
			store_marked(b->store, id);
	} else if (m->type == IPC_CLEAN_BROKER_EVENT) {
		text = ipc_str(m);
		ipc_end(m);
		log_info("clean: %s", text);
	} else {
		log_warn("worker %d sends %s, which is not for the broker", (int)from, ipc_name(m->type));
	}
}

static void
on_master(struct worker *w, struct ipc_msg *m)
{
	struct broker *b = w->state;
	const char *why;
	int32_t role;
	int64_t epoch;

	if (m->type == IPC_MASTER_ALL_ROLE) {
		role = ipc_i32(m);
		epoch = ipc_i64(m);
		ipc_end(m);
		role_told(b, role, epoch);
		return;
	}
	if (m->type != IPC_MASTER_BROKER_FAILED) {
		log_warn("the master sends %s, which is not for the broker", ipc_name(m->type));
		return;
	}
	why = ipc_str(m);
	ipc_end(m);
	broker_fail(b, why);
}

static void
left(void *arg)
{
	struct broker *b = arg;

	b->left = true;
}

static void
on_stop(struct worker *w)
{
	struct broker *b = w->state;

	if (b->store == NULL) {
		worker_exit(w, 0);
		return;
	}
	b->stopping = true;
	set_state(b, NODE_STOPPING);
	conn_set_stop_listening(&b->conns);
	hold_answer_all(b->hold);
	pop_answer_all(b->pop);
	announce_leave(b->announce, left, b);
}

static void
on_param(struct worker *w, const struct param *p)
{
	struct broker *b = w->state;

	broker_make_props_suffix(b);
	b->accept_ms = b->conf->startAcceptSendRequestTimeStamp;
	if (strcmp(p->name, "brokerPermission") == 0)
		topics_touch(b->topics);
	else if (strcmp(p->name, "namesrvAddr") == 0)
		announce_addresses(b->announce);
}

void
broker_attach(struct broker *b)
{
	struct worker *w = b->w;

	w->state = b;
	w->on_stop = on_stop;
	w->on_param = on_param;
	w->on_peer = on_peer;
	w->on_master = on_master;
	w->on_second = on_second;
}

void
broker_watch_turns(struct broker *b)
{
	struct ev_loop *loop = b->w->loop;

	ev_prepare_init(&b->turn_end, broker_turn_end);
	ev_set_priority(&b->turn_end, EV_MAXPRI);
	ev_idle_init(&b->more, more_to_do);
	ev_timer_init(&b->patience, patience_over, PATIENCE_S, PATIENCE_S);
	b->turn_end.data = b->more.data = b->patience.data = b;
	ev_prepare_start(loop, &b->turn_end);
}
