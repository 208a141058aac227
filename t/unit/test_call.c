/*
 * test_call: our own requests: answered, too late, never, on connections that end.
 */
#include "wire.h"

#include "remoting/call.h"

/* A set that calls itself: `ours` is our end of a connection whose other end is in the same set. */
struct caller {
	struct wire w;
	struct calls *calls;
	struct conn *ours;
	struct conn *peer;
	struct request_id held;
	bool answer; /* requests at once */
	int done, strays;
	int code; /* of the last answer; -1: none */
	char why[256];
};

static void
count_done(void *arg, struct command *cmd, const char *why)
{
	struct caller *k = arg;

	k->done++;
	k->code = cmd ? cmd->code : -1;
	snprintf(k->why, sizeof(k->why), "%s", why ? why : "");
}

static void
caller_command(struct wire *w, struct conn *c, struct command *cmd)
{
	struct caller *k = w->test;

	if (command_is_response(cmd)) {
		if (!call_answered(k->calls, c, cmd))
			k->strays++;
		return;
	}
	request_id_of(&k->held, cmd);
	k->peer = c;
	if (k->answer)
		conn_answer(c, &k->held, RES_NO_PERMISSION, "no");
}

static void
caller_close(struct wire *w, struct conn *c, const char *why)
{
	struct caller *k = w->test;

	call_conn_closed(k->calls, c, why);
}

static void
caller_start(struct caller *k)
{
	struct addr a;
	struct err e;

	*k = (struct caller){.answer = true};
	clock_set_made(1700000000000);
	wire_start(&k->w);
	k->w.test = k;
	k->w.on_command = caller_command;
	k->w.on_close = caller_close;
	k->calls = calls_new(k->w.loop);
	a = wire_addr(&k->w);
	CU_ASSERT_EQUAL_FATAL(conn_open(&k->w.set, &a, &k->ours, &e), RC_OK);
	CU_ASSERT_FATAL(turns_until(&k->w, k->w.opened == 2));
}

static void
caller_stop(struct caller *k)
{
	conn_unref(&k->ours);
	conn_set_free(&k->w.set);
	calls_free(&k->calls);
	close(k->w.listen_fd);
	ev_loop_destroy(k->w.loop);
	clock_set_made(-1);
}

static void
begin_call(struct caller *k, int64_t timeout_ms, call_done *done)
{
	struct call_out o;

	call_begin(&o, k->calls, k->ours, REQ_GET_BROKER_CONFIG, timeout_ms, done, k);
	frame_field(&o.f, "x", SLICE_LIT("y"));
	call_end(&o, SLICE_LIT("body"));
}

static void
answer_reaches_its_call(void)
{
	struct caller k;

	caller_start(&k);
	begin_call(&k, 1000, count_done);
	CU_ASSERT(turns_until(&k.w, k.done == 1));
	CU_ASSERT_EQUAL(k.code, RES_NO_PERMISSION);
	caller_stop(&k);
	CU_ASSERT_EQUAL(k.done, 1);
}

/* The timer is libev's own; the deadline is the made clock's. A real twentieth of a second passes at most. */
static bool
timer_until_done(struct caller *k, int count)
{
	for (int i = 0; i < 100 && k->done < count; i++) {
		ev_run(k->w.loop, EVRUN_ONCE);
		conn_set_flush(&k->w.set);
	}
	return k->done == count;
}

static void
call_without_an_answer_times_out(void)
{
	struct caller k;

	caller_start(&k);
	k.answer = false;
	begin_call(&k, 1000, count_done);
	CU_ASSERT(turns_until(&k.w, k.peer != NULL));
	CU_ASSERT_EQUAL(k.done, 0);
	clock_advance_ms(1001);
	CU_ASSERT(timer_until_done(&k, 1));
	CU_ASSERT_STRING_EQUAL(k.why, "no answer in time");
	/* the answer that comes now is nobody's */
	conn_answer(k.peer, &k.held, RES_SUCCESS, NULL);
	CU_ASSERT(turns_until(&k.w, k.strays == 1));
	CU_ASSERT_EQUAL(k.done, 1);
	caller_stop(&k);
}

static void
calls_end_with_their_connection(void)
{
	struct caller k;

	caller_start(&k);
	k.answer = false;
	begin_call(&k, 1000, count_done);
	begin_call(&k, 1000, count_done);
	CU_ASSERT(turns_until(&k.w, k.peer != NULL));
	conn_close(k.peer, "the test ends it");
	CU_ASSERT(turns_until(&k.w, k.done == 2));
	CU_ASSERT_STRING_EQUAL(k.why, "the peer closed the connection");
	caller_stop(&k);
}

static void
call_on_a_closed_connection_ends_later_not_at_once(void)
{
	struct caller k;

	caller_start(&k);
	conn_close(k.ours, "the test ends it");
	CU_ASSERT(turns_until(&k.w, k.w.closed == 2));
	begin_call(&k, 1000, count_done);
	CU_ASSERT_EQUAL(k.done, 0);
	CU_ASSERT(timer_until_done(&k, 1));
	CU_ASSERT_STRING_EQUAL(k.why, "the connection is closed");
	caller_stop(&k);
}

static void
one_way_request_waits_for_nothing(void)
{
	struct caller k;

	caller_start(&k);
	begin_call(&k, 1000, NULL);
	CU_ASSERT(turns_until(&k.w, k.peer != NULL));
	CU_ASSERT(k.held.oneway);
	caller_stop(&k);
	CU_ASSERT_EQUAL(k.strays, 0);
}

static void
open_calls_end_with_the_table(void)
{
	struct caller k;

	caller_start(&k);
	k.answer = false;
	begin_call(&k, 1000, count_done);
	calls_free(&k.calls);
	CU_ASSERT_EQUAL(k.done, 1);
	CU_ASSERT_STRING_EQUAL(k.why, "this side stops");
	k.calls = calls_new(k.w.loop);
	caller_stop(&k);
}

static void
call_again(void *arg, struct command *cmd, const char *why)
{
	struct caller *k = arg;

	count_done(k, cmd, why);
	if (k->done < 5)
		begin_call(k, 1000, call_again);
}

static void
next_call_may_begin_where_one_ends(void)
{
	struct caller k;

	caller_start(&k);
	begin_call(&k, 1000, call_again);
	CU_ASSERT(turns_until(&k.w, k.done == 5));
	caller_stop(&k);
}

TEST_MAIN("remoting/call", TEST(answer_reaches_its_call), TEST(call_without_an_answer_times_out),
	  TEST(calls_end_with_their_connection), TEST(call_on_a_closed_connection_ends_later_not_at_once),
	  TEST(one_way_request_waits_for_nothing), TEST(open_calls_end_with_the_table),
	  TEST(next_call_may_begin_where_one_ends))
