/*
 * routes_out: the tables as JSON, with the keys in the original's order and numbers as keys always quoted (all official
 * clients read that; those of 4.9.4 and later ask for it).
 */
#include <strings.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"
#include "workers/namesrv/routes.h"

#define CACHE_MAX (64u << 20) /* bytes of cached answers; over it all are dropped */
#define SYNC_TOPIC_PREFIX "rmq_sys_SYNC_BROKER_MEMBER_"

static void
put_text(struct buf *b, const char *s)
{
	buf_put_json(b, slice_of(s));
}

/* A comma before all but the first. */
static void
put_comma(struct buf *b, bool *first)
{
	if (!*first)
		buf_put_char(b, ',');
	*first = false;
}

/* {"0":"ip:port",...}. acting: the smallest id is shown as the master. */
static void
put_addrs(struct buf *b, const struct ns_group *g, bool acting)
{
	buf_put_str(b, "\"brokerAddrs\":{");
	for (size_t i = 0; i < g->count; i++) {
		if (i > 0)
			buf_put_char(b, ',');
		buf_put_char(b, '"');
		buf_put_i64(b, acting && i == 0 ? MASTER_ID : g->addrs[i].id);
		buf_put_str(b, "\":");
		put_text(b, g->addrs[i].addr);
	}
	buf_put_char(b, '}');
}

static void
put_group(struct buf *b, const struct ns_group *g, bool acting)
{
	buf_put_char(b, '{');
	put_addrs(b, g, acting);
	buf_put_str(b, ",\"brokerName\":");
	put_text(b, g->name);
	buf_put_str(b, ",\"cluster\":");
	put_text(b, g->cluster->name);
	buf_put_str(b, g->acting ? ",\"enableActingMaster\":true" : ",\"enableActingMaster\":false");
	if (g->zone != NULL) {
		buf_put_str(b, ",\"zoneName\":");
		put_text(b, g->zone);
	}
	buf_put_char(b, '}');
}

static void
put_queue(struct buf *b, const struct ns_queue *q)
{
	buf_put_str(b, "{\"brokerName\":");
	put_text(b, q->broker);
	buf_put_str(b, ",\"perm\":");
	buf_put_i64(b, q->perm);
	buf_put_str(b, ",\"readQueueNums\":");
	buf_put_i64(b, q->read_queues);
	buf_put_str(b, ",\"topicSysFlag\":");
	buf_put_i64(b, q->sysflag);
	buf_put_str(b, ",\"writeQueueNums\":");
	buf_put_i64(b, q->write_queues);
	buf_put_char(b, '}');
}

static bool
has_master(const struct ns_group *g)
{
	return g->addrs[0].id == MASTER_ID;
}

/* Only the group's own zone; but one without a master serves all zones. */
static bool
in_zone(const struct ns_group *g, struct slice zone)
{
	if (zone.n == 0 || !has_master(g))
		return true;
	return g->zone != NULL && strlen(g->zone) == zone.n && strncasecmp(g->zone, zone.p, zone.n) == 0;
}

static bool
shows_acting_master(const struct routes *r, const struct ns_topic *t, const struct ns_queue *q,
		    const struct ns_group *g)
{
	return r->conf->supportActingMaster && g->acting && !has_master(g) && !(q->perm & PERM_WRITE) &&
	       strncmp(t->name, SYNC_TOPIC_PREFIX, strlen(SYNC_TOPIC_PREFIX)) != 0;
}

/* Returns whether there was any. */
static bool
put_route_groups(struct routes *r, const struct ns_topic *t, struct slice zone, struct buf *b)
{
	bool first = true;

	buf_put_str(b, "\"brokerDatas\":[");
	for (size_t i = 0; i < t->count; i++) {
		const struct ns_group *g = routes_group(r, t->queues[i].broker);

		if (g == NULL || !in_zone(g, zone))
			continue;
		put_comma(b, &first);
		put_group(b, g, shows_acting_master(r, t, &t->queues[i], g));
	}
	buf_put_char(b, ']');
	return !first;
}

static void
put_filters_of(struct routes *r, const struct ns_group *g, struct buf *b, bool *first)
{
	for (size_t i = 0; i < g->count; i++) {
		const struct ns_live *l = routes_live(r, slice_of(g->cluster->name), slice_of(g->addrs[i].addr));

		if (l == NULL || l->filters == NULL)
			continue;
		put_comma(b, first);
		put_text(b, l->addr);
		buf_put_char(b, ':');
		buf_put_str(b, l->filters);
	}
}

static void
put_route_filters(struct routes *r, const struct ns_topic *t, struct slice zone, struct buf *b)
{
	bool first = true;

	buf_put_str(b, ",\"filterServerTable\":{");
	for (size_t i = 0; i < t->count; i++) {
		const struct ns_group *g = routes_group(r, t->queues[i].broker);

		if (g != NULL && in_zone(g, zone))
			put_filters_of(r, g, b, &first);
	}
	buf_put_char(b, '}');
}

