/*
 * announce: registration of this broker at all name servers.
 *
 * Runs in:    the broker process.
 * Owns:       the connections to the name servers.
 * If it dies: the name servers see the closed connection and drop the broker until it is back.
 *
 * At each name server one registration is under way at a time: two could overtake each other there. What changes meanwhile is
 * registered right after it.
 */
#include "workers/broker/announce.h"

#include "common/clock.h"
#include "common/crc.h"
#include "workers/broker/known.h"
#include "workers/broker/resolve.h"
#include "workers/broker/slave.h"
#include "workers/broker/topics.h"

#define CHANGE_DELAY_MS		5	/* changes of so long make one registration */
#define CHANGE_BYTES_PER_MS	20000	/* a large table is not sent again and again */
#define PERIOD_MIN_MS		10000
#define PERIOD_MAX_MS		60000
#define RETRY_FIRST_MS		200
#define RETRY_MAX_MS		5000
#define LEAVE_MS		3000
#define TABLE_MAX		(FRAME_MAX - HEADER_MAX)

struct ns { /* one name server */
	struct announce	*a;
	struct ns	*next;
	char		*text;		/* "host:port" as configured */
	struct resolve	*resolve;	/* a look-up is under way */
	struct conn	*conn;		/* a reference; NULL: not connected */
	bool		 asking;	/* a registration is under way */
	bool		 again;		/* and another is wanted then */
	bool		 registered;
	struct data_version version;	/* of the registration that it was sent last on this connection */
	int64_t		 confirmed;	/* counter of the version that it has confirmed there */
	int64_t		 last_ms;	/* wall time of its last confirmation; 0: never */
	int		 retry_ms;
	ev_timer	 retry;
	char		 error[256];
};

struct announce {
	struct broker	*b;
	struct ns	*list;
	bool		 started, left;	/* left: registers no more */
	unsigned	 leaving;	/* answers to wait for */
	size_t		 table_bytes;	/* of the last registration */
	ev_timer	 period, change, leave_timer;
	void		(*done)(void *arg);
	void		*arg;
	char		 master_addr[ADDR_TEXT + 192], master_ha_addr[ADDR_TEXT + 192];
};

static void	register_at(struct ns *n);
static void	connect_to(struct ns *n);

/* ---- the registration */

static void
put_ha_addr(const struct broker_conf *c, struct buf *out)
{
	const char *ip = c->brokerIP2[0] != '\0' ? c->brokerIP2 : c->brokerIP1;

	buf_printf(out, strchr(ip, ':') != NULL ? "[%s]:%d" : "%s:%d", ip, c->haListenPort);
}

static void
put_identity(struct broker *b, struct frame_out *f)
{
	frame_field(f, "brokerName", slice_of(b->conf->brokerName));
	frame_field(f, "brokerAddr", slice_of(b->store_host_text));
	frame_field(f, "clusterName", slice_of(b->conf->brokerClusterName));
	frame_field_i64(f, "brokerId", b->conf->brokerId);
}

