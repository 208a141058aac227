/*
 * test_adm: options, times and texts of rmqadmin; no server is asked.
 */
#include "tools/adm.h"

#include <getopt.h>

#include "test.h"

static const struct adm_opt opts[] = {{'t', "topic", "name", true, "topic"},
				      {'r', "readQueueNums", "n", false, "queues"},
				      {'m', "moreStats", NULL, false, "more"},
				      {'A', "attributes", "list", false, "changes"},
				      {0, NULL, NULL, false, NULL}};
static const struct adm_cmd cmd = {"test", NULL, "For tests.", opts};

#define PARSE(a, ...)                                                                                                  \
	({                                                                                                             \
		const char *argv_[] = {"test", __VA_ARGS__, NULL};                                                     \
		(a) = (struct adm){.cmd = &cmd};                                                                       \
		optind = 0; /* getopt begins anew */                                                                   \
		adm_parse(&(a), (int)COUNT_OF(argv_) - 1, (char **)(uintptr_t)argv_);                                  \
	})

static void
options_are_taken_by_letter_and_name(void)
{
	struct adm a;
	int64_t v;

	CU_ASSERT_EQUAL(PARSE(a, "-n", "h:1;i:2", "--topic", "T", "-r", "5", "-m", "--attributes", "+a=b", "--json"),
			RC_OK);
	CU_ASSERT_STRING_EQUAL(adm_value(&a, 't'), "T");
	CU_ASSERT_STRING_EQUAL(adm_value(&a, 'A'), "+a=b");
	CU_ASSERT(adm_value(&a, 'm') != NULL);
	CU_ASSERT(a.json);
	CU_ASSERT_EQUAL(adm_number(&a, 'r', 1, 0, 10, &v), RC_OK);
	CU_ASSERT_EQUAL(v, 5);
	CU_ASSERT_EQUAL(a.timeout_ms, ADM_TIMEOUT_MS);
}

static void
wrong_options_are_refused_with_a_sentence(void)
{
	struct adm a;
	int64_t v;

	CU_ASSERT_EQUAL(PARSE(a, "-n", "h:1"), RC_INVAL);
	CU_ASSERT(strstr(a.e.text, "-t (--topic) is needed") != NULL);
	CU_ASSERT_EQUAL(PARSE(a, "-n", "h:1", "-t", "T", "-x"), RC_INVAL);
	CU_ASSERT(strstr(a.e.text, "-x is no option") != NULL);
	CU_ASSERT_EQUAL(PARSE(a, "-n", "h:1", "-t"), RC_INVAL);
	CU_ASSERT(strstr(a.e.text, "needs a value") != NULL);
	CU_ASSERT_EQUAL(PARSE(a, "-n", "h:1", "-t", "T", "stray"), RC_INVAL);
	CU_ASSERT_EQUAL(PARSE(a, "-n", "", "-t", "T"), RC_INVAL);
	CU_ASSERT_EQUAL(PARSE(a, "-n", "h:1", "-t", "T", "-r", "11"), RC_OK);
	CU_ASSERT_EQUAL(adm_number(&a, 'r', 1, 0, 10, &v), RC_INVAL);
	CU_ASSERT(strstr(a.e.text, "-r (--readQueueNums) must be") != NULL);
	CU_ASSERT(a.misused);
}

static void
times_are_read_in_each_form(void)
{
	struct adm a;
	int64_t ms;

	setenv("TZ", "UTC", 1);
	CU_ASSERT_EQUAL(PARSE(a, "-n", "h:1", "-t", "2026-11-20#10:15:03:123"), RC_OK);
	CU_ASSERT_EQUAL(adm_time(&a, 't', -1, &ms), RC_OK);
	CU_ASSERT_EQUAL(ms, 1795169703123);
	a.values['t'] = "1795169703123";
	CU_ASSERT_EQUAL(adm_time(&a, 't', -1, &ms), RC_OK);
	CU_ASSERT_EQUAL(ms, 1795169703123);
	a.values['t'] = "2026-11-20#10:15:03:1234";
	CU_ASSERT_EQUAL(adm_time(&a, 't', -1, &ms), RC_INVAL);
	a.values['t'] = "tomorrow";
	CU_ASSERT_EQUAL(adm_time(&a, 't', -1, &ms), RC_INVAL);
	a.values['t'] = NULL;
	CU_ASSERT_EQUAL(adm_time(&a, 't', -1, &ms), RC_OK);
	CU_ASSERT_EQUAL(ms, -1);
}

static void
texts_are_as_the_original_writes_them(void)
{
	static const struct {
		int64_t number;
		const char *name;
	} versions[] = {{213, "V4_0_0"}, {232, "V4_1_0_SNAPSHOT"}, {317, "V4_5_2"},         {409, "V4_9_8"},
			{413, "V5_0_0"}, {479, "V5_3_3"},          {613, "HIGHER_VERSION"}, {37, "37"}};
	char text[32];

	setenv("TZ", "UTC", 1);
	for (size_t i = 0; i < COUNT_OF(versions); i++)
		CU_ASSERT_STRING_EQUAL(adm_version_text(versions[i].number, text), versions[i].name);
	CU_ASSERT_STRING_EQUAL(adm_time_text(1795169703123, text), "2026-11-20 10:15:03,123");
	CU_ASSERT_STRING_EQUAL(adm_time_text(0, text), "");
}

static void
name_servers_are_walked_one_by_one(void)
{
	struct adm a = {.namesrv = ";h:1; i:2;;"};
	size_t at = 0;
	char *one;

	CU_ASSERT(adm_next_ns(&a, &at, &one));
	CU_ASSERT_STRING_EQUAL(one, "h:1");
	free(one);
	CU_ASSERT(adm_next_ns(&a, &at, &one));
	CU_ASSERT_STRING_EQUAL(one, "i:2");
	free(one);
	CU_ASSERT_FALSE(adm_next_ns(&a, &at, &one));
}

static void
rows_are_sorted_by_topic_broker_and_queue(void)
{
	json_t *rows = json_pack("[{s:s,s:s,s:i},{s:s,s:s,s:i},{s:s,s:s,s:i}]", "topic", "b", "broker", "x", "queue", 1,
				 "topic", "a", "broker", "x", "queue", 10, "topic", "a", "broker", "x", "queue", 9);

	adm_sort_queues(rows);
	CU_ASSERT_EQUAL(json_get_i64(json_array_get(rows, 0), "queue", 0), 9);
	CU_ASSERT_EQUAL(json_get_i64(json_array_get(rows, 1), "queue", 0), 10);
	CU_ASSERT_EQUAL(json_get_i64(json_array_get(rows, 2), "queue", 0), 1);
	json_decref(rows);
}

TEST_MAIN("tools/adm", TEST(options_are_taken_by_letter_and_name), TEST(wrong_options_are_refused_with_a_sentence),
	  TEST(times_are_read_in_each_form), TEST(texts_are_as_the_original_writes_them),
	  TEST(name_servers_are_walked_one_by_one), TEST(rows_are_sorted_by_topic_broker_and_queue))
