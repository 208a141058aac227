/*
 * What operators ask for: topics, progress, resets, configuration, questions that are passed on to consumers, shares of queues.
 */
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/offsets.h"
#include "workers/broker/topics.h"

#define HEARTBEAT "{\"clientID\":\"%s\",\"consumerDataSet\":[{\"groupName\":\"CG\",\"messageModel\":\"CLUSTERING\"," \
	"\"subscriptionDataSet\":[{\"topic\":\"T1\",\"subString\":\"*\",\"subVersion\":1}]}]}"

static struct fixture f;
static int fd;

static void
begin(const char *const *settings)
{
	fixture_start(&f, settings);
	fd = fixture_connect(&f);
}

static void
end(void)
{
	close(fd);
	fixture_stop(&f);
}

/* Sends code with "name=value" fields (NULL at the end) and the body; reads the answer. */
static struct got
ask(int on, int code, const char *body, const char *const *fields)
{
	struct ask a;
	struct got g;
	char name[64];

	ask_begin(&a, code, code);
	for (; fields != NULL && *fields != NULL; fields++) {
		const char *eq = strchr(*fields, '=');

		snprintf(name, sizeof name, "%.*s", (int)(eq - *fields), *fields);
		ask_field(&a, name, eq + 1);
	}
	ask_send(&a, &f, on, body, strlen(body));
	CU_ASSERT_FATAL(got_read(&g, &f, on));
	while (!command_is_response(&g.cmd)) { /* a notice to a consumer */
		got_free(&g);
		CU_ASSERT_FATAL(got_read(&g, &f, on));
	}
	return g;
}

#define FIELDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int
code_of(int code, const char *body, const char *const *fields)
{
	struct got g = ask(fd, code, body, fields);
	int answered = g.cmd.code;

	got_free(&g);
	return answered;
}

/* The answer's body; the caller frees it. */
static char *
body_of(int code, const char *body, const char *const *fields)
{
	struct got g = ask(fd, code, body, fields);
	char *text = xslicedup(g.cmd.body);

	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
	return text;
}

static void
expect_body(const char *wanted, int code, const char *body, const char *const *fields)
{
	char *text = body_of(code, body, fields);

	CU_ASSERT_STRING_EQUAL(text, wanted);
	free(text);
}

static void
put(const char *topic, int queue, int n)
{
	struct got g;

	for (int i = 0; i < n; i++) {
		CU_ASSERT_FATAL(send_one(&f, fd, topic, queue, NULL, "body", &g));
		CU_ASSERT_EQUAL_FATAL(g.cmd.code, RES_SUCCESS);
		got_free(&g);
	}
}

static void
join(int on, const char *client)
{
	char body[512];
	struct got g;

	snprintf(body, sizeof body, HEARTBEAT, client);
	g = ask(on, REQ_HEART_BEAT, body, NULL);
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	got_free(&g);
}

#define TOPIC_17(name) "topic=" name, "defaultTopic=TBW102", "readQueueNums=2", "writeQueueNums=3", "perm=6", \
	"topicFilterType=SINGLE_TAG", "topicSysFlag=0", "order=false"

static void
topics_are_made_shown_and_deleted(void)
{
	begin(NULL);
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS(TOPIC_17("T1"), "attributes=+message.type=FIFO")), RES_SUCCESS);
	expect_body("{\"attributes\":{\"message.type\":\"FIFO\"},\"order\":false,\"perm\":6,\"readQueueNums\":2,"
		    "\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"T1\",\"topicSysFlag\":0,\"writeQueueNums\":3}",
	    351, "", FIELDS("topic=T1"));
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS(TOPIC_17("a.b"))), RES_INVALID_PARAMETER);
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS(TOPIC_17("TBW102"))), RES_INVALID_PARAMETER);
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS(TOPIC_17("T2"), "attributes=+message.type=MIXED")), RES_INVALID_PARAMETER);
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS("topic=T2", "topicFilterType=SINGLE_TAG")), RES_SYSTEM_ERROR);
	put("T1", 0, 2);
	offset_commit(f.b->offsets, "test", slice_of("CG"), slice_of("T1"), 0, 1);
	CU_ASSERT_EQUAL(code_of(215, "", FIELDS("topic=T1")), RES_SUCCESS);
	CU_ASSERT_EQUAL(code_of(351, "", FIELDS("topic=T1")), RES_TOPIC_NOT_EXIST);
	CU_ASSERT_EQUAL(offset_get(f.b->offsets, slice_of("CG"), slice_of("T1"), 0), -1);
	CU_ASSERT_EQUAL(code_of(215, "", FIELDS("topic=nosuch")), RES_SUCCESS);
	CU_ASSERT_EQUAL(code_of(215, "", FIELDS("topic=TBW102")), RES_INVALID_PARAMETER);
	end();
}

