/*
 * Clients: heartbeats of all kinds of clients, who is told of a change, leaving, expiry.
 */
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "t/unit/broker_fixture.h"
#include "workers/broker/clients.h"

#define SUB(topic, text, version) "{\"topic\":\"" topic "\",\"subString\":\"" text "\",\"subVersion\":" version "}"
#define HEARTBEAT(client, group, subs, more)                                                                                       \
	"{\"clientID\":\"" client "\",\"consumerDataSet\":[{\"groupName\":\"" group "\",\"consumeType\":\"CONSUME_PASSIVELY\","      \
	"\"messageModel\":\"CLUSTERING\",\"consumeFromWhere\":\"CONSUME_FROM_FIRST_OFFSET\",\"subscriptionDataSet\":[" subs "]}],"  \
	"\"producerDataSet\":[{\"groupName\":\"PG\"}]" more "}"

static struct fixture f;

static struct consumer_group *
group(const char *name)
{
	return consumer_group_find(f.b->clients, slice_of(name));
}

static const struct subscription *
sub_of(const char *group_name, const char *topic)
{
	return group(group_name) != NULL ? consumer_group_sub(group(group_name), slice_of(topic)) : NULL;
}

/* Reads notices until the answer with that number; how many notices there were, -1 without an answer. */
static int
answer(int fd, int32_t opaque, struct got *g)
{
	int notices = 0;

	while (got_read(g, &f, fd)) {
		if (command_is_response(&g->cmd) && g->cmd.opaque == opaque)
			return notices;
		notices += g->cmd.code == REQ_NOTIFY_CONSUMER_IDS_CHANGED && command_is_oneway(&g->cmd);
		got_free(g);
	}
	return -1;
}

/* A heartbeat; returns the notices that came before its answer. */
static int
beat(int fd, const char *body)
{
	struct ask a;
	struct got g;
	int notices;

	ask_begin(&a, REQ_HEART_BEAT, 5);
	ask_send(&a, &f, fd, body, strlen(body));
	notices = answer(fd, 5, &g);
	if (notices >= 0) {
		CU_ASSERT_EQUAL(g.cmd.code, RES_SUCCESS);
		CU_ASSERT_STRING_EQUAL(got_text(&g, "IS_SUPPORT_HEART_BEAT_V2"), "true");
		got_free(&g);
	}
	return notices;
}

/* The same; whether the client is asked for its subscriptions. */
static const char *
beat_wants_subs(int fd, const char *body)
{
	static char text[8];
	struct ask a;
	struct got g;

	ask_begin(&a, REQ_HEART_BEAT, 6);
	ask_send(&a, &f, fd, body, strlen(body));
	CU_ASSERT_FATAL(answer(fd, 6, &g) >= 0);
	snprintf(text, sizeof text, "%s", got_text(&g, "IS_SUB_CHANGE"));
	got_free(&g);
	return text;
}

static int
notices_now(int fd)
{
	struct got g;
	struct ask a;
	int n;

	ask_begin(&a, REQ_GET_MAX_OFFSET, 77);
	ask_field(&a, "topic", "T");
	ask_field(&a, "queueId", "0");
	ask_send(&a, &f, fd, NULL, 0);
	n = answer(fd, 77, &g);
	if (n >= 0)
		got_free(&g);
	return n;
}

