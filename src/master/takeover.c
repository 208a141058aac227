/*
 * takeover: carries out what failover.c decides, and tells it what came of it.
 */
#include "master/takeover.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define LOOK_S       0.1      /* at heartbeats, while nothing happens */
#define LOOK_BUSY_S  0.01     /* while a change is under way */
#define STEPS_MAX    16       /* acts of one turn; a change has fewer */
#define CUT_AGAIN_US 10000000 /* a second cut so soon after the first is no cure: the usual backoff holds */

/* ---- events */

static void
say(void *arg, const char *text)
{
	struct takeover *t = arg;

	log_info("failover: %s: %s", t->name, text);
	status_event(t->m, "failover: %s: %s", t->name, text);
	if (t->asker != NULL)
		ctl_tell(t->asker, text);
}

void
takeover_say(struct takeover *t, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	say(t, text);
}

/* ---- what the nodes are */

/* The one that the spec calls 0 takes the id of whoever is master in its place. */
static int64_t
id_of(const struct takeover *t, int i)
{
	int64_t own = t->specs[i]->conf.brokerId;

	if (own == t->f.master_id)
		return 0;
	if (own != 0)
		return own;
	return t->f.master_id > 0 ? t->f.master_id : 1;
}

static void
set_role(struct takeover *t, int i)
{
	struct shm_line_master *l = &t->nodes[i]->shm->master;
	bool leads = t->specs[i]->conf.brokerId == t->f.master_id;

	atomic_store(&l->handover, 0);
	atomic_store(&l->broker_id, id_of(t, i));
	atomic_store(&l->epoch, t->f.epoch);
	atomic_store(&l->role, leads ? t->lead : ROLE_SLAVE);
	t->nodes[i]->led = false;
}

static void
set_roles(struct takeover *t)
{
	for (int i = 0; i < t->n; i++)
		if (t->nodes[i] != NULL)
			set_role(t, i);
}

static void
tell_role(struct takeover *t, int i)
{
	const struct shm_line_master *l = &t->nodes[i]->shm->master;

	for (size_t k = 0; k < t->m->slot_count; k++) {
		struct slot *s = &t->m->slots[k];

		if (s->node != t->nodes[i] || s->pid == 0 || (s->role != WORKER_BROKER && s->role != WORKER_HA))
			continue;
		if (ipc_send(s->control[0], IPC_MASTER_ALL_ROLE, atomic_load(&l->role), atomic_load(&l->epoch)) !=
		    RC_OK)
			monitor_end_group(s->node, t->m, "it could not be told its role");
	}
}

/* Slaves that stay slaves hear of the epoch, too: they look for the new master. */
static void
tell_roles(struct takeover *t)
{
	for (int i = 0; i < t->n; i++)
		if (t->nodes[i] != NULL)
			tell_role(t, i);
}

static void
forget_deaths(const struct takeover *t, const struct node *n)
{
	for (size_t i = 0; i < t->m->slot_count; i++)
		if (t->m->slots[i].node == n)
			t->m->slots[i].deaths = 0;
}

/* ---- acts */

static void
promote(struct takeover *t, int i)
{
	if (t->f.old >= 0 && t->nodes[t->f.old] != NULL && t->facts[t->f.old].gone)
		wire_turn_away(t->nodes[t->f.old]);
	t->promoted_us = clock_mono_us();
	set_roles(t);
	forget_deaths(t, t->nodes[i]);
	tell_roles(t);
}

static void
act(struct takeover *t, enum fo_act a)
{
	int i = t->f.member;

	switch (a) {
	case FO_ASK:
		takeover_ask(t, i);
		break;
	case FO_HANDOVER:
		atomic_store(&t->nodes[i]->shm->master.handover, 1);
		break;
	case FO_FENCE:
		monitor_end_group(t->nodes[i], t->m, "it is master no longer");
		break;
	case FO_KEEP:
		t->f.since_ms = clock_wall_ms();
		t->promoted_us = INT64_MAX; /* not yet */
		takeover_keep(t);
		break;
	case FO_PROMOTE:
		promote(t, i);
		break;
	case FO_FOLLOW:
		if (t->nodes[i] != NULL && t->facts[i].gone)
			wire_turn_away(t->nodes[i]);
		set_roles(t);
		break;
	case FO_RESUME:
	case FO_RELEASE:
		atomic_store(&t->nodes[i]->shm->master.handover, 0);
		break;
	case FO_NOTHING:
		break;
	}
}

