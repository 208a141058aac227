/*
 * call: requests of ours that wait for their answers.
 *
 * Open calls are found by their opaque number, which is unique in the process; one timer looks for those whose time is
 * over.
 */
#include "remoting/call.h"

#include <uthash.h>

#include "common/clock.h"
#include "common/mem.h"

#define TICK_S 0.05

struct call {
	int32_t opaque;
	struct conn *conn; /* holds a reference */
	call_done *done;
	void *arg;
	int64_t deadline_ms;
	UT_hash_handle hh;
};

struct calls {
	struct ev_loop *loop;
	struct call *open;
	int32_t last;
	ev_timer tick;
};

/* Ends one call. It is out of the table before done runs, which may begin others. */
static void
finish(struct calls *cs, struct call *k, struct command *cmd, const char *why)
{
	HASH_DEL(cs->open, k);
	k->done(k->arg, cmd, why);
	conn_unref(&k->conn);
	free(k);
	if (cs->open == NULL)
		ev_timer_stop(cs->loop, &cs->tick);
}

/* One call whose time is over, or NULL. done may change the table, so the search begins anew each time. */
static struct call *
find_overdue(struct calls *cs, int64_t now)
{
	struct call *k, *tmp;

	HASH_ITER (hh, cs->open, k, tmp)
		if (k->deadline_ms <= now)
			return k;
	return NULL;
}

static void
tick_cb(struct ev_loop *loop, ev_timer *w, int revents)
{
	struct calls *cs = w->data;
	int64_t now = clock_mono_ms();
	struct call *k;

	(void)loop;
	(void)revents;
	while ((k = find_overdue(cs, now)) != NULL)
		finish(cs, k, NULL, k->conn->closed ? "the connection is closed" : "no answer in time");
}

struct calls *
calls_new(struct ev_loop *loop)
{
	struct calls *cs = xcalloc(1, sizeof(*cs));

	cs->loop = loop;
	ev_timer_init(&cs->tick, tick_cb, TICK_S, TICK_S);
	cs->tick.data = cs;
	return cs;
}

void
calls_free(struct calls **csp)
{
	struct calls *cs = *csp;

	*csp = NULL;
	if (cs == NULL)
		return;
	while (cs->open)
		finish(cs, cs->open, NULL, "this side stops");
	ev_timer_stop(cs->loop, &cs->tick);
	free(cs);
}

static int32_t
next_opaque(struct calls *cs)
{
	cs->last = cs->last == INT32_MAX ? 1 : cs->last + 1;
	return cs->last;
}

void
call_begin(struct call_out *o, struct calls *cs, struct conn *c, int code, int64_t timeout_ms, call_done *done,
	   void *arg)
{
	o->conn = c;
	o->calls = cs;
	o->done = done;
	o->arg = arg;
	o->timeout_ms = timeout_ms;
	o->opaque = next_opaque(cs);
	frame_begin_request(&o->f, &c->out, CODEC_JSON, code, o->opaque, done == NULL);
}

void
call_end(struct call_out *o, struct slice body)
{
	struct calls *cs = o->calls;
	struct call *k;

	frame_end(&o->f, body.n);
	buf_put_slice(&o->conn->out, body);
	conn_kick(o->conn);
	if (o->done == NULL)
		return;
	k = xcalloc(1, sizeof(*k));
	k->opaque = o->opaque;
	k->conn = o->conn;
	conn_ref(k->conn);
	k->done = o->done;
	k->arg = o->arg;
	/* on a closed connection it ends at the next tick: never within this call */
	k->deadline_ms = o->conn->closed ? 0 : clock_mono_ms() + o->timeout_ms;
	HASH_ADD_INT(cs->open, opaque, k);
	if (!ev_is_active(&cs->tick))
		ev_timer_again(cs->loop, &cs->tick);
}

bool
call_answered(struct calls *cs, struct conn *c, struct command *cmd)
{
	struct call *k;

	if (!command_is_response(cmd))
		return false;
	HASH_FIND_INT(cs->open, &cmd->opaque, k);
	if (k == NULL || k->conn != c)
		return false;
	finish(cs, k, cmd, NULL);
	return true;
}

static struct call *
find_of_conn(struct calls *cs, const struct conn *c)
{
	struct call *k, *tmp;

	HASH_ITER (hh, cs->open, k, tmp)
		if (k->conn == c)
			return k;
	return NULL;
}

void
call_conn_closed(struct calls *cs, struct conn *c, const char *why)
{
	struct call *k;

	while ((k = find_of_conn(cs, c)) != NULL)
		finish(cs, k, NULL, why);
}
