/*
 * Registration: what a name server gets, what its answers do, leaving, a name server that comes later. The name server is a plain
 * socket of the test.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/crc.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/announce.h"
#include "workers/broker/known.h"
#include "workers/broker/topics.h"

#define PORT_FIRST 20000
#define PORT_COUNT 900
#define TURNS_MAX  20000

static struct fixture f;
static int listen_fd = -1, ns_fd = -1, ns_port;

static void
open_namesrv(void)
{
	struct err e;

	for (ns_port = PORT_FIRST + (int)(getpid() % PORT_COUNT); ns_port < PORT_FIRST + 2 * PORT_COUNT; ns_port++)
		if (sock_listen("127.0.0.1", ns_port, &listen_fd, &e) == RC_OK)
			return;
	CU_FAIL_FATAL("no free port");
}

/* Timers of some milliseconds are waited for by turning; a turn waits for events at most a millisecond. */
static void
turn(void)
{
	fixture_turns(&f, 1);
	usleep(200);
}

static bool
accept_broker(void)
{
	for (int i = 0; i < TURNS_MAX; i++) {
		ns_fd = accept(listen_fd, NULL, NULL);
		if (ns_fd >= 0)
			return true;
		turn();
	}
	return false;
}

static bool
next_request(struct got *g, int code)
{
	for (int i = 0; i < TURNS_MAX / 400; i++) {
		if (!got_read(g, &f, ns_fd)) {
			turn();
			continue;
		}
		if (g->cmd.code == code)
			return true;
		got_free(g);
	}
	return false;
}

static void
answer(struct got *g, int code, const char *body)
{
	struct request_id id;
	struct frame_out out;
	struct buf b = {0};

	request_id_of(&id, &g->cmd);
	frame_begin_response(&out, &b, &id, code);
	frame_field(&out, "masterAddr", slice_of("10.0.0.1:10911"));
	frame_field(&out, "haServerAddr", slice_of("10.0.0.1:10912"));
	frame_end(&out, strlen(body));
	buf_put_str(&b, body);
	CU_ASSERT_EQUAL(send(ns_fd, b.p, b.len, MSG_NOSIGNAL), (ssize_t)b.len);
	buf_free(&b);
	got_free(g);
	fixture_turns(&f, 5);
}

static void
begin(void)
{
	static char setting[64];
	const char *settings[] = {setting, NULL};

	open_namesrv();
	snprintf(setting, sizeof setting, "namesrvAddr=127.0.0.1:%d", ns_port);
	fixture_start(&f, settings);
}

static void
end(void)
{
	if (ns_fd >= 0)
		close(ns_fd);
	close(listen_fd);
	ns_fd = listen_fd = -1;
	fixture_stop(&f);
}

static void
the_registration_carries_the_whole_table(void)
{
	struct got g;

	begin();
	CU_ASSERT_FATAL(accept_broker() && next_request(&g, REQ_REGISTER_BROKER));
	CU_ASSERT_STRING_EQUAL(got_text(&g, "brokerName"), "broker-t");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "brokerAddr"), f.b->store_host_text);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "clusterName"), "test");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "brokerId"), "0");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "compressed"), "false");
	CU_ASSERT_EQUAL(field_i64(&g.cmd, "bodyCrc32", -1), crc32_of(g.cmd.body.p, g.cmd.body.n) & 0x7fffffff);
	CU_ASSERT_TRUE(slice_starts(g.cmd.body, "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{\"dataVersion\":{\"counter\":"));
	CU_ASSERT_PTR_NOT_NULL(memmem(g.cmd.body.p, g.cmd.body.n, "\"BenchmarkTest\":{", 17));
	answer(&g, RES_SUCCESS, "");
	CU_ASSERT_STRING_EQUAL(announce_master_addr(f.b->announce), "10.0.0.1:10911");
	CU_ASSERT_STRING_EQUAL(announce_master_ha_addr(f.b->announce), "10.0.0.1:10912");
	CU_ASSERT_PTR_NOT_NULL(announce_conn(f.b->announce));
	end();
}

/* As got_read, for what may take a second. */
static bool
got_wait(struct got *g, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	for (int i = 0; i < TURNS_MAX && poll(&p, 1, 0) == 0; i++)
		turn();
	return got_read(g, &f, fd);
}

