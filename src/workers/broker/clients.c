/*
 * clients: who is connected: producers and consumers by group.
 *
 * Runs in:    the broker process.
 * Owns:       both group tables; one reference of a connection for each group that it is in.
 * If it dies: clients connect again and their heartbeats fill the tables within 30 s.
 *
 * A connection's memberships also hang on a list of the connection, so that its end costs no walk through all groups.
 */
#include "workers/broker/clients.h"

#include "common/clock.h"
#include "workers/broker/filters.h"
#include "workers/broker/pull_subs.h"
#include "workers/broker/table.h"

struct cgroup {
	struct consumer_group g;
	UT_hash_handle	 hh;
};

struct pgroup {
	struct producer_group g;
	UT_hash_handle	 hh;
};

struct membership {
	struct member	 m;
	struct cgroup	*cg;		/* one of both */
	struct pgroup	*pg;
	int32_t		 fingerprint;
	struct membership *next_of_conn;
};

struct by_conn {
	uint64_t	 id;
	struct membership *list;
	UT_hash_handle	 hh;
};

/* Some producer membership of a client id, for replies that are pushed to it. */
struct by_client {
	char		*id;
	struct membership *ms;
	UT_hash_handle	 hh;
};

struct clients {
	struct broker	*b;
	struct cgroup	*consumers;
	struct pgroup	*producers;
	struct by_conn	*conns;
	struct by_client *producer_ids;
	struct pull_subs *pull_subs;
	int64_t		 consumer_members, producer_members;
};

/* ---- finding */

static struct cgroup *
find_consumers(struct clients *c, struct slice group)
{
	struct cgroup *g = NULL;

	if (group.n > 0)
		TABLE_FIND(c->consumers, group, g);
	return g;
}

static struct pgroup *
find_producers(struct clients *c, struct slice group)
{
	struct pgroup *g = NULL;

	if (group.n > 0)
		TABLE_FIND(c->producers, group, g);
	return g;
}

struct consumer_group *
consumer_group_find(struct clients *c, struct slice group)
{
	struct cgroup *g = find_consumers(c, group);

	return g != NULL ? &g->g : NULL;
}

struct producer_group *
producer_group_find(struct clients *c, struct slice group)
{
	struct pgroup *g = find_producers(c, group);

	return g != NULL ? &g->g : NULL;
}

struct subscription *
consumer_group_sub(const struct consumer_group *g, struct slice topic)
{
	for (unsigned i = 0; i < g->sub_count; i++)
		if (slice_eq(g->subs[i]->topic, topic))
			return g->subs[i];
	return NULL;
}

struct member *
consumer_member(const struct consumer_group *g, struct slice client_id)
{
	for (struct member *m = g->members; m != NULL; m = m->next)
		if (slice_is(client_id, m->client_id))
			return m;
	return NULL;
}

struct conn *
producer_conn_by_client(struct clients *c, struct slice client_id)
{
	struct by_client *e = NULL;

	if (client_id.n > 0)
		TABLE_FIND(c->producer_ids, client_id, e);
	return e != NULL ? e->ms->m.conn : NULL;
}

static struct by_conn *
find_conn(struct clients *c, const struct conn *conn)
{
	struct by_conn *bc = NULL;

	HASH_FIND(hh, c->conns, &conn->id, sizeof conn->id, bc);
	return bc;
}

static struct membership *
find_membership(struct clients *c, const struct conn *conn, const struct cgroup *cg, const struct pgroup *pg)
{
	struct by_conn *bc = find_conn(c, conn);
	struct membership *ms = bc != NULL ? bc->list : NULL;

	while (ms != NULL && (ms->cg != cg || ms->pg != pg))
		ms = ms->next_of_conn;
	return ms;
}

/* ---- telling a group's members that it has changed */

static bool
wants_notices(struct clients *c, const struct consumer_group *g)
{
	const struct group *config = group_find(c->b->groups, slice_of(g->name));

	return g->model != BROADCASTING && c->b->conf->notifyConsumerIdsChangedEnable && (config == NULL || config->notify_ids_changed);
}

static void
notify_members(struct clients *c, const struct consumer_group *g)
{
	if (!wants_notices(c, g))
		return;
	for (const struct member *m = g->members; m != NULL; m = m->next) {
		struct call_out o;

		call_begin(&o, c->b->calls, m->conn, REQ_NOTIFY_CONSUMER_IDS_CHANGED, 0, NULL, NULL);
		frame_field(&o.f, "consumerGroup", slice_of(g->name));
		call_end(&o, SLICE_NONE);
	}
}

/* ---- members */

