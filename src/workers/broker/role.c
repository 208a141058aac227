/*
 * role: master or slave, now. See role.h.
 *
 * Runs in:    the broker process.
 * Owns:       brokerRole and brokerId of this process' configuration.
 * Must not:   serve as a master before ha has let go of the log and the store has taken it over.
 * If it dies: in the middle of a promotion the node's group is started again with the role that shared memory says.
 */
#include "workers/broker/role.h"

#include <stdio.h>

#include "workers/broker/announce.h"
#include "workers/broker/delay.h"
#include "workers/broker/orderly.h"
#include "workers/broker/pop.h"
#include "workers/broker/slave.h"
#include "workers/broker/timer.h"
#include "workers/broker/topics.h"
#include "workers/broker/txn.h"
#include "workers/broker/waiters.h"

#define MOVING "the master's role is moving to another node of this broker name; ask for the route again"

static enum broker_role
wanted(const struct broker *b)
{
	return (enum broker_role)atomic_load(&b->w->shm->master.role);
}

static int64_t
epoch_of(const struct broker *b)
{
	return pos_read(&b->w->shm->master.epoch);
}

const char *
role_name(enum broker_role r)
{
	switch (r) {
	case ROLE_ASYNC_MASTER:
		return "ASYNC_MASTER";
	case ROLE_SYNC_MASTER:
		return "SYNC_MASTER";
	case ROLE_SLAVE:
		return "SLAVE";
	}
	return "?";
}

static void
take_role(struct broker *b, enum broker_role role)
{
	int64_t id = pos_read(&b->w->shm->master.broker_id);

	b->conf->brokerRole = role;
	if (role != ROLE_SLAVE)
		b->conf->brokerId = 0;
	else if (id > 0)
		b->conf->brokerId = id;
}

void
role_begin(struct broker *b)
{
	take_role(b, wanted(b));
}

/* ---- no longer the master */

/* Registrations stop at once: the new master's must not be overwritten at the name servers. */
static void
fence(struct broker *b, const char *why)
{
	if (b->fenced)
		return;
	b->fenced = true;
	snprintf(b->failed_why, sizeof(b->failed_why), "service not available now. %.200s", why);
	worker_event(b->w, "fenced: %s; nothing is acknowledged here any more", why);
	announce_silence(b->announce);
	waiters_fail(b->waiters, b->failed_why);
}

static void
look_for_other_master(struct broker *b)
{
	const struct shm_line_ha *ha = &b->w->shm->ha;
	struct err e;

	if (LIKELY(atomic_load_explicit(&ha->fenced, memory_order_acquire) == 0) || !broker_is_master(b))
		return;
	err_set(&e, "another master of %s has epoch %lld, this one has %lld", b->conf->brokerName,
		(long long)pos_read(&ha->fenced_epoch), (long long)epoch_of(b));
	fence(b, e.text);
}

bool
role_is_fenced(const struct broker *b)
{
	return b->fenced || atomic_load_explicit(&b->w->shm->ha.fenced, memory_order_relaxed) != 0;
}

/* With failover another node may have become the master while this one was down: they are asked first, for half a
 * second at most. */
static bool
others_are_asked(const struct broker *b)
{
	const struct cluster_spec *cluster = b->w->cluster;

	return b->promoted || cluster == NULL || cluster->failover == FAILOVER_OFF ||
	       atomic_load_explicit(&b->w->shm->ha.asked, memory_order_relaxed) != 0;
}

const char *
role_refusal(const struct broker *b)
{
	const struct node_shm *shm = b->w->shm;

	if (UNLIKELY(b->fenced))
		return b->failed_why;
	if (UNLIKELY(role_is_fenced(b) || atomic_load_explicit(&shm->master.handover, memory_order_relaxed) != 0))
		return "service not available now. " MOVING;
	if (UNLIKELY(!others_are_asked(b)))
		return "service not available now. The other nodes of this broker name are being asked who the master "
		       "is";
	return NULL;
}