static void
a_deleted_topic_starts_again_at_zero(void)
{
	begin(NULL);
	put("T1", 0, 3);
	CU_ASSERT_EQUAL(code_of(215, "", FIELDS("topic=T1")), RES_SUCCESS);
	put("T1", 0, 1);
	CU_ASSERT_EQUAL(queue_max(store_queue_find(f.b->store, slice_of("T1"), 0)), 1);
	end();
}

static void
a_list_with_a_bad_name_changes_nothing(void)
{
	begin(NULL);
	CU_ASSERT_EQUAL(code_of(18, "{\"topicConfigList\":[{\"topicName\":\"L1\"},{\"topicName\":\"TBW102\"}]}", NULL), RES_INVALID_PARAMETER);
	CU_ASSERT_PTR_NULL(topic_find(f.b->topics, slice_of("L1")));
	CU_ASSERT_EQUAL(code_of(18, "{\"topicConfigList\":[{\"topicName\":\"L1\",\"attributes\":{\"+reserve.time\":\"3\"}}]}", NULL), RES_SUCCESS);
	CU_ASSERT_PTR_NOT_NULL(topic_find(f.b->topics, slice_of("L1")));
	CU_ASSERT_EQUAL(code_of(18, "{}", NULL), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(code_of(18, "", NULL), RES_SYSTEM_ERROR);
	end();
}

static void
a_slave_refuses_changes(void)
{
	begin(NULL);
	f.b->conf->brokerRole = ROLE_SLAVE;
	atomic_store(&f.w.shm->master.role, ROLE_SLAVE);
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS(TOPIC_17("T1"))), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(code_of(200, "{\"groupName\":\"G\"}", NULL), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(code_of(207, "", FIELDS("groupName=G")), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(code_of(222, "", FIELDS("topic=T1", "group=G", "timestamp=0")), RES_SYSTEM_ERROR);
	f.b->conf->brokerRole = ROLE_ASYNC_MASTER;
	atomic_store(&f.w.shm->master.role, ROLE_ASYNC_MASTER);
	CU_ASSERT_PTR_NULL(topic_find(f.b->topics, slice_of("T1")));
	end();
}

static void
progress_counts_from_stored_offsets(void)
{
	begin(NULL);
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS("topic=T1", "defaultTopic=x", "readQueueNums=1", "writeQueueNums=1", "perm=6",
	    "topicFilterType=SINGLE_TAG")), RES_SUCCESS);
	put("T1", 0, 4);
	offset_commit(f.b->offsets, "test", slice_of("CG"), slice_of("T1"), 0, 0);
	expect_body("{\"consumeTps\":0.0,\"offsetTable\":{{\"brokerName\":\"broker-t\",\"queueId\":0,\"topic\":\"T1\"}:"
		    "{\"brokerOffset\":4,\"consumerOffset\":0,\"lastTimestamp\":0,\"pullOffset\":0}}}",
	    208, "", FIELDS("consumerGroup=CG"));
	expect_body("{\"consumeTps\":0.0,\"offsetTable\":{}}", 208, "", FIELDS("consumerGroup=CG", "topic=nosuch"));
	expect_body("{\"groupList\":[\"CG\"]}", 300, "", FIELDS("topic=T1"));
	CU_ASSERT_EQUAL(code_of(202, "", FIELDS("topic=nosuch")), RES_TOPIC_NOT_EXIST);
	end();
}