static void
a_new_member_is_told_to_all_before_its_answer(void)
{
	int one, two;

	fixture_start(&f, NULL);
	one = fixture_connect(&f);
	two = fixture_connect(&f);
	CU_ASSERT_EQUAL(beat(one, HEARTBEAT("c1", "G", SUB("T", "*", "1"), "")), 1);
	CU_ASSERT_EQUAL(beat(two, HEARTBEAT("c2", "G", SUB("T", "*", "1"), "")), 1);
	CU_ASSERT_EQUAL(notices_now(one), 1);
	CU_ASSERT_EQUAL(beat(one, HEARTBEAT("c1", "G", SUB("T", "*", "1"), "")), 0);
	CU_ASSERT_EQUAL_FATAL(group("G")->member_count, 2);
	CU_ASSERT_EQUAL(group("G")->from_where, 4);
	CU_ASSERT_PTR_NOT_NULL(topic_find(f.b->topics, slice_of("%RETRY%G")));
	close(two);
	fixture_turns(&f, 3);
	CU_ASSERT_EQUAL(group("G")->member_count, 1);
	CU_ASSERT_EQUAL(notices_now(one), 1);
	close(one);
	fixture_turns(&f, 3);
	CU_ASSERT_PTR_NULL(group("G"));
	fixture_stop(&f);
}

static void
broadcasting_members_are_told_nothing(void)
{
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	CU_ASSERT_EQUAL(beat(fd, "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"G\",\"messageModel\":\"BROADCASTING\","
				 "\"subscriptionDataSet\":[" SUB("T", "*", "1") "]}]}"), 0);
	CU_ASSERT_EQUAL(group("G")->model, BROADCASTING);
	close(fd);
	fixture_stop(&f);
}

static void
a_group_that_wants_no_notices_gets_none(void)
{
	int fd;

	fixture_start(&f, NULL);
	group_find_or_make(f.b->groups, slice_of("G"))->notify_ids_changed = false;
	fd = fixture_connect(&f);
	CU_ASSERT_EQUAL(beat(fd, HEARTBEAT("c1", "G", SUB("T", "*", "1"), "")), 0);
	close(fd);
	fixture_stop(&f);
}

static void
newer_subscriptions_replace_and_missing_ones_go(void)
{
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	beat(fd, HEARTBEAT("c", "G", SUB("T", "A", "10") "," SUB("U", "*", "10"), ""));
	CU_ASSERT_PTR_NOT_NULL_FATAL(sub_of("G", "U"));
	CU_ASSERT_EQUAL(beat(fd, HEARTBEAT("c", "G", SUB("T", "B", "9") "," SUB("U", "*", "10"), "")), 0);
	CU_ASSERT_STRING_EQUAL(sub_of("G", "T")->text, "A");
	CU_ASSERT_EQUAL(beat(fd, HEARTBEAT("c", "G", SUB("T", "B || C", "11"), "")), 1);
	CU_ASSERT_STRING_EQUAL(sub_of("G", "T")->text, "B || C");
	CU_ASSERT_EQUAL(sub_of("G", "T")->code_count, 2);
	CU_ASSERT_PTR_NULL(sub_of("G", "U"));
	close(fd);
	fixture_stop(&f);
}

static void
the_cpp_clients_form_is_read(void)
{
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	beat(fd, "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"G\",\"consumeType\":1,\"messageModel\":1,\"consumeFromWhere\":4,"
		 "\"subscriptionDataSet\":[{\"topic\":\"T\",\"subString\":\"TagA\",\"subVersion\":\"123\",\"codeSet\":[2598919],"
		 "\"tagsSet\":[\"TagA\"]}]}],\"producerDataSet\":null,}");
	CU_ASSERT_PTR_NOT_NULL_FATAL(group("G"));
	CU_ASSERT(group("G")->model == CLUSTERING && group("G")->consume_type == CONSUME_PASSIVELY && group("G")->from_where == 4);
	CU_ASSERT_EQUAL(sub_of("G", "T")->version, 123);
	CU_ASSERT_TRUE(subscription_matches_code(sub_of("G", "T"), 2598919));
	CU_ASSERT_FALSE(subscription_matches_code(sub_of("G", "T"), 5));
	close(fd);
	fixture_stop(&f);
}

