/*
 * ns_broker: registration, signs of life and leaving of brokers; what brokers are told when their smallest id changes.
 */
#include "common/clock.h"
#include "common/crc.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "workers/namesrv/namesrv.h"

#define NOTICE_MS 3000 /* one-way: only bounds how long the frame may wait */

/* A broker has registered over this connection: only then its end means something. */
static char broker_mark;

/* ---- 103 */

/* Java keeps the CRC in a positive int; 0 asks for no check. */
static bool
is_body_whole(const struct command *cmd)
{
	int32_t want = field_i32(cmd, "bodyCrc32", 0);

	return want == 0 || (int32_t)(crc32_of(cmd->body.p, cmd->body.n) & 0x7fffffff) == want;
}

/* False: the request is answered. */
static bool
read_header(struct ns_req *q, struct registration *g)
{
	struct slice acting = field_get(q->cmd, "enableActingMaster");

	if (!ns_need(q, "brokerName", &g->name) || !ns_need(q, "brokerAddr", &g->addr) ||
	    !ns_need(q, "clusterName", &g->cluster) || !ns_need_i64(q, "brokerId", &g->id))
		return false;
	g->ha_addr = field_get(q->cmd, "haServerAddr");
	g->zone = field_get(q->cmd, "__ZONE_NAME");
	g->timeout_ms = field_i64(q->cmd, "heartbeatTimeoutMillis", 0);
	g->new_style = acting.n > 0;
	g->acting = field_bool(q->cmd, "enableActingMaster", false);
	g->conn_id = q->c->id;
	return true;
}

static void
answer_registration(struct ns_req *q, const struct register_result *res)
{
	struct buf *body = ns_body(q);
	struct frame_out f;

	if (q->id.oneway || q->c->closed)
		return;
	if (q->s->conf->returnOrderTopicConfigToBroker && !ns_kv_put_table(q->s, SLICE_LIT(KV_ORDER_TOPICS), body))
		buf_reset(body, body->cap);
	if (body->failed)
		buf_reset(body, 0);
	frame_begin_response(&f, &q->c->out, &q->id, RES_SUCCESS);
	if (res->ha_addr != NULL)
		frame_field(&f, "haServerAddr", slice_of(res->ha_addr));
	if (res->master_addr != NULL)
		frame_field(&f, "masterAddr", slice_of(res->master_addr));
	frame_end(&f, body->len);
	buf_put_slice(&q->c->out, buf_slice(body));
	conn_kick(q->c);
}

static void
register_read(struct ns_req *q, const struct registration *g)
{
	struct register_result res;

	if (routes_register(&q->s->routes, g, &res) == RC_INVAL) {
		log_warn("%s: %.*s registers a single topic, but is not known: it has to register all", q->c->peer_text,
		    (int)g->addr.n, g->addr.p);
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "register broker failed");
		return;
	}
	q->c->user = &broker_mark;
	answer_registration(q, &res);
}

void
ns_register_broker(struct ns_req *q)
{
	struct registration g = {.id = 0};
	struct register_result res;
	struct err e;

	if (!read_header(q, &g))
		return;
	if (!is_body_whole(q->cmd)) {
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "crc32 not match");
		return;
	}
	g.digest = registration_digest(&g, q->cmd->body, q->cmd->version);
	if (routes_register_same(&q->s->routes, &g, &res)) { /* every broker's, every 30 s */
		q->c->user = &broker_mark;
		answer_registration(q, &res);
		return;
	}
	if (registration_read(&g, q->cmd->body, q->cmd->version, &e) == RC_OK)
		register_read(q, &g);
	else {
		log_warn("%s: the registration of %.*s is not taken: %s", q->c->peer_text, (int)g.name.n, g.name.p,
			 e.text);
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "the registration cannot be read: %s", e.text);
	}
	registration_free(&g);
}

/* ---- 104, 322, 904, 901 */

struct who {
	struct slice	cluster, name, addr;
};

static bool
read_who(struct ns_req *q, struct who *w)
{
	return ns_need(q, "clusterName", &w->cluster) && ns_need(q, "brokerName", &w->name) &&
	       ns_need(q, "brokerAddr", &w->addr);
}

void
ns_unregister_broker(struct ns_req *q)
{
	struct who w;
	int64_t id;

	if (!read_who(q, &w) || !ns_need_i64(q, "brokerId", &id))
		return;
	routes_unregister(&q->s->routes, w.cluster, w.addr, w.name, id);
	ns_answer_ok(q);
}

static void
answer_version(struct ns_req *q, const struct ns_live *l, bool changed)
{
	struct buf *body = ns_body(q);
	struct frame_out f;

	if (q->id.oneway || q->c->closed)
		return;
	if (l != NULL)
		buf_printf(body, "{\"counter\":%lld,\"stateVersion\":%lld,\"timestamp\":%lld}",
			   (long long)l->version.counter, (long long)l->version.state_version,
			   (long long)l->version.timestamp);
	frame_begin_response(&f, &q->c->out, &q->id, RES_SUCCESS);
	frame_field_bool(&f, "changed", changed);
	frame_end(&f, body->len);
	buf_put_slice(&q->c->out, buf_slice(body));
	conn_kick(q->c);
}

