/*
 * A consumer sends a message back: it is stored for its group as a retry or a dead letter, refused in the original's
 * words, and confirmed when it is safe.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/groups.h"
#include "workers/broker/orderly.h"

#define NOW 1700000000000

static struct fixture f;
static int fd;

static void
begin(const char *const *settings)
{
	clock_set_made(NOW);
	fixture_start(&f, settings);
	fd = fixture_connect(&f);
}

static void
end(void)
{
	close(fd);
	fixture_stop(&f);
	clock_set_made(-1);
}

static int64_t
stored_message(void)
{
	struct message m;
	struct got g;

	CU_ASSERT_FATAL(send_one(&f, fd, "T1", 1, "UNIQ_KEY\1K\2TAGS\1red\2", "work", &g));
	got_free(&g);
	return fixture_message(&f, "T1", 1, fixture_queue_end(&f, "T1", 1) - 1, &m, NULL);
}

static void
send_back_only(int64_t physical, const char *group, int level, const char *max_times)
{
	struct ask a;

	ask_begin(&a, REQ_CONSUMER_SEND_MSG_BACK, 36);
	ask_field_i64(&a, "offset", physical);
	ask_field(&a, "group", group);
	ask_field_i64(&a, "delayLevel", level);
	ask_field(&a, "originMsgId", "X");
	ask_field(&a, "originTopic", "T1");
	ask_field(&a, "unitMode", "false");
	if (max_times != NULL)
		ask_field(&a, "maxReconsumeTimes", max_times);
	ask_send(&a, &f, fd, NULL, 0);
}

static void
answered(int code, const char *words)
{
	struct got g;

	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.opaque, 36);
	CU_ASSERT_EQUAL(g.cmd.code, code);
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), words));
	got_free(&g);
}

static void
send_back(int64_t physical, int level, const char *max_times)
{
	send_back_only(physical, "CG", level, max_times);
	answered(RES_SUCCESS, "");
}

static bool
nothing_comes(void)
{
	char byte;

	fixture_turns(&f, 5);
	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

/* ---- retries */

static void
retry_keeps_the_message_and_says_where_it_is_from(void)
{
	struct message first, m;
	char id[MSG_ID_TEXT];
	int64_t at;

	begin(NULL);
	at = stored_message();
	send_back(at, 0, NULL);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%RETRY%CG", 0), 0);
	fixture_pass_ms(&f, 9999);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%RETRY%CG", 0), 0);
	fixture_pass_ms(&f, 1);
	CU_ASSERT_EQUAL_FATAL(fixture_queue_end(&f, "%RETRY%CG", 0), 1);
	(void)fixture_message(&f, "T1", 1, 0, &first, NULL);
	(void)fixture_message(&f, "%RETRY%CG", 0, 0, &m, NULL);
	CU_ASSERT(slice_is(m.body, "work"));
	CU_ASSERT_EQUAL(m.reconsume_times, 1);
	CU_ASSERT_EQUAL(m.born_ms, first.born_ms);
	CU_ASSERT_EQUAL(m.born_host.port, first.born_host.port);
	CU_ASSERT_EQUAL(m.flag, first.flag);
	message_id_text(&first.store_host, at, id);
	CU_ASSERT(slice_is(props_get(m.props[0], "ORIGIN_MESSAGE_ID"), id));
	CU_ASSERT(slice_is(props_get(m.props[0], "RETRY_TOPIC"), "T1"));
	CU_ASSERT(slice_is(props_get(m.props[0], "TAGS"), "red"));
	CU_ASSERT(slice_is(props_get(m.props[0], "UNIQ_KEY"), "K"));
	CU_ASSERT(slice_is(props_get(m.props[0], "WAIT"), "false"));
	end();
}

static void
second_retry_waits_longer_and_remembers_the_first_place(void)
{
	struct message first, m;
	char id[MSG_ID_TEXT];
	int64_t at;

	begin(NULL);
	at = stored_message();
	send_back(at, 0, NULL);
	fixture_pass_ms(&f, 10000);
	(void)fixture_message(&f, "T1", 1, 0, &first, NULL);
	message_id_text(&first.store_host, at, id);
	at = fixture_message(&f, "%RETRY%CG", 0, 0, &m, NULL);
	send_back(at, 0, NULL);
	fixture_pass_ms(&f, 29999);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%RETRY%CG", 0), 1);
	fixture_pass_ms(&f, 1);
	CU_ASSERT_EQUAL_FATAL(fixture_queue_end(&f, "%RETRY%CG", 0), 2);
	(void)fixture_message(&f, "%RETRY%CG", 0, 1, &m, NULL);
	CU_ASSERT_EQUAL(m.reconsume_times, 2);
	CU_ASSERT(slice_is(props_get(m.props[0], "ORIGIN_MESSAGE_ID"), id));
	CU_ASSERT(slice_is(props_get(m.props[0], "RETRY_TOPIC"), "T1"));
	CU_ASSERT(slice_is(props_get(m.props[0], "DELAY"), "4"));
	end();
}