/* One that died during its promotion has started again as the master that shared memory says it is. */
static void
look_at_promoted(struct takeover *t)
{
	int i = t->f.target;

	if (t->f.phase != FO_PROMOTING || t->facts[i].health != FO_SERVING)
		return;
	for (size_t k = 0; k < t->m->slot_count; k++) {
		const struct slot *s = &t->m->slots[k];

		if (s->node == t->nodes[i] && s->role == WORKER_BROKER && s->started_us > t->promoted_us)
			failover_promoted(&t->f, t->facts, t->n, i, t->f.epoch);
	}
}

static void
publish(struct takeover *t)
{
	struct shm_failover *s = &t->m->host->failover[t->index];
	int master = failover_master(&t->f, t->facts, t->n);
	const char *why = t->f.phase == FO_REFUSED ? t->f.why_not : t->f.why;

	snprintf(s->broker_name, sizeof(s->broker_name), "%.60s", t->name);
	snprintf(s->master, sizeof(s->master), "%.60s", master >= 0 ? t->specs[master]->name : "");
	snprintf(s->phase, sizeof(s->phase), "%s", failover_phase_name(t->f.phase));
	snprintf(s->why, sizeof(s->why), "%s", why);
	atomic_store(&s->mode, t->f.set.mode);
	atomic_store(&s->epoch, t->f.epoch);
	atomic_store(&s->since_ms, t->f.since_ms);
	atomic_fetch_add(&s->changes, 1);
}

static void
end_asking(struct takeover *t)
{
	char line[200];
	bool done = t->specs[t->wanted]->conf.brokerId == t->f.master_id;

	if (t->asker == NULL || (t->f.phase != FO_WATCHING && t->f.phase != FO_REFUSED))
		return;
	snprintf(line, sizeof(line), "%s is %smaster of %s, epoch %lld", t->specs[t->wanted]->name, done ? "" : "not ",
		 t->name, (long long)t->f.epoch);
	ctl_end(&t->asker, done, line);
}

static void
turn_one(struct takeover *t)
{
	enum fo_phase before = t->f.phase;
	bool changed = false;
	enum fo_act a;

	for (int n = 0; n < STEPS_MAX; n++) {
		takeover_look(t);
		look_at_promoted(t);
		a = failover_next(&t->f, t->facts, t->n, clock_mono_ms());
		if (a == FO_NOTHING)
			break;
		act(t, a);
		changed = true;
	}
	if (t->f.phase != FO_ASKING)
		takeover_script_stop(t);
	if (t->f.set.mode != FAILOVER_OFF && t->n > 1)
		takeover_end_frozen(t);
	end_asking(t);
	if (changed || t->f.phase != before)
		publish(t);
}

/* How often to look without an event; 0: not at all. */
static double
look_every(const struct takeover *t)
{
	if (t->f.phase != FO_WATCHING && t->f.phase != FO_REFUSED)
		return LOOK_BUSY_S;
	return t->f.set.mode != FAILOVER_OFF && t->n > 1 ? LOOK_S : 0.0;
}

void
takeover_turn(struct master *m)
{
	double every = 0.0;

	if (m->stopping)
		return;
	for (size_t i = 0; i < m->takeover_count; i++) {
		double s;

		turn_one(&m->takeovers[i]);
		s = look_every(&m->takeovers[i]);
		if (s > 0.0 && (every <= 0.0 || s < every))
			every = s;
	}
	if (every == m->look.repeat)
		return;
	m->look.repeat = every;
	ev_timer_again(m->loop, &m->look); /* 0 stops it */
}

static void
look_again(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)loop, (void)t, (void)events; /* the turn does it */
}

/* ---- reports */

