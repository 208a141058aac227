/*
 * routes: the tables and what changes them.
 *
 * Runs in:    the namesrv process.
 * Must not:   know sockets, or keep anything of a request beyond the call.
 */
#include "workers/namesrv/routes.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#undef uthash_fatal
#define uthash_fatal(msg) ensure_failed(msg, __FILE__, __LINE__, __func__)

void
routes_init(struct routes *r, const struct namesrv_conf *conf)
{
	*r = (struct routes){.conf = conf, .age = 1, .scratch.limit = 256u << 20};
}

void
routes_touch_answers(struct routes *r)
{
	r->age++;
}

/* ---- topics */

static struct ns_topic *
find_topic(struct routes *r, struct slice name)
{
	struct ns_topic *t;

	HASH_FIND(hh, r->topics, name.p, name.n, t);
	return t;
}

static struct ns_topic *
make_topic(struct routes *r, struct slice name)
{
	struct ns_topic *t = find_topic(r, name);

	if (t != NULL)
		return t;
	t = xcalloc(1, sizeof(*t));
	t->name = xslicedup(name);
	HASH_ADD_KEYPTR(hh, r->topics, t->name, name.n, t);
	return t;
}

static void
drop_topic(struct routes *r, struct ns_topic *t)
{
	HASH_DEL(r->topics, t);
	routes_drop_answer(r, t);
	for (size_t i = 0; i < t->count; i++)
		free(t->queues[i].broker);
	free(t->queues);
	free(t->name);
	free(t);
}

/* Where the broker's queues are, or would be. */
static size_t
queue_place(const struct ns_topic *t, const char *broker, bool *found)
{
	size_t low = 0, high = t->count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = strcmp(t->queues[mid].broker, broker);

		if (order == 0) {
			*found = true;
			return mid;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*found = false;
	return low;
}

struct ns_queue *
routes_queue(const struct ns_topic *t, const char *broker)
{
	bool found;
	size_t at = queue_place(t, broker, &found);

	return found ? &t->queues[at] : NULL;
}

static void
set_queue(struct routes *r, struct ns_topic *t, const char *broker, const struct ns_queue *want)
{
	bool found;
	size_t at = queue_place(t, broker, &found);
	struct ns_queue *q;

	if (!found) {
		t->queues = xrealloc(t->queues, (t->count + 1) * sizeof(*t->queues));
		memmove(t->queues + at + 1, t->queues + at, (t->count - at) * sizeof(*t->queues));
		t->count++;
		t->queues[at] = (struct ns_queue){.broker = xstrdup(broker)};
		r->age++;
	}
	q = &t->queues[at];
	if (q->read_queues == want->read_queues && q->write_queues == want->write_queues && q->perm == want->perm &&
	    q->sysflag == want->sysflag)
		return;
	*q = (struct ns_queue){q->broker, want->read_queues, want->write_queues, want->perm, want->sysflag};
	r->age++;
}

/* The topic goes with its last queue. */
static void
drop_queue(struct routes *r, struct ns_topic *t, const char *broker)
{
	bool found;
	size_t at = queue_place(t, broker, &found);

	if (!found)
		return;
	free(t->queues[at].broker);
	t->count--;
	memmove(t->queues + at, t->queues + at + 1, (t->count - at) * sizeof(*t->queues));
	r->age++;
	if (t->count == 0)
		drop_topic(r, t);
}

static void
drop_queues_of(struct routes *r, const char *broker)
{
	struct ns_topic *t, *next;

	HASH_ITER (hh, r->topics, t, next)
		drop_queue(r, t, broker);
}

/* ---- static topics */

static void
free_static(struct ns_static *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->rows[i].broker);
		free(s->rows[i].json);
	}
	free(s->rows);
	free(s->topic);
	free(s);
}

static struct ns_mapping *
make_mapping(struct routes *r, const struct mapping_def *d)
{
	struct ns_static *s;

	HASH_FIND(hh, r->statics, d->topic.p, d->topic.n, s);
	if (s == NULL) {
		s = xcalloc(1, sizeof(*s));
		s->topic = xslicedup(d->topic);
		HASH_ADD_KEYPTR(hh, r->statics, s->topic, d->topic.n, s);
	}
	for (size_t i = 0; i < s->count; i++)
		if (slice_is(d->broker, s->rows[i].broker))
			return &s->rows[i];
	s->rows = xrealloc(s->rows, (s->count + 1) * sizeof(*s->rows));
	s->rows[s->count] = (struct ns_mapping){.broker = xslicedup(d->broker)};
	return &s->rows[s->count++];
}