static void
note_producer_id(struct clients *c, struct membership *ms)
{
	struct by_client *e = NULL;
	struct slice id = slice_of(ms->m.client_id);

	if (id.n == 0)
		return;
	TABLE_FIND(c->producer_ids, id, e);
	if (e == NULL) {
		e = xcalloc(1, sizeof *e);
		e->id = xstrdup(ms->m.client_id);
		TABLE_ADD(c->producer_ids, id, e);
	}
	e->ms = ms;
}

/* ms leaves (and is on no list any more): another of the same client takes its place, or the id goes. */
static void
forget_producer_id(struct clients *c, const struct membership *ms)
{
	struct by_client *e = NULL;
	struct by_conn *bc = find_conn(c, ms->m.conn);
	struct slice id = slice_of(ms->m.client_id);

	if (id.n > 0)
		TABLE_FIND(c->producer_ids, id, e);
	if (e == NULL || e->ms != ms)
		return;
	for (struct membership *other = bc != NULL ? bc->list : NULL; other != NULL; other = other->next_of_conn) {
		if (other->pg != NULL && strcmp(other->m.client_id, ms->m.client_id) == 0) {
			e->ms = other;
			return;
		}
	}
	HASH_DEL(c->producer_ids, e);
	free(e->id);
	free(e);
}

static void
hang_on_conn(struct clients *c, struct membership *ms)
{
	struct by_conn *bc = find_conn(c, ms->m.conn);

	if (bc == NULL) {
		bc = xcalloc(1, sizeof *bc);
		bc->id = ms->m.conn->id;
		HASH_ADD(hh, c->conns, id, sizeof bc->id, bc);
	}
	ms->next_of_conn = bc->list;
	bc->list = ms;
}

static void
take_off_conn(struct clients *c, struct membership *ms)
{
	struct by_conn *bc = find_conn(c, ms->m.conn);
	struct membership **at = &bc->list;

	while (*at != ms)
		at = &(*at)->next_of_conn;
	*at = ms->next_of_conn;
	if (bc->list == NULL) {
		HASH_DEL(c->conns, bc);
		free(bc);
	}
}

static void
take_off_list(struct member **list, struct member *m)
{
	while (*list != m)
		list = &(*list)->next;
	*list = m->next;
}

static void
refresh(struct membership *ms, const struct client_info *who)
{
	if (ms->m.client_id == NULL || !slice_is(who->client_id, ms->m.client_id)) {
		free(ms->m.client_id);
		ms->m.client_id = xslicedup(who->client_id);
	}
	ms->m.language = who->language;
	ms->m.version = who->version;
	ms->m.last_ms = clock_wall_ms();
}

static struct membership *
membership_new(struct clients *c, const struct client_info *who, struct cgroup *cg, struct pgroup *pg)
{
	struct membership *ms = xcalloc(1, sizeof *ms);

	ms->m.conn = who->conn;
	conn_ref(who->conn);
	ms->cg = cg;
	ms->pg = pg;
	refresh(ms, who);
	hang_on_conn(c, ms);
	return ms;
}

static void
membership_free(struct membership *ms)
{
	conn_unref(&ms->m.conn);
	free(ms->m.client_id);
	free(ms);
}

/* ---- groups */

static void
consumer_group_free(struct clients *c, struct cgroup *g)
{
	filters_unregister(c->b->filters, slice_of(g->g.name));
	HASH_DEL(c->consumers, g);
	for (unsigned i = 0; i < g->g.sub_count; i++)
		subscription_free(&g->g.subs[i]);
	free(g->g.subs);
	free(g->g.name);
	free(g);
}

static void
producer_group_free(struct clients *c, struct pgroup *g)
{
	HASH_DEL(c->producers, g);
	free(g->g.name);
	free(g);
}

static void
consumer_leaves(struct clients *c, struct membership *ms, const char *why)
{
	struct cgroup *g = ms->cg;

	take_off_conn(c, ms);
	take_off_list(&g->g.members, &ms->m);
	g->g.member_count--;
	c->consumer_members--;
	log_info("consumer %s at %s leaves group %s: %s", ms->m.client_id, ms->m.conn->peer_text, g->g.name, why);
	membership_free(ms);
	if (g->g.members == NULL)
		consumer_group_free(c, g);
	else
		notify_members(c, &g->g);
}

static void
producer_leaves(struct clients *c, struct membership *ms, const char *why)
{
	struct pgroup *g = ms->pg;

	take_off_conn(c, ms);
	forget_producer_id(c, ms);
	take_off_list(&g->g.members, &ms->m);
	g->g.member_count--;
	c->producer_members--;
	log_info("producer %s at %s leaves group %s: %s", ms->m.client_id, ms->m.conn->peer_text, g->g.name, why);
	membership_free(ms);
	if (g->g.members == NULL)
		producer_group_free(c, g);
}

static void
leave(struct clients *c, struct membership *ms, const char *why)
{
	if (ms->cg != NULL)
		consumer_leaves(c, ms, why);
	else
		producer_leaves(c, ms, why);
}