void
takeover_role_taken(struct slot *broker, int32_t role, int64_t epoch)
{
	struct takeover *t = broker->node->takeover;

	log_debug("%s has taken the role %d of epoch %lld", broker->name, (int)role, (long long)epoch);
	if (role == ROLE_SLAVE || epoch < t->f.epoch)
		return;
	takeover_look(t);
	failover_promoted(&t->f, t->facts, t->n, broker->node->member, epoch);
}

void
takeover_cut(struct slot *ha, int64_t position, const char *why)
{
	int64_t now_us = clock_mono_us();
	bool again = ha->node->cut_us != 0 && now_us - ha->node->cut_us < CUT_AGAIN_US;

	takeover_say(ha->node->takeover, "%s cuts its log at %lld: %s", ha->node->spec->name, (long long)position, why);
	ha->node->cut_us = now_us;
	ha->node->matched_epoch = -1;
	if (again)
		monitor_kill(ha, "its log is to be cut once more");
	else
		monitor_end_group(ha->node, ha->m, "its log is to be cut");
}

static int
member_of(const struct takeover *t, const char *peer)
{
	char address[300];

	for (int i = 0; i < t->n; i++) {
		spec_ha_address(t->specs[i], address, sizeof(address));
		if (strcmp(peer, t->specs[i]->name) == 0 || strcmp(peer, address) == 0)
			return i;
	}
	return -1;
}

void
takeover_fenced(struct slot *ha, int64_t epoch, const char *peer)
{
	struct takeover *t = ha->node->takeover;

	takeover_look(t);
	failover_superseded(&t->f, t->facts, t->n, ha->node->member, member_of(t, peer), epoch, clock_mono_ms());
}

bool
takeover_child(struct master *m, pid_t pid, int status)
{
	for (size_t i = 0; i < m->takeover_count; i++) {
		struct takeover *t = &m->takeovers[i];

		if (pid == t->keeper)
			takeover_keeper_ended(t, status);
		else if (pid == t->script)
			takeover_script_ended(t, status);
		else
			continue;
		return true;
	}
	return false;
}

bool
takeover_holds(const struct node *n)
{
	return n->takeover != NULL && failover_holds(&n->takeover->f, n->member);
}

void
takeover_switch(struct master *m, const char *node, bool unclean, struct ctl_client **c)
{
	struct err e;

	for (size_t i = 0; i < m->takeover_count; i++) {
		struct takeover *t = &m->takeovers[i];

		for (int k = 0; k < t->n; k++) {
			if (strcmp(t->specs[k]->name, node) != 0)
				continue;
			if (t->asker != NULL || m->stopping) {
				ctl_end(c, false,
					m->stopping ? "the supervisor is stopping" : "another switch is under way");
				return;
			}
			t->asker = *c;
			*c = NULL;
			t->wanted = k;
			takeover_look(t);
			if (failover_switch(&t->f, t->facts, t->n, k, unclean, clock_mono_ms(), &e) != RC_OK)
				ctl_end(&t->asker, false, e.text);
			return;
		}
	}
	err_set(&e, "the spec has no broker %s for this host; names are like broker-a-1", node);
	ctl_end(c, false, e.text);
}

/* ---- begin and end */

static void
apply_settings(struct takeover *t)
{
	const struct cluster_spec *s = &t->m->plan.spec;

	t->f.set = (struct fo_settings){.mode = s->failover,
					.unclean = s->unclean,
					.sync = t->lead == ROLE_SYNC_MASTER,
					.restarts = (uint32_t)s->restarts,
					.master_timeout_ms = s->master_timeout_ms};
}

void
takeover_reload(struct master *m)
{
	for (size_t i = 0; i < m->takeover_count; i++) {
		apply_settings(&m->takeovers[i]);
		publish(&m->takeovers[i]);
	}
}

static bool
is_of(const struct takeover *t, const struct broker_spec *b)
{
	return strcmp(t->name, b->conf.brokerName) == 0 &&
	       strcmp(t->specs[0]->conf.brokerClusterName, b->conf.brokerClusterName) == 0;
}

static struct node *
node_of(struct master *m, const struct broker_spec *b)
{
	for (size_t i = 0; i < m->node_count; i++)
		if (m->nodes[i].spec == b)
			return &m->nodes[i];
	return NULL;
}

