/*
 * reload: what changes without a restart.
 *
 * SIGHUP reads the spec again, as a start would, and compares: LIVE parameters are given to the workers that run and kept for
 * those that start later; of the rest it says that they need a restart. A spec that cannot be read changes nothing.
 */
#include <stdlib.h>

#include "common/buf.h"
#include "common/log.h"
#include "master/takeover.h"

struct report {
	struct buf	live, fixed;
};

/* ---- giving a value to the workers */

static void
send_param(struct slot *s, const char *key, const char *value)
{
	enum rc rc;

	if (s->pid == 0)
		return; /* when it starts, it finds the value in the spec */
	rc = ipc_send(s->control[0], IPC_MASTER_ALL_PARAM, key, value);
	if (rc != RC_OK)
		log_error("%s[%d] did not get %s=%s (%s): it takes it with its next start", s->name, (int)s->pid, key, value,
		    rc_name(rc));
}

void
reload_param(struct slot *from, const char *key, const char *value)
{
	const struct param *p = param_find(&broker_params, slice_of(key));
	struct err e;

	if (p == NULL || !plan_may_change(p)) {
		log_warn("%s wants to change %s, which cannot be changed while running", from->name, key);
		return;
	}
	if (param_set(p, &from->node->spec->conf, slice_of(value), &e) != RC_OK) {
		log_warn("%s wants to change a parameter: %s", from->name, e.text);
		return;
	}
	for (size_t i = 0; i < from->m->slot_count; i++) {
		struct slot *s = &from->m->slots[i];

		if (s->node == from->node && s != from)
			send_param(s, p->name, value);
	}
	log_info("%s: %s=%s, by updateBrokerConfig", from->node->spec->name, p->name, value);
}

/* ---- comparing */

static void
put_change(struct buf *b, const char *who, const char *key, const char *value)
{
	buf_printf(b, "%s%s: %s", b->len > 0 ? ", " : "", who, key);
	if (value != NULL)
		buf_printf(b, "=%s", value);
}

static void
send_to_entry(struct master *m, const void *entry, const char *key, const char *value)
{
	for (size_t i = 0; i < m->slot_count; i++) {
		struct slot *s = &m->slots[i];

		if ((s->node != NULL && s->node->spec == entry) || (s->ns != NULL && s->ns == entry))
			send_param(s, key, value);
	}
}

/* One entry, a broker or a name server, as it runs and as the new spec has it. */
struct pair {
	const char		*name;
	const void		*entry;	/* the running one's broker_spec or namesrv_spec */
	const struct param_table *table;
	void			*now;
	const void		*then;
};

static void
change_param(struct master *m, const struct pair *x, const struct param *p, struct report *r)
{
	struct buf text = {0};
	struct err e;
	char *value;

	if (!plan_may_change(p)) {
		put_change(&r->fixed, x->name, p->name, NULL);
		return;
	}
	param_put_text(p, x->then, &text);
	buf_put_char(&text, '\0');
	value = buf_steal(&text);
	if (param_set(p, x->now, slice_of(value), &e) == RC_OK) {
		send_to_entry(m, x->entry, p->name, value);
		put_change(&r->live, x->name, p->name, value);
	}
	free(value);
}

static void
compare(struct master *m, const struct pair *x, struct report *r)
{
	for (size_t i = 0; i < x->table->count; i++)
		if (!param_equal(&x->table->rows[i], x->now, x->then))
			change_param(m, x, &x->table->rows[i], r);
}

static void
compare_brokers(struct master *m, const struct cluster_spec *then, struct report *r)
{
	for (size_t i = 0; i < m->node_count; i++) {
		struct broker_spec *b = m->nodes[i].spec;
		bool found = false;

		for (size_t k = 0; k < then->broker_count && !found; k++) {
			const struct broker_spec *o = &then->brokers[k];
			struct pair x = {b->name, b, &broker_params, &b->conf, &o->conf};

			found = o->here && strcmp(o->name, b->name) == 0;
			if (found)
				compare(m, &x, r);
		}
		if (!found)
			put_change(&r->fixed, b->name, "no longer in the spec", NULL);
	}
}

static void
compare_namesrvs(struct master *m, const struct cluster_spec *then, struct report *r)
{
	for (size_t i = 0; i < m->slot_count; i++) {
		struct namesrv_spec *s = m->slots[i].ns;
		bool found = s == NULL;

		for (size_t k = 0; k < then->namesrv_count && !found; k++) {
			const struct namesrv_spec *o = &then->namesrvs[k];
			struct pair x = {s->name, s, &namesrv_params, &s->conf, &o->conf};

			found = o->here && strcmp(o->name, s->name) == 0;
			if (found)
				compare(m, &x, r);
		}
		if (!found)
			put_change(&r->fixed, s->name, "no longer in the spec", NULL);
	}
}