void
clients_conn_closed(struct clients *c, struct conn *conn)
{
	struct by_conn *bc;

	while ((bc = find_conn(c, conn)) != NULL)
		leave(c, bc->list, "its connection is closed");
}

void
clients_unregister_consumer(struct clients *c, struct conn *conn, struct slice group)
{
	struct cgroup *g = find_consumers(c, group);
	struct membership *ms = g != NULL ? find_membership(c, conn, g, NULL) : NULL;

	if (ms != NULL)
		consumer_leaves(c, ms, "it unregisters");
}

void
clients_unregister_producer(struct clients *c, struct conn *conn, struct slice group)
{
	struct pgroup *g = find_producers(c, group);
	struct membership *ms = g != NULL ? find_membership(c, conn, NULL, g) : NULL;

	if (ms != NULL)
		producer_leaves(c, ms, "it unregisters");
}

/* ---- registering */

void
clients_register_producer(struct clients *c, const struct client_info *who, struct slice group)
{
	struct pgroup *g = find_producers(c, group);
	struct membership *ms;

	if (group.n == 0 || who->conn->closed)
		return;
	if (g == NULL) {
		g = xcalloc(1, sizeof *g);
		g->g.name = xslicedup(group);
		TABLE_ADD(c->producers, g.name, g);
	}
	ms = find_membership(c, who->conn, NULL, g);
	if (ms != NULL) {
		/* The id may change under the same connection. */
		if (!slice_is(who->client_id, ms->m.client_id))
			forget_producer_id(c, ms);
		refresh(ms, who);
	} else {
		ms = membership_new(c, who, NULL, g);
		ms->m.next = g->g.members;
		g->g.members = &ms->m;
		g->g.member_count++;
		c->producer_members++;
	}
	note_producer_id(c, ms);
}

static unsigned
sub_index(const struct consumer_group *g, struct slice topic)
{
	unsigned i = 0;

	while (i < g->sub_count && !slice_eq(g->subs[i]->topic, topic))
		i++;
	return i;
}

/* Newer ones replace, unknown ones are added. True: a topic was added. */
static bool
take_sub(struct consumer_group *g, struct subscription **s)
{
	unsigned i = sub_index(g, (*s)->topic);

	if (i == g->sub_count) {
		g->subs = xrealloc(g->subs, (i + 1) * sizeof *g->subs);
		g->subs[g->sub_count++] = *s;
		*s = NULL;
		return true;
	}
	if ((*s)->version > g->subs[i]->version) {
		struct subscription *old = g->subs[i];

		g->subs[i] = *s;
		*s = old;
	}
	subscription_free(s);
	return false;
}

static bool
set_names(const json_t *set, struct slice topic)
{
	for (size_t i = 0; i < json_array_size(set); i++)
		if (slice_is(topic, json_get_str(json_array_get(set, i), "topic", "")))
			return true;
	return false;
}

static bool
drop_missing_subs(struct consumer_group *g, const json_t *set)
{
	bool changed = false;

	for (unsigned i = 0; i < g->sub_count;) {
		if (set_names(set, g->subs[i]->topic)) {
			i++;
			continue;
		}
		subscription_free(&g->subs[i]);
		g->subs[i] = g->subs[--g->sub_count];
		changed = true;
	}
	return changed;
}

/* True: the set of topics is another now. */
static bool
take_subs(struct consumer_group *g, const json_t *set)
{
	bool changed = false;

	for (size_t i = 0; i < json_array_size(set); i++) {
		struct subscription *s = subscription_from_json(json_array_get(set, i));

		if (s != NULL)
			changed |= take_sub(g, &s);
	}
	return drop_missing_subs(g, set) || changed;
}

static struct cgroup *
make_consumers(struct clients *c, struct slice group)
{
	struct cgroup *g = xcalloc(1, sizeof *g);

	g->g.name = xslicedup(group);
	TABLE_ADD(c->consumers, g.name, g);
	return g;
}

/* True: the connection is new in the group. */
static bool
consumer_joins(struct clients *c, struct cgroup *g, const struct client_info *who)
{
	struct membership *ms = find_membership(c, who->conn, g, NULL);
	bool is_new = ms == NULL;

	if (is_new) {
		ms = membership_new(c, who, g, NULL);
		ms->m.next = g->g.members;
		g->g.members = &ms->m;
		g->g.member_count++;
		c->consumer_members++;
		log_info("consumer %s at %s joins group %s", ms->m.client_id, who->conn->peer_text, g->g.name);
	} else {
		refresh(ms, who);
	}
	ms->fingerprint = who->fingerprint;
	return is_new;
}

