/*
 * adm_broker: the broker's configuration, figures and cleaning (25, 26, 306, 315, 329, 905). 28 is in adm_runtime, 907 in adm_ha.
 *
 * Runs in:    the broker process.
 * Owns:       the file of keys that operators have set at run time.
 */
#include "common/clock.h"
#include "workers/broker/admin.h"
#include "workers/broker/brstats.h"
#include "workers/broker/groups.h"

#define SAVED_MAX (1u << 20)
#define VALUE_MAX 4096	/* it goes to the master in one message */

/* ---- 25: first all keys are looked at, then all are set */

struct change {
	struct broker	*b;
	struct broker_conf next;	/* a copy with the new values */
	json_t		*saved;		/* what the file shall hold: {"key":"value"} */
	unsigned	 count;
	int		 code;		/* why it is refused; RES_SUCCESS: it is not */
	struct err	 e;
};

static bool
on_black_list(const struct broker *b, struct slice key)
{
	struct slice rest = slice_of(b->conf->configBlackList), piece;

	while (str_next(&rest, ';', &piece))
		if (slice_eq(str_trim(piece), key))
			return true;
	return slice_is(key, "configBlackList") || slice_is(key, "brokerConfigPath");
}

static enum rc
refuse(struct change *ch, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

static enum rc
refuse(struct change *ch, int code, const char *fmt, ...)
{
	va_list ap;

	ch->code = code;
	va_start(ap, fmt);
	vsnprintf(ch->e.text, sizeof ch->e.text, fmt, ap);
	va_end(ap);
	return RC_INVAL;
}

static enum rc
take_pair(void *arg, struct slice key, struct slice value, int line)
{
	struct change *ch = arg;
	const struct param *p = param_find(&broker_params, key);
	struct err e;

	(void)line;
	if (on_black_list(ch->b, key))
		return refuse(ch, RES_NO_PERMISSION, "Can not update config in black list.");
	if (p == NULL) {
		log_info("updateBrokerConfig: %.*s is no key that this version knows", TEXT_OF(key));
		return RC_OK;
	}
	if (value.n > VALUE_MAX)
		return refuse(ch, RES_SYSTEM_ERROR, "the value of %s is longer than %d bytes", p->name, VALUE_MAX);
	if (param_set(p, &ch->next, value, &e) != RC_OK)
		return refuse(ch, RES_SYSTEM_ERROR, "%s", e.text);
	if (param_equal(p, &ch->next, ch->b->conf))
		return RC_OK;
	if (p->reload == FIXED && p->effect != NOTHING)
		return refuse(ch, RES_SYSTEM_ERROR, "%s cannot be changed while the broker runs; set it in the cluster file and restart the node",
		    p->name);
	ch->count++;
	json_object_set_new(ch->saved, p->name, json_stringn(value.p, value.n));
	return RC_OK;
}

static enum rc
take_saved(void *arg, struct slice key, struct slice value, int line)
{
	(void)line;
	json_object_setn_new(arg, key.p, key.n, json_stringn(value.p, value.n));
	return RC_OK;
}

static void
put_property_text(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\' || *text == '\n')
			buf_put_char(out, '\\');
		buf_put_char(out, *text == '\n' ? 'n' : *text);
	}
}

static void
put_properties(const json_t *o, struct buf *out)
{
	const char *key;
	json_t *v;

	buf_put_str(out, "# set by updateBrokerConfig; a key in the cluster file has precedence\n");
	json_object_foreach((json_t *)o, key, v) {
		buf_put_str(out, key);
		buf_put_char(out, '=');
		put_property_text(out, json_string_value(v));
		buf_put_char(out, '\n');
	}
}

/* Joins what was saved before with the change, and writes it. */
static bool
save(struct change *ch)
{
	const char *path = ch->b->w->node->conf_file;
	struct buf text = {0};
	json_t *all = json_object();
	struct err ignored;
	enum rc rc;

	if (file_read(path, SAVED_MAX, &text, &ignored) == RC_OK)
		(void)!properties_walk(buf_slice(&text), take_saved, all);
	json_object_update(all, ch->saved);
	buf_reset(&text, 0);
	put_properties(all, &text);
	json_decref(all);
	rc = file_replace(path, buf_slice(&text), &ch->e);
	buf_free(&text);
	if (rc != RC_OK)
		ch->code = RES_SYSTEM_ERROR;
	return rc == RC_OK;
}

