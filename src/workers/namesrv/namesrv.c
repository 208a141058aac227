/*
 * namesrv: tells clients which brokers have which topics.
 *
 * Runs in:    the namesrv process, one per name server of the spec.
 * Owns:       its tables, in memory; kvConfig.json.
 * Must not:   talk to other name servers: brokers register with each of them.
 * If it dies: it is started again alone, and is empty until the brokers register again (every 30 s); clients go on with
 * the routes they have, or ask another name server.
 */
#include "workers/namesrv/namesrv.h"

#include <errno.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define BODY_KEEP (1u << 20) /* memory of the answer's body that is kept between requests */

bool
ns_need(struct ns_req *q, const char *name, struct slice *value)
{
	*value = field_get(q->cmd, name);
	if (value->n > 0)
		return true;
	conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "the custom field <%s> is null", name);
	return false;
}

bool
ns_need_i64(struct ns_req *q, const char *name, int64_t *value)
{
	struct slice text;

	if (!ns_need(q, name, &text))
		return false;
	if (field_need_i64(q->cmd, name, value) == RC_OK)
		return true;
	conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "the custom field <%s> is no number: \"%.*s\"", name,
	    (int)MIN_OF(text.n, 64), text.p);
	return false;
}

void
ns_answer_ok(struct ns_req *q)
{
	conn_answer_body(q->c, &q->id, RES_SUCCESS, SLICE_NONE);
}

struct buf *
ns_body(struct ns_req *q)
{
	buf_reset(&q->s->body, BODY_KEEP);
	return &q->s->body;
}

/* The peer's limit for a frame is ours. */
void
ns_answer_body(struct ns_req *q)
{
	const struct buf *b = &q->s->body;

	if (b->failed || b->len > FRAME_MAX - 4096)
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "the answer is too long for one frame");
	else
		conn_answer_body(q->c, &q->id, RES_SUCCESS, buf_slice(b));
}

static const struct {
	enum request_code code;
	void		(*run)(struct ns_req *q);
} handlers[] = {
    {REQ_GET_ROUTEINFO_BY_TOPIC, ns_route_of_topic}, /* first: the most frequent one by far */
    {REQ_REGISTER_BROKER, ns_register_broker},
    {REQ_BROKER_HEARTBEAT, ns_broker_heartbeat},
    {REQ_QUERY_DATA_VERSION, ns_query_data_version},
    {REQ_GET_BROKER_CLUSTER_INFO, ns_cluster_info},
    {REQ_GET_BROKER_MEMBER_GROUP, ns_member_group},
    {REQ_UNREGISTER_BROKER, ns_unregister_broker},
    {REQ_PUT_KV_CONFIG, ns_kv_put},
    {REQ_GET_KV_CONFIG, ns_kv_get},
    {REQ_DELETE_KV_CONFIG, ns_kv_delete},
    {REQ_GET_KVLIST_BY_NAMESPACE, ns_kv_list},
    {REQ_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, ns_all_topics},
    {REQ_GET_TOPICS_BY_CLUSTER, ns_topics_by_cluster},
    {REQ_GET_SYSTEM_TOPIC_LIST_FROM_NS, ns_system_topics},
    {REQ_GET_UNIT_TOPIC_LIST, ns_unit_topics},
    {REQ_GET_HAS_UNIT_SUB_TOPIC_LIST, ns_unit_sub_topics},
    {REQ_GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, ns_unit_sub_ununit_topics},
    {REQ_WIPE_WRITE_PERM_OF_BROKER, ns_wipe_write_perm},
    {REQ_ADD_WRITE_PERM_OF_BROKER, ns_add_write_perm},
    {REQ_DELETE_TOPIC_IN_NAMESRV, ns_delete_topic},
    {REQ_REGISTER_TOPIC_IN_NAMESRV, ns_register_topic},
    {REQ_UPDATE_NAMESRV_CONFIG, ns_config_update},
    {REQ_GET_NAMESRV_CONFIG, ns_config_get},
};

static void
on_command(struct conn *c, struct command *cmd)
{
	struct namesrv *s = c->set->owner;
	struct ns_req q = {.s = s, .c = c, .cmd = cmd};

	if (command_is_response(cmd)) {
		(void)call_answered(s->calls, c, cmd);
		return;
	}
	s->requests++;
	request_id_of(&q.id, cmd);
	for (size_t i = 0; i < COUNT_OF(handlers); i++)
		if ((int)handlers[i].code == cmd->code) {
			handlers[i].run(&q);
			return;
		}
	conn_answer(c, &q.id, RES_REQUEST_CODE_NOT_SUPPORTED, " request type %d not supported", cmd->code);
}

