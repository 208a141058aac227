/*
 * start: makes the broker's parts, opens the store, loads the tables, listens.
 *
 * Runs in:    the broker process, once.
 * If it fails: worker_die with the sentence; a store or table that cannot be read is never started empty.
 */
#include "workers/broker/broker.h"

#include <stdio.h>

#include "common/clock.h"
#include "workers/broker/announce.h"
#include "workers/broker/brstats.h"
#include "workers/broker/clients.h"
#include "workers/broker/cold.h"
#include "workers/broker/daily.h"
#include "workers/broker/delay.h"
#include "workers/broker/filters.h"
#include "workers/broker/followers.h"
#include "workers/broker/hold.h"
#include "workers/broker/known.h"
#include "workers/broker/modes.h"
#include "workers/broker/offsets.h"
#include "workers/broker/orderly.h"
#include "workers/broker/pop.h"
#include "workers/broker/role.h"
#include "workers/broker/sends.h"
#include "workers/broker/siblings.h"
#include "workers/broker/slave.h"
#include "workers/broker/timer.h"
#include "workers/broker/txn.h"
#include "workers/broker/waiters.h"

void
broker_make_props_suffix(struct broker *b)
{
	struct buf text = {0};

	props_put(&text, "MSG_REGION", slice_of(b->conf->regionId));
	props_put(&text, "TRACE_ON", slice_of(b->conf->traceOn ? "true" : "false"));
	props_put(&text, "CLUSTER", slice_of(b->conf->brokerClusterName));
	free(b->props_suffix);
	b->props_suffix_len = text.len;
	b->props_suffix = buf_steal(&text);
}

static void
arrived(void *arg, struct store_queue *q, int64_t tags_code, struct slice props)
{
	struct broker *b = arg;

	hold_arrival(b->hold, q, tags_code, props);
	pop_arrived(b->pop, q, tags_code, props);
	if (UNLIKELY(slice_is(queue_topic(q), SCHEDULE_TOPIC)))
		delay_arrived(b->delay, q, tags_code);
	else if (UNLIKELY(slice_is(queue_topic(q), TIMER_TOPIC)))
		timer_arrived(b->timer);
}

#define WARM_BYTES (1 << 20) /* what warm reads of one request */

static void
wanted(void *arg, const char *path, int64_t bytes)
{
	struct broker *b = arg;
	struct cold_list l = {.count = 1, .range = {{.file = (char *)(uintptr_t)path}}};

	for (int64_t at = 0; at < bytes; at += WARM_BYTES) {
		l.range[0].at = at;
		l.range[0].len = MIN_OF(bytes - at, (int64_t)WARM_BYTES);
		cold_prefetch(b->cold, &l);
	}
}

static void
dirty_file(void *arg, const char *path)
{
	siblings_dirty_file(((struct broker *)arg)->siblings, path);
}

static void
rolled(void *arg, int64_t from)
{
	siblings_rolled(((struct broker *)arg)->siblings, from);
}

static void
set_store_host(struct broker *b)
{
	char text[ADDR_TEXT + 16];
	struct err e;

	snprintf(text, sizeof(text), strchr(b->conf->brokerIP1, ':') != NULL ? "[%s]:%d" : "%s:%d", b->conf->brokerIP1,
	    b->conf->listenPort);
	if (addr_parse(text, &b->store_host, &e) != RC_OK)
		worker_die(b->w, "brokerIP1 %s: %s", b->conf->brokerIP1, e.text);
	addr_text(&b->store_host, b->store_host_text);
}

static void
open_store(struct broker *b)
{
	struct store_opts o = {.conf = b->conf, .shm = b->w->shm, .ops = {.on_arrival = arrived,
	    .on_dirty_file = dirty_file, .on_wanted = wanted, .on_roll = rolled, .arg = b}};
	struct err e;

	if (store_open(&b->store, &o, &e) != RC_OK)
		worker_die(b->w, "the store in %s cannot be opened: %s", b->conf->storePathRootDir, e.text);
}

