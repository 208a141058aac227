/*
 * admin: what the operators' requests (adm_*) have in common.
 */
#include "workers/broker/admin.h"

bool
admin_refused_on_slave(struct broker *b, struct conn *c, const struct request_id *id)
{
	if (broker_is_master(b))
		return false;
	conn_answer(c, id, RES_SYSTEM_ERROR,
	    "Can't modify topic or subscription group from slave broker, please execute it from master broker.");
	return true;
}

struct slice
admin_need(struct conn *c, const struct command *cmd, const char *name)
{
	struct slice v = field_get(cmd, name);

	if (v.n == 0)
		broker_bad_field(c, cmd, name);
	return v;
}

json_t *
admin_body(struct conn *c, const struct request_id *id, const struct command *cmd)
{
	struct err e = {"it is empty"};
	json_t *o = NULL;

	if (cmd->body.n > 0 && json_load_relaxed(cmd->body, &o, &e) == RC_OK && json_is_object(o))
		return o;
	if (o != NULL)
		err_set(&e, "no JSON object");
	json_decref(o);
	conn_answer(c, id, RES_SYSTEM_ERROR, "the body of request %d is not what it must be: %s", id->code, e.text);
	return NULL;
}

void
admin_comma(struct buf *out)
{
	if (out->len > 0 && out->p[out->len - 1] != '[' && out->p[out->len - 1] != '{')
		buf_put_char(out, ',');
}

void
admin_put_mq_key(struct buf *out, const struct broker *b, struct slice topic, int32_t queue_id)
{
	admin_comma(out);
	put_mq_json(out, b, topic, queue_id);
	buf_put_char(out, ':');
}

void
admin_put_double(struct buf *out, double v)
{
	size_t from = out->len;

	buf_printf(out, "%.12g", v);
	if (!out->failed && memchr(out->p + from, '.', out->len - from) == NULL && memchr(out->p + from, 'e', out->len - from) == NULL)
		buf_put_str(out, ".0");
}