static void
a_new_topic_is_known_before_its_producer_has_the_answer(void)
{
	struct got g, other;
	int fd;

	begin();
	CU_ASSERT_FATAL(accept_broker() && next_request(&g, REQ_REGISTER_BROKER));
	answer(&g, RES_SUCCESS, "");
	fd = fixture_connect(&f);
	send_only(&f, fd, "New1", 0, NULL, "x", 7);
	CU_ASSERT_EQUAL(known_count(f.b->known), 1);
	CU_ASSERT_FATAL(next_request(&g, REQ_REGISTER_BROKER));
	CU_ASSERT_PTR_NOT_NULL(memmem(g.cmd.body.p, g.cmd.body.n, "\"New1\":{", 8));
	CU_ASSERT_FALSE(got_read(&other, &f, fd));
	send_only(&f, fd, "New1", 0, NULL, "x", 8); /* it has been made: this one does not wait */
	CU_ASSERT_FATAL(got_read(&other, &f, fd));
	CU_ASSERT_EQUAL(other.cmd.opaque, 8);
	got_free(&other);
	answer(&g, RES_SUCCESS, "");
	CU_ASSERT_FATAL(got_read(&other, &f, fd));
	CU_ASSERT_EQUAL(other.cmd.opaque, 7);
	CU_ASSERT_EQUAL(other.cmd.code, RES_SUCCESS);
	CU_ASSERT_STRING_EQUAL(got_text(&other, "queueOffset"), "0");
	got_free(&other);
	CU_ASSERT_EQUAL(known_count(f.b->known), 0);
	close(fd);
	end();
}

static void
a_name_server_that_is_silent_or_gone_holds_up_nobody_for_long(void)
{
	struct got g;
	int fd;

	begin();
	CU_ASSERT_FATAL(accept_broker() && next_request(&g, REQ_REGISTER_BROKER));
	answer(&g, RES_SUCCESS, "");
	fd = fixture_connect(&f);
	send_only(&f, fd, "New1", 0, NULL, "x", 7);
	CU_ASSERT_FATAL(got_wait(&g, fd)); /* it never answers */
	CU_ASSERT_EQUAL(g.cmd.opaque, 7);
	got_free(&g);
	send_only(&f, fd, "New2", 0, NULL, "x", 8);
	CU_ASSERT_EQUAL(known_count(f.b->known), 1);
	close(ns_fd);
	ns_fd = -1;
	CU_ASSERT_FATAL(got_wait(&g, fd));
	CU_ASSERT_EQUAL(g.cmd.opaque, 8);
	got_free(&g);
	send_only(&f, fd, "New3", 0, NULL, "x", 9); /* there is none to wait for */
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.opaque, 9);
	got_free(&g);
	close(fd);
	end();
}

static void
many_new_topics_make_one_registration_soon(void)
{
	struct topic *t;
	struct got g;
	char name[32];

	begin();
	CU_ASSERT_FATAL(accept_broker() && next_request(&g, REQ_REGISTER_BROKER));
	answer(&g, RES_SUCCESS, "");
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "N%d", i);
		CU_ASSERT_EQUAL(topic_for_send(f.b->topics, slice_of(name), slice_of("TBW102"), 4, false, &t), RC_OK);
	}
	CU_ASSERT_FATAL(next_request(&g, REQ_REGISTER_BROKER));
	CU_ASSERT_PTR_NOT_NULL(memmem(g.cmd.body.p, g.cmd.body.n, "\"N0\":{", 6));
	CU_ASSERT_PTR_NOT_NULL(memmem(g.cmd.body.p, g.cmd.body.n, "\"N49\":{", 7));
	answer(&g, RES_SUCCESS, "");
	CU_ASSERT_FALSE(got_read(&g, &f, ns_fd));
	end();
}

static void
a_change_during_a_registration_is_registered_after_it(void)
{
	struct topic *t;
	struct got first, g;

	begin();
	CU_ASSERT_FATAL(accept_broker() && next_request(&first, REQ_REGISTER_BROKER));
	CU_ASSERT_EQUAL(topic_for_send(f.b->topics, slice_of("N"), slice_of("TBW102"), 4, false, &t), RC_OK);
	for (int i = 0; i < 100; i++)
		turn();
	CU_ASSERT_FALSE(got_read(&g, &f, ns_fd));
	answer(&first, RES_SUCCESS, "");
	CU_ASSERT_FATAL(next_request(&g, REQ_REGISTER_BROKER));
	CU_ASSERT_PTR_NOT_NULL(memmem(g.cmd.body.p, g.cmd.body.n, "\"N\":{", 5));
	answer(&g, RES_SUCCESS, "");
	end();
}

