/*
 * monitor: which workers should run, which do, and what is done about the difference.
 *
 * A death is told in one sentence, then the worker is started again: at once the first time, after a delay that doubles
 * when it dies again and again; a long life resets it. The broker takes those of its node with it that build on what it
 * had in memory, and they come back together. On a slave that holds for ha, too: there ha writes the log.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/takeover.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS	 10000
#define LONG_LIFE_MS	 30000 /* who lived that long is not in a loop of deaths */
#define FORK_RETRY_MS	 1000

static const char WITH_BROKER[] = "its node's workers start again together";

static void
set_state(struct slot *s, enum worker_state state)
{
	log_trace("%s: %s, now %s", s->name, worker_state_name(s->state), worker_state_name(state));
	s->state = state;
	status_worker(s);
}

/* ---- what should run */

static bool
leads_group(const struct slot *s)
{
	if (s->role == WORKER_HA)
		return atomic_load(&s->node->shm->master.role) == ROLE_SLAVE;
	return s->role == WORKER_BROKER;
}

static bool
in_group(const struct slot *s)
{
	return s->node != NULL && role_defs[s->role].with_broker;
}

/* A member of the group is still on its way out, or the broker waits before it is started again. */
static bool
group_is_not_ready(const struct slot *s)
{
	const struct master *m = s->m;

	for (size_t i = 0; i < m->slot_count; i++) {
		const struct slot *o = &m->slots[i];

		if (o == s || o->node != s->node || !in_group(o))
			continue;
		if (o->pid != 0 && o->why != NULL)
			return true;
		if (leads_group(o) && o->state == WORKER_BACKOFF)
			return true;
	}
	return false;
}

static bool
should_start(const struct slot *s)
{
	if (s->pid != 0 || s->state == WORKER_BACKOFF)
		return false;
	if (!in_group(s))
		return true;
	return !s->node->failed && !takeover_holds(s->node) && !group_is_not_ready(s);
}

static void
wait_before_restart(struct slot *s, int64_t ms)
{
	set_state(s, WORKER_BACKOFF);
	ev_timer_set(&s->restart, (double)ms / 1000, 0.0);
	ev_timer_start(s->m->loop, &s->restart);
}

static void
start(struct slot *s)
{
	struct err e;

	if (s->state != WORKER_NONE)
		s->restarts++;
	if (spawn_slot(s, &e) != RC_OK) {
		log_error("%s; next try in %d ms", e.text, FORK_RETRY_MS);
		wait_before_restart(s, FORK_RETRY_MS);
		return;
	}
	set_state(s, WORKER_STARTING);
	ev_timer_set(&s->deadline, s->m->plan.spec.ready_timeout_s, 0.0);
	ev_timer_start(s->m->loop, &s->deadline);
}

void
monitor_converge(struct master *m)
{
	for (size_t i = 0; i < m->slot_count; i++)
		if (should_start(&m->slots[i]))
			start(&m->slots[i]);
}

static void
restart_due(struct ev_loop *loop, ev_timer *t, int events)
{
	struct slot *s = t->data;

	(void)loop, (void)events;
	set_state(s, WORKER_DEAD); /* the turn's converge starts it */
}

/* ---- signs of life */

/* A store that recovers for longer than the deadline is alive as long as it gets on. */
static bool
recovers(struct slot *s)
{
	const struct shm_line_broker *b;
	int64_t now;

	if (s->role != WORKER_BROKER || s->node->shm == NULL)
		return false;
	b = &s->node->shm->broker;
	now = pos_read(&b->dispatched) + pos_read(&b->appended);
	if (atomic_load(&b->state) != NODE_RECOVERING || now == s->progress)
		return false;
	s->progress = now;
	return true;
}

static void
deadline_passed(struct ev_loop *loop, ev_timer *t, int events)
{
	struct slot *s = t->data;

	(void)events;
	if (recovers(s)) {
		ev_timer_set(t, s->m->plan.spec.ready_timeout_s, 0.0);
		ev_timer_start(loop, t);
		return;
	}
	log_error("%s[%d] does not serve after %d s (readyTimeout)", s->name, (int)s->pid, s->m->plan.spec.ready_timeout_s);
	monitor_kill(s, "it was not ready in time");
}

void
monitor_ready(struct slot *s)
{
	if (s->state != WORKER_STARTING)
		return;
	ev_timer_stop(s->m->loop, &s->deadline);
	set_state(s, WORKER_READY);
	log_debug("%s[%d] is ready after %lld ms", s->name, (int)s->pid,
	    (long long)(clock_mono_us() - s->started_us) / 1000);
}

void
monitor_kill(struct slot *s, const char *why)
{
	if (s->pid == 0)
		return;
	s->why = why;
	if (kill(s->pid, SIGKILL) != 0)
		log_warn("%s[%d] could not be killed: %s", s->name, (int)s->pid, strerror(errno));
}

size_t
monitor_running(const struct master *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->slot_count; i++)
		n += m->slots[i].pid != 0;
	return n;
}

/* ---- deaths */

static void
put_cause(char *to, size_t size, int st)
{
	if (WIFSIGNALED(st))
		snprintf(to, size, "was killed by signal %d (%s%s)", WTERMSIG(st), strsignal(WTERMSIG(st)),
		    WCOREDUMP(st) ? ", core dumped" : "");
	else
		snprintf(to, size, "ended with exit status %d", WEXITSTATUS(st));
}