static void
set_mapping(struct routes *r, const struct mapping_def *d)
{
	struct ns_mapping *m = make_mapping(r, d);

	free(m->json);
	m->json = xslicedup(d->json);
	r->age++;
}

/* ---- groups and clusters */

struct ns_group *
routes_group(struct routes *r, const char *name)
{
	struct ns_group *g;

	HASH_FIND_STR(r->groups, name, g);
	return g;
}

static struct ns_group *
find_group(struct routes *r, struct slice name)
{
	struct ns_group *g;

	HASH_FIND(hh, r->groups, name.p, name.n, g);
	return g;
}

static struct ns_cluster *
find_cluster(struct routes *r, struct slice name)
{
	struct ns_cluster *c;

	HASH_FIND(hh, r->clusters, name.p, name.n, c);
	return c;
}

static struct ns_cluster *
join_cluster(struct routes *r, struct slice name)
{
	struct ns_cluster *c = find_cluster(r, name);

	if (c == NULL) {
		c = xcalloc(1, sizeof(*c));
		c->name = xslicedup(name);
		HASH_ADD_KEYPTR(hh, r->clusters, c->name, name.n, c);
	}
	c->groups++;
	return c;
}

static void
leave_cluster(struct routes *r, struct ns_cluster *c)
{
	if (--c->groups > 0)
		return;
	HASH_DEL(r->clusters, c);
	free(c->name);
	free(c);
}

static struct ns_group *
make_group(struct routes *r, const struct registration *g)
{
	struct ns_group *group = xcalloc(1, sizeof(*group));

	group->name = xslicedup(g->name);
	group->cluster = join_cluster(r, g->cluster);
	HASH_ADD_KEYPTR(hh, r->groups, group->name, g->name.n, group);
	return group;
}

static void
drop_group(struct routes *r, struct ns_group *group)
{
	HASH_DEL(r->groups, group);
	leave_cluster(r, group->cluster);
	for (size_t i = 0; i < group->count; i++)
		free(group->addrs[i].addr);
	free(group->addrs);
	free(group->name);
	free(group->zone);
	free(group);
	r->age++;
}

/* Its last broker has gone: so have its queues. */
static void
forget_group(struct routes *r, struct ns_group *group)
{
	drop_queues_of(r, group->name);
	drop_group(r, group);
}

static struct ns_addr *
find_id(const struct ns_group *group, int64_t id)
{
	for (size_t i = 0; i < group->count; i++)
		if (group->addrs[i].id == id)
			return &group->addrs[i];
	return NULL;
}

/* Takes out the address wherever it stands, but under `but_id`. */
static bool
drop_addr(struct routes *r, struct ns_group *group, struct slice addr, const int64_t *but_id)
{
	size_t kept = 0;

	for (size_t i = 0; i < group->count; i++) {
		struct ns_addr a = group->addrs[i];

		if (!slice_is(addr, a.addr) || (but_id != NULL && a.id == *but_id))
			group->addrs[kept++] = a;
		else
			free(a.addr);
	}
	if (kept == group->count)
		return false;
	group->count = kept;
	r->age++;
	return true;
}

static void
put_addr(struct routes *r, struct ns_group *group, int64_t id, struct slice addr)
{
	struct ns_addr *a = find_id(group, id);
	size_t at = 0;

	if (a != NULL && slice_is(addr, a->addr))
		return;
	r->age++;
	if (a != NULL) {
		free(a->addr);
		a->addr = xslicedup(addr);
		return;
	}
	while (at < group->count && group->addrs[at].id < id)
		at++;
	group->addrs = xrealloc(group->addrs, (group->count + 1) * sizeof(*group->addrs));
	memmove(group->addrs + at + 1, group->addrs + at, (group->count - at) * sizeof(*group->addrs));
	group->addrs[at] = (struct ns_addr){id, xslicedup(addr)};
	group->count++;
}

/* The original clears the zone of a group whose broker names none any more. */
static void
set_traits(struct routes *r, struct ns_group *group, const struct registration *g)
{
	bool acting = g->new_style && g->acting;
	struct slice zone = slice_of(group->zone);

	if (group->acting == acting && slice_eq(zone, g->zone))
		return;
	group->acting = acting;
	free(group->zone);
	group->zone = g->zone.n > 0 ? xslicedup(g->zone) : NULL;
	r->age++;
}

/* ---- signs of life */

