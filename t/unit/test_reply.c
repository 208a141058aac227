/*
 * Replies to request messages, and the two queries.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/unit/broker_fixture.h"

static struct fixture f;
static int asker, consumer;

static void
heartbeat(int fd, const char *client_id)
{
	struct ask a;
	struct got g;
	char *body = xasprintf("{\"clientID\":\"%s\",\"producerDataSet\":[{\"groupName\":\"PG\"}],\"consumerDataSet\":[]}", client_id);

	ask_begin(&a, REQ_HEART_BEAT, 1);
	ask_send(&a, &f, fd, body, strlen(body));
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	free(body);
}

static void
begin(void)
{
	fixture_start(&f, NULL);
	asker = fixture_connect(&f);
	consumer = fixture_connect(&f);
	heartbeat(asker, "asker-1");
}

static void
end(void)
{
	close(asker);
	close(consumer);
	fixture_stop(&f);
}

static void
send_reply(const char *props)
{
	struct ask a;

	ask_begin(&a, REQ_SEND_REPLY_MESSAGE_V2, 55);
	ask_field(&a, "a", "CG");
	ask_field(&a, "b", "test_REPLY_TOPIC");
	ask_field(&a, "c", "TBW102");
	ask_field(&a, "d", "4");
	ask_field(&a, "e", "0");
	ask_field(&a, "f", "0");
	ask_field(&a, "g", "5");
	ask_field(&a, "h", "3");
	ask_field(&a, "i", props);
	ask_send(&a, &f, consumer, "the answer", 10);
}

static void
confirm_push(int32_t opaque, int code)
{
	struct request_id id = {.opaque = opaque, .codec = CODEC_JSON};
	struct frame_out out;
	struct buf b = {0};

	frame_begin_response(&out, &b, &id, code);
	frame_end(&out, 0);
	CU_ASSERT_EQUAL(send(asker, b.p, b.len, 0), (ssize_t)b.len);
	buf_free(&b);
	fixture_turns(&f, 3);
}

static void
answered(int code, const char *words)
{
	struct got g;

	CU_ASSERT_FATAL(got_read(&g, &f, consumer));
	CU_ASSERT_EQUAL(g.cmd.code, code);
	CU_ASSERT_EQUAL(g.cmd.opaque, 55);
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), words);
	if (code == RES_SUCCESS)
		CU_ASSERT_EQUAL(strlen(got_text(&g, "msgId")), 32);
	got_free(&g);
}

static int64_t
replies_stored(void)
{
	struct store_queue *q = store_queue_find(f.b->store, SLICE_LIT("test_REPLY_TOPIC"), 0);

	return q == NULL ? 0 : queue_max(q);
}

#define REPLY_PROPS "CORRELATION_ID\1c1\2REPLY_TO_CLIENT\1asker-1\2MSG_TYPE\1reply\2"

static void
reply_is_pushed_and_stored(void)
{
	struct got g;

	begin();
	send_reply(REPLY_PROPS);
	CU_ASSERT_FATAL(got_read(&g, &f, asker));
	CU_ASSERT_EQUAL(g.cmd.code, REQ_PUSH_REPLY_MESSAGE_TO_CLIENT);
	CU_ASSERT(slice_is(g.cmd.body, "the answer"));
	CU_ASSERT(slice_is(props_get(field_get(&g.cmd, "properties"), "CORRELATION_ID"), "c1"));
	CU_ASSERT(props_get(field_get(&g.cmd, "properties"), "PUSH_REPLY_TIME").n > 0);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "flag"), "3");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "storeHost"), f.b->store_host_text);
	confirm_push(g.cmd.opaque, RES_SUCCESS);
	got_free(&g);
	answered(RES_SUCCESS, "");
	CU_ASSERT_EQUAL(replies_stored(), 1);
	end();
}

static void
failed_push_is_told_and_stored_all_the_same(void)
{
	struct got g;

	begin();
	send_reply("CORRELATION_ID\1c1\2REPLY_TO_CLIENT\1nobody\2");
	answered(RES_SYSTEM_ERROR, "push reply message fail, channel of <nobody> not found.");
	send_reply("CORRELATION_ID\1c1\2");
	answered(RES_SYSTEM_ERROR, "reply message properties[REPLY_TO_CLIENT] is null");
	send_reply(REPLY_PROPS);
	CU_ASSERT_FATAL(got_read(&g, &f, asker));
	confirm_push(g.cmd.opaque, RES_SYSTEM_ERROR);
	got_free(&g);
	answered(RES_SYSTEM_ERROR, "push reply message to asker-1fail.");
	CU_ASSERT_EQUAL(replies_stored(), 3);
	end();
}

static void
asker_that_goes_away_is_an_error(void)
{
	struct got g;

	begin();
	send_reply(REPLY_PROPS);
	CU_ASSERT_FATAL(got_read(&g, &f, asker));
	got_free(&g);
	close(asker);
	fixture_turns(&f, 4);
	answered(RES_SYSTEM_ERROR, "push reply message to asker-1fail.");
	asker = fixture_connect(&f);
	end();
}

/* A part of the index that was never looked at is not in memory. */
static void
be_warm(void)
{
	struct ipc_msg m;
	int64_t ask, at, n;
	char page[8192];
	int file;

	while (ipc_recv(f.warm_fd, &m) == RC_OK) {
		CU_ASSERT_EQUAL_FATAL(m.type, IPC_BROKER_WARM_FILE);
		ask = ipc_i64(&m);
		file = open(ipc_str(&m), O_RDONLY);
		at = ipc_i64(&m);
		for (n = ipc_i64(&m); n > 0; n -= (int64_t)sizeof(page), at += (int64_t)sizeof(page))
			CU_ASSERT(pread(file, page, sizeof(page), at) >= 0);
		ipc_end(&m);
		close(file);
		CU_ASSERT_EQUAL(ipc_send(f.warm_fd, IPC_WARM_BROKER_DONE, ask, (int32_t)0), RC_OK);
		fixture_turns(&f, 2);
	}
}

