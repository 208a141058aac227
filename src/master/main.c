/*
 * main: rmqsupervisor: starts, runs and ends the master.
 *
 * The order matters: everything that can be refused is refused before anything is made; sockets are bound before files are
 * touched; root is given up before memory is shared and workers exist.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "master/daemon.h"
#include "master/instance.h"
#include "master/master.h"
#include "master/options.h"
#include "master/orphans.h"
#include "master/takeover.h"

#define SPEC_ERROR 2

static int
fail(const struct err *e, int status)
{
	fprintf(stderr, "rmqsupervisor: %s\n", e->text);
	return status;
}

/* One lock per host of the spec: several hosts may be tried out on one machine, in one directory. */
static char *
lock_path(const struct plan *p)
{
	if (p->host == NULL)
		return xasprintf("%s/supervisor.lock", p->spec.dir);
	return xasprintf("%s/supervisor-%s.lock", p->spec.dir, p->host);
}

/* A store has the lock file of the original, so this finds a Java broker, too. */
static enum rc
look_at_stores(const struct plan *p, struct err *e)
{
	for (size_t i = 0; i < p->spec.broker_count; i++) {
		const struct broker_spec *b = &p->spec.brokers[i];
		char *path = b->here ? xasprintf("%s/lock", b->dir) : NULL;
		long pid = path != NULL ? pidfile_holder(path) : 0;

		if (pid != 0)
			err_set(e, "%s: its store is in use by process %ld, which holds %s", b->name, pid, path);
		free(path);
		if (pid != 0)
			return RC_BUSY;
	}
	return RC_OK;
}

static enum rc
look_for_others(const struct plan *p, struct err *e)
{
	char *lock = lock_path(p);
	enum rc rc = pidfile_look(lock, e);

	if (rc == RC_OK)
		rc = orphans_wait(lock, e);
	free(lock);
	if (rc == RC_OK && p->spec.pid_file != NULL)
		rc = pidfile_look(p->spec.pid_file, e);
	if (rc == RC_OK)
		rc = look_at_stores(p, e);
	return rc;
}

static enum rc
take_locks(struct master *m, struct err *e)
{
	char *lock = lock_path(&m->plan);
	enum rc rc = pidfile_take(lock, &m->lock_fd, e);

	free(lock);
	if (rc == RC_OK)
		orphans_mark(m->lock_fd);
	if (rc == RC_OK && m->plan.spec.pid_file != NULL)
		rc = pidfile_take(m->plan.spec.pid_file, &m->pid_fd, e);
	return rc;
}

static void
drop_locks(struct master *m)
{
	char *lock = lock_path(&m->plan);

	pidfile_drop(lock, &m->lock_fd);
	if (m->plan.spec.pid_file != NULL)
		pidfile_drop(m->plan.spec.pid_file, &m->pid_fd);
	free(lock);
}

static enum rc
begin_log(const struct plan *p, struct err *e)
{
	const struct cluster_spec *s = &p->spec;
	char *path;
	enum rc rc = RC_OK;

	ensure(log_set_level(s->log_level) == RC_OK); /* plan.c has refused others */
	if (s->log_to == LOG_TO_SYSLOG)
		log_to_syslog("rmqsupervisor");
	if (s->log_to != LOG_TO_FILE)
		return RC_OK;
	path = xasprintf("%s/master.log", s->log_dir);
	rc = log_to_file(path);
	if (rc != RC_OK)
		err_set(e, "log file %s cannot be opened: %s", path, strerror(errno));
	free(path);
	return rc;
}

static void
say_warnings(const struct plan *p)
{
	for (size_t i = 0; i < p->warning_count; i++)
		log_warn("%s", p->warnings[i]);
	plan_log_effects(p);
}

/* Each client is a descriptor: the soft limit is a relic of select(2). */
static void
raise_limits(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) != 0)
		return;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) != 0)
		log_warn("the limit of open files stays low: %s", strerror(errno));
}

static enum rc
make_files(struct master *m, struct err *e)
{
	struct identity who;
	enum rc rc = instance_identity(&m->plan.spec, &who, e);

	if (rc != RC_OK)
		return rc;
	rc = instance_make_dirs(&m->plan, &who, e);
	if (rc == RC_OK)
		rc = take_locks(m, e);
	if (rc == RC_OK)
		rc = instance_drop_root(&who, e);
	if (rc == RC_OK)
		rc = begin_log(&m->plan, e);
	identity_free(&who);
	return rc;
}

