/*
 * ns_config: the name server's own configuration, shown and changed while it runs.
 */
#include "common/log.h"
#include "common/str.h"
#include "workers/namesrv/namesrv.h"

#define BLACK_LISTED "configBlackList;configStorePath;kvConfigPath" /* whatever the list in the configuration says */

static bool
in_list(struct slice list, struct slice key)
{
	struct slice item;

	while (str_next(&list, ';', &item))
		if (slice_eq(str_trim(item), key))
			return true;
	return false;
}

/* One update: first all lines are tried on a copy, so that it is taken as a whole or not at all. */
struct update {
	struct namesrv	*s;
	struct namesrv_conf *conf;
	struct err	*e;
};

static enum rc
check_black_list(void *arg, struct slice key, struct slice value, int line)
{
	const struct update *u = arg;

	(void)value, (void)line;
	if (in_list(SLICE_LIT(BLACK_LISTED), key) || in_list(slice_of(u->s->conf->configBlackList), key))
		return RC_BUSY;
	return RC_OK;
}

/* A key that nobody knows changes nothing, as in the original; the value of a FIXED one may be repeated. */
static enum rc
take_line(void *arg, struct slice key, struct slice value, int line)
{
	const struct update *u = arg;
	const struct param *p = param_find(&namesrv_params, key);
	enum rc rc;

	(void)line;
	if (p == NULL) {
		log_info("updateNamesrvConfig: there is no key \"%.*s\"", (int)key.n, key.p);
		return RC_OK;
	}
	rc = param_set(p, u->conf, value, u->e);
	if (rc == RC_OK && p->reload == FIXED && !param_equal(p, u->conf, u->s->conf)) {
		err_set(u->e, "%s can only be changed by a restart of the name server", p->name);
		rc = RC_INVAL;
	}
	return rc;
}

static enum rc
set_line(void *arg, struct slice key, struct slice value, int line)
{
	const struct update *u = arg;
	const struct param *p = param_find(&namesrv_params, key);

	(void)line;
	return p == NULL ? RC_OK : param_set(p, u->conf, value, u->e);
}

static enum rc
try_update(struct update *u, struct slice text)
{
	struct namesrv_conf trial;
	enum rc rc;

	namesrv_conf_init(&trial);
	for (size_t i = 0; i < namesrv_params.count; i++) { /* FIXED values are compared with those in use */
		struct buf now = {0};

		param_put_text(&namesrv_params.rows[i], u->s->conf, &now);
		rc = param_set(&namesrv_params.rows[i], &trial, buf_slice(&now), u->e);
		buf_free(&now);
		ensure(rc == RC_OK);
	}
	u->conf = &trial;
	rc = properties_walk(text, take_line, u);
	namesrv_conf_free(&trial);
	u->conf = u->s->conf;
	return rc == RC_OK ? properties_walk(text, set_line, u) : rc;
}

void
ns_config_update(struct ns_req *q)
{
	struct err e = {"string2Properties error"};
	struct update u = {q->s, q->s->conf, &e};

	if (properties_walk(q->cmd->body, check_black_list, &u) == RC_BUSY) {
		conn_answer(q->c, &q->id, RES_NO_PERMISSION, "Can not update config in black list.");
		return;
	}
	if (try_update(&u, q->cmd->body) != RC_OK) {
		conn_answer(q->c, &q->id, RES_SYSTEM_ERROR, "%s", e.text);
		return;
	}
	worker_event(q->s->w, "%s has changed the name server's configuration: %.*s", q->c->peer_text,
	    (int)MIN_OF(q->cmd->body.n, 200), q->cmd->body.p);
	ns_config_changed(q->s);
	ns_answer_ok(q);
}

void
ns_config_get(struct ns_req *q)
{
	params_put_properties(&namesrv_params, q->s->conf, ns_body(q));
	ns_answer_body(q);
}

void
ns_config_changed(struct namesrv *s)
{
	double period = (double)MAX_OF(s->conf->scanNotActiveBrokerInterval, 100) / 1000;

	routes_touch_answers(&s->routes);
	s->conns.idle_ms = (int64_t)s->conf->serverChannelMaxIdleTimeSeconds * 1000;
	if (s->expire.repeat != period) {
		s->expire.repeat = period;
		ev_timer_again(s->w->loop, &s->expire);
	}
}
