/*
 * SQL92 subscriptions in the broker: heartbeats bring them, pulls and waiting pulls use them, a file keeps them.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/filter_bloom.h"
#include "workers/broker/filters.h"
#include "workers/broker/hold.h"
#include "workers/broker/topics.h"

#define DAY_MS 86400000

static struct fixture f;
static int fd, producer;
static const char *const on[] = {"enablePropertyFilter=true", NULL};
static const char *const on_with_retry[] = {"enablePropertyFilter=true", "filterSupportRetry=true", NULL};

static void
begin(const char *const *settings)
{
	fixture_start(&f, settings);
	clock_set_made(1700000000000);
	fd = fixture_connect(&f);
	producer = fixture_connect(&f);
}

static void
end(void)
{
	close(fd);
	close(producer);
	fixture_stop(&f);
	clock_set_made(-1);
}

/* Passes over notices that the group has changed. */
static void
read_answer(struct got *g, int conn)
{
	CU_ASSERT_FATAL(got_read(g, &f, conn));
	while (!command_is_response(&g->cmd)) {
		got_free(g);
		CU_ASSERT_FATAL(got_read(g, &f, conn));
	}
}

/* A heartbeat of group CG with one SQL92 subscription. */
static void
beat_on(int conn, const char *topic, const char *expression, int version)
{
	struct ask a;
	struct got g;
	char body[1024];

	snprintf(body, sizeof(body),
	    "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"CG\",\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\","
	    "\"subscriptionDataSet\":[{\"topic\":\"%s\",\"subString\":\"%s\",\"expressionType\":\"SQL92\",\"subVersion\":%d}]}]}",
	    topic, expression, version);
	ask_begin(&a, REQ_HEART_BEAT, 5);
	ask_send(&a, &f, conn, body, strlen(body));
	read_answer(&g, conn);
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
}

static void
beat(const char *topic, const char *expression, int version)
{
	beat_on(fd, topic, expression, version);
}

static void
leave(void)
{
	struct ask a;
	struct got g;

	ask_begin(&a, REQ_UNREGISTER_CLIENT, 6);
	ask_field(&a, "clientID", "c");
	ask_field(&a, "consumerGroup", "CG");
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	got_free(&g);
}

static const struct group_filter *
find(const char *topic)
{
	return filters_find(f.b->filters, slice_of(topic), SLICE_LIT("CG"));
}

static bool
is_alive(const char *topic)
{
	return find(topic) != NULL && find(topic)->dead_ms < find(topic)->born_ms;
}

static void
put(const char *topic, const char *props)
{
	struct got g;

	CU_ASSERT_FATAL(send_one(&f, producer, topic, 0, props, "body", &g));
	CU_ASSERT_EQUAL_FATAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
}

static void
ask_pull(const char *topic, int64_t offset, int sys_flag, const char *expression, const char *type, int version)
{
	struct ask a;

	ask_begin(&a, REQ_PULL_MESSAGE, 9);
	ask_field(&a, "consumerGroup", "CG");
	ask_field(&a, "topic", topic);
	ask_field(&a, "queueId", "0");
	ask_field_i64(&a, "queueOffset", offset);
	ask_field(&a, "maxMsgNums", "32");
	ask_field_i64(&a, "sysFlag", sys_flag);
	ask_field(&a, "suspendTimeoutMillis", "15000");
	if (expression != NULL)
		ask_field(&a, "subscription", expression);
	ask_field(&a, "expressionType", type);
	ask_field_i64(&a, "subVersion", version);
	ask_send(&a, &f, fd, NULL, 0);
}

/* The answer's code; words must be in its remark; next: its nextBeginOffset, -1: it has none. */
static int
pulled(const char *words, int64_t next)
{
	struct got g;
	int code;

	read_answer(&g, fd);
	code = g.cmd.code;
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), words));
	if (next >= 0)
		CU_ASSERT_EQUAL(atoll(got_text(&g, "nextBeginOffset")), next);
	got_free(&g);
	return code;
}

static int
pull(const char *expression, const char *words, int64_t next)
{
	ask_pull("T1", 0, 4, expression, "SQL92", 1);
	return pulled(words, next);
}