/* Key of a broker in `lives`; *n is its length. The caller frees it. */
static char *
live_key(struct slice cluster, struct slice addr, size_t *n)
{
	char *key = xmalloc(cluster.n + addr.n + 2);

	memcpy(key, cluster.p != NULL ? cluster.p : "", cluster.n);
	key[cluster.n] = '\0';
	memcpy(key + cluster.n + 1, addr.p != NULL ? addr.p : "", addr.n);
	*n = cluster.n + 1 + addr.n;
	key[*n] = '\0';
	return key;
}

struct ns_live *
routes_live(struct routes *r, struct slice cluster, struct slice addr)
{
	struct ns_live *l;
	size_t n;
	char *key = live_key(cluster, addr, &n);

	HASH_FIND(hh, r->lives, key, n, l);
	free(key);
	return l;
}

struct ns_live *
routes_heard(struct routes *r, struct slice cluster, struct slice addr)
{
	struct ns_live *l = routes_live(r, cluster, addr);

	if (l != NULL)
		l->last_ms = clock_mono_ms();
	return l;
}

static struct ns_live *
make_live(struct routes *r, struct slice cluster, struct slice addr)
{
	struct ns_live *l = routes_live(r, cluster, addr);
	size_t n;

	if (l != NULL)
		return l;
	l = xcalloc(1, sizeof(*l));
	l->key = live_key(cluster, addr, &n);
	l->cluster = l->key;
	l->addr = l->key + cluster.n + 1;
	HASH_ADD_KEYPTR(hh, r->lives, l->key, n, l);
	log_info("broker %s of %s has registered", l->addr, l->cluster);
	return l;
}

static void
drop_live(struct routes *r, struct ns_live *l)
{
	if (l == NULL)
		return;
	r->age += l->filters != NULL;
	HASH_DEL(r->lives, l);
	free(l->key);
	free(l->ha_addr);
	free(l->filters);
	free(l);
}

static void
set_filters(struct routes *r, struct ns_live *l, const struct registration *g)
{
	if (!g->filters_given || slice_eq(slice_of(l->filters), g->filters))
		return;
	free(l->filters);
	l->filters = g->filters.n > 0 ? xslicedup(g->filters) : NULL;
	r->age++;
}

static void
renew_live(struct routes *r, const struct registration *g)
{
	struct ns_live *l = make_live(r, g->cluster, g->addr);

	free(l->ha_addr);
	l->ha_addr = xslicedup(g->ha_addr);
	l->version = g->version;
	l->last_ms = clock_mono_ms();
	l->timeout_ms = g->timeout_ms > 0 ? g->timeout_ms : LIVE_MS;
	l->conn_id = g->conn_id;
	set_filters(r, l, g);
	l->digest = g->digest;
	l->digest_age = r->age;
}

/* ---- registration */

/* Another address holds the id, and knows a newer state of its group than the one that comes now. */
static bool
is_outdated(struct routes *r, const struct ns_group *group, const struct registration *g)
{
	const struct ns_addr *a = find_id(group, g->id);
	const struct ns_live *l;

	if (a == NULL || slice_is(g->addr, a->addr))
		return false;
	l = routes_live(r, g->cluster, slice_of(a->addr));
	return l != NULL && l->version.state_version > g->version.state_version;
}

static bool
has_topic(const struct registration *g, const char *name)
{
	for (size_t i = 0; i < g->topic_count; i++)
		if (slice_is(g->topics[i].name, name))
			return true;
	return false;
}

/* deleteTopicWithBrokerRegistration: what the broker does not name any more is not there any more. */
static void
drop_missing_topics(struct routes *r, const struct ns_group *group, const struct registration *g)
{
	struct ns_topic *t, *next;

	HASH_ITER (hh, r->topics, t, next)
		if (routes_queue(t, group->name) != NULL && !has_topic(g, t->name))
			drop_queue(r, t, group->name);
}

static void
take_topics(struct routes *r, const struct ns_group *group, const struct registration *g, bool changed)
{
	bool read_only = g->id != MASTER_ID && group->acting; /* the agent of a missing master takes no messages */

	for (size_t i = 0; i < g->topic_count; i++) {
		const struct topic_def *d = &g->topics[i];
		struct ns_topic *t = make_topic(r, d->name);
		struct ns_queue q = {NULL, d->read_queues, d->write_queues, d->perm, d->sysflag};

		if (!changed && routes_queue(t, group->name) != NULL)
			continue;
		if (read_only)
			q.perm &= ~PERM_WRITE;
		set_queue(r, t, group->name, &q);
	}
	for (size_t i = 0; changed && i < g->mapping_count; i++)
		set_mapping(r, &g->mappings[i]);
}

