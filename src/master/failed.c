/*
 * failed: a node whose sync to the disk has failed.
 *
 * The kernel may have dropped the bytes that it could not write, so what is readable is no longer what is stored. That is
 * final: the broker leaves the name servers, the operator's script is told, and nothing of the node that dies is started
 * again until the operator restarts it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "master/master.h"

static void
set_number(const char *name, long long v)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", v);
	setenv(name, text, 1);
}

static void
set_facts(const struct node *n, int error)
{
	const struct broker_conf *c = &n->spec->conf;

	setenv("RMQ_EVENT", "failed", 1);
	setenv("RMQ_NODE", n->spec->name, 1);
	setenv("RMQ_CLUSTER", c->brokerClusterName, 1);
	setenv("RMQ_BROKER_NAME", c->brokerName, 1);
	set_number("RMQ_BROKER_ID", c->brokerId);
	setenv("RMQ_DIR", n->spec->dir, 1);
	set_number("RMQ_ERRNO", error);
	setenv("RMQ_ERROR", strerror(error), 1);
	set_number("RMQ_APPENDED", pos_read(&n->shm->broker.appended));
	set_number("RMQ_FLUSHED", pos_read(&n->shm->flush.flushed));
}

static NORETURN void
run_script(const char *script, const struct node *n, int error)
{
	sigset_t none;

	set_facts(n, error);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl(script, script, n->spec->name, (char *)NULL);
	log_error("failover: onFailed: %s cannot be run: %s", script, strerror(errno));
	_exit(127);
}

static void
call_script(const struct master *m, const struct node *n, int error)
{
	const char *script = m->plan.spec.on_failed;
	pid_t pid;

	if (script == NULL)
		return;
	pid = fork();
	if (pid == 0)
		run_script(script, n, error);
	if (pid < 0)
		log_error("failover: onFailed: %s cannot be run: fork: %s", script, strerror(errno));
	else
		log_info("failover: onFailed: %s runs with pid %d", script, (int)pid);
}

static void
tell_broker(struct master *m, const struct node *n, const char *sentence)
{
	for (size_t i = 0; i < m->slot_count; i++) {
		struct slot *s = &m->slots[i];

		if (s->node != n || s->role != WORKER_BROKER || s->pid == 0)
			continue;
		if (ipc_send(s->control[0], IPC_MASTER_BROKER_FAILED, sentence) != RC_OK)
			monitor_kill(s, "its node has failed and it cannot be told");
	}
}

static void
node_failed(struct master *m, struct node *n, int error)
{
	char sentence[400];

	n->failed = true;
	snprintf(sentence, sizeof(sentence),
	    "broker %.100s has failed: its log could not be synced to the disk (%s); it is safe up to %lld of %lld; check the "
	    "disk, then restart",
	    n->spec->name, strerror(error), (long long)pos_read(&n->shm->flush.flushed),
	    (long long)pos_read(&n->shm->broker.appended));
	log_error("%s", sentence);
	status_event(m, "%s", sentence);
	tell_broker(m, n, sentence);
	call_script(m, n, error);
}

void
failed_look(struct master *m)
{
	for (size_t i = 0; i < m->node_count; i++) {
		struct node *n = &m->nodes[i];
		int error = atomic_load(&n->shm->flush.failed_errno);

		if (error != 0 && !n->failed)
			node_failed(m, n, error);
	}
}