static void
put_table(struct broker *b, struct buf *out)
{
	buf_put_str(out, "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":");
	topics_put_wrapper_json(b->topics, b->conf->brokerPermission, out);
	buf_put_char(out, '}');
}

/* Clients find this broker, as far as the name servers can be reached: that is what being ready means. */
static void
look_ready(struct announce *a)
{
	for (const struct ns *n = a->list; n != NULL; n = n->next)
		if (!n->registered && n->error[0] == '\0')
			return;
	broker_ready(a->b);
}

static void
set_error(struct ns *n, const char *why)
{
	if (strcmp(n->error, why) != 0)
		log_warn("name server %s: %s", n->text, why);
	snprintf(n->error, sizeof n->error, "%.*s", (int)sizeof n->error - 1, why);
	look_ready(n->a);
}

/* The name server's table of order topics: those topics are marked. */
static void
take_order_topics(struct announce *a, struct slice body)
{
	struct err e;
	json_t *root = NULL, *v;
	const char *topic;

	if (body.n == 0 || json_load_relaxed(body, &root, &e) != RC_OK)
		return;
	json_object_foreach(json_object_get(root, "table"), topic, v) {
		struct topic *t = topic_find(a->b->topics, slice_of(topic));

		if (t != NULL)
			topic_set_order(a->b->topics, t, true);
	}
	json_decref(root);
}

static void
take_text(char *to, size_t size, struct slice value)
{
	if (value.n > 0 && value.n < size) {
		memcpy(to, value.p, value.n);
		to[value.n] = '\0';
	}
}

static void
confirmed(struct ns *n, struct command *cmd)
{
	if (!n->registered)
		log_info("registered at name server %s as %s, %zu topics", n->text, n->a->b->store_host_text,
		    topics_count(n->a->b->topics));
	n->registered = true;
	n->confirmed = n->version.counter;
	n->last_ms = clock_wall_ms();
	n->error[0] = '\0';
	n->retry_ms = RETRY_FIRST_MS;
	take_text(n->a->master_addr, sizeof n->a->master_addr, field_get(cmd, "masterAddr"));
	take_text(n->a->master_ha_addr, sizeof n->a->master_ha_addr, field_get(cmd, "haServerAddr"));
	look_ready(n->a);
	take_order_topics(n->a, cmd->body);
	slave_learned(n->a->b->slave, n->a->master_addr, n->a->master_ha_addr);
}

static void
refused(struct ns *n, const struct command *cmd)
{
	struct err e;

	n->registered = false;
	err_set(&e, "it refuses the registration with code %d: %.*s", cmd->code, (int)MIN_OF(cmd->remark.n, 160), cmd->remark.p);
	set_error(n, e.text);
}

static void
on_registered(void *arg, struct command *cmd, const char *why)
{
	struct ns *n = arg;

	n->asking = false;
	if (cmd == NULL) {
		n->registered = false;
		set_error(n, why);
		/* Without an answer in time the connection is worth nothing; closing it leads to the next try. */
		if (n->conn != NULL)
			conn_close(n->conn, "no answer to a registration");
		return;
	}
	if (cmd->code == RES_SUCCESS)
		confirmed(n, cmd);
	else
		refused(n, cmd);
	if (n->again && !n->a->left)
		register_at(n);
	known_look(n->a->b->known);
}

static void
send_registration(struct ns *n)
{
	struct broker *b = n->a->b;
	struct call_out o;
	struct buf table = {.limit = TABLE_MAX}, ha = {0};

	put_table(b, &table);
	n->a->table_bytes = table.len;
	if (table.failed) {
		set_error(n, "the topic table is larger than a frame can be; delete topics that are not used");
		buf_free(&table);
		return;
	}
	put_ha_addr(b->conf, &ha);
	n->asking = true;
	n->version = *topics_version(b->topics);
	call_begin(&o, b->calls, n->conn, REQ_REGISTER_BROKER, b->conf->registerBrokerTimeoutMills, on_registered, n);
	put_identity(b, &o.f);
	frame_field(&o.f, "haServerAddr", buf_slice(&ha));
	frame_field_bool(&o.f, "enableActingMaster", false);
	frame_field_bool(&o.f, "compressed", false);
	frame_field_i64(&o.f, "bodyCrc32", crc32_of(table.p, table.len) & 0x7fffffff);
	call_end(&o, buf_slice(&table));
	buf_free(&table);
	buf_free(&ha);
}

/* ---- forceRegister=false: the version first, the table only if it is another */

static void
on_version(void *arg, struct command *cmd, const char *why)
{
	struct ns *n = arg;

	if (cmd == NULL || cmd->code != RES_SUCCESS || field_bool(cmd, "changed", true)) {
		n->asking = false;
		if (cmd == NULL)
			on_registered(n, NULL, why);
		else
			send_registration(n);
		return;
	}
	n->asking = false;
	n->last_ms = clock_wall_ms();
	if (n->again && !n->a->left)
		register_at(n);
}

static void
ask_version(struct ns *n)
{
	struct broker *b = n->a->b;
	struct call_out o;
	struct buf version = {0};

	data_version_put_json(topics_version(b->topics), &version);
	n->asking = true;
	call_begin(&o, b->calls, n->conn, REQ_QUERY_DATA_VERSION, b->conf->registerBrokerTimeoutMills, on_version, n);
	put_identity(b, &o.f);
	call_end(&o, buf_slice(&version));
	buf_free(&version);
}

static bool
same_version(const struct data_version *a, const struct data_version *b)
{
	return a->counter == b->counter && a->timestamp == b->timestamp && a->state_version == b->state_version;
}

static void
register_at(struct ns *n)
{
	struct announce *a = n->a;

	if (a->left || !a->started)
		return;
	if (n->conn == NULL) {
		connect_to(n);
		return;
	}
	n->again = n->asking;
	if (n->asking)
		return;
	if (!a->b->conf->forceRegister && n->registered && same_version(&n->version, topics_version(a->b->topics)))
		ask_version(n);
	else
		send_registration(n);
}

/* ---- connections */

static void
retry_later(struct ns *n)
{
	if (n->a->left || ev_is_active(&n->retry))
		return;
	ev_timer_set(&n->retry, n->retry_ms / 1000., 0.);
	ev_timer_start(n->a->b->w->loop, &n->retry);
	n->retry_ms = MIN_OF(n->retry_ms * 2, RETRY_MAX_MS);
}

static void
on_retry(struct ev_loop *loop, ev_timer *t, int events)
{
	struct ns *n = t->data;

	(void)loop;
	(void)events;
	register_at(n);
}

static void
on_resolved(void *arg, const struct addr *addr, const char *why)
{
	struct ns *n = arg;
	struct err e;

	n->resolve = NULL;
	if (addr == NULL) {
		set_error(n, why);
		retry_later(n);
		return;
	}
	if (conn_open(&n->a->b->outgoing, addr, &n->conn, &e) != RC_OK) {
		set_error(n, e.text);
		retry_later(n);
		return;
	}
	n->conn->tag = CONN_TO_NAMESRV;
	n->conn->user = n;
	register_at(n);
}

static void
connect_to(struct ns *n)
{
	if (n->resolve == NULL && n->conn == NULL && !ev_is_active(&n->retry))
		resolve_start(n->a->b->w->loop, n->text, on_resolved, n, &n->resolve);
}

void
announce_conn_closed(struct announce *a, struct conn *c, const char *why)
{
	struct ns *n = c->user;

	if (n == NULL || n->conn != c)
		return;
	if (!a->left)
		set_error(n, why);
	n->registered = n->asking = n->again = false;
	c->user = NULL;
	conn_unref(&n->conn);
	retry_later(n);
	if (a->b->known != NULL)
		known_look(a->b->known);
}

/* ---- the list */

static void
ns_add(struct announce *a, struct slice text)
{
	struct ns *n = xcalloc(1, sizeof *n);
	struct ns **at = &a->list;

	n->a = a;
	n->text = xslicedup(text);
	n->retry_ms = RETRY_FIRST_MS;
	ev_timer_init(&n->retry, on_retry, 0., 0.);
	n->retry.data = n;
	while (*at != NULL)
		at = &(*at)->next;
	*at = n;
}

static void
ns_free(struct ns *n)
{
	ev_timer_stop(n->a->b->w->loop, &n->retry);
	resolve_cancel(&n->resolve);
	if (n->conn != NULL) {
		struct conn *c = n->conn;

		/* Its open calls end here, while n is still there; they and on_close find no connection any more. */
		n->conn = NULL;
		c->user = NULL;
		call_conn_closed(n->a->b->calls, c, "the name server is not used any more");
		conn_close(c, "the name server is not used any more");
		conn_unref(&c);
	}
	free(n->text);
	free(n);
}

static bool
list_has(const struct announce *a, struct slice text)
{
	for (const struct ns *n = a->list; n != NULL; n = n->next)
		if (slice_is(text, n->text))
			return true;
	return false;
}

static bool
configured(const struct announce *a, const char *text)
{
	struct slice rest = slice_of(a->b->conf->namesrvAddr), piece;

	while (str_next(&rest, ';', &piece))
		if (slice_is(str_trim(piece), text))
			return true;
	return false;
}

static void
drop_unconfigured(struct announce *a)
{
	for (struct ns **at = &a->list, *n; (n = *at) != NULL;) {
		if (configured(a, n->text)) {
			at = &n->next;
			continue;
		}
		*at = n->next;
		log_info("name server %s is not used any more", n->text);
		ns_free(n);
	}
}

static void
add_configured(struct announce *a)
{
	struct slice rest = slice_of(a->b->conf->namesrvAddr), piece;

	while (str_next(&rest, ';', &piece)) {
		piece = str_trim(piece);
		if (piece.n > 0 && !list_has(a, piece))
			ns_add(a, piece);
	}
}

static void
register_everywhere(struct announce *a)
{
	for (struct ns *n = a->list; n != NULL; n = n->next)
		register_at(n);
}

/* ---- timers */

static double
period_seconds(const struct announce *a)
{
	int64_t ms = a->b->conf->registerNameServerPeriod;

	return (double)MAX_OF(PERIOD_MIN_MS, MIN_OF(ms, PERIOD_MAX_MS)) / 1000.;
}

static void
on_period(struct ev_loop *loop, ev_timer *t, int events)
{
	struct announce *a = t->data;

	(void)events;
	register_everywhere(a);
	t->repeat = period_seconds(a);
	ev_timer_again(loop, t);
}

static void
on_change(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)loop;
	(void)events;
	register_everywhere(t->data);
}