static void
an_offset_outside_of_the_queue_cannot_be_reset_to(void)
{
	begin(NULL);
	put("T1", 0, 2);
	(void)code_of(352, "", FIELDS("group=CG"));
	CU_ASSERT_EQUAL(code_of(222, "", FIELDS("topic=T1", "group=CG", "queueId=0", "offset=9", "timestamp=0")), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(code_of(222, "", FIELDS("topic=T1", "group=none", "timestamp=0")), RES_SUBSCRIPTION_GROUP_NOT_EXIST);
	CU_ASSERT_EQUAL(code_of(222, "", FIELDS("topic=none", "group=CG", "timestamp=0")), RES_TOPIC_NOT_EXIST);
	expect_body("{\"offsetTable\":{{\"brokerName\":\"broker-t\",\"queueId\":0,\"topic\":\"T1\"}:1}}", 222, "",
	    FIELDS("topic=T1", "group=CG", "queueId=0", "offset=1", "timestamp=0"));
	CU_ASSERT_EQUAL(offset_get(f.b->offsets, slice_of("CG"), slice_of("T1"), 0), 1);
	CU_ASSERT_EQUAL(offset_take_reset(f.b->offsets, slice_of("CG"), slice_of("T1"), 0), 1);
	end();
}

static void
a_pull_that_is_told_of_a_reset_does_not_undo_it(void)
{
	struct slice group = SLICE_LIT("CG"), topic = SLICE_LIT("T1");

	begin(NULL);
	put("T1", 0, 4);
	(void)code_of(352, "", FIELDS("group=CG"));
	offset_commit(f.b->offsets, "test", group, topic, 0, 3);
	CU_ASSERT_EQUAL(code_of(222, "", FIELDS("topic=T1", "group=CG", "queueId=0", "offset=1", "timestamp=0")), RES_SUCCESS);
	CU_ASSERT_EQUAL(code_of(11, "", FIELDS("consumerGroup=CG", "topic=T1", "queueId=0", "queueOffset=3", "maxMsgNums=1", "sysFlag=5",
	    "commitOffset=3", "suspendTimeoutMillis=0", "subscription=*", "subVersion=0")), RES_PULL_OFFSET_MOVED);
	CU_ASSERT_EQUAL(offset_get(f.b->offsets, group, topic, 0), 1);
	end();
}

static void
the_classic_reset_tells_the_consumers_and_leaves_the_offsets(void)
{
	static const char *const classic[] = {"useServerSideResetOffset=false", NULL};
	struct got g, pushed;
	struct ask a;
	int consumer;

	begin(classic);
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS("topic=T1", "defaultTopic=x", "readQueueNums=1", "writeQueueNums=1", "perm=6",
	    "topicFilterType=SINGLE_TAG")), RES_SUCCESS);
	put("T1", 0, 3);
	(void)code_of(352, "", FIELDS("group=CG"));
	CU_ASSERT_EQUAL(code_of(222, "", FIELDS("topic=T1", "group=CG", "timestamp=0", "isForce=true")), RES_SYSTEM_ERROR);
	offset_commit(f.b->offsets, "test", slice_of("CG"), slice_of("T1"), 0, 3);
	CU_ASSERT_EQUAL(code_of(222, "", FIELDS("topic=T1", "group=CG", "timestamp=0", "isForce=true")), RES_CONSUMER_NOT_ONLINE);
	consumer = fixture_connect(&f);
	join(consumer, "c1");
	ask_begin(&a, 222, 1);
	ask_field(&a, "topic", "T1");
	ask_field(&a, "group", "CG");
	ask_field(&a, "timestamp", "0");
	ask_field(&a, "isForce", "true");
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd) && got_read(&pushed, &f, consumer));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
	CU_ASSERT(pushed.cmd.code == REQ_RESET_CONSUMER_CLIENT_OFFSET && command_is_oneway(&pushed.cmd));
	CU_ASSERT_TRUE(slice_is(pushed.cmd.body, "{\"offsetTable\":{{\"brokerName\":\"broker-t\",\"queueId\":0,\"topic\":\"T1\"}:0}}"));
	CU_ASSERT_EQUAL(offset_get(f.b->offsets, slice_of("CG"), slice_of("T1"), 0), 3);
	got_free(&g);
	got_free(&pushed);
	close(consumer);
	end();
}

