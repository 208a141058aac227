/*
 * Sends: what is answered, what is stored, what is refused and in which words.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/unit/broker_fixture.h"

static struct fixture f;

/* The newest record of the topic's queue 0. */
static bool
last_record(const char *topic, struct message *m)
{
	struct store_queue *q = store_queue_find(f.b->store, slice_of(topic), 0);
	int64_t at, code;
	int32_t size;
	struct slice record;

	return q != NULL && store_unit_at(f.b->store, q, queue_max(q) - 1, &at, &size, &code) == RC_OK &&
	       store_record_at(f.b->store, at, &record) == RC_OK && message_decode(m, record.p, record.n, true) == RC_OK;
}

static void
send_is_answered_and_stored(void)
{
	struct message m;
	struct got g;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, "TAGS\1A\2UNIQ_KEY\1K1\2WAIT\1true\2", "hello", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT_EQUAL(g.cmd.opaque, 7);
	CU_ASSERT(command_is_response(&g.cmd));
	CU_ASSERT_STRING_EQUAL(got_text(&g, "queueId"), "0");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "queueOffset"), "0");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "transactionId"), "K1");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "MSG_REGION"), "DefaultRegion");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "TRACE_ON"), "true");
	CU_ASSERT_EQUAL(strlen(got_text(&g, "msgId")), 32);
	CU_ASSERT_NSTRING_EQUAL(got_text(&g, "msgId"), "7F000001", 8);
	CU_ASSERT_FATAL(last_record("T1", &m));
	CU_ASSERT(slice_is(m.body, "hello"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TAGS"), "A"));
	CU_ASSERT(slice_is(props_get(m.props[0], "MSG_REGION"), "DefaultRegion"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TRACE_ON"), "true"));
	CU_ASSERT(slice_is(props_get(m.props[0], "CLUSTER"), "test"));
	CU_ASSERT_EQUAL(m.born_ms, 1700000000000);
	CU_ASSERT_EQUAL(m.store_host.port, f.port);
	got_free(&g);
	close(fd);
	fixture_stop(&f);
}

static void
missing_unique_key_and_separator_are_added(void)
{
	struct message m;
	struct got g;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, "KEYS\1k\2A\1b", "x", &g));
	CU_ASSERT_EQUAL(strlen(got_text(&g, "transactionId")), 32);
	CU_ASSERT_FATAL(last_record("T1", &m));
	CU_ASSERT(slice_is(props_get(m.props[0], "A"), "b"));
	CU_ASSERT(slice_is(props_get(m.props[0], "UNIQ_KEY"), got_text(&g, "transactionId")));
	CU_ASSERT(slice_is(props_get(m.props[0], "MSG_REGION"), "DefaultRegion"));
	got_free(&g);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, "UNIQ_KEY\1K2\2A\1b", "x", &g));
	got_free(&g);
	CU_ASSERT_FATAL(last_record("T1", &m));
	CU_ASSERT(slice_is(props_get(m.props[0], "A"), "b"));
	CU_ASSERT(slice_is(props_get(m.props[0], "UNIQ_KEY"), "K2"));
	close(fd);
	fixture_stop(&f);
}

static void
names_of_the_broker_are_left_out(void)
{
	struct message m;
	struct got g;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, "POP_CK\1bad\2UNIQ_KEY\1K\2MSG_REGION\1Elsewhere\2B\1c\2", "x", &g));
	got_free(&g);
	CU_ASSERT_FATAL(last_record("T1", &m));
	CU_ASSERT_EQUAL(props_get(m.props[0], "POP_CK").n, 0);
	CU_ASSERT(slice_is(props_get(m.props[0], "MSG_REGION"), "DefaultRegion"));
	CU_ASSERT(slice_is(props_get(m.props[0], "B"), "c"));
	CU_ASSERT_PTR_NULL(memmem(m.props[0].p, m.props[0].n, "Elsewhere", 9));
	close(fd);
	fixture_stop(&f);
}

static void
refused(int fd, const char *topic, int queue, const char *props, const char *body, int code, const char *words)
{
	struct got g;

	CU_ASSERT_FATAL(send_one(&f, fd, topic, queue, props, body, &g));
	CU_ASSERT_EQUAL(g.cmd.code, code);
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), words));
	CU_ASSERT_STRING_EQUAL(got_text(&g, "MSG_REGION"), "DefaultRegion");
	got_free(&g);
}

