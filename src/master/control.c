/*
 * control: what makes the master act: signals, messages of its workers, the clock; and how it stops.
 *
 * Stopping goes in phases, each begins when the one before it has left: brokers (they leave the name servers and answer what
 * they have begun), flush, the rest of the nodes, name servers and console. A second signal or the deadline kills.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/sock.h"
#include "master/takeover.h"

#define STOP_PHASES 4
#define SAME_STOP_US 500000 /* a terminal and what forwards signals may both send one, and mean one */
#define RECV_STEP   64

static int
phase_of(enum role r)
{
	switch (r) {
	case WORKER_BROKER:
		return 0;
	case WORKER_FLUSH:
		return 1;
	case WORKER_HA:
	case WORKER_CLEAN:
	case WORKER_WARM:
		return 2;
	case WORKER_NAMESRV:
	case WORKER_CONSOLE:
	case ROLE_COUNT:
		break;
	}
	return 3;
}

/* ---- ready */

static bool
all_ready(const struct master *m)
{
	for (size_t i = 0; i < m->slot_count; i++)
		if (m->slots[i].state != WORKER_READY)
			return false;
	return true;
}

/* The address to tell a person: one that works from this host. */
static void
put_address(struct buf *b, const char *bind, int port)
{
	char ip[ADDR_TEXT];

	if (plan_any_address(bind))
		sock_own_ip(ip);
	else
		snprintf(ip, sizeof(ip), "%s", bind);
	buf_printf(b, strchr(ip, ':') != NULL ? "[%s]:%d" : "%s:%d", ip, port);
}

static void
put_served(struct buf *b, const struct slot *s)
{
	const struct broker_conf *c;

	if (s->role == WORKER_NAMESRV) {
		buf_put_str(b, ", name server ");
		put_address(b, s->ns->conf.bindAddress, s->ns->conf.listenPort);
	} else if (s->role == WORKER_BROKER) {
		c = &s->node->spec->conf;
		buf_printf(b, ", broker %s %s:%d", c->brokerId == 0 ? c->brokerName : s->node->spec->name, c->brokerIP1,
		    (int)c->listenPort);
	} else if (s->role == WORKER_CONSOLE) {
		buf_printf(b, ", status http://%s/status", s->m->plan.spec.console_listen);
	}
}

/* The command that started us in the background may return now. */
static void
release_caller(struct master *m)
{
	if (m->ready_pipe >= 0 && write(m->ready_pipe, "+", 1) != 1)
		log_debug("nobody waits for us to be ready");
	if (m->ready_pipe >= 0)
		close(m->ready_pipe);
	m->ready_pipe = -1;
}

static void
say_ready(struct master *m)
{
	struct buf b = {0};
	char *text;

	for (size_t i = 0; i < m->slot_count; i++)
		put_served(&b, &m->slots[i]);
	text = buf_steal(&b);
	m->said_ready = true;
	if (m->foreground) {
		printf("ready in %lld ms:%s\n", (long long)(clock_mono_us() - m->begun_us) / 1000, text + 1);
		fflush(stdout);
	}
	if (!m->foreground || m->plan.spec.log_to != LOG_TO_STDERR)
		log_info("ready in %lld ms:%s", (long long)(clock_mono_us() - m->begun_us) / 1000, text + 1);
	notify_systemd("READY=1");
	if (!m->foreground)
		release_caller(m);
	free(text);
}

/* ---- messages of the workers */

static void
event_of(struct slot *s, const char *text)
{
	status_event(s->m, "%s: %s", s->name, text);
	if (s->m->plan.spec.log_to != LOG_TO_STDERR)
		log_info("%s: %s", s->name, text); /* on stderr the worker's own line is there already */
}

static void
broker_param(struct slot *s, struct ipc_msg *msg)
{
	const char *key = ipc_str(msg);
	const char *value = ipc_str(msg);

	ipc_end(msg);
	reload_param(s, key, value);
}