static bool
runs_here(const struct cluster_spec *s, const char *name)
{
	for (size_t i = 0; i < s->broker_count; i++)
		if (s->brokers[i].here && strcmp(s->brokers[i].name, name) == 0)
			return true;
	for (size_t i = 0; i < s->namesrv_count; i++)
		if (s->namesrvs[i].here && strcmp(s->namesrvs[i].name, name) == 0)
			return true;
	return false;
}

static void
find_new(const struct cluster_spec *now, const struct cluster_spec *then, struct report *r)
{
	for (size_t i = 0; i < then->broker_count; i++)
		if (then->brokers[i].here && !runs_here(now, then->brokers[i].name))
			put_change(&r->fixed, then->brokers[i].name, "new in the spec", NULL);
	for (size_t i = 0; i < then->namesrv_count; i++)
		if (then->namesrvs[i].here && !runs_here(now, then->namesrvs[i].name))
			put_change(&r->fixed, then->namesrvs[i].name, "new in the spec", NULL);
}

static void
compare_text(const char *key, const char *now, const char *then, struct report *r)
{
	if (strcmp(now != NULL ? now : "", then != NULL ? then : "") != 0)
		put_change(&r->fixed, "spec", key, NULL);
}

static void
swap_text(char **a, char **b)
{
	char *t = *a;

	*a = *b;
	*b = t;
}

static void
new_log_level(struct master *m, struct cluster_spec *then, struct report *r)
{
	struct cluster_spec *now = &m->plan.spec;

	if (strcmp(now->log_level, then->log_level) == 0 || log_set_level(then->log_level) != RC_OK)
		return;
	swap_text(&now->log_level, &then->log_level);
	put_change(&r->live, "log", "level", now->log_level);
	for (size_t i = 0; i < m->slot_count; i++)
		if (m->slots[i].pid != 0 && ipc_send(m->slots[i].control[0], IPC_MASTER_ALL_LOG_LEVEL, now->log_level) != RC_OK)
			log_warn("%s did not get the log level", m->slots[i].name);
}

static void
new_failover(struct cluster_spec *now, const struct cluster_spec *then, struct report *r)
{
	static const char *const modes[] = {[FAILOVER_OFF] = "off", [FAILOVER_SCRIPT] = "script", [FAILOVER_LOCAL] = "local"};

	if (now->failover != then->failover)
		put_change(&r->live, "failover", "mode", modes[then->failover]);
	if (now->unclean != then->unclean)
		put_change(&r->live, "failover", "unclean", then->unclean ? "true" : "false");
	now->failover = then->failover;
	now->unclean = then->unclean;
	now->detect_ms = then->detect_ms;
	now->master_timeout_ms = then->master_timeout_ms;
	now->restarts = then->restarts;
}

static void
compare_top(struct master *m, struct cluster_spec *then, struct report *r)
{
	struct cluster_spec *now = &m->plan.spec;

	compare_text("dir", now->dir, then->dir, r);
	compare_text("user", now->user, then->user, r);
	compare_text("group", now->group, then->group, r);
	compare_text("pidFile", now->pid_file, then->pid_file, r);
	compare_text("log: dir", now->log_dir, then->log_dir, r);
	compare_text("console: listen", now->console_listen, then->console_listen, r);
	new_failover(now, then, r);
	now->ready_timeout_s = then->ready_timeout_s;
	now->stop_timeout_s = then->stop_timeout_s;
	swap_text(&now->on_promote, &then->on_promote);
	swap_text(&now->on_failed, &then->on_failed);
	new_log_level(m, then, r);
}

/* ---- all of it */

static void
say(struct master *m, struct report *r)
{
	if (r->live.len == 0 && r->fixed.len == 0)
		log_info("%s was read again: nothing has changed", m->plan.spec.file);
	if (r->live.len > 0)
		log_info("%s was read again; changed now: %.*s", m->plan.spec.file, (int)r->live.len, r->live.p);
	if (r->fixed.len > 0)
		log_warn("%s was read again; these changes need a restart: %.*s", m->plan.spec.file, (int)r->fixed.len,
		    r->fixed.p);
	status_event(m, "%s was read again%s", m->plan.spec.file,
	    r->fixed.len > 0 ? "; some changes need a restart, see the log" : "");
	buf_free(&r->live);
	buf_free(&r->fixed);
}

void
reload_spec(struct master *m)
{
	struct report r = {{0}, {0}};
	struct plan then;
	struct err e;

	if (plan_load(&then, m->plan.spec.file, m->host_option, &e) != RC_OK) {
		log_error("nothing is changed, the spec has an error: %s", e.text);
		status_event(m, "nothing is changed, the spec has an error: %s", e.text);
		return;
	}
	for (size_t i = 0; i < then.warning_count; i++)
		log_warn("%s", then.warnings[i]);
	compare_top(m, &then.spec, &r);
	takeover_reload(m);
	compare_namesrvs(m, &then.spec, &r);
	compare_brokers(m, &then.spec, &r);
	find_new(&m->plan.spec, &then.spec, &r);
	say(m, &r);
	plan_free(&then);
}