static void
ask_for(const char *key, bool unique)
{
	struct ask a;

	ask_begin(&a, REQ_QUERY_MESSAGE, 6);
	ask_field(&a, "topic", "T1");
	ask_field(&a, "key", key);
	ask_field(&a, "maxNum", unique ? "1" : "10");
	ask_field(&a, "beginTimestamp", "0");
	ask_field(&a, "endTimestamp", "9999999999999");
	ask_field(&a, "_UNIQUE_KEY_QUERY", unique ? "true" : "false");
	ask_send(&a, &f, consumer, NULL, 0);
}

static bool
query(const char *key, bool unique, struct got *g)
{
	ask_for(key, unique);
	be_warm();
	return got_read(g, &f, consumer);
}

static void
a_warm_that_brings_nothing_does_not_keep_a_query_for_ever(void)
{
	struct ipc_msg m;
	struct got g;

	begin();
	CU_ASSERT_FATAL(send_one(&f, consumer, "T1", 0, "KEYS\1k1\2UNIQ_KEY\1U1\2", "keyed", &g));
	got_free(&g);
	ask_for("nothing", false);
	for (int i = 0; i < 400; i++, fixture_turns(&f, 1))
		if (ipc_recv(f.warm_fd, &m) == RC_OK)
			CU_ASSERT_EQUAL(ipc_send(f.warm_fd, IPC_WARM_BROKER_DONE, ipc_i64(&m), (int32_t)0), RC_OK);
	CU_ASSERT_FATAL(got_read(&g, &f, consumer));
	CU_ASSERT_EQUAL(g.cmd.code, RES_QUERY_NOT_FOUND);
	got_free(&g);
	end();
}

static void
messages_are_found_by_key_and_place(void)
{
	struct message m;
	struct ask a;
	struct got g;

	begin();
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_FATAL(send_one(&f, consumer, "T1", 0, "KEYS\1k1 k2\2UNIQ_KEY\1U1\2", "keyed", &g));
		got_free(&g);
	}
	CU_ASSERT_FATAL(query("k2", false, &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT_FATAL(message_decode(&m, g.cmd.body.p, g.cmd.body.n, true) == RC_OK);
	CU_ASSERT_EQUAL(g.cmd.body.n, 3 * (size_t)m.size);
	CU_ASSERT(field_i64(&g.cmd, "indexLastUpdateTimestamp", 0) > 0);
	got_free(&g);
	CU_ASSERT_FATAL(query("U1", true, &g));
	CU_ASSERT_EQUAL(g.cmd.body.n, 3 * (size_t)m.size);
	got_free(&g);
	CU_ASSERT_FATAL(query("nothing", false, &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_QUERY_NOT_FOUND);
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), "can not find message, maybe time range not correct");
	got_free(&g);
	ask_begin(&a, REQ_VIEW_MESSAGE_BY_ID, 6);
	ask_field_i64(&a, "offset", 0);
	ask_send(&a, &f, consumer, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, consumer));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT(message_decode(&m, g.cmd.body.p, g.cmd.body.n, true) == RC_OK && slice_is(m.body, "keyed"));
	got_free(&g);
	ask_begin(&a, REQ_VIEW_MESSAGE_BY_ID, 6);
	ask_field_i64(&a, "offset", 5);
	ask_send(&a, &f, consumer, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, consumer));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SYSTEM_ERROR);
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), "can not find message by the offset, 5");
	got_free(&g);
	end();
}

TEST_MAIN("broker/reply and query", TEST(reply_is_pushed_and_stored), TEST(failed_push_is_told_and_stored_all_the_same),
    TEST(asker_that_goes_away_is_an_error), TEST(messages_are_found_by_key_and_place),
    TEST(a_warm_that_brings_nothing_does_not_keep_a_query_for_ever))