static void
ha_message(struct slot *s, struct ipc_msg *msg)
{
	int64_t number = ipc_i64(msg);
	const char *text = ipc_str(msg);

	ipc_end(msg);
	if (msg->type == IPC_HA_MASTER_CUT)
		takeover_cut(s, number, text);
	else
		takeover_fenced(s, number, text);
}

static void
broker_role(struct slot *s, struct ipc_msg *msg)
{
	int32_t role = ipc_i32(msg);
	int64_t epoch = ipc_i64(msg);

	ipc_end(msg);
	takeover_role_taken(s, role, epoch);
}

static void
message(struct slot *s, struct ipc_msg *msg)
{
	if (msg->type == IPC_ALL_MASTER_READY) {
		ipc_end(msg);
		monitor_ready(s);
		if (!s->m->said_ready && !s->m->stopping && all_ready(s->m))
			say_ready(s->m);
	} else if (msg->type == IPC_ALL_MASTER_LAST_WORDS) {
		snprintf(s->last_words, sizeof(s->last_words), "%s", ipc_str(msg));
		ipc_end(msg);
	} else if (msg->type == IPC_ALL_MASTER_EVENT) {
		event_of(s, ipc_str(msg));
		ipc_end(msg);
	} else if (msg->type == IPC_BROKER_MASTER_PARAM && s->role == WORKER_BROKER) {
		broker_param(s, msg);
	} else if (msg->type == IPC_BROKER_MASTER_ROLE && s->role == WORKER_BROKER) {
		broker_role(s, msg);
	} else if ((msg->type == IPC_HA_MASTER_CUT || msg->type == IPC_HA_MASTER_FENCED) && s->role == WORKER_HA) {
		ha_message(s, msg);
	} else {
		log_error("%s[%d] sent %s, which is not for it to send", s->name, (int)s->pid, ipc_name(msg->type));
		monitor_kill(s, "it sent what it must not");
	}
}

void
control_drain(struct slot *s)
{
	struct ipc_msg msg;
	enum rc rc = RC_OK;

	for (int n = 0; n < RECV_STEP && rc == RC_OK; n++) {
		rc = ipc_recv(s->control[0], &msg);
		if (rc == RC_OK)
			message(s, &msg);
	}
	if (rc == RC_BADDATA) {
		log_error("%s[%d] sent a message that is none", s->name, (int)s->pid);
		monitor_kill(s, "it sent a message that is none");
	}
}

static void
control_readable(struct ev_loop *loop, ev_io *io, int events)
{
	struct slot *s = io->data;

	(void)loop, (void)events;
	control_drain(s);
	failed_look(s->m);
}

/* ---- stopping */

static void
ask_to_stop(struct slot *s)
{
	if (s->pid == 0)
		return;
	s->state = WORKER_STOPPING;
	status_worker(s);
	ev_timer_stop(s->m->loop, &s->deadline);
	if (ipc_send(s->control[0], IPC_MASTER_ALL_STOP) != RC_OK)
		kill(s->pid, SIGTERM); /* its channel is full: it has not read for long */
}

static void
begin_phase(struct master *m, int phase)
{
	m->stop_phase = phase;
	for (size_t i = 0; i < m->slot_count; i++)
		if (phase_of(m->slots[i].role) == phase)
			ask_to_stop(&m->slots[i]);
}

static bool
phase_is_over(const struct master *m)
{
	for (size_t i = 0; i < m->slot_count; i++)
		if (m->slots[i].pid != 0 && phase_of(m->slots[i].role) <= m->stop_phase)
			return false;
	return true;
}

void
control_stop_step(struct master *m)
{
	while (phase_is_over(m)) {
		if (m->stop_phase == STOP_PHASES - 1) {
			ev_break(m->loop, EVBREAK_ALL);
			return;
		}
		begin_phase(m, m->stop_phase + 1);
	}
}

