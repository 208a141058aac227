/*
 * relay: an operator's request that a client answers.
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/relay.h"

#include "workers/broker/answer.h"

#define NAME_MAX_BYTES 256	/* of a header field that is passed on */

struct relay {
	struct conn	*asker;		/* a reference */
	struct request_id id;
	char		*who;
};

/* The client's answer in the asker's codec and with the asker's number. */
static void
pass_back(struct relay *r, const struct command *cmd)
{
	struct frame_out f;

	if (!answer_begin(&f, r->asker, &r->id, cmd->code))
		return;
	if (cmd->remark.n > 0)
		frame_remark(&f, cmd->remark);
	frame_end(&f, cmd->body.n);
	buf_put_slice(&r->asker->out, cmd->body);
	conn_kick(r->asker);
}

static void
on_answer(void *arg, struct command *cmd, const char *why)
{
	struct relay *r = arg;

	if (cmd != NULL)
		pass_back(r, cmd);
	else
		conn_answer(r->asker, &r->id, RES_CONSUME_MSG_TIMEOUT, "consumer %s Timeout: %s", r->who, why);
	conn_unref(&r->asker);
	free(r->who);
	free(r);
}

void
relay_begin(struct call_out *o, struct broker *b, struct conn *to, struct conn *asker, const struct request_id *id, const char *who)
{
	struct relay *r = xcalloc(1, sizeof *r);

	r->asker = asker;
	conn_ref(asker);
	r->id = *id;
	r->who = xstrdup(who);
	call_begin(o, b->calls, to, id->code, RELAY_MS, on_answer, r);
}

static bool
is_one_of(struct slice name, const char *const names[])
{
	for (; names != NULL && *names != NULL; names++)
		if (slice_is(name, *names))
			return true;
	return false;
}

void
relay_fields(struct call_out *o, const struct command *cmd, const char *const but[])
{
	char name[NAME_MAX_BYTES];

	for (unsigned i = 0; i < cmd->field_count; i++) {
		const struct field *f = &cmd->fields[i];

		if (f->name.n == 0 || f->name.n >= sizeof name || is_one_of(f->name, but))
			continue;
		memcpy(name, f->name.p, f->name.n);
		name[f->name.n] = '\0';
		frame_field(&o->f, name, f->value);
	}
}
