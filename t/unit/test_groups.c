/*
 * Consumer groups: the ones of the start, automatic ones, changes, what is forbidden, the file.
 */
#include <stdio.h>

#include "t/unit/broker_fixture.h"
#include "workers/broker/groups.h"

static struct fixture f;

static struct group *
get(const char *name)
{
	return group_find(f.b->groups, slice_of(name));
}

static enum rc
update(const char *json, struct err *e)
{
	json_t *o = NULL;
	enum rc rc;

	CU_ASSERT_EQUAL_FATAL(json_load_relaxed(slice_of(json), &o, e), RC_OK);
	rc = group_update(f.b->groups, o, e);
	json_decref(o);
	return rc;
}

static char *
text_of(const struct group *g)
{
	struct buf b = {0};

	group_put_json(g, &b);
	return buf_steal(&b);
}

static void
system_groups_are_there_from_the_start(void)
{
	fixture_start(&f, NULL);
	CU_ASSERT_PTR_NOT_NULL(get("TOOLS_CONSUMER"));
	CU_ASSERT_PTR_NOT_NULL(get("CID_RMQ_SYS_TRANS"));
	CU_ASSERT_PTR_NULL(get("G"));
	fixture_stop(&f);
}

static void
an_unknown_group_is_made_on_first_use_when_that_is_allowed(void)
{
	static const char *const off[] = {"autoCreateSubscriptionGroup=false", NULL};

	fixture_start(&f, NULL);
	CU_ASSERT_PTR_NOT_NULL(group_find_or_make(f.b->groups, slice_of("G")));
	CU_ASSERT_EQUAL(get("G")->retry_max, 16);
	CU_ASSERT_PTR_NULL(group_find_or_make(f.b->groups, slice_of("G x")));
	CU_ASSERT_PTR_NULL(group_find_or_make(f.b->groups, SLICE_NONE));
	fixture_kill(&f);
	fixture_restart(&f, off);
	CU_ASSERT_PTR_NOT_NULL(get("G"));
	CU_ASSERT_PTR_NULL(group_find_or_make(f.b->groups, slice_of("H")));
	CU_ASSERT_PTR_NOT_NULL(group_find_or_make(f.b->groups, slice_of("CID_RMQ_SYS_X")));
	fixture_stop(&f);
}

static void
what_is_missing_becomes_the_default_and_the_rest_is_kept(void)
{
	struct err e;
	char *text;

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(update("{\"groupName\":\"G\",\"retryQueueNums\":3,\"consumeEnable\":\"false\","
			       "\"groupRetryPolicy\":{\"type\":\"EXPONENTIAL\"},\"zz\":1}", &e), RC_OK);
	CU_ASSERT(get("G")->retry_queues == 3 && !get("G")->consume_enable && get("G")->retry_max == 16);
	fixture_kill(&f);
	fixture_restart(&f, NULL);
	text = text_of(get("G"));
	CU_ASSERT_STRING_EQUAL(text,
	    "{\"attributes\":{},\"brokerId\":0,\"consumeBroadcastEnable\":true,\"consumeEnable\":false,\"consumeFromMinEnable\":true,"
	    "\"consumeMessageOrderly\":false,\"consumeTimeoutMinute\":15,\"groupName\":\"G\","
	    "\"groupRetryPolicy\":{\"type\":\"EXPONENTIAL\"},\"groupSysFlag\":0,\"notifyConsumerIdsChangedEnable\":true,"
	    "\"retryMaxTimes\":16,\"retryQueueNums\":3,\"whichBrokerWhenConsumeSlowly\":1}");
	free(text);
	fixture_stop(&f);
}

static void
a_change_that_cannot_be_meant_is_refused(void)
{
	struct err e;

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(update("{}", &e), RC_INVAL);
	CU_ASSERT_EQUAL(update("{\"groupName\":\"G\",\"attributes\":{\"+a\":\"b\"}}", &e), RC_INVAL);
	CU_ASSERT_STRING_EQUAL(e.text, "unsupported key: a");
	CU_ASSERT_PTR_NULL(get("G"));
	fixture_stop(&f);
}

static void
what_is_forbidden_is_kept_and_goes_with_the_group(void)
{
	struct slice g = SLICE_LIT("G"), t = SLICE_LIT("T");

	fixture_start(&f, NULL);
	group_find_or_make(f.b->groups, g);
	CU_ASSERT_EQUAL(group_forbidden(f.b->groups, g, t), 0);
	group_set_forbidden(f.b->groups, g, t, 2, true);
	fixture_kill(&f);
	fixture_restart(&f, NULL);
	CU_ASSERT_EQUAL(group_forbidden(f.b->groups, g, t), 4);
	CU_ASSERT_EQUAL(group_forbidden(f.b->groups, g, slice_of("U")), 0);
	group_set_forbidden(f.b->groups, g, t, 2, false);
	CU_ASSERT_EQUAL(group_forbidden(f.b->groups, g, t), 0);
	group_set_forbidden(f.b->groups, g, t, 2, true);
	CU_ASSERT_TRUE(group_remove(f.b->groups, g));
	CU_ASSERT_EQUAL(group_forbidden(f.b->groups, g, t), 0);
	CU_ASSERT_FALSE(group_remove(f.b->groups, g));
	fixture_stop(&f);
}

TEST_MAIN("broker/groups", TEST(system_groups_are_there_from_the_start), TEST(an_unknown_group_is_made_on_first_use_when_that_is_allowed),
    TEST(what_is_missing_becomes_the_default_and_the_rest_is_kept), TEST(a_change_that_cannot_be_meant_is_refused),
    TEST(what_is_forbidden_is_kept_and_goes_with_the_group))