/* The topics are the master's, or those of the smallest slave if it knows of acting masters. */
static bool
speaks_for_group(const struct ns_group *group, const struct registration *g)
{
	return g->id == MASTER_ID || (g->new_style && g->id == group->addrs[0].id);
}

static void
name_master(struct routes *r, const struct ns_group *group, const struct registration *g, struct register_result *res)
{
	const struct ns_addr *master = g->id == MASTER_ID ? NULL : find_id(group, MASTER_ID);
	const struct ns_live *l = master == NULL ? NULL : routes_live(r, g->cluster, slice_of(master->addr));

	if (l == NULL)
		return;
	res->master_addr = master->addr;
	res->ha_addr = l->ha_addr;
}

static void
tell_min_change(struct routes *r, const struct min_change *m)
{
	if (r->conf->notifyMinBrokerIdChanged && r->on_min_change != NULL)
		r->on_min_change(r->arg, m);
}

/* The part behind the refusals. */
static void
accept_broker(struct routes *r, struct ns_group *group, const struct registration *g, bool first)
{
	const struct ns_live *known = routes_live(r, g->cluster, g->addr);
	bool changed = first || known == NULL || !registration_version_eq(&known->version, &g->version);

	put_addr(r, group, g->id, g->addr);
	if (speaks_for_group(group, g)) {
		if (r->conf->deleteTopicWithBrokerRegistration && g->mapping_count == 0)
			drop_missing_topics(r, group, g);
		take_topics(r, group, g, changed);
	}
	renew_live(r, g);
}

bool
routes_register_same(struct routes *r, const struct registration *g, struct register_result *res)
{
	struct ns_live *l = routes_live(r, g->cluster, g->addr);
	const struct ns_group *group = find_group(r, g->name);

	*res = (struct register_result){NULL, NULL};
	if (l == NULL || group == NULL || g->digest == 0 || l->digest != g->digest || l->digest_age != r->age)
		return false;
	l->last_ms = clock_mono_ms();
	l->conn_id = g->conn_id;
	name_master(r, group, g, res);
	return true;
}

enum rc
routes_register(struct routes *r, const struct registration *g, struct register_result *res)
{
	struct ns_group *group = find_group(r, g->name);
	int64_t old_min = group != NULL ? group->addrs[0].id : 0;
	bool first = group == NULL;

	*res = (struct register_result){NULL, NULL};
	if (first && g->topic_count == 1)
		return RC_INVAL;
	if (first)
		group = make_group(r, g);
	set_traits(r, group, g);
	drop_addr(r, group, g->addr, &g->id); /* a slave that became master, or the other way */
	if (is_outdated(r, group, g)) {
		log_warn("broker %.*s wants id %lld of %s with an older state than the one that holds it: not taken",
		    (int)g->addr.n, g->addr.p, (long long)g->id, group->name);
		drop_live(r, routes_live(r, g->cluster, g->addr));
		return RC_BUSY;
	}
	first = first || find_id(group, g->id) == NULL;
	if (first && g->topic_count == 1) {
		if (group->count == 0)
			forget_group(r, group);
		return RC_INVAL;
	}
	accept_broker(r, group, g, first);
	name_master(r, group, g, res);
	if (g->id < old_min)
		tell_min_change(r, &(struct min_change){group, NULL, routes_live(r, g->cluster, g->addr)->ha_addr});
	return RC_OK;
}

/* ---- leaving */

/* What is left of a group without its master is read-only, if one of them shall act as the master. */
static void
wipe_without_master(struct routes *r, const struct ns_group *group)
{
	struct ns_topic *t, *next;

	if (!group->acting || find_id(group, MASTER_ID) != NULL)
		return;
	HASH_ITER (hh, r->topics, t, next) {
		struct ns_queue *q = routes_queue(t, group->name);

		if (q != NULL)
			q->perm &= ~PERM_WRITE;
	}
	r->age++;
}

static void
leave_group(struct routes *r, struct ns_group *group, struct slice addr, int64_t id)
{
	bool was_min = group->addrs[0].id == id;
	char *offline = xslicedup(addr);

	drop_addr(r, group, addr, NULL);
	if (group->count == 0) {
		forget_group(r, group);
	} else {
		wipe_without_master(r, group);
		if (was_min && group->acting)
			tell_min_change(r, &(struct min_change){group, offline, NULL});
	}
	free(offline);
}

