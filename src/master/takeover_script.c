/*
 * takeover_script: the operator's onPromote: what it is told, and what it answers.
 *
 * Its facts are in the environment; the first word that it writes to its standard output counts: `promote` or `wait`.
 * Anything else, nothing, an exit status other than 0 or no end in time count as wait, and each of it is an event line.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/takeover.h"

static void
set_number(const char *name, long long v)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", v);
	setenv(name, text, 1);
}

static const char *
event_of(const struct fo_member *about)
{
	switch (about->health) {
	case FO_FAILED:
		return "failed";
	case FO_FROZEN:
		return "frozen";
	case FO_DOWN:
	case FO_STARTING:
		return "dead";
	case FO_AWAY:
	case FO_SERVING:
		break;
	}
	return "unreachable"; /* a slave asks that does not hear its master */
}

static void
set_facts(struct takeover *t, int about)
{
	int candidate = -1, master = failover_master(&t->f, t->facts, t->n);
	bool in_sync = failover_in_sync(&t->f, t->facts, t->n, &candidate);

	setenv("RMQ_EVENT", event_of(&t->facts[about]), 1);
	setenv("RMQ_REASON", t->f.reason, 1);
	setenv("RMQ_CLUSTER", t->specs[about]->conf.brokerClusterName, 1);
	setenv("RMQ_BROKER_NAME", t->name, 1);
	setenv("RMQ_NODE", t->specs[about]->name, 1);
	setenv("RMQ_MASTER", master >= 0 ? t->specs[master]->name : "", 1);
	setenv("RMQ_CANDIDATE", candidate >= 0 ? t->specs[candidate]->name : "", 1);
	setenv("RMQ_IN_SYNC", in_sync ? "1" : "0", 1);
	setenv("RMQ_ROLE", t->lead == ROLE_SYNC_MASTER ? "SYNC_MASTER" : "ASYNC_MASTER", 1);
	set_number("RMQ_EPOCH", t->f.epoch);
	if (candidate >= 0) {
		set_number("RMQ_APPENDED", t->facts[candidate].end);
		set_number("RMQ_MASTER_MAX", t->facts[candidate].master_end);
		set_number("RMQ_SILENT_MS", t->facts[candidate].silent_ms);
	}
	if (master >= 0 && t->facts[master].acked >= 0)
		set_number("RMQ_ACKNOWLEDGED", t->facts[master].acked);
}

static NORETURN void
run(struct takeover *t, int about, int out)
{
	const char *script = t->m->plan.spec.on_promote;
	sigset_t none;

	set_facts(t, about);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(out, STDOUT_FILENO);
	execl(script, script, t->name, (char *)NULL);
	log_error("failover: onPromote: %s cannot be run: %s", script, strerror(errno));
	_exit(127);
}

static void
cannot(struct takeover *t, const char *what)
{
	takeover_say(t, "onPromote: %s cannot be run: %s: %s; taken for wait", t->m->plan.spec.on_promote, what,
		     strerror(errno));
	failover_answered(&t->f, false, clock_mono_ms());
}

void
takeover_ask(struct takeover *t, int about)
{
	int fds[2];

	takeover_script_stop(t);
	if (t->m->plan.spec.on_promote == NULL) {
		errno = ENOENT;
		cannot(t, "it is not in the spec");
		return;
	}
	if (pipe2(fds, O_CLOEXEC) != 0) {
		cannot(t, "pipe");
		return;
	}
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK); /* ours only: a program expects that its output waits */
	t->script = fork();
	if (t->script == 0)
		run(t, about, fds[1]);
	close(fds[1]);
	if (t->script < 0) {
		t->script = 0;
		close(fds[0]);
		cannot(t, "fork");
		return;
	}
	t->script_fd = fds[0];
	t->answer_len = 0;
	takeover_say(t, "%s: onPromote is asked (%s runs with pid %d)", t->f.reason, t->m->plan.spec.on_promote,
		     (int)t->script);
}

/* What it has written; only the beginning is of interest, and a pipe holds more than that. */
static void
read_answer(struct takeover *t)
{
	ssize_t n = read(t->script_fd, t->answer, sizeof(t->answer) - 1);

	t->answer_len = n > 0 ? (size_t)n : 0;
	t->answer[t->answer_len] = '\0';
	t->answer[strcspn(t->answer, " \t\r\n")] = '\0';
	for (char *p = t->answer; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

static void
close_pipe(struct takeover *t)
{
	if (t->script_fd >= 0)
		close(t->script_fd);
	t->script_fd = -1;
}

void
takeover_script_ended(struct takeover *t, int status)
{
	bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	bool promote;

	t->script = 0;
	read_answer(t);
	close_pipe(t);
	promote = fine && strcmp(t->answer, "promote") == 0;
	if (!fine)
		takeover_say(t, "onPromote ended with %s %d: taken for wait",
			     WIFSIGNALED(status) ? "signal" : "exit status",
			     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	else if (promote || strcmp(t->answer, "wait") == 0)
		takeover_say(t, "onPromote says %s", t->answer);
	else
		takeover_say(t, "onPromote says `%s`, which is neither promote nor wait: taken for wait", t->answer);
	failover_answered(&t->f, promote, clock_mono_ms());
}

void
takeover_script_stop(struct takeover *t)
{
	if (t->script == 0)
		return;
	takeover_say(t, "onPromote[%d] has not answered in time and is ended: taken for wait", (int)t->script);
	kill(t->script, SIGKILL);
	t->script = 0; /* its end is no news */
	close_pipe(t);
}
