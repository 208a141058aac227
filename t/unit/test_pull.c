/*
 * Pulls: checks and codes in the original's order, offsets, filters, resets, cold ranges.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/unit/broker_fixture.h"
#include "workers/broker/groups.h"
#include "workers/broker/offsets.h"

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

static void
put(const char *tag, int n)
{
	char props[128];
	struct got g;

	for (int i = 0; i < n; i++) {
		snprintf(props, sizeof(props), "UNIQ_KEY\1K%d\2TAGS\1%s\2", i, tag);
		CU_ASSERT_FATAL(send_one(&f, fd, "T1", 0, props, "body", &g));
		CU_ASSERT_EQUAL_FATAL(g.cmd.code, RES_SUCCESS);
		got_free(&g);
	}
}

static int
messages_in(struct slice body)
{
	struct message m;
	int n = 0;

	while (body.n > 0 && message_decode(&m, body.p, body.n, true) == RC_OK) {
		body.p += m.size;
		body.n -= m.size;
		n++;
	}
	return body.n == 0 ? n : -1;
}

/* A pull of T1, queue 0; checks code, status and offsets; the number of messages. */
static int
pull(int64_t offset, const char *sub, int code, const char *status, int64_t next)
{
	struct got g;
	int n;

	CU_ASSERT_FATAL(pull_one(&f, fd, "T1", 0, offset, sub, &g));
	CU_ASSERT_EQUAL(g.cmd.code, code);
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), status);
	CU_ASSERT_EQUAL(atoll(got_text(&g, "nextBeginOffset")), next);
	n = messages_in(g.cmd.body);
	got_free(&g);
	return n;
}

static void
messages_come_with_offsets(void)
{
	struct got g;

	begin(NULL);
	put("A", 5);
	CU_ASSERT_EQUAL(pull(0, "*", RES_SUCCESS, "FOUND", 5), 5);
	CU_ASSERT_EQUAL(pull(3, "*", RES_SUCCESS, "FOUND", 5), 2);
	CU_ASSERT_FATAL(pull_one(&f, fd, "T1", 0, 3, "*", &g));
	CU_ASSERT_STRING_EQUAL(got_text(&g, "minOffset"), "0");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "maxOffset"), "5");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "suggestWhichBrokerId"), "0");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "topicSysFlag"), "0");
	CU_ASSERT_STRING_EQUAL(got_text(&g, "groupSysFlag"), "0");
	got_free(&g);
	CU_ASSERT_EQUAL(atomic_load(&f.w.shm->counters.get_msgs), 9);
	end();
}