static void
put_part(char *to, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void
put_part(char *to, size_t size, const char *fmt, ...)
{
	size_t n = strlen(to);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(to + n, size - n, fmt, ap);
	va_end(ap);
}

static void
put_sentence(char *to, size_t size, const struct slot *s, pid_t pid, int st)
{
	char cause[100];

	put_cause(cause, sizeof(cause), st);
	snprintf(to, size, "%s[%d] %s after %.3f s", s->name, (int)pid, cause,
	    (double)(clock_mono_us() - s->started_us) / 1e6);
	if (s->why != NULL)
		put_part(to, size, " (by us: %s)", s->why);
	if (s->node != NULL)
		put_part(to, size, ", log end %lld", (long long)pos_read(&s->node->shm->broker.appended));
	if (s->last_words[0] != '\0')
		put_part(to, size, "; its last words: %s", s->last_words);
}

/* What siblings sent to the dead or the dead to them is about a life that is over. */
static void
drain_channels(const struct slot *s)
{
	struct node *n = s->node;

	if (n == NULL)
		return;
	for (int r = 0; r < ROLE_COUNT; r++) {
		bool keep = s->role == WORKER_FLUSH && !s->expected; /* what is to be synced is so after its death, too */
		bool concerns = s->role == WORKER_BROKER || (s->role == (enum role)r && !keep);

		if (!concerns || n->channels[r][0] < 0)
			continue;
		wire_drain_fd(n->channels[r][0]);
		wire_drain_fd(n->channels[r][1]);
	}
}

void
monitor_end_group(struct node *n, struct master *m, const char *why)
{
	for (size_t i = 0; i < m->slot_count; i++) {
		struct slot *s = &m->slots[i];

		if (s->node != n || !in_group(s) || s->pid == 0)
			continue;
		s->expected = true;
		monitor_kill(s, why);
	}
}

static void
end_group(struct slot *dead)
{
	if (dead->node != NULL && leads_group(dead))
		monitor_end_group(dead->node, dead->m, WITH_BROKER);
}

/* The delay before the next start, after a life of that length. */
static int64_t
next_delay(struct slot *s, int64_t lived_ms)
{
	int64_t delay = s->backoff_ms;

	if (s->expected)
		return 0;
	s->deaths = lived_ms >= LONG_LIFE_MS ? 1 : s->deaths + 1;
	if (lived_ms >= LONG_LIFE_MS)
		delay = 0;
	s->backoff_ms = delay == 0 ? BACKOFF_FIRST_MS : MIN_OF(delay * 2, BACKOFF_MAX_MS);
	return delay;
}

static void
tell(struct slot *s, int st, const char *sentence)
{
	status_death(s, st, sentence);
	if (s->expected) {
		log_debug("%s", sentence);
		return;
	}
	log_error("%s", sentence);
	status_event(s->m, "%s", sentence);
}

static void
plan_restart(struct slot *s, char *sentence, size_t size, int st)
{
	int64_t delay = next_delay(s, (clock_mono_us() - s->started_us) / 1000);

	s->state = WORKER_DEAD;
	takeover_turn(s->m); /* may keep it from being started again */
	if (in_group(s) && s->node->failed)
		put_part(sentence, size, "; not started again, its node has failed");
	else if (in_group(s) && takeover_holds(s->node))
		put_part(sentence, size, "; not started again before it is clear who is master");
	else if (delay > 0)
		put_part(sentence, size, "; starting it again in %lld ms", (long long)delay);
	else
		put_part(sentence, size, "; starting it again now");
	tell(s, st, sentence);
	if (delay > 0)
		wait_before_restart(s, delay);
	else
		set_state(s, WORKER_DEAD);
	end_group(s);
	drain_channels(s);
}

static void
slot_died(struct slot *s, int st)
{
	char sentence[1024];
	bool leaving = s->m->stopping;

	control_drain(s);
	failed_look(s->m);
	put_sentence(sentence, sizeof(sentence), s, s->pid, st);
	s->pid = 0;
	ev_timer_stop(s->m->loop, &s->deadline);
	if (!leaving) {
		plan_restart(s, sentence, sizeof(sentence), st);
		return;
	}
	status_death(s, st, sentence);
	set_state(s, WORKER_DEAD);
	if (WIFSIGNALED(st) || WEXITSTATUS(st) != 0) {
		log_warn("%s", sentence);
		s->m->status = 1;
	} else {
		log_debug("%s", sentence);
	}
}

static void
other_died(pid_t pid, int st)
{
	char cause[100];

	put_cause(cause, sizeof(cause), st);
	if (WIFEXITED(st) && WEXITSTATUS(st) == 0)
		log_info("script with pid %d %s", (int)pid, cause);
	else
		log_error("script with pid %d %s", (int)pid, cause);
}

static struct slot *
slot_of(struct master *m, pid_t pid)
{
	for (size_t i = 0; i < m->slot_count; i++)
		if (m->slots[i].pid == pid)
			return &m->slots[i];
	return NULL;
}

void
monitor_reap(struct master *m)
{
	pid_t pid;
	int st;

	while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
		struct slot *s = slot_of(m, pid);

		if (s != NULL)
			slot_died(s, st);
		else if (!takeover_child(m, pid, st))
			other_died(pid, st);
	}
}

void
monitor_start(struct master *m)
{
	for (size_t i = 0; i < m->slot_count; i++) {
		struct slot *s = &m->slots[i];

		ev_timer_init(&s->deadline, deadline_passed, 0.0, 0.0);
		ev_timer_init(&s->restart, restart_due, 0.0, 0.0);
		s->deadline.data = s->restart.data = s;
	}
	monitor_converge(m);
}
