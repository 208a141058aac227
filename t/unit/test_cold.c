/*
 * Pulls that wait for warm: asked once, answered when warm is done, refused when the disk cannot be read, never lost.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/cold.h"

static struct fixture f;
static int fd;
static struct conn *conn;
static const struct pull pull = {.group = {"CG", 2}, .topic = {"T1", 2}, .sub = {"*", 1}, .max = 32, .sys_flag = PULL_OWN_SUB, .first = true};
static struct cold_list list = {.count = 1, .range = {{.at = 4096, .len = 8192}}};
static const struct request_id id = {.opaque = 77, .code = REQ_PULL_MESSAGE, .codec = CODEC_JSON};

static void
take_conn(struct conn *c, void *arg)
{
	(void)arg;
	conn = c;
}

static void
begin(void)
{
	struct got g;

	fixture_start(&f, NULL);
	clock_set_made(1700000000000);
	fd = fixture_connect(&f);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "body", &g));
	got_free(&g);
	conn_set_each(&f.b->conns, take_conn, NULL);
}

static void
end(void)
{
	close(fd);
	fixture_stop(&f);
	clock_set_made(-1);
}

/* The ask that warm would get; -1: none. */
static int64_t
ask_came(int64_t *at, int64_t *len)
{
	struct ipc_msg m;
	int64_t ask;

	if (ipc_recv(f.warm_fd, &m) != RC_OK)
		return -1;
	CU_ASSERT_EQUAL_FATAL(m.type, IPC_BROKER_WARM_RANGE);
	ask = ipc_i64(&m);
	*at = ipc_i64(&m);
	*len = ipc_i64(&m);
	ipc_end(&m);
	return ask;
}

static void
answer_is(int code)
{
	struct got g;

	fixture_turns(&f, 2);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, code);
	CU_ASSERT_EQUAL(g.cmd.opaque, 77);
	got_free(&g);
}

static void
warmed_pull_is_answered(void)
{
	int64_t ask, at, len;

	begin();
	CU_ASSERT_EQUAL(cold_add(f.b->cold, conn, &id, &pull, &list), RC_OK);
	ask = ask_came(&at, &len);
	CU_ASSERT_EQUAL(at, 4096);
	CU_ASSERT_EQUAL(len, 8192);
	CU_ASSERT_EQUAL(cold_count(f.b->cold), 1);
	CU_ASSERT(ipc_send(f.warm_fd, IPC_WARM_BROKER_DONE, ask, (int32_t)0) == RC_OK);
	answer_is(RES_SUCCESS);
	CU_ASSERT_EQUAL(cold_count(f.b->cold), 0);
	cold_done(f.b->cold, ask, 0); /* said twice: nothing more comes */
	end();
}

static void
unreadable_disk_is_an_error(void)
{
	int64_t ask, at, len;

	begin();
	CU_ASSERT_EQUAL(cold_add(f.b->cold, conn, &id, &pull, &list), RC_OK);
	ask = ask_came(&at, &len);
	cold_done(f.b->cold, ask, EIO);
	answer_is(RES_SYSTEM_ERROR);
	end();
}

static void
lost_ask_is_taken_up_again(void)
{
	int64_t at, len;

	begin();
	CU_ASSERT_EQUAL(cold_add(f.b->cold, conn, &id, &pull, &list), RC_OK);
	CU_ASSERT(ask_came(&at, &len) >= 0);
	clock_advance_ms(2000);
	cold_second(f.b->cold);
	CU_ASSERT_EQUAL(cold_count(f.b->cold), 1);
	clock_advance_ms(2000);
	cold_second(f.b->cold); /* runs it again; what it asks for is in memory, so it is answered */
	answer_is(RES_SUCCESS);
	CU_ASSERT_EQUAL(cold_count(f.b->cold), 0);
	end();
}

static void
too_many_are_refused_and_closed_ones_forgotten(void)
{
	int64_t at, len;
	int taken = 0;

	begin();
	while (cold_add(f.b->cold, conn, &id, &pull, &list) == RC_OK) {
		taken++;
		(void)ask_came(&at, &len);
	}
	CU_ASSERT_EQUAL(taken, COLD_MAX);
	close(fd);
	fixture_turns(&f, 3);
	cold_second(f.b->cold);
	CU_ASSERT_EQUAL(cold_count(f.b->cold), 0);
	fd = fixture_connect(&f);
	end();
}

static int ready_times, ready_error;

static void
ready(void *arg, int error)
{
	CU_ASSERT_PTR_EQUAL(arg, &ready_times);
	ready_times++;
	ready_error = error;
}

static void
anything_else_can_wait_for_warm_too(void)
{
	int64_t ask, at, len;

	begin();
	ready_times = 0;
	CU_ASSERT_EQUAL(cold_wait(f.b->cold, 4096, 8192, ready, &ready_times), RC_OK);
	ask = ask_came(&at, &len);
	CU_ASSERT_EQUAL(at, 4096);
	CU_ASSERT_EQUAL(len, 8192);
	CU_ASSERT(ipc_send(f.warm_fd, IPC_WARM_BROKER_DONE, ask, (int32_t)EIO) == RC_OK);
	fixture_turns(&f, 3);
	CU_ASSERT_EQUAL(ready_times, 1);
	CU_ASSERT_EQUAL(ready_error, EIO);
	CU_ASSERT_EQUAL(cold_wait(f.b->cold, 0, 1, ready, &ready_times), RC_OK);
	clock_advance_ms(4000);
	cold_second(f.b->cold); /* warm has lost it: slow is better than never */
	CU_ASSERT_EQUAL(ready_times, 2);
	CU_ASSERT_EQUAL(ready_error, 0);
	CU_ASSERT_EQUAL(cold_count(f.b->cold), 0);
	CU_ASSERT_EQUAL(cold_wait(f.b->cold, 0, 1, ready, &ready_times), RC_OK);
	end();
	CU_ASSERT_EQUAL(ready_times, 3);
	CU_ASSERT_EQUAL(ready_error, ECANCELED);
}

TEST_MAIN("broker/cold", TEST(warmed_pull_is_answered), TEST(unreadable_disk_is_an_error), TEST(lost_ask_is_taken_up_again),
    TEST(too_many_are_refused_and_closed_ones_forgotten), TEST(anything_else_can_wait_for_warm_too))