static void
put_route_queues(struct routes *r, const struct ns_topic *t, struct slice zone, struct buf *b)
{
	bool first = true;

	buf_put_str(b, ",\"queueDatas\":[");
	for (size_t i = 0; i < t->count; i++) {
		const struct ns_group *g = routes_group(r, t->queues[i].broker);

		if (g != NULL && !in_zone(g, zone))
			continue;
		put_comma(b, &first);
		put_queue(b, &t->queues[i]);
	}
	buf_put_char(b, ']');
}

static void
put_route_mappings(struct routes *r, const struct ns_topic *t, struct buf *b)
{
	const struct ns_static *s;

	HASH_FIND_STR(r->statics, t->name, s);
	if (s == NULL)
		return;
	buf_put_str(b, ",\"topicQueueMappingByBroker\":{");
	for (size_t i = 0; i < s->count; i++) {
		if (i > 0)
			buf_put_char(b, ',');
		put_text(b, s->rows[i].broker);
		buf_put_char(b, ':');
		buf_put_str(b, s->rows[i].json);
	}
	buf_put_char(b, '}');
}

static struct ns_topic *
topic_of(struct routes *r, struct slice name)
{
	struct ns_topic *t;

	HASH_FIND(hh, r->topics, name.p, name.n, t);
	return t;
}

/* Builds the answer in scratch. False: no broker of the topic is known. */
static bool
build_route(struct routes *r, const struct ns_topic *t, struct slice order_conf, struct slice zone)
{
	struct buf *b = &r->scratch;
	bool any;

	buf_reset(b, 1 << 20);
	buf_put_char(b, '{');
	any = put_route_groups(r, t, zone, b);
	put_route_filters(r, t, zone, b);
	if (order_conf.n > 0) {
		buf_put_str(b, ",\"orderTopicConf\":");
		buf_put_json(b, order_conf);
	}
	put_route_queues(r, t, zone, b);
	put_route_mappings(r, t, b);
	buf_put_char(b, '}');
	return (any || zone.n > 0) && !b->failed;
}

void
routes_drop_answer(struct routes *r, struct ns_topic *t)
{
	r->cached_bytes -= t->route_len;
	free(t->route);
	t->route = NULL;
	t->route_len = 0;
}

static void
cache_route(struct routes *r, struct ns_topic *t)
{
	struct ns_topic *other, *next;

	routes_drop_answer(r, t);
	if (r->cached_bytes + r->scratch.len > CACHE_MAX)
		HASH_ITER (hh, r->topics, other, next)
			routes_drop_answer(r, other);
	t->route = xslicedup(buf_slice(&r->scratch));
	t->route_len = r->scratch.len;
	t->route_age = r->age;
	r->cached_bytes += t->route_len;
}

enum rc
routes_answer(struct routes *r, struct slice topic, struct slice order_conf, struct slice *body)
{
	struct ns_topic *t = topic_of(r, topic);

	if (t == NULL)
		return RC_NOTFOUND;
	if (t->route == NULL || t->route_age != r->age) {
		if (!build_route(r, t, order_conf, SLICE_NONE))
			return RC_NOTFOUND;
		cache_route(r, t);
	}
	*body = (struct slice){t->route, t->route_len};
	return RC_OK;
}

enum rc
routes_answer_zone(struct routes *r, struct slice topic, struct slice order_conf, struct slice zone, struct slice *body)
{
	struct ns_topic *t = topic_of(r, topic);

	if (t == NULL || !build_route(r, t, order_conf, zone))
		return RC_NOTFOUND;
	*body = buf_slice(&r->scratch);
	return RC_OK;
}

/* The names of the groups of a cluster, as the members of an array that is open. */
static void
put_group_names(struct routes *r, const struct ns_cluster *c, struct buf *b, bool *first)
{
	const struct ns_group *g;

	for (g = r->groups; g != NULL; g = g->hh.next) {
		if (g->cluster != c)
			continue;
		put_comma(b, first);
		put_text(b, g->name);
	}
}

void
routes_put_cluster_info(struct routes *r, struct buf *b)
{
	const struct ns_group *g;
	const struct ns_cluster *c;
	bool first = true;

	buf_put_str(b, "{\"brokerAddrTable\":{");
	for (g = r->groups; g != NULL; g = g->hh.next) {
		put_comma(b, &first);
		put_text(b, g->name);
		buf_put_char(b, ':');
		put_group(b, g, false);
	}
	buf_put_str(b, "},\"clusterAddrTable\":{");
	for (c = r->clusters; c != NULL; c = c->hh.next) {
		first = true;
		if (c != r->clusters)
			buf_put_char(b, ',');
		put_text(b, c->name);
		buf_put_str(b, ":[");
		put_group_names(r, c, b, &first);
		buf_put_char(b, ']');
	}
	buf_put_str(b, "}}");
}

