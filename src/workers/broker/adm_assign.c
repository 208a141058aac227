/*
 * adm_assign: a consumer asks the broker for its share of a topic's queues (400), and in which mode it is to get them (401, 402).
 *
 * Runs in:    the broker process.
 * Must not:   wait for the name server, which knows the queues of the other brokers: the answer is given when its answer is there.
 *
 * All brokers must come to the same shares: queues sorted by broker and number, client ids sorted.
 */
#include "workers/broker/admin.h"
#include "workers/broker/announce.h"
#include "workers/broker/clients.h"
#include "workers/broker/modes.h"

#define ROUTE_MS	3000
#define QUEUES_MAX	100000	/* of one topic, on all brokers together */

struct mq {
	const char	*broker_name;
	int32_t		 queue_id;
};

struct question {
	struct broker	*b;
	struct conn	*asker;		/* a reference */
	struct request_id id;
	json_t		*body;		/* of the request; the texts below belong to it */
	struct slice	 topic, group, client_id;
	const char	*strategy;
	bool		 broadcasting;
	struct request_mode mode;
};

static void
question_free(struct question *q)
{
	conn_unref(&q->asker);
	json_decref(q->body);
	free(q);
}

/* ---- the share of one client */

static int
compare_ids(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
compare_queues(const void *a, const void *b)
{
	const struct mq *x = a, *y = b;
	int names = strcmp(x->broker_name, y->broker_name);

	return names != 0 ? names : (x->queue_id > y->queue_id) - (x->queue_id < y->queue_id);
}

/* Sorts; each id once. Returns how many are left. */
static size_t
sort_ids(const char **ids, size_t n)
{
	size_t kept = 0;

	qsort(ids, n, sizeof *ids, compare_ids);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || strcmp(ids[kept - 1], ids[i]) != 0)
			ids[kept++] = ids[i];
	return kept;
}

/* Place of the client among the group's ids; false: it is not there. */
static bool
place_of(const struct consumer_group *g, struct slice client_id, size_t *place, size_t *count)
{
	const char **ids = xcalloc(g->member_count + 1, sizeof *ids);
	size_t n = 0;

	for (const struct member *m = g->members; m != NULL; m = m->next)
		ids[n++] = m->client_id;
	*count = sort_ids(ids, n);
	for (*place = 0; *place < *count && !slice_is(client_id, ids[*place]);)
		++*place;
	free(ids);
	return *place < *count;
}

static void
put_assignment(const struct question *q, const struct mq *mq, struct buf *out)
{
	admin_comma(out);
	buf_put_str(out, "{\"messageQueue\":{\"brokerName\":");
	buf_put_json(out, slice_of(mq->broker_name));
	buf_printf(out, ",\"queueId\":%d,\"topic\":", mq->queue_id);
	buf_put_json(out, q->topic);
	buf_put_str(out, q->mode.pop ? "},\"mode\":\"POP\"}" : "},\"mode\":\"PULL\"}");
}

/* Neighbours together: the first clients get one more when it does not come out even. */
static void
put_average(const struct question *q, const struct mq *all, size_t n, size_t place, size_t clients, struct buf *out)
{
	size_t share = n / clients, more = n % clients;
	size_t from = place * share + MIN_OF(place, more);
	size_t to = from + share + (place < more);

	for (size_t i = from; i < to; i++)
		put_assignment(q, &all[i], out);
}

/* What one client gets when each queue is for one client. */
static void
put_own(const struct question *q, const struct mq *all, size_t n, size_t place, size_t clients, struct buf *out)
{
	if (strcmp(q->strategy, "AVG") == 0) {
		put_average(q, all, n, place, clients, out);
		return;
	}
	for (size_t i = place; i < n; i += clients)
		put_assignment(q, &all[i], out);
}

/* Queue -1 of each broker that has some: a pop looks at them all. */
static void
put_brokers(const struct question *q, const struct mq *all, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++)
		if (i == 0 || strcmp(all[i].broker_name, all[i - 1].broker_name) != 0)
			put_assignment(q, &(struct mq){all[i].broker_name, -1}, out);
}

/* A client pops its own queues and those of the clients behind it. */
static void
put_pop_share(const struct question *q, const struct mq *all, size_t n, size_t place, size_t clients, struct buf *out)
{
	if (clients > n) {
		put_assignment(q, &all[place % n], out);
		return;
	}
	for (int32_t i = 0; i <= q->mode.share_queues; i++)
		put_own(q, all, n, (place + (size_t)i) % clients, clients, out);
}

static bool
all_share_all(const struct question *q, size_t clients)
{
	return q->mode.pop && (q->mode.share_queues < 1 || (size_t)q->mode.share_queues + 1 >= clients);
}

static void
put_share(const struct question *q, const struct mq *all, size_t n, size_t place, size_t clients, struct buf *out)
{
	if (q->broadcasting || !q->b->conf->serverLoadBalancerEnable)
		put_average(q, all, n, 0, 1, out);
	else if (all_share_all(q, clients))
		put_brokers(q, all, n, out);
	else if (q->mode.pop)
		put_pop_share(q, all, n, place, clients, out);
	else
		put_own(q, all, n, place, clients, out);
}

static void
answer_share(struct question *q, struct mq *all, size_t n)
{
	const struct consumer_group *g = consumer_group_find(q->b->clients, q->group);
	struct buf body = {.limit = FRAME_MAX - HEADER_MAX};
	size_t place = 0, clients = 1;
	bool known = q->broadcasting || (g != NULL && place_of(g, q->client_id, &place, &clients));

	if (n == 0 || (g == NULL && !q->broadcasting)) {
		buf_put_str(&body, "{}");
	} else {
		qsort(all, n, sizeof *all, compare_queues);
		buf_put_str(&body, "{\"messageQueueAssignments\":[");
		if (known)
			put_share(q, all, n, place, clients, &body);
		buf_put_str(&body, "]}");
	}
	answer_buf(q->asker, &q->id, &body);
}