/* ---- from outside */

struct announce *
announce_new(struct broker *b)
{
	struct announce *a = xcalloc(1, sizeof *a);

	a->b = b;
	ev_timer_init(&a->period, on_period, 0., 0.);
	ev_timer_init(&a->change, on_change, 0., 0.);
	a->period.data = a->change.data = a->leave_timer.data = a;
	return a;
}

void
announce_free(struct announce **ap)
{
	struct announce *a = *ap;

	if (a == NULL)
		return;
	a->left = true;
	ev_timer_stop(a->b->w->loop, &a->period);
	ev_timer_stop(a->b->w->loop, &a->change);
	ev_timer_stop(a->b->w->loop, &a->leave_timer);
	while (a->list != NULL) {
		struct ns *n = a->list;

		a->list = n->next;
		ns_free(n);
	}
	free(a);
	*ap = NULL;
}

void
announce_start(struct announce *a)
{
	a->started = true;
	add_configured(a);
	if (a->list == NULL)
		log_warn("namesrvAddr is empty: no client will find this broker");
	a->period.repeat = period_seconds(a);
	ev_timer_again(a->b->w->loop, &a->period);
	register_everywhere(a);
	look_ready(a);
}

void
announce_changed(struct announce *a)
{
	double delay;

	if (a == NULL || !a->started || a->left || ev_is_active(&a->change))
		return;
	delay = (CHANGE_DELAY_MS + (double)a->table_bytes / CHANGE_BYTES_PER_MS) / 1000.;
	ev_timer_set(&a->change, delay, 0.);
	ev_timer_start(a->b->w->loop, &a->change);
}