static void
level_of_the_consumer_counts(void)
{
	begin(NULL);
	send_back(stored_message(), 1, NULL);
	fixture_pass_ms(&f, 1000);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%RETRY%CG", 0), 1);
	end();
}

/* ---- dead letters */

static void
message_tried_often_enough_is_a_dead_letter(void)
{
	struct message m;

	begin(NULL);
	group_find_or_make(f.b->groups, SLICE_LIT("CG"))->retry_max = 1;
	send_back(stored_message(), 1, NULL);
	fixture_pass_ms(&f, 1000);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%DLQ%CG", 0), 0);
	send_back(fixture_message(&f, "%RETRY%CG", 0, 0, &m, NULL), 1, NULL);
	CU_ASSERT_EQUAL_FATAL(fixture_queue_end(&f, "%DLQ%CG", 0), 1);
	(void)fixture_message(&f, "%DLQ%CG", 0, 0, &m, NULL);
	CU_ASSERT_EQUAL(m.reconsume_times, 2);
	CU_ASSERT(slice_is(m.body, "work"));
	CU_ASSERT(slice_is(props_get(m.props[0], "DELAY"), "0"));
	CU_ASSERT(slice_is(props_get(m.props[0], "RETRY_TOPIC"), "T1"));
	fixture_pass_ms(&f, 60000);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%RETRY%CG", 0), 1);
	end();
}

static void
consumer_may_set_the_maximum_or_give_up_at_once(void)
{
	begin(NULL);
	send_back(stored_message(), 3, "0");
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%DLQ%CG", 0), 1);
	send_back(stored_message(), -1, "16");
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%DLQ%CG", 0), 2);
	end();
}

/* What clients do when 36 has failed, and orderly consumers at the end of their tries. */
static bool
send_to_retry(const char *times, const char *max, struct got *g)
{
	struct ask a;

	ask_begin(&a, REQ_SEND_MESSAGE_V2, 7);
	ask_field(&a, "a", "CLIENT_INNER_PRODUCER");
	ask_field(&a, "b", "%RETRY%CG");
	ask_field(&a, "c", "TBW102");
	ask_field(&a, "d", "4");
	ask_field(&a, "e", "0");
	ask_field(&a, "f", "0");
	ask_field(&a, "g", "5");
	ask_field(&a, "h", "0");
	ask_field(&a, "i", "UNIQ_KEY\1K\2DELAY\1003\2REAL_TOPIC\1%RETRY%old\2REAL_QID\0019\2RETRY_TOPIC\1T1\2");
	ask_field(&a, "j", times);
	ask_field(&a, "l", max);
	ask_send(&a, &f, fd, "again", 5);
	return got_read(g, &f, fd);
}

static void
send_to_the_retry_topic_waits_or_ends_as_a_dead_letter(void)
{
	static const struct mq_name mq = {{"broker-t", 8}, {"T1", 2}, 0};
	struct message m;
	struct got g;

	begin(NULL);
	CU_ASSERT_FATAL(send_to_retry("3", "3", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	fixture_pass_ms(&f, 10000);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%RETRY%CG", 0), 1);
	CU_ASSERT_FATAL(send_to_retry("4", "3", &g));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	CU_ASSERT_EQUAL_FATAL(fixture_queue_end(&f, "%DLQ%CG", 0), 1);
	(void)fixture_message(&f, "%DLQ%CG", 0, 0, &m, NULL);
	CU_ASSERT(slice_is(props_get(m.props[0], "DELAY"), "-1"));
	CU_ASSERT(orderly_lock(f.b->orderly, SLICE_LIT("CG"), &mq, SLICE_LIT("client")));
	CU_ASSERT_FATAL(send_to_retry("1", "3", &g));
	got_free(&g);
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "%DLQ%CG", 0), 2);
	end();
}

/* ---- refusals */