void
ns_query_data_version(struct ns_req *q)
{
	struct ns_version v = {-1, -1, -1}; /* of a body that is missing: like none */
	const struct ns_live *l;
	struct who w;
	struct err e;

	if (!read_who(q, &w))
		return;
	if (q->cmd->body.n > 0 && registration_version_read(&v, q->cmd->body, &e) != RC_OK) {
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "the data version cannot be read: %s", e.text);
		return;
	}
	l = routes_heard(&q->s->routes, w.cluster, w.addr);
	answer_version(q, l, l == NULL || !registration_version_eq(&l->version, &v));
}

void
ns_broker_heartbeat(struct ns_req *q)
{
	struct slice cluster, addr;

	if (!ns_need(q, "clusterName", &cluster) || !ns_need(q, "brokerAddr", &addr))
		return;
	(void)routes_heard(&q->s->routes, cluster, addr);
	ns_answer_ok(q);
}

void
ns_member_group(struct ns_req *q)
{
	struct slice cluster, name;

	if (!ns_need(q, "clusterName", &cluster) || !ns_need(q, "brokerName", &name))
		return;
	routes_put_members(&q->s->routes, cluster, name, ns_body(q));
	ns_answer_body(q);
}

/* ---- 905: over a connection of its own to each broker, as the original does */

struct notice {
	int64_t	 min_id;
	char	*name, *min_addr, *offline, *ha_addr; /* the last two may be NULL */
};

static void
free_notice(struct notice *n)
{
	free(n->name);
	free(n->min_addr);
	free(n->offline);
	free(n->ha_addr);
	free(n);
}

static void
send_notice(struct namesrv *s, struct conn *c, const struct notice *n)
{
	struct call_out o;

	call_begin(&o, s->calls, c, REQ_NOTIFY_MIN_BROKER_ID_CHANGE, NOTICE_MS, NULL, NULL);
	frame_field_i64(&o.f, "minBrokerId", n->min_id);
	frame_field(&o.f, "brokerName", slice_of(n->name));
	frame_field(&o.f, "minBrokerAddr", slice_of(n->min_addr));
	if (n->offline != NULL)
		frame_field(&o.f, "offlineBrokerAddr", slice_of(n->offline));
	if (n->ha_addr != NULL)
		frame_field(&o.f, "haBrokerAddr", slice_of(n->ha_addr));
	call_end(&o, SLICE_NONE);
}

/* A broker that registered by a host name is looked up, which waits for the resolver: rare, and off unless configured. */
static void
notify(struct namesrv *s, const struct min_change *m, const char *to)
{
	struct notice *n;
	struct conn *c;
	struct addr a;
	struct err e;

	if (addr_parse(to, &a, &e) != RC_OK || conn_open(&s->conns, &a, &c, &e) != RC_OK) {
		log_warn("%s is not told of its group's smallest id: %s", to, e.text);
		return;
	}
	n = xcalloc(1, sizeof(*n));
	*n = (struct notice){m->group->addrs[0].id, xstrdup(m->group->name), xstrdup(m->group->addrs[0].addr),
	    xstrdup(m->offline), xstrdup(m->ha_addr)};
	c->user = n;
	conn_unref(&c);
}

/* All that are left hear of one that went; of a new smallest one those hear that were there before. */
static void
min_changed(void *arg, const struct min_change *m)
{
	for (size_t i = 0; i < m->group->count; i++)
		if (m->offline != NULL || m->group->count == 1 || i > 0)
			notify(arg, m, m->group->addrs[i].addr);
}

void
ns_broker_conn_open(struct conn *c)
{
	struct namesrv *s = c->set->owner;

	if (!c->outgoing)
		return;
	send_notice(s, c, c->user);
	conn_close(c, "told");
}

void
ns_broker_conn_close(struct conn *c, const char *why)
{
	struct namesrv *s = c->set->owner;

	call_conn_closed(s->calls, c, why);
	if (c->outgoing && c->user != NULL)
		free_notice(c->user);
	else if (c->user == &broker_mark)
		routes_conn_lost(&s->routes, c->id);
	c->user = NULL;
}

/* ---- expiry */

static void
close_silent(struct conn *c, void *arg)
{
	if (c->id == *(uint64_t *)arg)
		conn_close(c, "its broker was silent for too long");
}

static void
broker_silent(void *arg, uint64_t conn_id)
{
	struct namesrv *s = arg;

	conn_set_each(&s->conns, close_silent, &conn_id);
}

void
ns_broker_init(struct namesrv *s)
{
	s->routes.on_min_change = min_changed;
	s->routes.on_silent = broker_silent;
	s->routes.arg = s;
}
