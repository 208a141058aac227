/*
 * worker: the common life of all worker processes: loop, control channel, peers, wake-ups, stop.
 *
 * Runs in:    every worker.
 * Owns:       the process' event loop, its signals, its waiter in the node's shared memory.
 * Must not:   know what any worker is for.
 *
 * Wake-ups: the waiter is armed before on_wake looks at the positions, never after; so a position that moves while on_wake
 * runs, or at any time until the next call, writes the eventfd, and none is missed.
 */
#include "common/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define DRAIN_MAX_S    30.0  /* the master kills after that time; without a master we must end by ourselves */
#define PAGE_WANTED_MS 15000 /* how long one look at /status keeps the pages fresh */
#define RECV_STEP      32    /* messages taken from one channel in one turn */

struct peer_watch {
	ev_io		 io;
	struct worker	*w;
	enum role	 from;
};

struct worker_priv {
	ev_io			 control, wake, signals;
	ev_timer		 second, drain, beat;
	struct peer_watch	 peers[ROLE_COUNT];
	bool			 stopping, exiting;
	int			 status;
};

static void
stop(struct worker *w, const char *why)
{
	if (w->priv->stopping)
		return;
	w->priv->stopping = true;
	log_info("%s: stopping", why);
	ev_timer_start(w->loop, &w->priv->drain);
	if (w->on_stop != NULL)
		w->on_stop(w);
	else
		worker_exit(w, 0);
}

static void
drain_too_long(struct ev_loop *loop, ev_timer *t, int events)
{
	struct worker *w = t->data;

	(void)loop, (void)events;
	log_error("not drained after %.0f s: leaving now", DRAIN_MAX_S);
	worker_exit(w, 1);
}

static void
second_passed(struct ev_loop *loop, ev_timer *t, int events)
{
	struct worker *w = t->data;

	(void)loop, (void)events;
	w->on_second(w);
}

/* The master takes a worker whose loop does not turn for one that is frozen. */
static void
beat(struct ev_loop *loop, ev_timer *t, int events)
{
	const struct worker *w = t->data;

	(void)loop, (void)events;
	atomic_store_explicit(&w->host->beat[w->index].mono_ms, clock_mono_ms(), memory_order_relaxed);
}

static void
woken(struct ev_loop *loop, ev_io *io, int events)
{
	struct worker *w = io->data;

	(void)loop, (void)events;
	wake_drain(w->wake_fds[w->role]);
	wake_arm(&w->shm->waiters[w->role].w);
	if (w->on_wake != NULL)
		w->on_wake(w);
}