static bool
nothing_comes(void)
{
	char byte;

	fixture_turns(&f, 5);
	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

static void
a_pull_with_its_own_expression_gets_what_passes(void)
{
	begin(on);
	put("T1", "UNIQ_KEY\1K\2a\1" "1\2");
	put("T1", "UNIQ_KEY\1K\2a\1" "7\2");
	CU_ASSERT_EQUAL(pull("a > 5", "FOUND", 2), RES_SUCCESS);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.get_msgs), 1);
	CU_ASSERT_EQUAL(pull("a > 5", "FOUND", 2), RES_SUCCESS);
	CU_ASSERT_EQUAL(pull("a > 9", "NO_MATCHED_MESSAGE", 2), RES_PULL_RETRY_IMMEDIATELY);
	CU_ASSERT_EQUAL(pull("TAGS IS NULL", "FOUND", 2), RES_SUCCESS);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.get_msgs), 4);
	end();
}

static void
a_pull_is_refused_with_a_reason(void)
{
	begin(on);
	put("T1", "UNIQ_KEY\1K\2a\1" "1\2");
	CU_ASSERT_EQUAL(pull("a > (", "parse the consumer's subscription failed: the expression ends too early", -1), RES_SUBSCRIPTION_PARSE_FAILED);
	CU_ASSERT_EQUAL(pull(NULL, "parse the consumer's subscription failed", -1), RES_SUBSCRIPTION_PARSE_FAILED);
	ask_pull("T1", 0, 4, "a > 1", "XPATH", 1);
	CU_ASSERT_EQUAL(pulled("does not support consumer to filter message by XPATH", -1), RES_SYSTEM_ERROR);
	beat("T1", "a > (", 1);
	ask_pull("T1", 0, 0, NULL, "SQL92", 1);
	CU_ASSERT_EQUAL(pulled("filter data is not exist", -1), RES_FILTER_DATA_NOT_EXIST);
	end();
}

static void
without_the_setting_sql_is_refused(void)
{
	begin(NULL);
	put("T1", "UNIQ_KEY\1K\2a\1" "1\2");
	CU_ASSERT_EQUAL(pull("a > (", "does not support consumer to filter message by SQL92", -1), RES_SYSTEM_ERROR);
	beat("T1", "a > 0", 1);
	ask_pull("T1", 0, 0, NULL, "SQL92", 1);
	CU_ASSERT_EQUAL(pulled("does not support consumer to filter message by SQL92", -1), RES_SYSTEM_ERROR);
	end();
}

static void
a_heartbeats_expression_counts_for_pulls(void)
{
	begin(on);
	put("T1", "UNIQ_KEY\1K\2a\1" "1\2");
	put("T1", "UNIQ_KEY\1K\2a\1" "7\2");
	beat("T1", "a > 5", 3);
	ask_pull("T1", 0, 0, NULL, "SQL92", 3);
	CU_ASSERT_EQUAL(pulled("FOUND", 2), RES_SUCCESS);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.get_msgs), 1);
	ask_pull("T1", 0, 0, NULL, "SQL92", 4);
	CU_ASSERT_EQUAL(pulled("the consumer's subscription not latest", -1), RES_SUBSCRIPTION_NOT_LATEST);
	end();
}

static void
an_operator_is_shown_the_filter(void)
{
	struct ask a;
	struct got g;

	begin(on);
	put("T1", "UNIQ_KEY\1K\2a\1" "1\2");
	beat("T1", "a > 5", 3);
	ask_begin(&a, REQ_QUERY_CONSUME_QUEUE, 8);
	ask_field(&a, "topic", "T1");
	ask_field(&a, "queueId", "0");
	ask_field(&a, "index", "0");
	ask_field(&a, "count", "1");
	ask_field(&a, "consumerGroup", "CG");
	ask_send(&a, &f, fd, NULL, 0);
	read_answer(&g, fd);
	CU_ASSERT_PTR_NOT_NULL(memmem(g.cmd.body.p, g.cmd.body.n, "\\\"expression\\\": \\\"a > 5\\\"", 25));
	got_free(&g);
	end();
}

static void
newer_expressions_replace_older_ones(void)
{
	begin(on);
	beat("T1", "a > 5", 3);
	CU_ASSERT_STRING_EQUAL(find("T1")->expression, "a > 5");
	beat("T1", "a > 6", 2);
	CU_ASSERT_STRING_EQUAL(find("T1")->expression, "a > 5");
	beat("T1", "a > 6", 4);
	CU_ASSERT_STRING_EQUAL(find("T1")->expression, "a > 6");
	beat("T1", "a > 6", 5);
	CU_ASSERT_EQUAL(find("T1")->version, 5);
	beat("T1", "a >", 6);
	CU_ASSERT_PTR_NULL(find("T1"));
	end();
}