static enum rc
add_member(struct takeover *t, struct broker_spec *b, struct err *e)
{
	struct node *n = node_of(t->m, b);

	if (t->n == TAKEOVER_MEMBERS) {
		err_set(e, "%s has more than %d brokers in the spec", t->name, TAKEOVER_MEMBERS);
		return RC_LIMIT;
	}
	if (b->conf.brokerRole != ROLE_SLAVE)
		t->lead = b->conf.brokerRole;
	if (n != NULL) {
		n->takeover = t;
		n->member = t->n;
		n->matched_epoch = -1;
	}
	t->nodes[t->n] = n;
	t->specs[t->n++] = b;
	return RC_OK;
}

static enum rc
collect(struct takeover *t, struct master *m, struct broker_spec *first, struct err *e)
{
	const char *host = m->plan.host;
	enum rc rc = RC_OK;

	t->m = m;
	t->index = (size_t)(t - m->takeovers);
	t->name = first->conf.brokerName;
	t->script_fd = -1;
	t->lead = ROLE_ASYNC_MASTER;
	t->specs[0] = first;
	for (size_t i = 0; i < m->plan.spec.broker_count && rc == RC_OK; i++)
		if (is_of(t, &m->plan.spec.brokers[i]))
			rc = add_member(t, &m->plan.spec.brokers[i], e);
	t->path = xasprintf("%s/failover%s%s/%s.json", m->plan.spec.dir, host != NULL ? "-" : "",
			    host != NULL ? host : "", t->name);
	return rc;
}

/* The state file wins over the spec: it is younger. */
static enum rc
restore(struct takeover *t, struct err *e)
{
	enum rc rc = takeover_load(t, e);
	int master;

	if (rc == RC_NOTFOUND) {
		t->f.epoch = t->f.set.mode != FAILOVER_OFF && t->n > 1;
		t->f.master_id = 0;
		snprintf(t->f.why, sizeof(t->f.why), "by the spec");
		return RC_OK;
	}
	if (rc != RC_OK)
		return rc;
	takeover_look(t);
	master = failover_master(&t->f, t->facts, t->n);
	if (master >= 0 && t->specs[master]->conf.brokerRole == ROLE_SLAVE)
		log_info("failover: %s: %s is master, epoch %lld, as %s says (%s)", t->name, t->specs[master]->name,
			 (long long)t->f.epoch, t->path, t->f.why);
	if (master >= 0 || t->f.master_id == -1)
		return RC_OK;
	err_set(e,
		"%s says that brokerId %lld is master of %s, but the spec has none of that id; give it back its entry, "
		"or remove "
		"the file: then the roles are those of the spec",
		t->path, (long long)t->f.master_id, t->name);
	return RC_BADDATA;
}

static enum rc
make_one(struct takeover *t, struct master *m, struct broker_spec *first, struct err *e)
{
	enum rc rc = collect(t, m, first, e);

	if (rc != RC_OK)
		return rc;
	t->f.say = say;
	t->f.arg = t;
	failover_init(&t->f);
	apply_settings(t);
	rc = restore(t, e);
	if (rc != RC_OK)
		return rc;
	set_roles(t);
	if (t->index < SHM_FAILOVERS_MAX) {
		publish(t);
		atomic_store(&m->host->failovers, (int32_t)t->index + 1);
	}
	return RC_OK;
}

enum rc
takeover_make(struct master *m, struct err *e)
{
	enum rc rc = RC_OK;

	m->takeovers = xcalloc(m->node_count + 1, sizeof(*m->takeovers));
	for (size_t i = 0; i < m->node_count && rc == RC_OK; i++)
		if (m->nodes[i].takeover == NULL)
			rc = make_one(&m->takeovers[m->takeover_count++], m, m->nodes[i].spec, e);
	return rc;
}

void
takeover_start(struct master *m)
{
	ev_timer_init(&m->look, look_again, 0.0, 0.0);
	ctl_start(m);
}

void
takeover_free(struct master *m)
{
	ctl_stop(m);
	for (size_t i = 0; i < m->takeover_count; i++)
		free(m->takeovers[i].path);
	free(m->takeovers);
	m->takeovers = NULL;
	m->takeover_count = 0;
}