static void
order_topics_of_the_answer_are_marked(void)
{
	struct topic *t;
	struct got g;

	begin();
	CU_ASSERT_EQUAL(topic_for_send(f.b->topics, slice_of("O"), slice_of("TBW102"), 4, false, &t), RC_OK);
	CU_ASSERT_FATAL(accept_broker() && next_request(&g, REQ_REGISTER_BROKER));
	answer(&g, RES_SUCCESS, "{\"table\":{\"O\":\"broker-t:4\",\"unknown\":\"x\"}}");
	CU_ASSERT_TRUE(topic_find(f.b->topics, slice_of("O"))->order);
	CU_ASSERT_FALSE(topic_find(f.b->topics, slice_of("TBW102"))->order);
	end();
}

static void
a_lost_connection_is_made_again(void)
{
	struct got g;

	begin();
	CU_ASSERT_FATAL(accept_broker() && next_request(&g, REQ_REGISTER_BROKER));
	answer(&g, RES_SUCCESS, "");
	close(ns_fd);
	CU_ASSERT_FATAL(accept_broker() && next_request(&g, REQ_REGISTER_BROKER));
	answer(&g, RES_SUCCESS, "");
	end();
}

static void
note_done(void *arg)
{
	*(bool *)arg = true;
}

static void
leaving_unregisters_and_says_when_it_is_done(void)
{
	struct got g;
	bool done = false;

	begin();
	CU_ASSERT_FATAL(accept_broker() && next_request(&g, REQ_REGISTER_BROKER));
	answer(&g, RES_SUCCESS, "");
	announce_leave(f.b->announce, note_done, &done);
	CU_ASSERT_FALSE(done);
	CU_ASSERT_FATAL(next_request(&g, REQ_UNREGISTER_BROKER));
	CU_ASSERT_STRING_EQUAL(got_text(&g, "brokerName"), "broker-t");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "brokerId"), "0");
	CU_ASSERT_FALSE(done);
	answer(&g, RES_SUCCESS, "");
	CU_ASSERT_TRUE(done);
	announce_changed(f.b->announce);
	for (int i = 0; i < 100; i++)
		turn();
	CU_ASSERT_FALSE(got_read(&g, &f, ns_fd));
	end();
}

static void
without_name_servers_leaving_is_done_at_once(void)
{
	bool done = false;

	fixture_start(&f, NULL);
	announce_leave(f.b->announce, note_done, &done);
	CU_ASSERT_FALSE(done);
	for (int i = 0; i < 100 && !done; i++)
		turn();
	CU_ASSERT_TRUE(done);
	fixture_stop(&f);
}

static void
closed_permissions_show_in_the_table(void)
{
	struct got g;
	static const struct slice wanted = SLICE_LIT("\"TBW102\":{\"attributes\":{},\"order\":false,\"perm\":4,");

	begin();
	CU_ASSERT_FATAL(accept_broker() && next_request(&g, REQ_REGISTER_BROKER));
	answer(&g, RES_SUCCESS, "");
	f.b->conf->brokerPermission = PERM_READ;
	topics_touch(f.b->topics);
	CU_ASSERT_FATAL(next_request(&g, REQ_REGISTER_BROKER));
	CU_ASSERT_PTR_NOT_NULL(memmem(g.cmd.body.p, g.cmd.body.n, wanted.p, wanted.n));
	answer(&g, RES_SUCCESS, "");
	end();
}

TEST_MAIN("broker/announce", TEST(the_registration_carries_the_whole_table), TEST(many_new_topics_make_one_registration_soon),
    TEST(a_change_during_a_registration_is_registered_after_it), TEST(order_topics_of_the_answer_are_marked),
    TEST(a_lost_connection_is_made_again), TEST(leaving_unregisters_and_says_when_it_is_done),
    TEST(without_name_servers_leaving_is_done_at_once), TEST(closed_permissions_show_in_the_table),
    TEST(a_new_topic_is_known_before_its_producer_has_the_answer),
    TEST(a_name_server_that_is_silent_or_gone_holds_up_nobody_for_long))