static void
live_keys_are_set_and_saved_others_are_refused(void)
{
	struct buf saved = {0};
	struct err e;

	begin(NULL);
	CU_ASSERT_EQUAL(code_of(25, "maxMessageSize=1000\n# comment\nunknownKey=1\n", NULL), RES_SUCCESS);
	CU_ASSERT_EQUAL(f.b->conf->maxMessageSize, 1000);
	CU_ASSERT_EQUAL(code_of(25, "maxMessageSize=5\nbrokerPermission=x\n", NULL), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(code_of(25, "maxMessageSize=5\nlistenPort=1\n", NULL), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(f.b->conf->maxMessageSize, 1000);
	CU_ASSERT_EQUAL(code_of(25, "brokerConfigPath=/x\n", NULL), RES_NO_PERMISSION);
	CU_ASSERT_EQUAL(code_of(25, "brokerPermission=4\n", NULL), RES_SUCCESS);
	CU_ASSERT_EQUAL_FATAL(file_read(f.node.conf_file, 4096, &saved, &e), RC_OK);
	buf_put_char(&saved, '\0');
	CU_ASSERT_PTR_NOT_NULL(strstr(saved.p, "\nmaxMessageSize=1000\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(saved.p, "\nbrokerPermission=4\n"));
	buf_free(&saved);
	end();
}

/* A consumer that is asked by an operator: its connection and the request that reached it. */
static int
ask_consumer(struct got *reached)
{
	struct ask a;
	int consumer = fixture_connect(&f);

	join(consumer, "c1");
	ask_begin(&a, 307, 99);
	ask_field(&a, "consumerGroup", "CG");
	ask_field(&a, "clientId", "c1");
	ask_field(&a, "jstackEnable", "true");
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(reached, &f, consumer));
	CU_ASSERT_EQUAL(reached->cmd.code, 307);
	CU_ASSERT_STRING_EQUAL(got_text(reached, "jstackEnable"), "true");
	return consumer;
}

static void
a_consumers_answer_is_passed_back_as_it_is(void)
{
	struct got reached, g;
	struct request_id id;
	struct frame_out out;
	struct buf b = {0};
	int consumer;

	begin(NULL);
	consumer = ask_consumer(&reached);
	request_id_of(&id, &reached.cmd);
	frame_begin_response(&out, &b, &id, 5);
	frame_remark(&out, slice_of("its own words"));
	frame_end(&out, 2);
	buf_put_str(&b, "{}");
	CU_ASSERT_EQUAL(write(consumer, b.p, b.len), (ssize_t)b.len);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT(g.cmd.code == 5 && g.cmd.opaque == 99 && slice_is(g.cmd.body, "{}"));
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), "its own words");
	buf_free(&b);
	got_free(&reached);
	got_free(&g);
	close(consumer);
	end();
}

static void
a_consumer_that_leaves_without_an_answer_is_said_so(void)
{
	struct got reached, g;
	int consumer;

	begin(NULL);
	consumer = ask_consumer(&reached);
	close(consumer);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT(g.cmd.code == RES_CONSUME_MSG_TIMEOUT && g.cmd.opaque == 99);
	got_free(&reached);
	got_free(&g);
	CU_ASSERT_EQUAL(code_of(307, "", FIELDS("consumerGroup=CG", "clientId=c1")), RES_SYSTEM_ERROR);
	end();
}

static void
an_operator_who_leaves_first_does_no_harm(void)
{
	struct got reached;
	int consumer;

	begin(NULL);
	consumer = ask_consumer(&reached);
	close(fd);
	fixture_turns(&f, 3);
	close(consumer);
	fixture_turns(&f, 3);
	got_free(&reached);
	fixture_stop(&f);
}

#define MQ_MODE(id, mode) "{\"messageQueue\":{\"brokerName\":\"broker-t\",\"queueId\":" #id ",\"topic\":\"T1\"},\"mode\":\"" mode "\"}"
#define MQ(id) MQ_MODE(id, "PULL")
#define POP_MQ(id) MQ_MODE(id, "POP")
#define ASK_400(client, strategy, model) "{\"topic\":\"T1\",\"consumerGroup\":\"CG\",\"clientId\":\"" client "\",\"strategyName\":\"" strategy \
	"\",\"messageModel\":\"" model "\"}"

static void
queues_are_shared_out_evenly(void)
{
	int other;

	begin(NULL);
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS("topic=T1", "defaultTopic=x", "readQueueNums=3", "writeQueueNums=3", "perm=6",
	    "topicFilterType=SINGLE_TAG")), RES_SUCCESS);
	expect_body("{}", 400, ASK_400("c1", "AVG", "CLUSTERING"), NULL);
	other = fixture_connect(&f);
	join(other, "c2");
	join(fd, "c1");
	expect_body("{\"messageQueueAssignments\":[" MQ(0) "," MQ(1) "]}", 400, ASK_400("c1", "AVG", "CLUSTERING"), NULL);
	expect_body("{\"messageQueueAssignments\":[" MQ(2) "]}", 400, ASK_400("c2", "AVG", "CLUSTERING"), NULL);
	expect_body("{\"messageQueueAssignments\":[" MQ(0) "," MQ(2) "]}", 400, ASK_400("c1", "AVG_BY_CIRCLE", "CLUSTERING"), NULL);
	expect_body("{\"messageQueueAssignments\":[]}", 400, ASK_400("c3", "AVG", "CLUSTERING"), NULL);
	expect_body("{\"messageQueueAssignments\":[" MQ(0) "," MQ(1) "," MQ(2) "]}", 400, ASK_400("c3", "AVG", "BROADCASTING"), NULL);
	CU_ASSERT_EQUAL(code_of(400, ASK_400("c1", "MACHINE_ROOM", "CLUSTERING"), NULL), RES_SYSTEM_ERROR);
	close(other);
	end();
}