static void
refusals_have_the_original_code_and_words(void)
{
	static const char *const settings[] = {"autoCreateTopicEnable=false", NULL};
	int fd;

	fixture_start(&f, settings);
	fd = fixture_connect(&f);
	refused(fd, "NoSuch", 0, NULL, "x", RES_TOPIC_NOT_EXIST, "topic[NoSuch] not exist, apply first please!");
	refused(fd, "bad topic", 0, NULL, "x", RES_INVALID_PARAMETER, "");
	refused(fd, "SCHEDULE_TOPIC_XXXX", 0, NULL, "x", RES_NO_PERMISSION, "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.");
	refused(fd, "test", 99, NULL, "x", RES_INVALID_PARAMETER, "request queueId[99] is illegal, TopicConfig [topicName=test, ");
	refused(fd, "test", 0, NULL, "", RES_SYSTEM_ERROR, "java.lang.NullPointerException");
	refused(fd, "test", 0, "UNIQ_KEY\1K\2TIMER_DELAY_SEC\001999999999\2", "x", RES_MESSAGE_ILLEGAL, "timer");
	f.b->conf->rejectTransactionMessage = true;
	refused(fd, "test", 0, "UNIQ_KEY\1K\2TRAN_MSG\1true\2", "x", RES_NO_PERMISSION, "sending transaction message is forbidden");
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.put_failed), 7);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.put_msgs), 0);
	close(fd);
	fixture_stop(&f);
}

static void
too_large_message_is_illegal(void)
{
	static const char *const settings[] = {"maxMessageSize=1000", NULL};
	char body[70000];
	int fd;

	fixture_start(&f, settings);
	fd = fixture_connect(&f);
	memset(body, 'b', sizeof(body));
	body[1001] = '\0';
	refused(fd, "test", 0, NULL, body, RES_MESSAGE_ILLEGAL, "msg body length limit 1000B");
	close(fd);
	fixture_stop(&f);
}

static void
negative_queue_is_chosen_by_the_broker(void)
{
	struct got g;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", -1, NULL, "x", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT(atoi(got_text(&g, "queueId")) >= 0 && atoi(got_text(&g, "queueId")) < 4);
	got_free(&g);
	close(fd);
	fixture_stop(&f);
}

static void
put_batch_item(struct buf *b, const char *body, const char *props)
{
	buf_put_be32(b, (uint32_t)(22 + strlen(body) + strlen(props)));
	buf_put_be32(b, 0);
	buf_put_be32(b, 0);
	buf_put_be32(b, 5);
	buf_put_be32(b, (uint32_t)strlen(body));
	buf_put_str(b, body);
	buf_put_be16(b, (uint16_t)strlen(props));
	buf_put_str(b, props);
}

static bool
send_batch(int fd, const char *topic, const struct buf *body, struct got *g)
{
	struct ask a;

	ask_begin(&a, REQ_SEND_BATCH_MESSAGE, 8);
	ask_field(&a, "a", "PG");
	ask_field(&a, "b", topic);
	ask_field(&a, "c", "TBW102");
	ask_field(&a, "d", "4");
	ask_field(&a, "e", "0");
	ask_field(&a, "f", "0");
	ask_field(&a, "g", "1700000000000");
	ask_field(&a, "h", "0");
	ask_field(&a, "i", "WAIT\1true\2");
	ask_field(&a, "m", "true");
	ask_send(&a, &f, fd, body->p, body->len);
	return got_read(g, &f, fd);
}

static void
batch_is_stored_as_single_messages(void)
{
	struct buf body = {0};
	struct message m;
	struct got g;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	put_batch_item(&body, "one", "UNIQ_KEY\1A\2");
	put_batch_item(&body, "two", "UNIQ_KEY\1B");
	put_batch_item(&body, "three", "");
	CU_ASSERT_FATAL(send_batch(fd, "T1", &body, &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "queueOffset"), "0");
	CU_ASSERT_EQUAL(strlen(got_text(&g, "msgId")), 3 * 32 + 2);
	CU_ASSERT_STRING_EQUAL(got_text(&g, "transactionId"), "");
	got_free(&g);
	CU_ASSERT_EQUAL(queue_max(store_queue_find(f.b->store, SLICE_LIT("T1"), 0)), 3);
	CU_ASSERT_FATAL(last_record("T1", &m));
	CU_ASSERT(slice_is(m.body, "three"));
	CU_ASSERT_EQUAL(m.flag, 5);
	CU_ASSERT(slice_is(props_get(m.props[0], "CLUSTER"), "test"));
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.put_msgs), 3);
	buf_reset(&body, 4096);
	put_batch_item(&body, "one", "");
	body.p[3]++;
	CU_ASSERT_FATAL(send_batch(fd, "T1", &body, &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_MESSAGE_ILLEGAL);
	got_free(&g);
	body.p[3]--;
	CU_ASSERT_FATAL(send_batch(fd, "%RETRY%CG", &body, &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_MESSAGE_ILLEGAL);
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), "batch request does not support retry group %RETRY%CG");
	got_free(&g);
	buf_free(&body);
	close(fd);
	fixture_stop(&f);
}