static void
a_filter_outlives_its_group_for_a_day(void)
{
	begin(on);
	beat("T1", "a > 5", 3);
	CU_ASSERT(is_alive("T1"));
	leave();
	CU_ASSERT(find("T1") != NULL && !is_alive("T1"));
	beat("T1", "a > 5", 3);
	CU_ASSERT(is_alive("T1"));
	beat("T2", "a > 5", 4);
	CU_ASSERT(!is_alive("T1") && is_alive("T2"));
	clock_advance_ms(DAY_MS - 1);
	filters_expire(f.b->filters);
	CU_ASSERT_PTR_NOT_NULL(find("T1"));
	clock_advance_ms(1);
	filters_expire(f.b->filters);
	CU_ASSERT_PTR_NULL(find("T1"));
	CU_ASSERT(is_alive("T2"));
	end();
}

static void
a_held_pull_is_woken_by_what_passes(void)
{
	begin(on);
	put("T1", "UNIQ_KEY\1K\2a\1" "1\2");
	beat("T1", "a > 5", 3);
	ask_pull("T1", 1, 2, NULL, "SQL92", 3);
	CU_ASSERT_EQUAL(hold_count(f.b->hold), 1);
	put("T1", "UNIQ_KEY\1K\2a\1" "2\2");
	CU_ASSERT(nothing_comes());
	/*
	 * The filter that it waits with is dropped meanwhile; the pull is run again with the new one. On another connection: behind
	 * an unanswered request, the kernel may keep a second small one back for a moment.
	 */
	beat_on(producer, "T1", "a > 6", 4);
	put("T1", "UNIQ_KEY\1K\2a\1" "7\2");
	CU_ASSERT_EQUAL(pulled("FOUND", 3), RES_SUCCESS);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.get_msgs), 1);
	end();
}

static void
retry_topic_of(const char *const *settings, int64_t messages)
{
	begin(settings);
	beat("T1", "a > 5", 3);
	topic_ensure(f.b->topics, SLICE_LIT("%RETRY%CG"), 1, 6, 0);
	put("%RETRY%CG", "UNIQ_KEY\1K\2a\1" "1\2RETRY_TOPIC\1T1\2");
	put("%RETRY%CG", "UNIQ_KEY\1K\2a\1" "7\2RETRY_TOPIC\1T1\2");
	put("%RETRY%CG", "UNIQ_KEY\1K\2a\1" "1\2RETRY_TOPIC\1T2\2");
	put("%RETRY%CG", "UNIQ_KEY\1K\2a\1" "9\2");
	ask_pull("%RETRY%CG", 0, 4, "a > 8", "SQL92", 1);
	CU_ASSERT_EQUAL(pulled("FOUND", 4), RES_SUCCESS);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.get_msgs), messages);
	end();
}

static void
retries_pass_by_the_filter_of_their_topic_if_set(void)
{
	retry_topic_of(on, 1);
	retry_topic_of(on_with_retry, 3);
}

static int
check_config(const char *type, const char *expression, const char *words)
{
	struct ask a;
	struct got g;
	char body[256];
	int code;

	snprintf(body, sizeof(body), "{\"clientId\":\"c\",\"group\":\"CG\",\"subscriptionData\":{\"expressionType\":\"%s\",\"subString\":\"%s\",\"topic\":\"T1\"}}",
	    type, expression);
	ask_begin(&a, REQ_CHECK_CLIENT_CONFIG, 7);
	ask_send(&a, &f, fd, body, strlen(body));
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	code = g.cmd.code;
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), words));
	got_free(&g);
	return code;
}

static void
a_client_may_ask_whether_its_expression_can_be_read(void)
{
	begin(on);
	CU_ASSERT_EQUAL(check_config("SQL92", "a BETWEEN 1 AND 2", ""), RES_SUCCESS);
	CU_ASSERT_EQUAL(check_config("SQL92", "a BETWEEN 2 AND 1", "the bounds of BETWEEN"), RES_SUBSCRIPTION_PARSE_FAILED);
	CU_ASSERT_EQUAL(check_config("SQL92", "", "ends too early"), RES_SUBSCRIPTION_PARSE_FAILED);
	CU_ASSERT_EQUAL(check_config("XPATH", "a", "XPATH is no type of filter"), RES_SUBSCRIPTION_PARSE_FAILED);
	CU_ASSERT_EQUAL(check_config("TAG", "a || b", ""), RES_SUCCESS);
	end();
	begin(NULL);
	CU_ASSERT_EQUAL(check_config("SQL92", "a = 1", "does not support consumer to filter message by SQL92"), RES_SYSTEM_ERROR);
	end();
}