void
routes_put_members(struct routes *r, struct slice cluster, struct slice name, struct buf *b)
{
	static const struct ns_group nobody;
	const struct ns_group *g;

	HASH_FIND(hh, r->groups, name.p, name.n, g);
	buf_put_str(b, "{\"brokerMemberGroup\":{");
	put_addrs(b, g != NULL ? g : &nobody, false);
	buf_put_str(b, ",\"brokerName\":");
	buf_put_json(b, name);
	buf_put_str(b, ",\"cluster\":");
	buf_put_json(b, cluster);
	buf_put_str(b, "}}");
}

typedef bool topic_wanted(struct routes *r, const struct ns_topic *t, const void *arg);

static void
put_topic_list(struct routes *r, struct buf *b, topic_wanted *wanted, const void *arg)
{
	const struct ns_topic *t;
	bool first = true;

	buf_put_str(b, "{\"topicList\":[");
	for (t = r->topics; t != NULL; t = t->hh.next) {
		if (!wanted(r, t, arg))
			continue;
		put_comma(b, &first);
		put_text(b, t->name);
	}
	buf_put_str(b, "]}");
}

static bool
any_topic(struct routes *r, const struct ns_topic *t, const void *arg)
{
	(void)r, (void)t, (void)arg;
	return true;
}

void
routes_put_all_topics(struct routes *r, struct buf *b)
{
	put_topic_list(r, b, any_topic, NULL);
}

static bool
topic_in_cluster(struct routes *r, const struct ns_topic *t, const void *arg)
{
	const struct slice *cluster = arg;

	for (size_t i = 0; i < t->count; i++) {
		const struct ns_group *g = routes_group(r, t->queues[i].broker);

		if (g != NULL && slice_is(*cluster, g->cluster->name))
			return true;
	}
	return false;
}

void
routes_put_cluster_topics(struct routes *r, struct slice cluster, struct buf *b)
{
	put_topic_list(r, b, topic_in_cluster, &cluster);
}

struct unit_flags {
	int32_t	with, without;
};

static bool
topic_of_unit(struct routes *r, const struct ns_topic *t, const void *arg)
{
	const struct unit_flags *f = arg;

	(void)r;
	return (t->queues[0].sysflag & f->with) == f->with && !(t->queues[0].sysflag & f->without);
}

void
routes_put_unit_topics(struct routes *r, int32_t with, int32_t without, struct buf *b)
{
	put_topic_list(r, b, topic_of_unit, &(struct unit_flags){with, without});
}

void
routes_put_system_topics(struct routes *r, struct buf *b)
{
	const struct ns_cluster *c;
	bool first = true;

	buf_put_char(b, '{');
	if (r->groups != NULL) {
		buf_put_str(b, "\"brokerAddr\":");
		put_text(b, r->groups->addrs[0].addr);
		buf_put_char(b, ',');
	}
	buf_put_str(b, "\"topicList\":[");
	for (c = r->clusters; c != NULL; c = c->hh.next) {
		put_comma(b, &first);
		put_text(b, c->name);
		put_group_names(r, c, b, &first);
	}
	buf_put_str(b, "]}");
}

static size_t
topics_of(struct routes *r, const char *broker)
{
	const struct ns_topic *t;
	size_t n = 0;

	for (t = r->topics; t != NULL; t = t->hh.next)
		n += routes_queue(t, broker) != NULL;
	return n;
}

static void
put_broker(struct routes *r, const struct ns_group *g, const struct ns_addr *a, size_t topics, struct buf *b)
{
	const struct ns_live *l = routes_live(r, slice_of(g->cluster->name), slice_of(a->addr));

	buf_put_str(b, "{\"cluster\":");
	put_text(b, g->cluster->name);
	buf_put_str(b, ",\"name\":");
	put_text(b, g->name);
	buf_put_str(b, ",\"id\":");
	buf_put_i64(b, a->id);
	buf_put_str(b, ",\"addr\":");
	put_text(b, a->addr);
	buf_put_str(b, ",\"haAddr\":");
	put_text(b, l != NULL ? l->ha_addr : "");
	buf_put_str(b, ",\"lastMs\":");
	buf_put_i64(b, l != NULL ? clock_wall_ms() - (clock_mono_ms() - l->last_ms) : 0);
	buf_put_str(b, ",\"topics\":");
	buf_put_i64(b, (int64_t)topics);
	buf_put_char(b, '}');
}

void
routes_put_brokers(struct routes *r, struct buf *b)
{
	const struct ns_group *g;
	bool first = true;

	buf_put_char(b, '[');
	for (g = r->groups; g != NULL; g = g->hh.next) {
		size_t topics = topics_of(r, g->name);

		for (size_t i = 0; i < g->count; i++) {
			put_comma(b, &first);
			put_broker(r, g, &g->addrs[i], topics, b);
		}
	}
	buf_put_char(b, ']');
}