static void
set_pop(int share)
{
	char *body = xasprintf("{\"topic\":\"T1\",\"consumerGroup\":\"CG\",\"mode\":\"POP\",\"popShareQueueNum\":%d}", share);

	CU_ASSERT_EQUAL(code_of(401, body, NULL), RES_SUCCESS);
	free(body);
}

static void
queues_of_a_group_that_pops_are_shared(void)
{
	int other[3];

	begin(NULL);
	CU_ASSERT_EQUAL(code_of(17, "", FIELDS("topic=T1", "defaultTopic=x", "readQueueNums=3", "writeQueueNums=3", "perm=6",
	    "topicFilterType=SINGLE_TAG")), RES_SUCCESS);
	join(fd, "c1");
	for (int i = 0; i < 2; i++)
		join(other[i] = fixture_connect(&f), i == 0 ? "c2" : "c3");
	set_pop(0); /* all */
	expect_body("{\"messageQueueAssignments\":[" POP_MQ(-1) "]}", 400, ASK_400("c2", "AVG", "CLUSTERING"), NULL);
	set_pop(1); /* its own and those of the next */
	expect_body("{\"messageQueueAssignments\":[" POP_MQ(1) "," POP_MQ(2) "]}", 400, ASK_400("c2", "AVG", "CLUSTERING"), NULL);
	expect_body("{\"messageQueueAssignments\":[" POP_MQ(2) "," POP_MQ(0) "]}", 400, ASK_400("c3", "AVG", "CLUSTERING"), NULL);
	join(other[2] = fixture_connect(&f), "c4"); /* more clients than queues: one each */
	expect_body("{\"messageQueueAssignments\":[" POP_MQ(0) "]}", 400, ASK_400("c4", "AVG", "CLUSTERING"), NULL);
	for (int i = 0; i < 3; i++)
		close(other[i]);
	end();
}

static void
groups_pop_by_default_where_that_is_set(void)
{
	begin((const char *const[]){"defaultMessageRequestMode=POP", NULL});
	put("T1", 0, 1);
	join(fd, "c1");
	expect_body("{\"messageQueueAssignments\":[" POP_MQ(-1) "]}", 400, ASK_400("c1", "AVG", "CLUSTERING"), NULL);
	CU_ASSERT_EQUAL(code_of(401, "{\"topic\":\"T1\",\"consumerGroup\":\"CG\",\"mode\":\"PULL\"}", NULL), RES_SUCCESS);
	expect_body("{\"messageQueueAssignments\":[" MQ(0) "," MQ(1) "," MQ(2) "," MQ(3) "]}", 400, ASK_400("c1", "AVG", "CLUSTERING"), NULL);
	end();
}

