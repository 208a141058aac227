/*
 * fakes: worker roles that do nothing but live, for tests of the supervisor alone.
 *
 * FAKES="warm=die,clean=silent" says how a role misbehaves, in each of its lives:
 *   die      says last words and ends at once
 *   once     the same, in its first life only (as the supervisor counts restarts)
 *   silent   never says that it is ready
 *   stay     does not leave when it is told to stop
 *   babble   sends the master what only a broker may send
 *   syncfail reports a failed sync, as flush does
 *   syncfail-later the same, when it gets SIGUSR2
 *   param    as the broker: says that updateBrokerConfig has set fileReservedTime to 5
 *   deaf     as the broker: does not take the role that it is told
 *   ahead    as the ha of a master: has the word of slaves for more than they have
 *   alone    as the ha of a slave: never finds its master
 *   fenced   as the ha of a master, in its first life: has met epoch 7 at FAKES_PEER
 *   cut      as the ha of a slave, in its first life: the log is to be cut
 *
 * A fake broker's log ends 1000 bytes further in each of its lives; a fake slave is always connected and has nothing to do.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/worker.h"

int namesrv_run(struct worker *w);
int broker_run(struct worker *w);
int flush_run(struct worker *w);
int ha_run(struct worker *w);
int clean_run(struct worker *w);
int warm_run(struct worker *w);
int console_run(struct worker *w);

static bool
does(const struct worker *w, const char *what)
{
	char wanted[64];
	const char *fakes = getenv("FAKES");

	snprintf(wanted, sizeof(wanted), "%s=%s", role_defs[w->role].title, what);
	return fakes != NULL && strstr(fakes, wanted) != NULL;
}

static uint32_t
lives_before(const struct worker *w)
{
	for (int i = 0; i < atomic_load(&w->host->workers); i++)
		if (strcmp(w->host->worker[i].name, w->name) == 0)
			return atomic_load(&w->host->worker[i].restarts);
	return 0;
}

static void
told_to_stop(struct worker *w)
{
	if (!does(w, "stay"))
		worker_exit(w, 0);
}

static void
told_param(struct worker *w, const struct param *p)
{
	struct buf b = {0};

	param_put_text(p, w->node != NULL ? (void *)&w->node->conf : (void *)&w->ns->conf, &b);
	log_info("told that %s=%.*s", p->name, (int)b.len, b.p);
	buf_free(&b);
}

static bool
is_slave(const struct worker *w)
{
	return atomic_load(&w->shm->master.role) == ROLE_SLAVE;
}

static void
ha_takes_role(struct worker *w)
{
	struct shm_line_ha *h = &w->shm->ha;

	atomic_store(&h->connected, is_slave(w) && !does(w, "alone"));
	pos_publish(&h->replicated, does(w, "ahead") ? 5000 : pos_read(&w->shm->broker.appended));
	pos_publish(&h->role_epoch, pos_read(&w->shm->master.epoch));
}

static void
told_role(struct worker *w, int32_t role, int64_t epoch)
{
	log_info("told that its role is %d, epoch %lld, brokerId %lld", (int)role, (long long)epoch,
	    (long long)atomic_load(&w->shm->master.broker_id));
	if (w->role == WORKER_HA)
		ha_takes_role(w);
	else if (!does(w, "deaf") && role != ROLE_SLAVE)
		ipc_send(w->control_fd, IPC_BROKER_MASTER_ROLE, role, epoch);
}

static void
told_more(struct worker *w, struct ipc_msg *m)
{
	int32_t role;

	if (m->type == IPC_MASTER_BROKER_FAILED) {
		log_info("told of the failure: %s", ipc_str(m));
	} else if (m->type == IPC_MASTER_ALL_ROLE) {
		role = ipc_i32(m);
		told_role(w, role, ipc_i64(m));
	}
	ipc_end(m);
}

static void
begin_ha(struct worker *w)
{
	bool first = lives_before(w) == 0;

	ha_takes_role(w);
	if (is_slave(w))
		pos_publish(&w->shm->ha.master_seen_ms, clock_mono_ms());
	if (does(w, "fenced") && first && !is_slave(w))
		ipc_send(w->control_fd, IPC_HA_MASTER_FENCED, (int64_t)7, getenv("FAKES_PEER"));
	if (does(w, "cut") && first && is_slave(w)) {
		/* a log is compared when the broker has said where it ends */
		while (atomic_load(&w->shm->broker.state) != NODE_RUNNING)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		ipc_send(w->control_fd, IPC_HA_MASTER_CUT, (int64_t)500, "the master never had the rest");
	}
}

static void
begin_broker(struct worker *w)
{
	pos_publish(&w->shm->broker.appended, pos_read(&w->shm->broker.appended) + 1000);
	log_info("begins as %s, epoch %lld, brokerId %lld", is_slave(w) ? "slave" : "master",
	    (long long)atomic_load(&w->shm->master.epoch), (long long)atomic_load(&w->shm->master.broker_id));
	atomic_store(&w->shm->broker.state, NODE_RUNNING);
}

static void
woken(struct worker *w)
{
	log_debug("woken");
	(void)w;
}

static struct worker *self;

static void
fail_sync(int sig)
{
	(void)sig;
	atomic_store(&self->shm->flush.failed_errno, EIO);
}

static void
misbehave(struct worker *w)
{
	self = w;
	if (does(w, "syncfail-later"))
		signal(SIGUSR2, fail_sync);
	if (does(w, "die") || (does(w, "once") && lives_before(w) == 0))
		worker_die(w, "these are the %s words", "last");
	if (does(w, "babble"))
		ipc_send(w->control_fd, IPC_BROKER_MASTER_PARAM, "fileReservedTime", "1");
	if (does(w, "param"))
		ipc_send(w->control_fd, IPC_BROKER_MASTER_PARAM, "fileReservedTime", "5");
	if (does(w, "syncfail") && !does(w, "syncfail-later")) {
		atomic_store(&w->shm->flush.failed_errno, EIO);
		worker_event(w, "a sync failed");
	}
}

static int
live(struct worker *w)
{
	worker_init(w);
	w->on_stop = told_to_stop;
	w->on_param = told_param;
	w->on_master = told_more;
	w->on_wake = woken;
	misbehave(w);
	if (w->role == WORKER_BROKER)
		begin_broker(w);
	if (w->role == WORKER_HA)
		begin_ha(w);
	if (!does(w, "silent"))
		worker_ready(w);
	return worker_loop(w);
}

int
namesrv_run(struct worker *w)
{
	return live(w);
}

int
broker_run(struct worker *w)
{
	return live(w);
}

int
flush_run(struct worker *w)
{
	return live(w);
}

int
ha_run(struct worker *w)
{
	return live(w);
}

int
clean_run(struct worker *w)
{
	return live(w);
}

int
warm_run(struct worker *w)
{
	return live(w);
}

int
console_run(struct worker *w)
{
	return live(w);
}