static void
subscriptions_left_out_stay_or_are_asked_for(void)
{
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	CU_ASSERT_STRING_EQUAL(beat_wants_subs(fd, HEARTBEAT("c", "G", "", ",\"heartbeatFingerprint\":7,\"withoutSub\":true")), "true");
	CU_ASSERT_PTR_NULL(group("G"));
	CU_ASSERT_STRING_EQUAL(beat_wants_subs(fd, HEARTBEAT("c", "G", SUB("T", "*", "1"), ",\"heartbeatFingerprint\":7")), "false");
	CU_ASSERT_STRING_EQUAL(beat_wants_subs(fd, HEARTBEAT("c", "G", "", ",\"heartbeatFingerprint\":7,\"withoutSub\":true")), "false");
	CU_ASSERT_PTR_NOT_NULL(sub_of("G", "T"));
	CU_ASSERT_STRING_EQUAL(beat_wants_subs(fd, HEARTBEAT("c", "G", "", ",\"heartbeatFingerprint\":8,\"withoutSub\":true")), "true");
	close(fd);
	fixture_stop(&f);
}

static void
unregister_takes_out_that_connection_only(void)
{
	struct ask a;
	struct got g;
	int one, two;

	fixture_start(&f, NULL);
	one = fixture_connect(&f);
	two = fixture_connect(&f);
	beat(one, HEARTBEAT("c1", "G", SUB("T", "*", "1"), ""));
	beat(two, HEARTBEAT("c2", "G", SUB("T", "*", "1"), ""));
	ask_begin(&a, REQ_UNREGISTER_CLIENT, 8);
	ask_field(&a, "clientID", "c2");
	ask_field(&a, "consumerGroup", "G");
	ask_field(&a, "producerGroup", "PG");
	ask_send(&a, &f, one, NULL, 0);
	CU_ASSERT_FATAL(answer(one, 8, &g) >= 0);
	got_free(&g);
	CU_ASSERT_EQUAL_FATAL(group("G")->member_count, 1);
	CU_ASSERT_STRING_EQUAL(group("G")->members->client_id, "c2");
	CU_ASSERT_PTR_NULL(producer_conn_by_client(f.b->clients, slice_of("c1")));
	CU_ASSERT_PTR_NOT_NULL(producer_conn_by_client(f.b->clients, slice_of("c2")));
	close(one);
	close(two);
	fixture_stop(&f);
}

static void
a_producer_is_found_by_its_id_while_any_of_its_groups_is_left(void)
{
	struct slice id = SLICE_LIT("p");
	struct conn *conn;
	int64_t producers, consumers;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	beat(fd, "{\"clientID\":\"p\",\"producerDataSet\":[{\"groupName\":\"A\"},{\"groupName\":\"B\"}]}");
	conn = producer_conn_by_client(f.b->clients, id);
	CU_ASSERT_PTR_NOT_NULL_FATAL(conn);
	clients_count(f.b->clients, &producers, &consumers);
	CU_ASSERT(producers == 2 && consumers == 0);
	clients_unregister_producer(f.b->clients, conn, slice_of("B"));
	CU_ASSERT_PTR_EQUAL(producer_conn_by_client(f.b->clients, id), conn);
	clients_unregister_producer(f.b->clients, conn, slice_of("A"));
	CU_ASSERT_PTR_NULL(producer_conn_by_client(f.b->clients, id));
	close(fd);
	fixture_stop(&f);
}

static void
silence_for_two_minutes_ends_membership_and_connection(void)
{
	char byte;
	int fd;

	clock_set_made(1700000000000);
	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	beat(fd, HEARTBEAT("c", "G", SUB("T", "*", "1"), ""));
	clock_advance_ms(119000);
	clients_expire(f.b->clients);
	CU_ASSERT_PTR_NOT_NULL(group("G"));
	clock_advance_ms(1001);
	clients_expire(f.b->clients);
	CU_ASSERT_PTR_NULL(group("G"));
	fixture_turns(&f, 3);
	CU_ASSERT_EQUAL(read(fd, &byte, 1), 0);
	close(fd);
	fixture_stop(&f);
	clock_set_made(-1);
}