static void
signalled(struct ev_loop *loop, ev_io *io, int events)
{
	struct worker *w = io->data;
	struct signalfd_siginfo si;

	(void)loop, (void)events;
	if (read(io->fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return;
	if (si.ssi_signo == SIGTERM || w->control_fd < 0)
		stop(w, si.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
}

/* The conf and table that parameters of this worker belong to; NULL for one that has none (the console). */
static void *
own_conf(struct worker *w, const struct param_table **table)
{
	*table = w->ns != NULL ? &namesrv_params : &broker_params;
	if (w->ns != NULL)
		return &w->ns->conf;
	return w->node != NULL ? &w->node->conf : NULL;
}

static void
param_changed(struct worker *w, const char *key, const char *value)
{
	const struct param_table *table;
	void *conf = own_conf(w, &table);
	const struct param *p = param_find(table, slice_of(key));
	struct err e;

	if (conf == NULL || p == NULL)
		return;
	if (param_set(p, conf, slice_of(value), &e) != RC_OK) {
		log_warn("the master's new value is not taken: %s", e.text);
		return;
	}
	if (w->on_param != NULL)
		w->on_param(w, p);
}

static void
master_message(struct worker *w, struct ipc_msg *m)
{
	const char *key, *value, *level;

	if (m->type == IPC_MASTER_ALL_STOP) {
		ipc_end(m);
		stop(w, "the master asks");
	} else if (m->type == IPC_MASTER_ALL_REOPEN) {
		ipc_end(m);
		log_reopen();
	} else if (m->type == IPC_MASTER_ALL_LOG_LEVEL) {
		level = ipc_str(m);
		ipc_end(m);
		ensure(log_set_level(level) == RC_OK);
	} else if (m->type == IPC_MASTER_ALL_PARAM) {
		key = ipc_str(m);
		value = ipc_str(m);
		ipc_end(m);
		param_changed(w, key, value);
	} else if (w->on_master != NULL) {
		w->on_master(w, m);
	}
}

static void
control_readable(struct ev_loop *loop, ev_io *io, int events)
{
	struct worker *w = io->data;
	struct ipc_msg m;
	enum rc rc = RC_OK;

	(void)events;
	for (int n = 0; n < RECV_STEP && !w->priv->exiting; n++) {
		if ((rc = ipc_recv(w->control_fd, &m)) != RC_OK)
			break;
		master_message(w, &m);
	}
	if (rc == RC_OK || rc == RC_AGAIN)
		return;
	ensure(rc != RC_BADDATA);
	ev_io_stop(loop, io);
	stop(w, "the master has gone");
}

static void
peer_readable(struct ev_loop *loop, ev_io *io, int events)
{
	struct peer_watch *p = (struct peer_watch *)io;
	struct worker *w = p->w;
	struct ipc_msg m;
	enum rc rc = RC_OK;

	(void)events;
	for (int n = 0; n < RECV_STEP && !w->priv->exiting; n++) {
		if ((rc = ipc_recv(io->fd, &m)) != RC_OK)
			break;
		if (w->on_peer != NULL)
			w->on_peer(w, p->from, &m);
	}
	if (rc == RC_OK || rc == RC_AGAIN)
		return;
	ensure(rc != RC_BADDATA);
	ev_io_stop(loop, io); /* the master holds both ends: it has gone, and so has the peer */
}

/* SIGINT at a terminal goes to the whole group: the master alone decides, unless there is none. */
static void
watch_signals(struct worker *w)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	ensure(sigprocmask(SIG_SETMASK, &set, NULL) == 0 && fd >= 0);
	ev_io_init(&w->priv->signals, signalled, fd, EV_READ);
	w->priv->signals.data = w;
	ev_io_start(w->loop, &w->priv->signals);
}

static void
watch_peer(struct worker *w, enum role from)
{
	struct peer_watch *p = &w->priv->peers[from];

	p->w = w;
	p->from = from;
	if (w->peer_fds[from] < 0)
		return;
	ev_io_init(&p->io, peer_readable, w->peer_fds[from], EV_READ);
	ev_io_start(w->loop, &p->io);
}

static bool
has_wake(const struct worker *w)
{
	return w->shm != NULL && w->wake_fds[w->role] >= 0;
}

void
worker_init(struct worker *w)
{
	struct worker_priv *p = xcalloc(1, sizeof(*p));

	w->priv = p;
	w->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	ensure(w->loop != NULL);
	watch_signals(w);
	ev_timer_init(&p->second, second_passed, 1.0, 1.0);
	ev_timer_init(&p->drain, drain_too_long, DRAIN_MAX_S, 0.0);
	ev_timer_init(&p->beat, beat, 0.0, SHM_BEAT_MS / 1000.0);
	p->second.data = p->drain.data = p->beat.data = p->control.data = p->wake.data = w;
	if (w->host != NULL)
		ev_timer_start(w->loop, &p->beat);
	if (w->control_fd >= 0) {
		ev_io_init(&p->control, control_readable, w->control_fd, EV_READ);
		ev_io_start(w->loop, &p->control);
	}
	for (int r = 0; r < ROLE_COUNT; r++)
		watch_peer(w, (enum role)r);
	if (has_wake(w)) {
		ev_io_init(&p->wake, woken, w->wake_fds[w->role], EV_READ);
		ev_io_start(w->loop, &p->wake);
	}
}

/* A message that the master should have: it reads all the time, so a full channel means that it is stuck. */
static void
tell_master(struct worker *w, enum ipc_type type, const char *text)
{
	enum rc rc;

	if (w->control_fd < 0)
		return;
	rc = text != NULL ? ipc_send(w->control_fd, type, text) : ipc_send(w->control_fd, type);
	if (rc != RC_OK && rc != RC_CLOSED)
		log_warn("%s did not reach the master: %s", ipc_name(type), rc_name(rc));
}

void
worker_ready(struct worker *w)
{
	log_debug("ready");
	tell_master(w, IPC_ALL_MASTER_READY, NULL);
}

int
worker_loop(struct worker *w)
{
	if (w->on_second != NULL)
		ev_timer_start(w->loop, &w->priv->second);
	if (has_wake(w))
		ev_feed_event(w->loop, &w->priv->wake, EV_READ); /* arms, and looks at what moved before we came */
	if (!w->priv->exiting)
		ev_run(w->loop, 0);
	return w->priv->status;
}

void
worker_exit(struct worker *w, int status)
{
	w->priv->exiting = true;
	w->priv->status = status;
	ev_break(w->loop, EVBREAK_ALL);
}

void
worker_die(struct worker *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_error("%s", text);
	tell_master(w, IPC_ALL_MASTER_LAST_WORDS, text);
	_exit(1);
}

void
worker_event(struct worker *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_info("%s", text);
	tell_master(w, IPC_ALL_MASTER_EVENT, text);
}

bool
worker_page_wanted(const struct worker *w)
{
	int64_t asked;

	if (w->host == NULL || w->page == NULL)
		return false;
	asked = atomic_load_explicit(&w->host->wanted_ms, memory_order_relaxed);
	return clock_wall_ms() - asked < PAGE_WANTED_MS;
}

void
worker_wake(struct worker *w, enum role role)
{
	if (w->shm != NULL && w->wake_fds[role] >= 0)
		wake_send(&w->shm->waiters[role].w, w->wake_fds[role]);
}
