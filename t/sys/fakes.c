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
 *   param    as the broker: says that updateBrokerConfig has set fileReservedTime to 5
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

static void
told_more(struct worker *w, struct ipc_msg *m)
{
	(void)w;
	if (m->type == IPC_MASTER_BROKER_FAILED)
		log_info("told of the failure: %s", ipc_str(m));
	ipc_end(m);
}

static void
woken(struct worker *w)
{
	log_debug("woken");
	(void)w;
}

static void
misbehave(struct worker *w)
{
	if (does(w, "die") || (does(w, "once") && lives_before(w) == 0))
		worker_die(w, "these are the %s words", "last");
	if (does(w, "babble"))
		ipc_send(w->control_fd, IPC_BROKER_MASTER_PARAM, "fileReservedTime", "1");
	if (does(w, "param"))
		ipc_send(w->control_fd, IPC_BROKER_MASTER_PARAM, "fileReservedTime", "5");
	if (does(w, "syncfail")) {
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
		pos_publish(&w->shm->broker.appended, pos_read(&w->shm->broker.appended) + 1000);
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