/* ---- becoming the master */

struct missing {
	struct broker *b;
	json_t *made; /* names */
};

/* A topic whose first messages came just before the old master died may not have been told to its slave. */
static void
make_topic_of_queue(void *arg, struct store_queue *q)
{
	struct missing *m = arg;
	struct slice name = queue_topic(q);
	struct topic *t = topic_find(m->b->topics, name);
	int32_t queues = queue_id(q) + 1;

	if (queue_max(q) == 0)
		return;
	if (t == NULL) {
		(void)topic_ensure(m->b->topics, name, queues, PERM_READ | PERM_WRITE, 0);
		json_object_setn_new(m->made, name.p, name.n, json_true());
	} else if (queues > t->read_queues && json_object_getn(m->made, name.p, name.n) != NULL) {
		t->read_queues = t->write_queues = queues;
	}
}

static void
make_missing_topics(struct broker *b)
{
	struct missing m = {b, json_object()};

	store_queues_each(b->store, make_topic_of_queue, &m);
	if (json_object_size(m.made) > 0) {
		topics_touch(b->topics);
		log_warn(
		    "%zu topics have messages, but the old master did not live to tell of them: they are made anew",
		    json_object_size(m.made));
	}
	json_decref(m.made);
}

static void
start_services(struct broker *b)
{
	struct err e;

	slave_stop(b->slave);
	make_missing_topics(b);
	orderly_renew_all(b->orderly);
	delay_promote(b->delay);
	timer_promote(b->timer);
	txn_second(b->txn);
	if (pop_load(b->pop, &e) != RC_OK)
		worker_die(b->w, "the state of popped messages cannot be taken over: %s", e.text);
}

static void
tell_supervisor(struct broker *b)
{
	if (ipc_send(b->w->control_fd, IPC_BROKER_MASTER_ROLE, (int32_t)b->conf->brokerRole, epoch_of(b)) != RC_OK)
		log_warn("the supervisor was not told that the role is taken: the channel to it is full");
}

static void
promoted(struct broker *b)
{
	b->promoting = false;
	b->promoted = true;
	take_role(b, wanted(b));
	announce_identity(b->announce);
	tell_supervisor(b);
	start_services(b);
	worker_event(b->w, "is now %s of %s, epoch %lld, from log offset %lld on", role_name(b->conf->brokerRole),
		     b->conf->brokerName, (long long)epoch_of(b), (long long)pos_read(&b->w->shm->broker.appended));
}

/* Before ha has let go this comes back with each wake of the loop; the supervisor has the deadline. */
static void
try_promotion(struct broker *b)
{
	struct err e;
	enum rc rc;

	if (wanted(b) == ROLE_SLAVE) {
		b->promoting = false;
		return;
	}
	if (pos_read(&b->w->shm->ha.role_epoch) < epoch_of(b))
		return;
	rc = store_become_master(b->store, epoch_of(b), &e);
	if (rc == RC_OK)
		promoted(b);
	else if (rc != RC_BUSY)
		worker_die(b->w, "cannot become the master with epoch %lld: %s", (long long)epoch_of(b), e.text);
}

void
role_told(struct broker *b, int32_t role, int64_t epoch)
{
	log_info("the supervisor says: role %s, epoch %lld", role_name((enum broker_role)role), (long long)epoch);
	if (b->store == NULL)
		return; /* the start takes it from shared memory */
	if (role == ROLE_SLAVE) {
		if (broker_is_master(b))
			fence(b, "another node is the master now");
	} else if (broker_is_master(b)) {
		take_role(b, (enum broker_role)role);
		tell_supervisor(b);
	} else {
		b->promoting = true;
		try_promotion(b);
	}
}

void
role_turn(struct broker *b)
{
	look_for_other_master(b);
	if (UNLIKELY(b->promoting))
		try_promotion(b);
}