/* What has no file: made before the store is opened, for recovery dispatches already. */
static void
make_parts(struct broker *b)
{
	b->calls = calls_new(b->w->loop);
	b->stats = brstats_new(b);
	b->hold = hold_new(b);
	b->cold = cold_new(b);
	b->sends = sends_new(b);
	b->waiters = waiters_new(b);
	b->siblings = siblings_new(b);
	b->orderly = orderly_new(b);
	b->filters = filters_new(b);
	b->clients = clients_new(b);
	b->announce = announce_new(b);
	b->known = known_new(b);
	b->topics = topics_new(b);
	b->groups = groups_new(b);
	b->offsets = offsets_new(b);
	b->modes = modes_new(b);
	b->daily = daily_new(b);
	b->delay = delay_new(b);
	b->timer = timer_new(b);
	b->txn = txn_new(b);
	b->pop = pop_new(b);
	b->followers = followers_new(b);
	b->slave = slave_new(b);
}

static void
load_parts(struct broker *b)
{
	struct err e;

	if (topics_load(b->topics, &e) != RC_OK || groups_load(b->groups, &e) != RC_OK || offsets_load(b->offsets, &e) != RC_OK ||
	    modes_load(b->modes, &e) != RC_OK || filters_load(b->filters, &e) != RC_OK || delay_load(b->delay, &e) != RC_OK ||
	    timer_load(b->timer, &e) != RC_OK || pop_load(b->pop, &e) != RC_OK)
		worker_die(b->w, "%s", e.text);
}

static void
free_parts(struct broker *b)
{
	ev_prepare_stop(b->w->loop, &b->turn_end);
	ev_idle_stop(b->w->loop, &b->more);
	ev_timer_stop(b->w->loop, &b->patience);
	conn_set_free(&b->conns);
	conn_set_free(&b->outgoing);
	hold_free(&b->hold);
	cold_free(&b->cold);
	waiters_free(&b->waiters);
	sends_free(&b->sends);
	slave_free(&b->slave);
	followers_free(&b->followers);
	siblings_free(&b->siblings);
	known_free(&b->known);
	announce_free(&b->announce);
	clients_free(&b->clients);
	filters_free(&b->filters);
	orderly_free(&b->orderly);
	txn_free(&b->txn);
	timer_free(&b->timer);
	delay_free(&b->delay);
	daily_free(&b->daily);
	modes_free(&b->modes);
	offsets_free(&b->offsets);
	pop_free(&b->pop); /* the last file of offsets says how far pop's log was */
	groups_free(&b->groups);
	topics_free(&b->topics);
	brstats_free(&b->stats);
	calls_free(&b->calls);
	free(b->props_suffix);
	free(b);
}

static void
listen_on(struct broker *b)
{
	const int *fds = b->w->listen_fds;

	if (fds[0] >= 0)
		conn_set_listen(&b->conns, fds[0], LISTENER_MAIN);
	if (fds[1] >= 0)
		conn_set_listen(&b->conns, fds[1], LISTENER_VIP);
}

static struct broker *
broker_new(struct worker *w)
{
	struct broker *b = xcalloc(1, sizeof(*b));

	b->w = w;
	b->conf = &w->node->conf;
	b->boot_ms = clock_wall_ms();
	role_begin(b);
	b->accept_ms = b->conf->startAcceptSendRequestTimeStamp;
	broker_attach(b);
	set_store_host(b);
	broker_make_props_suffix(b);
	conn_set_init(&b->conns, w->loop, &broker_client_ops, b);
	conn_set_init(&b->outgoing, w->loop, &broker_namesrv_ops, b);
	return b;
}

struct broker *
broker_start(struct worker *w)
{
	struct broker *b;

	worker_init(w);
	b = broker_new(w);
	atomic_store(&w->shm->broker.started_ms, b->boot_ms);
	make_parts(b);
	open_store(b);
	load_parts(b);
	txn_start(b->txn);
	broker_watch_turns(b);
	listen_on(b);
	announce_start(b->announce);
	slave_start(b->slave);
	log_info("serves %s at %s, store %s, from log offset %lld to %lld", b->conf->brokerName, b->store_host_text,
	    b->conf->storePathRootDir, (long long)pos_read(&w->shm->clean.min), (long long)pos_read(&w->shm->broker.appended));
	return b;
}

void
broker_ready(struct broker *b)
{
	if (!b->told_ready)
		worker_ready(b->w);
	b->told_ready = true;
}

void
broker_end(struct broker **b)
{
	if ((*b)->store != NULL)
		store_close(&(*b)->store, false);
	free_parts(*b);
	*b = NULL;
}

int
broker_run(struct worker *w)
{
	struct broker *b = broker_start(w);
	int status = worker_loop(w);

	broker_end(&b);
	return status;
}