static void
take_settings(struct consumer_group *g, const json_t *data)
{
	g->consume_type = (enum consume_type)json_get_enum(data, "consumeType", consume_type_names, 3, CONSUME_PASSIVELY);
	g->model = (enum message_model)json_get_enum(data, "messageModel", message_model_names, 2, CLUSTERING);
	g->from_where = json_get_enum(data, "consumeFromWhere", consume_from_names, 6, 0);
}

bool
clients_register_consumer(struct clients *c, const struct client_info *who, const json_t *data, bool with_subs)
{
	struct slice name = slice_of(json_get_str(data, "groupName", ""));
	struct cgroup *g = find_consumers(c, name);
	const struct membership *known = g != NULL ? find_membership(c, who->conn, g, NULL) : NULL;
	bool changed;

	if (name.n == 0 || who->conn->closed)
		return true;
	if (!with_subs && (known == NULL || known->fingerprint != who->fingerprint))
		return false;
	if (g == NULL)
		g = make_consumers(c, name);
	take_settings(&g->g, data);
	changed = consumer_joins(c, g, who);
	if (with_subs) {
		changed |= take_subs(&g->g, json_object_get(data, "subscriptionDataSet"));
		filters_register(c->b->filters, &g->g);
	}
	if (changed)
		notify_members(c, &g->g);
	return true;
}

/* ---- subscriptions that came with pulls only */

void
clients_note_pull_sub(struct clients *c, struct slice group, const struct subscription *s)
{
	pull_subs_note(c->pull_subs, group, s);
}

const struct subscription *
clients_known_sub(struct clients *c, struct slice group, struct slice topic)
{
	const struct consumer_group *g = consumer_group_find(c, group);
	const struct subscription *s = g != NULL ? consumer_group_sub(g, topic) : NULL;

	return s != NULL ? s : pull_subs_find(c->pull_subs, group, topic);
}

/* ---- expiry */

static struct membership *
first_expired(const struct by_conn *bc, int64_t before_ms)
{
	struct membership *ms = bc->list;

	while (ms != NULL && ms->m.last_ms >= before_ms)
		ms = ms->next_of_conn;
	return ms;
}

static void
expire_conn(struct clients *c, struct conn *conn, int64_t before_ms)
{
	struct by_conn *bc;
	struct membership *ms;

	while ((bc = find_conn(c, conn)) != NULL && (ms = first_expired(bc, before_ms)) != NULL)
		leave(c, ms, "it sends no heartbeat");
	conn_close(conn, "no heartbeat for %lld ms", (long long)c->b->conf->channelExpiredTimeout);
}

void
clients_expire(struct clients *c)
{
	int64_t before_ms = clock_wall_ms() - c->b->conf->channelExpiredTimeout;
	struct conn **expired = xcalloc(HASH_COUNT(c->conns) + 1, sizeof *expired);
	struct by_conn *bc, *tmp;
	size_t n = 0;

	/* First collected: each that leaves changes the table, and closing one may close others. */
	HASH_ITER(hh, c->conns, bc, tmp)
	{
		struct membership *ms = first_expired(bc, before_ms);

		if (ms == NULL)
			continue;
		expired[n] = ms->m.conn;
		conn_ref(expired[n++]);
	}
	for (size_t i = 0; i < n; i++) {
		expire_conn(c, expired[i], before_ms);
		conn_unref(&expired[i]);
	}
	free(expired);
	pull_subs_expire(c->pull_subs);
	filters_expire(c->b->filters);
}

/* ---- life and the rest */

struct clients *
clients_new(struct broker *b)
{
	struct clients *c = xcalloc(1, sizeof *c);

	c->b = b;
	c->pull_subs = pull_subs_new();
	return c;
}

void
clients_free(struct clients **cp)
{
	struct clients *c = *cp;
	struct cgroup *cg, *cgtmp;

	if (c == NULL)
		return;
	/* Nobody is told: the process leaves. */
	HASH_ITER(hh, c->consumers, cg, cgtmp)
		cg->g.model = BROADCASTING;
	while (c->conns != NULL)
		leave(c, c->conns->list, "the broker stops");
	pull_subs_free(&c->pull_subs);
	free(c);
	*cp = NULL;
}

void
consumer_groups_each(struct clients *c, void (*each)(void *arg, struct consumer_group *g), void *arg)
{
	struct cgroup *g, *tmp;

	HASH_ITER(hh, c->consumers, g, tmp)
		each(arg, &g->g);
}

void
producer_groups_each(struct clients *c, void (*each)(void *arg, struct producer_group *g), void *arg)
{
	struct pgroup *g, *tmp;

	HASH_ITER(hh, c->producers, g, tmp)
		each(arg, &g->g);
}

void
clients_count(const struct clients *c, int64_t *producers, int64_t *consumers)
{
	*producers = c->producer_members;
	*consumers = c->consumer_members;
}