static void
over_retried_message_is_a_dead_letter(void)
{
	struct message m;
	struct ask a;
	struct got g;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	ask_begin(&a, REQ_SEND_MESSAGE, 3);
	ask_field(&a, "producerGroup", "CG");
	ask_field(&a, "topic", "%RETRY%CG");
	ask_field(&a, "defaultTopic", "TBW102");
	ask_field(&a, "defaultTopicQueueNums", "4");
	ask_field(&a, "queueId", "0");
	ask_field(&a, "sysFlag", "0");
	ask_field(&a, "bornTimestamp", "1");
	ask_field(&a, "flag", "0");
	ask_field(&a, "properties", "DELAY\0015\2UNIQ_KEY\1K\2");
	ask_field(&a, "reconsumeTimes", "17");
	ask_send(&a, &f, fd, "dead", 4);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	CU_ASSERT_FATAL(last_record("%DLQ%CG", &m));
	CU_ASSERT(slice_is(m.body, "dead"));
	CU_ASSERT(slice_is(props_get(m.props[0], "DELAY"), "-1"));
	CU_ASSERT_EQUAL(m.reconsume_times, 17);
	close(fd);
	fixture_stop(&f);
}

static void
many_sends_of_one_turn_keep_their_order(void)
{
	struct got g;
	char body[32];
	int fd, in_order = 0;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	for (int i = 0; i < 300; i++) {
		snprintf(body, sizeof(body), "message %d", i);
		send_only(&f, fd, "T1", 0, NULL, body, i);
	}
	for (int i = 0; i < 300 && got_read(&g, &f, fd); i++) {
		in_order += g.cmd.opaque == i && atoi(got_text(&g, "queueOffset")) == i && g.cmd.code == RES_SUCCESS;
		got_free(&g);
	}
	CU_ASSERT_EQUAL(in_order, 300);
	close(fd);
	fixture_stop(&f);
}

static void
unknown_and_incomplete_requests_are_told_so(void)
{
	struct ask a;
	struct got g;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	ask_begin(&a, 9999, 1);
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_REQUEST_CODE_NOT_SUPPORTED);
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), " request type 9999 not supported");
	got_free(&g);
	ask_begin(&a, REQ_SEND_MESSAGE_V2, 2);
	ask_field(&a, "b", "T");
	ask_field(&a, "e", "x");
	ask_send(&a, &f, fd, "x", 1);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SYSTEM_ERROR);
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), "NumberFormatException"));
	got_free(&g);
	close(fd);
	fixture_stop(&f);
}

static void
sends_survive_a_kill_of_the_process(void)
{
	struct message m;
	struct got g;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, NULL, "kept", &g));
	got_free(&g);
	close(fd);
	fixture_kill(&f);
	fixture_restart(&f, NULL);
	CU_ASSERT_FATAL(last_record("T1", &m));
	CU_ASSERT(slice_is(m.body, "kept"));
	fixture_stop(&f);
}

TEST_MAIN("broker/send", TEST(send_is_answered_and_stored), TEST(missing_unique_key_and_separator_are_added),
    TEST(names_of_the_broker_are_left_out), TEST(refusals_have_the_original_code_and_words), TEST(too_large_message_is_illegal),
    TEST(negative_queue_is_chosen_by_the_broker), TEST(batch_is_stored_as_single_messages),
    TEST(over_retried_message_is_a_dead_letter), TEST(many_sends_of_one_turn_keep_their_order),
    TEST(unknown_and_incomplete_requests_are_told_so), TEST(sends_survive_a_kill_of_the_process))