static void
write_file(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	CU_ASSERT_FATAL(out != NULL && fputs(text, out) >= 0 && fclose(out) == 0);
}

static void
filters_come_back_after_a_restart(void)
{
	begin(on);
	beat("T1", "a > 5 AND b = 'x'", 3);
	beat("T1", "a > 5 AND b = 'x'", 3);
	fixture_kill(&f);
	fixture_restart(&f, on);
	CU_ASSERT_PTR_NOT_NULL_FATAL(find("T1"));
	CU_ASSERT_STRING_EQUAL(find("T1")->expression, "a > 5 AND b = 'x'");
	CU_ASSERT_EQUAL(find("T1")->version, 3);
	CU_ASSERT(!is_alive("T1"));
	end();
}

static void
the_originals_file_is_read(void)
{
	char path[256];

	begin(on);
	snprintf(path, sizeof(path), "%s/config/consumerFilter.json", f.b->conf->storePathRootDir);
	fixture_kill(&f);
	write_file(path, "{\n\t\"filterDataByTopic\":{\n\t\t\"T1\":{\n\t\t\t\"groupFilterData\":{\"CG\":{\"bloomFilterData\":{\"bitNum\":112,\"bitPos\":[1,2,3]},"
		   "\"bornTime\":1600000000000,\"clientVersion\":17,\"consumerGroup\":\"CG\",\"dead\":false,\"deadTime\":0,\"expression\":\"c IS NULL\","
		   "\"expressionType\":\"SQL92\",\"topic\":\"T1\"}},\"topic\":\"T1\"},\"T2\":{\"groupFilterData\":{\"CG\":{\"clientVersion\":1,"
		   "\"expression\":\"c IS\",\"expressionType\":\"SQL92\"}}},\"T3\":null}}");
	fixture_restart(&f, on);
	CU_ASSERT_PTR_NOT_NULL_FATAL(find("T1"));
	CU_ASSERT_EQUAL(find("T1")->version, 17);
	CU_ASSERT(!is_alive("T1"));
	CU_ASSERT_PTR_NULL(find("T2"));
	end();
}

static void
bits_are(const char *name, int32_t first, int32_t second, int32_t third)
{
	struct bloom b = {0};

	CU_ASSERT_FATAL(bloom_of(20, 32, slice_of(name), &b));
	CU_ASSERT(b.bit_num == 112 && b.count == 3);
	CU_ASSERT(b.bits[0] == first && b.bits[1] == second && b.bits[2] == third);
}

/* As a broker of the original wrote them. */
static void
bloom_bits_are_the_originals(void)
{
	struct bloom b;

	bits_are("G-core-sql-filter-mwp2t4r4-15#T-core-sql-filter-mwp2t4r4-2", 72, 61, 60);
	bits_are("G-core-sql-filter-mwp2t4r4-11#T-core-sql-filter-mwp2t4r4-2", 31, 101, 59);
	bits_are("G-core-sql-filter-mwp2t4r4-9#T-core-sql-filter-mwp2t4r4-2", 110, 77, 9);
	bits_are("G-core-sql-filter-mwp2t4r4-3#T-core-sql-filter-mwp2t4r4-2", 94, 18, 54);
	CU_ASSERT(!bloom_of(0, 32, SLICE_LIT("x"), &b));
	CU_ASSERT(!bloom_of(20, 0, SLICE_LIT("x"), &b));
	CU_ASSERT(!bloom_of(1, INT32_MAX, SLICE_LIT("x"), &b));
}

TEST_MAIN("broker/filters", TEST(a_pull_with_its_own_expression_gets_what_passes), TEST(a_pull_is_refused_with_a_reason),
    TEST(without_the_setting_sql_is_refused), TEST(a_heartbeats_expression_counts_for_pulls), TEST(an_operator_is_shown_the_filter),
    TEST(newer_expressions_replace_older_ones),
    TEST(a_filter_outlives_its_group_for_a_day), TEST(a_held_pull_is_woken_by_what_passes), TEST(retries_pass_by_the_filter_of_their_topic_if_set),
    TEST(a_client_may_ask_whether_its_expression_can_be_read), TEST(filters_come_back_after_a_restart), TEST(the_originals_file_is_read),
    TEST(bloom_bits_are_the_originals))