static void
modes_are_kept_and_those_that_are_not_there_refused(void)
{
	static const char *const kept = "{\"messageRequestModeMap\":{\"T1\":{\"CG\":{\"consumerGroup\":\"CG\",\"mode\":\"PULL\","
					"\"popShareQueueNum\":0,\"topic\":\"T1\"}}}}";

	begin(NULL);
	put("T1", 0, 1);
	CU_ASSERT_EQUAL(code_of(401, "{\"topic\":\"T1\",\"consumerGroup\":\"CG\",\"mode\":\"PULL\"}", NULL), RES_SUCCESS);
	CU_ASSERT_EQUAL(code_of(401, "{\"topic\":\"T1\",\"consumerGroup\":\"CG\",\"mode\":\"PUSH\"}", NULL), RES_SYSTEM_ERROR);
	CU_ASSERT_EQUAL(code_of(401, "{\"topic\":\"none\",\"consumerGroup\":\"CG\"}", NULL), RES_TOPIC_NOT_EXIST);
	CU_ASSERT_EQUAL(code_of(401, "{\"topic\":\"%RETRY%CG\",\"consumerGroup\":\"CG\"}", NULL), RES_NO_PERMISSION);
	expect_body(kept, 402, "", NULL);
	close(fd);
	fixture_kill(&f);
	fixture_restart(&f, NULL);
	fd = fixture_connect(&f);
	expect_body(kept, 402, "", NULL);
	end();
}

static void
locks_are_given_and_taken_back_on_request(void)
{
	static const char *const mine = "{\"clientId\":\"a\",\"consumerGroup\":\"CG\",\"mqSet\":[{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"T\"}]}";
	static const char *const other = "{\"clientId\":\"b\",\"consumerGroup\":\"CG\",\"mqSet\":[{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"T\"}]}";

	begin(NULL);
	expect_body("{\"lockOKMQSet\":[{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"T\"}]}", 41, mine, NULL);
	expect_body("{\"lockOKMQSet\":[]}", 41, other, NULL);
	CU_ASSERT_EQUAL(code_of(42, mine, NULL), RES_SUCCESS);
	expect_body("{\"lockOKMQSet\":[{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"T\"}]}", 41, other, NULL);
	expect_body("{\"lockOKMQSet\":[]}", 41, "{}", NULL);
	end();
}

static void
requests_without_their_fields_are_answered(void)
{
	static const int codes[] = {14, 15, 17, 18, 21, 25, 26, 28, 29, 30, 31, 32, 35, 38, 41, 42, 43, 46, 200, 201, 202, 203, 204, 207, 208, 215,
	    222, 223, 225, 300, 303, 305, 307, 308, 309, 314, 315, 316, 317, 321, 328, 343, 345, 351, 352, 353, 400, 401, 402, 905, 907};
	struct got g;

	begin(NULL);
	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		g = ask(fd, codes[i], "", NULL);
		CU_ASSERT_EQUAL(g.cmd.opaque, codes[i]);
		got_free(&g);
		g = ask(fd, codes[i], "{\"a\":[1,{}]}", FIELDS("topic=%s", "group=%n", "consumerGroup=x y", "queueId=-7", "offset=x", "index=-1"));
		CU_ASSERT_EQUAL(g.cmd.opaque, codes[i]);
		got_free(&g);
	}
	end();
}

TEST_MAIN("broker/admin", TEST(topics_are_made_shown_and_deleted), TEST(a_deleted_topic_starts_again_at_zero),
    TEST(a_list_with_a_bad_name_changes_nothing), TEST(a_slave_refuses_changes), TEST(progress_counts_from_stored_offsets),
    TEST(an_offset_outside_of_the_queue_cannot_be_reset_to), TEST(a_pull_that_is_told_of_a_reset_does_not_undo_it),
    TEST(the_classic_reset_tells_the_consumers_and_leaves_the_offsets),
    TEST(live_keys_are_set_and_saved_others_are_refused), TEST(a_consumers_answer_is_passed_back_as_it_is),
    TEST(a_consumer_that_leaves_without_an_answer_is_said_so), TEST(an_operator_who_leaves_first_does_no_harm),
    TEST(queues_are_shared_out_evenly), TEST(queues_of_a_group_that_pops_are_shared), TEST(groups_pop_by_default_where_that_is_set),
    TEST(modes_are_kept_and_those_that_are_not_there_refused),
    TEST(locks_are_given_and_taken_back_on_request), TEST(requests_without_their_fields_are_answered))
