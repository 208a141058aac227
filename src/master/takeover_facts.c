/*
 * takeover_facts: what is seen of the nodes of a brokerName: shared memory, processes, heartbeats.
 */
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/takeover.h"

#define DISK_WAIT_FACTOR 10 /* who waits for the disk, in the kernel, is given so many times longer */

static struct slot *
slot_of(const struct master *m, const struct node *n, enum role r)
{
	for (size_t i = 0; i < m->slot_count; i++)
		if (m->slots[i].node == n && m->slots[i].role == r)
			return &m->slots[i];
	ensure(!"a node has all its roles");
	return NULL;
}

/* The kernel says D: uninterruptible, which is a disk in nearly all cases. */
static bool
waits_for_disk(pid_t pid)
{
	char path[40], text[256];
	const char *behind;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	behind = strrchr(text, ')'); /* "pid (title) state ..." */
	return behind != NULL && strncmp(behind, ") D", 3) == 0;
}

/* Since when its loop does not turn, if that is for longer than it may. */
static bool
is_frozen(const struct slot *s)
{
	int64_t beat = atomic_load_explicit(&s->m->host->beat[s->index].mono_ms, memory_order_relaxed);
	int64_t still_ms = clock_mono_ms() - beat, limit_ms = s->m->plan.spec.detect_ms;

	if (s->state != WORKER_READY || beat == 0 || still_ms <= limit_ms)
		return false;
	return still_ms > limit_ms * DISK_WAIT_FACTOR || !waits_for_disk(s->pid);
}

static bool
serves(const struct slot *broker)
{
	int state = atomic_load(&broker->node->shm->broker.state);

	return broker->state == WORKER_READY && (state == NODE_RUNNING || state == NODE_READONLY);
}

static enum fo_health
health_of(const struct node *n, const struct slot *broker)
{
	if (n->failed)
		return FO_FAILED;
	if (broker->pid == 0)
		return FO_DOWN;
	if (broker->why != NULL)
		return FO_DOWN; /* it has been killed and is not reaped yet */
	if (is_frozen(broker))
		return FO_FROZEN;
	return serves(broker) ? FO_SERVING : FO_STARTING;
}

static void
look_at_group(const struct master *m, const struct node *n, struct fo_member *fact)
{
	fact->gone = true;
	fact->deaths = 0;
	for (size_t i = 0; i < m->slot_count; i++) {
		const struct slot *s = &m->slots[i];

		if (s->node != n || !role_defs[s->role].with_broker)
			continue;
		fact->gone = fact->gone && s->pid == 0;
		fact->deaths = MAX_OF(fact->deaths, s->deaths);
	}
}

static bool
is_master(const struct node *n)
{
	return atomic_load(&n->shm->master.role) != ROLE_SLAVE;
}

/* With SYNC_MASTER a send is answered when as many copies as are needed have it; else when it is in the log. */
static int64_t
acked_by(const struct node *n, const struct fo_member *fact)
{
	if (!n->led)
		return -1;
	return atomic_load(&n->shm->master.role) == ROLE_SYNC_MASTER ? pos_read(&n->shm->ha.replicated) : fact->end;
}

static void
look_at_slave(struct takeover *t, struct node *n, struct fo_member *fact)
{
	const struct shm_line_ha *ha = &n->shm->ha;
	const struct slot *s = slot_of(t->m, n, WORKER_HA);
	int64_t heard = MAX_OF(pos_read(&ha->master_seen_ms), s->started_us / 1000);

	if (atomic_load(&ha->connected) != 0 && pos_read(&ha->role_epoch) == pos_read(&n->shm->master.epoch))
		n->matched_epoch = pos_read(&n->shm->master.epoch);
	fact->matched = n->matched_epoch == t->f.epoch;
	fact->silent_ms = MAX_OF(clock_mono_ms() - heard, 0);
	fact->master_end = pos_read(&ha->master_max);
}

static void
look_at(struct takeover *t, int i)
{
	struct fo_member *fact = &t->facts[i];
	struct node *n = t->nodes[i];
	const struct slot *broker;

	*fact = (struct fo_member){.name = t->specs[i]->name, .id = t->specs[i]->conf.brokerId, .acked = -1};
	if (n == NULL) {
		fact->health = FO_AWAY;
		return;
	}
	broker = slot_of(t->m, n, WORKER_BROKER);
	fact->health = health_of(n, broker);
	look_at_group(t->m, n, fact);
	fact->end = pos_read(&n->shm->broker.appended);
	fact->epoch = MAX_OF(pos_read(&n->shm->master.epoch), pos_read(&n->shm->ha.fenced_epoch));
	if (!is_master(n)) {
		look_at_slave(t, n, fact);
		return;
	}
	n->led = n->led || fact->health == FO_SERVING;
	fact->acked = acked_by(n, fact);
}

void
takeover_look(struct takeover *t)
{
	for (int i = 0; i < t->n; i++)
		look_at(t, i);
}

void
takeover_end_frozen(struct takeover *t)
{
	for (size_t i = 0; i < t->m->slot_count; i++) {
		struct slot *s = &t->m->slots[i];

		if (s->node == NULL || s->node->takeover != t || s->why != NULL || !role_defs[s->role].with_broker)
			continue;
		if ((s->role == WORKER_BROKER && is_master(s->node)) || takeover_holds(s->node) || !is_frozen(s))
			continue;
		takeover_say(t, "%s[%d] is frozen: its loop does not turn for %d ms; it is ended", s->name, (int)s->pid,
			     (int)t->m->plan.spec.detect_ms);
		monitor_kill(s, "it was frozen");
	}
}