static const struct conn_ops conn_ops = {
    .on_command = on_command,
    .on_open = ns_broker_conn_open,
    .on_close = ns_broker_conn_close,
};

static void
expire_brokers(struct ev_loop *loop, ev_timer *t, int events)
{
	struct namesrv *s = t->data;

	(void)loop, (void)events;
	routes_expire(&s->routes);
}

static void
end_turn(struct ev_loop *loop, ev_prepare *p, int events)
{
	struct namesrv *s = p->data;

	(void)loop, (void)events;
	conn_set_flush(&s->conns);
}

static void
on_stop(struct worker *w)
{
	struct namesrv *s = w->state;

	conn_set_stop_listening(&s->conns);
	conn_set_flush(&s->conns);
	worker_exit(w, 0);
}

static void
on_param(struct worker *w, const struct param *p)
{
	(void)p;
	ns_config_changed(w->state);
}

static void
on_second(struct worker *w)
{
	struct namesrv *s = w->state;
	struct buf *b = &s->body;

	if (!worker_page_wanted(w))
		return;
	buf_reset(b, BODY_KEEP);
	buf_put_str(b, "{\"brokers\":");
	routes_put_brokers(&s->routes, b);
	buf_printf(b, ",\"topics\":%u,\"connections\":%zu,\"requests\":%llu,\"routeQueries\":%llu}",
	    HASH_COUNT(s->routes.topics), s->conns.count, (unsigned long long)s->requests,
	    (unsigned long long)s->route_queries);
	if (b->failed || page_publish(w->page, buf_slice(b)) != RC_OK)
		log_warn("the status page is too long and is not shown");
}

/* Its own directory and those above it; an existing one is taken as it is. */
static void
make_dirs(struct worker *w, const char *dir)
{
	char *path = xstrdup(dir);

	for (char *p = path + 1; *p != '\0'; p++)
		if (*p == '/') {
			*p = '\0';
			(void)mkdir(path, 0700); /* the last mkdir tells what is wrong */
			*p = '/';
		}
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		worker_die(w, "cannot make the name server's directory %s: %s", dir, strerror(errno));
	free(path);
}

static void
load_kv(struct namesrv *s)
{
	struct worker *w = s->w;
	struct err e;

	if (s->conf->kvConfigPath[0] != '\0')
		s->kv_path = xstrdup(s->conf->kvConfigPath);
	else {
		make_dirs(w, w->ns->dir);
		s->kv_path = xasprintf("%s/kvConfig.json", w->ns->dir);
	}
	if (ns_kv_load(s, &e) != RC_OK)
		worker_die(w, "%s", e.text);
}

static void
begin(struct namesrv *s)
{
	struct ev_loop *loop = s->w->loop;

	s->started_ms = clock_mono_ms();
	routes_init(&s->routes, s->conf);
	s->calls = calls_new(loop);
	load_kv(s);
	ns_broker_init(s);
	conn_set_init(&s->conns, loop, &conn_ops, s);
	ev_timer_init(&s->expire, expire_brokers, 0.0, 0.0);
	ev_prepare_init(&s->turn_end, end_turn);
	s->expire.data = s->turn_end.data = s;
	ns_config_changed(s);
	ev_prepare_start(loop, &s->turn_end);
	conn_set_listen(&s->conns, s->w->listen_fds[0], 0);
}

static void
finish(struct namesrv *s)
{
	ev_timer_stop(s->w->loop, &s->expire);
	ev_prepare_stop(s->w->loop, &s->turn_end);
	conn_set_free(&s->conns);
	calls_free(&s->calls);
	routes_free(&s->routes);
	ns_kv_free(s);
	free(s->kv_path);
	buf_free(&s->body);
}

int
namesrv_run(struct worker *w)
{
	struct namesrv s = {.w = w, .conf = &w->ns->conf, .body.limit = FRAME_MAX};
	int status;

	worker_init(w);
	w->state = &s;
	w->on_stop = on_stop;
	w->on_param = on_param;
	w->on_second = on_second;
	begin(&s);
	worker_ready(w);
	status = worker_loop(w);
	finish(&s);
	return status;
}