/* Each key goes into this process' configuration, then to the master, which tells the node's other workers. */
static void
apply(struct change *ch)
{
	struct worker *w = ch->b->w;
	const char *key;
	json_t *v;

	json_object_foreach(ch->saved, key, v) {
		const struct param *p = param_find(&broker_params, slice_of(key));
		const char *value = json_string_value(v);
		struct err e;

		if (param_set(p, ch->b->conf, slice_of(value), &e) != RC_OK)
			continue;
		log_info("%s is now %s", key, value);
		if (p->reload == LIVE && w->on_param != NULL)
			w->on_param(w, p);
		if (ipc_send(w->control_fd, IPC_BROKER_MASTER_PARAM, key, value) != RC_OK)
			log_warn("the other workers of this node do not learn of %s: the channel to the master is full", key);
	}
	ch->b->conf_changes++;
	ch->b->conf_changed_ms = clock_wall_ms();
}

void
adm_config_update(struct broker *b, struct conn *c, struct command *cmd)
{
	struct change ch = {.b = b, .saved = json_object(), .code = RES_SUCCESS};
	struct request_id id;

	request_id_of(&id, cmd);
	broker_conf_copy(&ch.next, b->conf);
	if (properties_walk(cmd->body, take_pair, &ch) != RC_OK && ch.code == RES_SUCCESS)
		(void)!refuse(&ch, RES_SYSTEM_ERROR, "the body is no text of properties");
	log_info("%s sets %u configuration keys%s%s", c->peer_text, ch.count, ch.code == RES_SUCCESS ? "" : ": ", ch.e.text);
	if (ch.code == RES_SUCCESS && ch.count > 0 && save(&ch))
		apply(&ch);
	conn_answer(c, &id, ch.code, ch.code == RES_SUCCESS ? NULL : "%s", ch.e.text);
	broker_conf_free(&ch.next);
	json_decref(ch.saved);
}

/* ---- 26 */

void
adm_config_get(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct frame_out f;
	struct buf body = {0}, version = {0};
	const struct data_version v = {b->conf_changes, MAX_OF(b->boot_ms, b->conf_changed_ms), 0};

	request_id_of(&id, cmd);
	params_put_properties(&broker_params, b->conf, &body);
	data_version_put_json(&v, &version);
	if (answer_begin(&f, c, &id, RES_SUCCESS)) {
		frame_field(&f, "version", buf_slice(&version));
		frame_end(&f, body.len);
		buf_put_slice(&c->out, buf_slice(&body));
		conn_kick(c);
	}
	buf_free(&version);
	buf_free(&body);
}

/* ---- 315 */

void
adm_stats_data(struct broker *b, struct conn *c, struct command *cmd)
{
	struct slice name = field_get(cmd, "statsName"), key = field_get(cmd, "statsKey");
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	if (brstats_put_json(b->stats, name, key, &body) == RC_OK) {
		answer_buf(c, &id, &body);
		return;
	}
	buf_free(&body);
	conn_answer(c, &id, RES_SYSTEM_ERROR, "The stats <%.*s> <%.*s> not exist", TEXT_OF(name), TEXT_OF(key));
}

/* ---- 306, 329, 905 */

static void
clean_now(struct broker *b, struct conn *c, const struct command *cmd)
{
	struct request_id id;

	request_id_of(&id, cmd);
	if (ipc_send(b->w->peer_fds[WORKER_CLEAN], IPC_BROKER_CLEAN_NOW) == RC_OK)
		conn_answer(c, &id, RES_SUCCESS, NULL);
	else
		conn_answer(c, &id, RES_SYSTEM_ERROR, "the clean process of this node does not listen; its state is in the broker's log");
}

void
adm_clean_queues(struct broker *b, struct conn *c, struct command *cmd)
{
	clean_now(b, c, cmd);
}

void
adm_clean_log(struct broker *b, struct conn *c, struct command *cmd)
{
	clean_now(b, c, cmd);
}

void
adm_min_broker_id(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;

	(void)b;
	request_id_of(&id, cmd);
	conn_answer(c, &id, RES_SUCCESS, NULL);
}