static void
refusals_come_in_the_order_of_the_original(void)
{
	static const char *const settings[] = {"autoCreateSubscriptionGroup=false", NULL};
	struct group *g;
	struct err e;
	json_t *config;
	int64_t at;

	begin(settings);
	at = stored_message();
	f.b->conf->brokerPermission = 4;
	send_back_only(at, "CG", 1, NULL);
	answered(RES_SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group not exist, CG");
	config = json_pack("{s:s, s:i}", "groupName", "CG", "retryQueueNums", 0);
	CU_ASSERT_EQUAL_FATAL(group_update(f.b->groups, config, &e), RC_OK);
	json_decref(config);
	g = group_find(f.b->groups, SLICE_LIT("CG"));
	CU_ASSERT_PTR_NOT_NULL_FATAL(g);
	send_back_only(at, "CG", 1, NULL);
	answered(RES_NO_PERMISSION, "] sending message is forbidden");
	f.b->conf->brokerPermission = 6;
	send_back_only(999999, "CG", 1, NULL);
	answered(RES_SUCCESS, ""); /* a group without retries: nothing is looked at */
	CU_ASSERT_PTR_NULL(topic_find(f.b->topics, SLICE_LIT("%RETRY%CG")));
	g->retry_queues = 1;
	CU_ASSERT_PTR_NOT_NULL(topic_ensure(f.b->topics, SLICE_LIT("%RETRY%CG"), 1, PERM_READ, 0));
	send_back_only(999999, "CG", 1, NULL);
	answered(RES_NO_PERMISSION, "the topic[%RETRY%CG] sending message is forbidden");
	topic_find(f.b->topics, SLICE_LIT("%RETRY%CG"))->perm = PERM_READ | PERM_WRITE;
	send_back_only(999999, "CG", 1, NULL);
	answered(RES_SYSTEM_ERROR, "look message by offset failed, 999999");
	send_back_only(at + 1, "CG", 1, NULL);
	answered(RES_SYSTEM_ERROR, "look message by offset failed");
	send_back_only(INT64_MAX, "CG", 1, NULL);
	answered(RES_SYSTEM_ERROR, "look message by offset failed");
	send_back_only(INT64_MIN, "CG", 1, NULL);
	answered(RES_SYSTEM_ERROR, "look message by offset failed");
	CU_ASSERT_EQUAL(fixture_queue_end(&f, "SCHEDULE_TOPIC_XXXX", 0), 0);
	end();
}

/* ---- when it is confirmed */

static void
answer_waits_for_flush(void)
{
	static const char *const settings[] = {"flushDiskType=SYNC_FLUSH", "syncFlushTimeout=5000", NULL};
	int64_t end_of_first;
	struct got g;

	begin(settings);
	send_only(&f, fd, "T1", 1, NULL, "work", 1);
	end_of_first = pos_read(&f.w.shm->broker.appended);
	pos_publish(&f.w.shm->flush.flushed, end_of_first);
	fixture_turns(&f, 2);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	got_free(&g);
	send_back_only(0, "CG", 1, NULL);
	CU_ASSERT(pos_read(&f.w.shm->broker.appended) > end_of_first);
	CU_ASSERT(nothing_comes());
	pos_publish(&f.w.shm->flush.flushed, pos_read(&f.w.shm->broker.appended));
	fixture_turns(&f, 2);
	answered(RES_SUCCESS, "");
	send_back_only(0, "CG", 1, NULL);
	CU_ASSERT(nothing_comes());
	clock_advance_ms(5001);
	ev_feed_event(f.w.loop, &f.b->patience, EV_TIMER);
	fixture_turns(&f, 2);
	answered(RES_SYSTEM_ERROR, "FLUSH_DISK_TIMEOUT");
	end();
}

static void
consumer_that_goes_away_is_no_harm(void)
{
	static const char *const settings[] = {"flushDiskType=SYNC_FLUSH", NULL};

	begin(settings);
	send_only(&f, fd, "T1", 1, NULL, "work", 1);
	send_back_only(0, "CG", 1, NULL);
	close(fd);
	fixture_turns(&f, 5);
	pos_publish(&f.w.shm->flush.flushed, pos_read(&f.w.shm->broker.appended));
	fixture_turns(&f, 5);
	fixture_pass_ms(&f, 1000);
	CU_ASSERT(fixture_queue_end(&f, "SCHEDULE_TOPIC_XXXX", 0) == 1);
	fd = fixture_connect(&f);
	end();
}

TEST_MAIN("broker/send back", TEST(retry_keeps_the_message_and_says_where_it_is_from),
	  TEST(second_retry_waits_longer_and_remembers_the_first_place), TEST(level_of_the_consumer_counts),
	  TEST(message_tried_often_enough_is_a_dead_letter), TEST(consumer_may_set_the_maximum_or_give_up_at_once),
	  TEST(send_to_the_retry_topic_waits_or_ends_as_a_dead_letter),
	  TEST(refusals_come_in_the_order_of_the_original), TEST(answer_waits_for_flush),
	  TEST(consumer_that_goes_away_is_no_harm))