static void
kill_all(struct master *m, const char *why)
{
	m->killing = true;
	m->status = 1;
	for (size_t i = 0; i < m->slot_count; i++)
		monitor_kill(&m->slots[i], why);
}

static void
stop_took_too_long(struct ev_loop *loop, ev_timer *t, int events)
{
	struct master *m = t->data;

	(void)loop, (void)events;
	log_error("%zu workers have not left within %d s (stopTimeout): killing them", monitor_running(m),
	    m->plan.spec.stop_timeout_s);
	kill_all(m, "it did not leave in time");
}

void
control_stop(struct master *m, const char *why)
{
	if (m->stopping) {
		if (!m->killing && clock_mono_us() - m->stop_asked_us > SAME_STOP_US)
			kill_all(m, "asked twice to stop");
		return;
	}
	m->stop_asked_us = clock_mono_us();
	log_info("%s: stopping %zu workers", why, monitor_running(m));
	notify_systemd("STOPPING=1");
	m->stopping = true;
	for (size_t i = 0; i < m->node_count; i++)
		atomic_store(&m->nodes[i].shm->master.stopping, 1);
	for (size_t i = 0; i < m->slot_count; i++)
		ev_timer_stop(m->loop, &m->slots[i].restart);
	ev_timer_set(&m->stop_deadline, m->plan.spec.stop_timeout_s, 0.0);
	ev_timer_start(m->loop, &m->stop_deadline);
	begin_phase(m, 0);
}

/* ---- signals, the clock, the turn */

static void
reopen_logs(struct master *m)
{
	log_reopen();
	for (size_t i = 0; i < m->slot_count; i++)
		if (m->slots[i].pid != 0 && ipc_send(m->slots[i].control[0], IPC_MASTER_ALL_REOPEN) != RC_OK)
			log_warn("%s was not told to open its log again", m->slots[i].name);
	log_info("logs are open again");
}

static void
signalled(struct ev_loop *loop, ev_io *io, int events)
{
	struct master *m = io->data;
	struct signalfd_siginfo si;

	(void)loop, (void)events;
	while (read(io->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		switch (si.ssi_signo) {
		case SIGCHLD:
			monitor_reap(m);
			break;
		case SIGHUP:
			reopen_logs(m);
			reload_spec(m);
			break;
		case SIGUSR1:
			reopen_logs(m);
			break;
		default:
			control_stop(m, si.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
		}
	}
}

static void
second_passed(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)loop, (void)events;
	failed_look(t->data);
}

static void
turn(struct ev_loop *loop, ev_prepare *p, int events)
{
	struct master *m = p->data;

	(void)loop, (void)events;
	if (m->stopping) {
		control_stop_step(m);
		return;
	}
	takeover_turn(m);
	monitor_converge(m);
}

static void
watch_signals(struct master *m)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	for (size_t i = 0; i < 5; i++)
		sigaddset(&set, (const int[]){SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD}[i]);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	ensure(sigprocmask(SIG_SETMASK, &set, NULL) == 0 && fd >= 0);
	ev_io_init(&m->signals, signalled, fd, EV_READ);
	m->signals.data = m;
	ev_io_start(m->loop, &m->signals);
}

void
control_start(struct master *m)
{
	watch_signals(m);
	m->controls = xcalloc(m->slot_count + 1, sizeof(*m->controls));
	for (size_t i = 0; i < m->slot_count; i++) {
		ev_io_init(&m->controls[i], control_readable, m->slots[i].control[0], EV_READ);
		m->controls[i].data = &m->slots[i];
		ev_io_start(m->loop, &m->controls[i]);
	}
	ev_timer_init(&m->second, second_passed, 1.0, 1.0);
	ev_timer_init(&m->stop_deadline, stop_took_too_long, 0.0, 0.0);
	ev_prepare_init(&m->turn, turn);
	m->second.data = m->stop_deadline.data = m->turn.data = m;
	ev_timer_start(m->loop, &m->second);
	ev_prepare_start(m->loop, &m->turn);
}