/* ---- the queues of all brokers */

static size_t
add_queues(struct mq **all, size_t n, const char *broker_name, int64_t count)
{
	if (count <= 0 || (size_t)count > QUEUES_MAX - n)
		return n;
	*all = xrealloc(*all, (n + (size_t)count) * sizeof **all);
	for (int32_t i = 0; i < count; i++)
		(*all)[n++] = (struct mq){broker_name, i};
	return n;
}

static void
answer_by_route(struct question *q, const json_t *route)
{
	const json_t *datas = json_object_get(route, "queueDatas");
	struct mq *all = NULL;
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(datas); i++) {
		const json_t *d = json_array_get(datas, i);

		if (json_get_i64(d, "perm", 0) & PERM_READ)
			n = add_queues(&all, n, json_get_str(d, "brokerName", ""), json_get_i64(d, "readQueueNums", 0));
	}
	answer_share(q, all, n);
	free(all);
}

/* No name server can be asked: what this broker has. */
static void
answer_by_own(struct question *q)
{
	const struct topic *t = topic_find(q->b->topics, q->topic);
	struct mq *all = NULL;
	size_t n = t != NULL && t->perm & PERM_READ ? add_queues(&all, 0, q->b->conf->brokerName, t->read_queues) : 0;

	answer_share(q, all, n);
	free(all);
}

static void
on_route(void *arg, struct command *cmd, const char *why)
{
	struct question *q = arg;
	json_t *route = NULL;
	struct err e;

	if (cmd == NULL) {
		log_info("no route of %.*s from a name server: %s", TEXT_OF(q->topic), why);
		answer_by_own(q);
	} else if (cmd->code == RES_SUCCESS && json_load_relaxed(cmd->body, &route, &e) == RC_OK) {
		answer_by_route(q, route);
		json_decref(route);
	} else {
		answer_share(q, NULL, 0);
	}
	question_free(q);
}

static void
ask_route(struct question *q)
{
	struct conn *c = announce_conn(q->b->announce);
	struct call_out o;

	if (c == NULL) {
		answer_by_own(q);
		question_free(q);
		return;
	}
	call_begin(&o, q->b->calls, c, REQ_GET_ROUTEINFO_BY_TOPIC, ROUTE_MS, on_route, q);
	frame_field(&o.f, "topic", q->topic);
	frame_field_bool(&o.f, "acceptStandardJsonOnly", true);
	call_end(&o, SLICE_NONE);
}

void
adm_query_assignment(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct question *q;
	json_t *body;

	request_id_of(&id, cmd);
	body = admin_body(c, &id, cmd);
	if (body == NULL)
		return;
	q = xcalloc(1, sizeof *q);
	q->b = b;
	q->asker = c;
	conn_ref(c);
	q->id = id;
	q->body = body;
	q->topic = slice_of(json_get_str(body, "topic", ""));
	q->group = slice_of(json_get_str(body, "consumerGroup", ""));
	q->client_id = slice_of(json_get_str(body, "clientId", ""));
	q->mode = modes_get(b->modes, json_get_str(body, "topic", ""), json_get_str(body, "consumerGroup", ""));
	q->strategy = json_get_str(body, "strategyName", "AVG");
	q->broadcasting = json_get_enum(body, "messageModel", message_model_names, 2, CLUSTERING) == BROADCASTING;
	if (q->broadcasting || strcmp(q->strategy, "AVG") == 0 || strcmp(q->strategy, "AVG_BY_CIRCLE") == 0) {
		ask_route(q);
		return;
	}
	/* The client then shares out the queues itself. */
	conn_answer(c, &id, RES_SYSTEM_ERROR, "this broker does not know the strategy %s; it knows AVG and AVG_BY_CIRCLE", q->strategy);
	question_free(q);
}

/* ---- 401, 402 */

static void
set_mode(struct broker *b, struct conn *c, const struct request_id *id, const json_t *body)
{
	const char *topic = json_get_str(body, "topic", ""), *group = json_get_str(body, "consumerGroup", "");
	const char *mode = json_get_str(body, "mode", "PULL");
	struct err e;

	if (slice_starts(slice_of(topic), "%RETRY%"))
		conn_answer(c, id, RES_NO_PERMISSION, "retry topic is not allowed to set mode");
	else if (topic_find(b->topics, slice_of(topic)) == NULL)
		conn_answer(c, id, RES_TOPIC_NOT_EXIST, "topic[%s] not exist", topic);
	else if (group_find_or_make(b->groups, slice_of(group)) == NULL)
		conn_answer(c, id, RES_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group does not exist");
	else if (strcmp(mode, "PULL") != 0 && strcmp(mode, "POP") != 0)
		conn_answer(c, id, RES_SYSTEM_ERROR, "there is no mode %s: a group pulls or pops (PULL, POP)", mode);
	else if (modes_set(b->modes, topic, group, mode, (int32_t)json_get_i64(body, "popShareQueueNum", 0), &e) != RC_OK)
		conn_answer(c, id, RES_SYSTEM_ERROR, "%s", e.text);
	else
		conn_answer(c, id, RES_SUCCESS, NULL);
}

void
adm_set_request_mode(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	json_t *body;

	request_id_of(&id, cmd);
	body = admin_body(c, &id, cmd);
	if (body != NULL)
		set_mode(b, c, &id, body);
	json_decref(body);
}

void
adm_all_request_modes(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	modes_put_json(b->modes, &body);
	answer_buf(c, &id, &body);
}