void
routes_unregister(struct routes *r, struct slice cluster, struct slice addr, struct slice name, int64_t id)
{
	struct ns_group *group = find_group(r, name);

	log_info("broker %.*s, id %lld of %.*s, has left", (int)addr.n, addr.p, (long long)id, (int)name.n, name.p);
	drop_live(r, routes_live(r, cluster, addr));
	if (group != NULL)
		leave_group(r, group, addr, id);
}

/* The group and id that a live broker registered with. */
static struct ns_group *
group_of_live(struct routes *r, const struct ns_live *l, int64_t *id)
{
	struct ns_group *group, *next;

	HASH_ITER (hh, r->groups, group, next) {
		if (strcmp(group->cluster->name, l->cluster) != 0)
			continue;
		for (size_t i = 0; i < group->count; i++)
			if (strcmp(group->addrs[i].addr, l->addr) == 0) {
				*id = group->addrs[i].id;
				return group;
			}
	}
	return NULL;
}

static void
lose_live(struct routes *r, struct ns_live *l)
{
	int64_t id = 0;
	struct ns_group *group = group_of_live(r, l, &id);
	char *addr = xstrdup(l->addr);

	drop_live(r, l);
	if (group != NULL)
		leave_group(r, group, slice_of(addr), id);
	free(addr);
}

void
routes_conn_lost(struct routes *r, uint64_t conn_id)
{
	struct ns_live *l, *next;

	HASH_ITER (hh, r->lives, l, next) {
		if (l->conn_id != conn_id)
			continue;
		log_warn("broker %s of %s has lost its connection and is dropped", l->addr, l->cluster);
		lose_live(r, l);
	}
}

size_t
routes_expire(struct routes *r)
{
	int64_t now = clock_mono_ms();
	struct ns_live *l, *next;
	size_t n = 0;

	HASH_ITER (hh, r->lives, l, next) {
		uint64_t conn_id = l->conn_id;

		if (now - l->last_ms <= l->timeout_ms)
			continue;
		log_warn("broker %s of %s was silent for %lld ms and is dropped", l->addr, l->cluster,
		    (long long)(now - l->last_ms));
		lose_live(r, l);
		n++;
		if (r->on_silent != NULL && conn_id != 0)
			r->on_silent(r->arg, conn_id);
	}
	return n;
}

/* ---- operators */

int32_t
routes_set_writable(struct routes *r, struct slice broker, bool writable)
{
	struct ns_topic *t, *next;
	char *name = xslicedup(broker);
	int32_t n = 0;

	HASH_ITER (hh, r->topics, t, next) {
		struct ns_queue *q = routes_queue(t, name);

		if (q == NULL)
			continue;
		q->perm = writable ? PERM_READ | PERM_WRITE : q->perm & ~PERM_WRITE;
		n++;
	}
	free(name);
	r->age++;
	return n;
}

void
routes_delete_topic(struct routes *r, struct slice topic, struct slice cluster)
{
	struct ns_topic *t = find_topic(r, topic);

	if (t == NULL)
		return;
	r->age++;
	if (cluster.n == 0) {
		drop_topic(r, t);
		return;
	}
	for (size_t i = t->count; i-- > 0;) { /* from the end: the topic is gone with the last one */
		struct ns_group *group = routes_group(r, t->queues[i].broker);

		if (group != NULL && slice_is(cluster, group->cluster->name)) {
			bool last = t->count == 1;

			drop_queue(r, t, group->name);
			if (last)
				return;
		}
	}
}

enum rc
routes_register_topic(struct routes *r, struct slice topic, const struct queue_def *q, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct ns_group *group = find_group(r, q[i].broker);
		struct ns_queue want = {NULL, q[i].read_queues, q[i].write_queues, q[i].perm, q[i].sysflag};

		if (group == NULL)
			return RC_NOTFOUND;
		set_queue(r, make_topic(r, topic), group->name, &want);
	}
	return RC_OK;
}

void
routes_free(struct routes *r)
{
	struct ns_topic *t, *next_topic;
	struct ns_static *s, *next_static;
	struct ns_group *group, *next_group;
	struct ns_live *l, *next_live;

	HASH_ITER (hh, r->topics, t, next_topic)
		drop_topic(r, t);
	HASH_ITER (hh, r->statics, s, next_static) {
		HASH_DEL(r->statics, s);
		free_static(s);
	}
	HASH_ITER (hh, r->groups, group, next_group)
		drop_group(r, group);
	HASH_ITER (hh, r->lives, l, next_live)
		drop_live(r, l);
	buf_free(&r->scratch);
}
