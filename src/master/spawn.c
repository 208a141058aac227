/*
 * spawn: makes a worker process of a slot: fork without exec.
 *
 * The child keeps its own sockets, channels and memory, closes the rest, and runs its role's function; it never returns.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "master/master.h"

/* The one that this process is. It lives to the end, so that what hangs on it is never lost. */
static struct worker w;

/* "broker-a-0/flush" speaks in the file broker-a-0-flush.log. */
static void
log_as(const struct slot *s)
{
	const struct cluster_spec *spec = &s->m->plan.spec;
	char name[SHM_NAME_MAX];
	char *path;

	log_set_role(s->name);
	if (spec->log_to != LOG_TO_FILE)
		return;
	snprintf(name, sizeof(name), "%s", s->name);
	for (char *p = name; *p != '\0'; p++)
		if (*p == '/')
			*p = '-';
	path = xasprintf("%s/%s.log", spec->log_dir, name);
	if (log_to_file(path) != RC_OK)
		log_error("%s cannot be opened: %s; logging where the master does", path, strerror(errno));
	free(path);
}

static void
connect_node(const struct slot *s)
{
	const struct node *n = s->node;

	w.node = n->spec;
	w.shm = n->shm;
	memcpy(w.wake_fds, n->wake_fds, sizeof(w.wake_fds));
	if (s->role == WORKER_BROKER)
		for (int r = 0; r < ROLE_COUNT; r++)
			w.peer_fds[r] = n->channels[r][0];
	else
		w.peer_fds[WORKER_BROKER] = n->channels[s->role][1];
}

static void
fill_worker(struct slot *s)
{
	struct master *m = s->m;

	w.role = s->role;
	snprintf(w.name, sizeof(w.name), "%s", s->name);
	w.cluster = &m->plan.spec;
	w.ns = s->ns;
	w.host = m->host;
	w.index = s->index;
	w.nodes = m->node_shms;
	w.page = s->page;
	w.pages = m->pages;
	w.control_fd = s->control[1];
	memcpy(w.listen_fds, s->listen_fds, sizeof(w.listen_fds));
	for (int r = 0; r < ROLE_COUNT; r++)
		w.peer_fds[r] = w.wake_fds[r] = -1;
	if (s->node != NULL)
		connect_node(s);
}

static void
show_title(const struct slot *s)
{
	if (s->node != NULL)
		title_set("rmqsupervisor: %s %s", s->node->spec->name, role_defs[s->role].title);
	else
		title_set("rmqsupervisor: %s", s->name);
}

static NORETURN void
run_child(struct slot *s)
{
	show_title(s);
	log_as(s);
	fill_worker(s);
	wire_keep_only(s->m, s);
	ev_loop_destroy(s->m->loop);
	s->m->loop = NULL;
	_exit(role_defs[s->role].run(&w));
}

enum rc
spawn_slot(struct slot *s, struct err *e)
{
	pid_t pid;

	wire_drain_fd(s->control[1]); /* words for the one before it */
	atomic_store(&s->m->host->beat[s->index].mono_ms, 0);
	pid = fork();
	if (pid == 0)
		run_child(s);
	if (pid < 0) {
		err_set(e, "%s cannot be started: fork: %s", s->name, strerror(errno));
		return RC_IO;
	}
	s->pid = pid;
	s->started_us = clock_mono_us();
	s->expected = false;
	s->why = NULL;
	s->last_words[0] = '\0';
	s->progress = 0;
	return RC_OK;
}

int
spawn_here(struct slot *s)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	log_set_role(s->name);
	fill_worker(s);
	w.control_fd = -1; /* nobody to report to, and SIGINT ends it */
	return role_defs[s->role].run(&w);
}