static void
offsets_out_of_range_are_corrected(void)
{
	begin(NULL);
	put("A", 2);
	CU_ASSERT_EQUAL(pull(2, "*", RES_PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", 2), 0);
	CU_ASSERT_EQUAL(pull(9, "*", RES_PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", 2), 0);
	CU_ASSERT_EQUAL(pull(-1, "*", RES_PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", 0), 0);
	end();
}

static void
tags_are_filtered(void)
{
	begin(NULL);
	put("A", 3);
	put("B", 2);
	CU_ASSERT_EQUAL(pull(0, "A", RES_SUCCESS, "FOUND", 5), 3);
	CU_ASSERT_EQUAL(pull(0, " B || C ", RES_SUCCESS, "FOUND", 5), 2);
	CU_ASSERT_EQUAL(pull(0, "C", RES_PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", 5), 0);
	end();
}

static void
refused(const char *topic, int queue, const char *sub, int code, const char *words)
{
	struct got g;

	CU_ASSERT_FATAL(pull_one(&f, fd, topic, queue, 0, sub, &g));
	CU_ASSERT_EQUAL(g.cmd.code, code);
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), words));
	got_free(&g);
}

static void
refusals_have_the_original_code_and_words(void)
{
	struct err e;

	begin(NULL);
	put("A", 1);
	refused("NoSuch", 0, "*", RES_TOPIC_NOT_EXIST, "topic[NoSuch] not exist, apply first please!");
	refused("T1", 99, "*", RES_INVALID_PARAMETER, "queueId[99] is illegal, topic:[T1] topicConfig.readQueueNums:[4] consumer:[/127.0.0.1:");
	refused("T1", -1, "*", RES_INVALID_PARAMETER, "queueId[-1] is illegal");
	refused("T1", 0, "||", RES_SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed");
	group_find(f.b->groups, SLICE_LIT("CG"))->consume_enable = false;
	refused("T1", 0, "*", RES_NO_PERMISSION, "subscription group no permission, CG");
	group_find(f.b->groups, SLICE_LIT("CG"))->consume_enable = true;
	ensure(param_set(param_find(&broker_params, SLICE_LIT("brokerPermission")), f.b->conf, SLICE_LIT("2"), &e) == RC_OK);
	refused("T1", 0, "*", RES_NO_PERMISSION, "the broker[127.0.0.1] pulling message is forbidden");
	end();
}

static void
ask_with(struct ask *a, int sys_flag, const char *type)
{
	ask_begin(a, REQ_PULL_MESSAGE, 1);
	ask_field(a, "consumerGroup", "CG");
	ask_field(a, "topic", "T1");
	ask_field(a, "queueId", "0");
	ask_field(a, "queueOffset", "0");
	ask_field(a, "maxMsgNums", "32");
	ask_field_i64(a, "sysFlag", sys_flag);
	ask_field(a, "commitOffset", "1");
	ask_field(a, "subscription", "a > 1");
	ask_field(a, "subVersion", "0");
	ask_field(a, "expressionType", type);
}

static void
sql_and_unregistered_groups_are_refused(void)
{
	struct ask a;
	struct got g;

	begin(NULL);
	put("A", 1);
	ask_with(&a, 4, "SQL92");
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SYSTEM_ERROR);
	CU_ASSERT_STRING_EQUAL(got_text(&g, NULL), "The broker does not support consumer to filter message by SQL92");
	got_free(&g);
	ask_with(&a, 0, "TAG");
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_SUBSCRIPTION_NOT_EXIST);
	CU_ASSERT_PTR_NOT_NULL(strstr(got_text(&g, NULL), "the consumer's group info not exist"));
	got_free(&g);
	end();
}

static void
commit_offset_of_the_pull_is_kept(void)
{
	struct ask a;
	struct got g;

	begin(NULL);
	put("A", 2);
	ask_with(&a, 1 | 4, "TAG");
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	got_free(&g);
	CU_ASSERT_EQUAL(offset_get(f.b->offsets, SLICE_LIT("CG"), SLICE_LIT("T1"), 0), 1);
	end();
}

static void
pending_reset_is_told_once(void)
{
	begin(NULL);
	put("A", 4);
	offset_reset(f.b->offsets, SLICE_LIT("CG"), SLICE_LIT("T1"), 0, 1);
	CU_ASSERT_EQUAL(pull(4, "*", RES_PULL_OFFSET_MOVED, "OFFSET_RESET", 1), 0);
	CU_ASSERT_EQUAL(pull(1, "*", RES_SUCCESS, "FOUND", 4), 3);
	end();
}

static void
vip_port_serves_no_pulls(void)
{
	struct ask a;
	struct got g;

	begin(NULL);
	close(fd);
	conn_set_stop_listening(&f.b->conns);
	conn_set_listen(&f.b->conns, f.listen_fd, LISTENER_VIP);
	fd = fixture_connect(&f);
	put("A", 1);
	ask_with(&a, 4, "TAG");
	ask_send(&a, &f, fd, NULL, 0);
	CU_ASSERT_FATAL(got_read(&g, &f, fd));
	CU_ASSERT_EQUAL(g.cmd.code, RES_REQUEST_CODE_NOT_SUPPORTED);
	got_free(&g);
	end();
}

TEST_MAIN("broker/pull", TEST(messages_come_with_offsets), TEST(offsets_out_of_range_are_corrected), TEST(tags_are_filtered),
    TEST(refusals_have_the_original_code_and_words), TEST(sql_and_unregistered_groups_are_refused),
    TEST(commit_offset_of_the_pull_is_kept), TEST(pending_reset_is_told_once), TEST(vip_port_serves_no_pulls))