void
announce_addresses(struct announce *a)
{
	if (a == NULL || !a->started || a->left)
		return;
	drop_unconfigured(a);
	add_configured(a);
	register_everywhere(a);
}

/* ---- the role */

/* All of them at once, whatever they were told a moment ago: clients look for the new master there. */
void
announce_identity(struct announce *a)
{
	a->master_addr[0] = a->master_ha_addr[0] = '\0';
	for (struct ns *n = a->list; n != NULL; n = n->next)
		n->registered = false;
	register_everywhere(a);
}

void
announce_silence(struct announce *a)
{
	if (a == NULL)
		return;
	a->left = true;
	ev_timer_stop(a->b->w->loop, &a->change);
	ev_timer_stop(a->b->w->loop, &a->period);
	for (struct ns *n = a->list; n != NULL; n = n->next)
		n->again = false;
}

/* ---- leaving */

static void
leave_done(struct announce *a)
{
	void (*done)(void *arg) = a->done;

	ev_timer_stop(a->b->w->loop, &a->leave_timer);
	a->done = NULL;
	if (done != NULL)
		done(a->arg);
}

static void
on_leave_timer(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)loop;
	(void)events;
	leave_done(t->data);
}

static void
on_left(void *arg, struct command *cmd, const char *why)
{
	struct announce *a = arg;

	(void)cmd;
	(void)why;
	if (a->leaving > 0 && --a->leaving == 0)
		leave_done(a);
}

static void
leave_one(struct ns *n)
{
	struct announce *a = n->a;
	struct call_out o;

	a->leaving++;
	n->registered = false;
	call_begin(&o, a->b->calls, n->conn, REQ_UNREGISTER_BROKER, LEAVE_MS, on_left, a);
	put_identity(a->b, &o.f);
	call_end(&o, SLICE_NONE);
}

void
announce_leave(struct announce *a, void (*done)(void *arg), void *arg)
{
	ev_timer_stop(a->b->w->loop, &a->leave_timer);
	a->done = done;
	a->arg = arg;
	ev_timer_stop(a->b->w->loop, &a->change);
	ev_timer_stop(a->b->w->loop, &a->period);
	for (struct ns *n = a->list; n != NULL && !a->left; n = n->next)
		if (n->conn != NULL)
			leave_one(n);
	a->left = true;
	/* Nobody to wait for: done is called all the same, a moment later. */
	ev_timer_init(&a->leave_timer, on_leave_timer, a->leaving > 0 ? LEAVE_MS / 1000. : 0., 0.);
	ev_timer_start(a->b->w->loop, &a->leave_timer);
}

/* ---- looking */

const char *
announce_master_addr(const struct announce *a)
{
	return a->master_addr;
}

const char *
announce_master_ha_addr(const struct announce *a)
{
	return a->master_ha_addr;
}

int64_t
announce_confirmed(const struct announce *a)
{
	int64_t lowest = INT64_MAX;

	for (const struct ns *n = a->list; n != NULL && !a->left; n = n->next)
		if (n->conn != NULL && n->registered)
			lowest = MIN_OF(lowest, n->confirmed);
	return lowest;
}

struct conn *
announce_conn(const struct announce *a)
{
	for (const struct ns *n = a->list; n != NULL; n = n->next)
		if (n->conn != NULL && n->registered)
			return n->conn;
	return NULL;
}

void
announce_put_json(struct announce *a, struct buf *out)
{
	for (const struct ns *n = a->list; n != NULL; n = n->next) {
		buf_put_str(out, n == a->list ? "{\"addr\":" : ",{\"addr\":");
		buf_put_json(out, slice_of(n->text));
		buf_printf(out, ",\"registered\":%s,\"lastMs\":%lld,\"error\":", n->registered ? "true" : "false", (long long)n->last_ms);
		buf_put_json(out, slice_of(n->error));
		buf_put_char(out, '}');
	}
}