static void
two_connections_with_one_id_are_listed_once(void)
{
	struct ask a;
	struct got g;
	int one, two;

	fixture_start(&f, NULL);
	one = fixture_connect(&f);
	two = fixture_connect(&f);
	beat(one, HEARTBEAT("same", "G", SUB("T", "*", "1"), ""));
	beat(two, HEARTBEAT("same", "G", SUB("T", "*", "1"), ""));
	ask_begin(&a, REQ_GET_CONSUMER_LIST_BY_GROUP, 9);
	ask_field(&a, "consumerGroup", "G");
	ask_send(&a, &f, two, NULL, 0);
	CU_ASSERT_FATAL(answer(two, 9, &g) >= 0);
	CU_ASSERT_TRUE(slice_is(g.cmd.body, "{\"consumerIdList\":[\"same\"]}"));
	got_free(&g);
	close(one);
	close(two);
	fixture_stop(&f);
}

static void
heartbeats_that_are_none_are_answered_and_change_nothing(void)
{
	static const char *const bodies[] = {"", "xx", "[]", "{\"clientID\":5,\"consumerDataSet\":{}}", "{\"consumerDataSet\":[5,null,{}]}",
	    "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"a b\"}],\"producerDataSet\":[{},[]]}"};
	struct ask a;
	struct got g;
	int fd;

	fixture_start(&f, NULL);
	fd = fixture_connect(&f);
	for (size_t i = 0; i < COUNT_OF(bodies); i++) {
		ask_begin(&a, REQ_HEART_BEAT, (int32_t)i);
		ask_send(&a, &f, fd, bodies[i], strlen(bodies[i]));
		CU_ASSERT_FATAL(answer(fd, (int32_t)i, &g) >= 0);
		got_free(&g);
	}
	CU_ASSERT_PTR_NULL(group("a b"));
	close(fd);
	fixture_stop(&f);
}

static void
tag_expressions_are_cut_at_double_bars(void)
{
	struct subscription *s;
	struct slice t = SLICE_LIT("T"), tag = SLICE_LIT("TAG");

	CU_ASSERT_EQUAL_FATAL(subscription_make(t, slice_of(" A || ||B||A "), tag, 1, &s), RC_OK);
	CU_ASSERT(s->code_count == 2 && !s->all);
	CU_ASSERT_TRUE(subscription_matches_code(s, 65));
	subscription_free(&s);
	CU_ASSERT_EQUAL_FATAL(subscription_make(t, SLICE_NONE, SLICE_NONE, 1, &s), RC_OK);
	CU_ASSERT_TRUE(s->all);
	subscription_free(&s);
	CU_ASSERT_EQUAL(subscription_make(t, slice_of("||"), tag, 1, &s), RC_INVAL);
	CU_ASSERT_PTR_NULL(s);
	CU_ASSERT_EQUAL_FATAL(subscription_make(t, slice_of("a > 5"), slice_of("SQL92"), 1, &s), RC_OK);
	CU_ASSERT_STRING_EQUAL(s->expression_type, "SQL92");
	subscription_free(&s);
}

TEST_MAIN("broker/clients", TEST(a_new_member_is_told_to_all_before_its_answer), TEST(broadcasting_members_are_told_nothing),
    TEST(a_group_that_wants_no_notices_gets_none), TEST(newer_subscriptions_replace_and_missing_ones_go),
    TEST(the_cpp_clients_form_is_read), TEST(subscriptions_left_out_stay_or_are_asked_for),
    TEST(unregister_takes_out_that_connection_only), TEST(a_producer_is_found_by_its_id_while_any_of_its_groups_is_left),
    TEST(silence_for_two_minutes_ends_membership_and_connection), TEST(two_connections_with_one_id_are_listed_once),
    TEST(heartbeats_that_are_none_are_answered_and_change_nothing), TEST(tag_expressions_are_cut_at_double_bars))