static enum rc
prepare(struct master *m, struct err *e)
{
	enum rc rc = look_for_others(&m->plan, e);

	if (rc == RC_OK && !m->foreground)
		rc = daemon_begin(m->plan.spec.ready_timeout_s, &m->ready_pipe, e);
	raise_limits();
	if (rc == RC_OK)
		rc = wire_listen(m, e);
	if (rc == RC_OK)
		rc = make_files(m, e);
	if (rc == RC_OK)
		rc = wire_share(m, e);
	if (rc == RC_OK)
		rc = takeover_make(m, e);
	return rc;
}

static void
run(struct master *m)
{
	m->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	ensure(m->loop != NULL);
	say_warnings(&m->plan);
	if (!m->foreground && m->plan.spec.log_to != LOG_TO_STDERR)
		daemon_detach(); /* what could go wrong before has been said; from here on the log tells */
	control_start(m);
	takeover_start(m);
	monitor_start(m);
	ev_run(m->loop, 0);
	log_info("stopped");
	ev_loop_destroy(m->loop);
	close(m->signals.fd);
	free(m->controls);
}

static struct slot *
chosen_slot(struct master *m, const struct options *o, struct err *e)
{
	struct slot *found = NULL;

	for (size_t i = 0; i < m->slot_count; i++) {
		struct slot *s = &m->slots[i];
		const char *owner = s->node != NULL ? s->node->spec->name : s->name;

		if ((int)s->role != o->role_number || (o->node != NULL && strcmp(o->node, owner) != 0))
			continue;
		if (found != NULL) {
			err_set(e, "there are several of %s here; choose by --node %s or another", o->role, owner);
			return NULL;
		}
		found = s;
	}
	if (found == NULL)
		err_set(e, "%s has no %s%s%s on this host", m->plan.spec.file, o->role, o->node != NULL ? " of " : "",
		    o->node != NULL ? o->node : "");
	return found;
}

static int
run_one(struct master *m, const struct options *o)
{
	struct err e;
	struct slot *s = chosen_slot(m, o, &e);

	if (s == NULL)
		return fail(&e, SPEC_ERROR);
	say_warnings(&m->plan);
	return spawn_here(s);
}

static void
finish(struct master *m)
{
	drop_locks(m);
	takeover_free(m);
	wire_close(m);
	plan_free(&m->plan);
}

static int
start(struct master *m, const struct options *o)
{
	struct err e;

	if (prepare(m, &e) != RC_OK)
		m->status = fail(&e, EXIT_FAILURE);
	else if (o->role != NULL)
		m->status = run_one(m, o);
	else
		run(m);
	finish(m);
	return m->status;
}

static void
apply_options(struct master *m, const struct options *o)
{
	struct cluster_spec *s = &m->plan.spec;

	m->foreground = !o->daemon;
	m->host_option = o->host;
	if (!m->plan.log_given)
		s->log_to = o->daemon ? LOG_TO_FILE : LOG_TO_STDERR;
	if (o->role != NULL)
		s->log_to = LOG_TO_STDERR;
	if (o->pid_file == NULL)
		return;
	free(s->pid_file);
	s->pid_file = xstrdup(o->pid_file);
}

int
main(int argc, char **argv)
{
	static struct master m = {.lock_fd = -1, .pid_fd = -1, .ready_pipe = -1};
	struct options o;
	struct err e;
	int status;

	m.begun_us = clock_mono_us();
	title_init(argc, argv);
	status = options_read(&o, argc, argv);
	if (status >= 0)
		return status;
	log_set_role("master");
	if (plan_load(&m.plan, o.file, o.host, &e) != RC_OK)
		return fail(&e, SPEC_ERROR);
	apply_options(&m, &o);
	if (o.switch_to != NULL) {
		status = ctl_switch(&m.plan, o.switch_to, o.unclean);
		plan_free(&m.plan);
		return status;
	}
	if (o.test) {
		plan_print(&m.plan, stdout);
		plan_free(&m.plan);
		return EXIT_SUCCESS;
	}
	umask(0077);
	return start(&m, &o);
}
