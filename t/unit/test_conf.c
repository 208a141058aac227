/*
 * Keys and values of the configuration, and properties text.
 */
#include "common/conf.h"
#include "test.h"

struct seen {
	char	text[4096];
	int	last_line;
	int	count, stop_at;
};

static enum rc
note_pair(void *arg, struct slice key, struct slice value, int line)
{
	struct seen *s = arg;
	size_t n = strlen(s->text);

	snprintf(s->text + n, sizeof(s->text) - n, "[%.*s|%.*s]", (int)key.n, key.p, (int)value.n, value.n ? value.p : "");
	s->last_line = line;
	return ++s->count == s->stop_at ? RC_INVAL : RC_OK;
}

static void
check_walk(const char *text, const char *wanted)
{
	struct seen s = {0};

	CU_ASSERT_EQUAL(properties_walk(slice_of(text), note_pair, &s), RC_OK);
	CU_ASSERT_STRING_EQUAL(s.text, wanted);
}

static enum rc
set(struct broker_conf *c, const char *key, const char *value)
{
	const struct param *p = param_find(&broker_params, slice_of(key));
	struct err e = {{0}};
	enum rc rc;

	if (p == NULL)
		return RC_NOTFOUND;
	rc = param_set(p, c, slice_of(value), &e);
	CU_ASSERT_EQUAL(rc == RC_OK, e.text[0] == '\0');
	return rc;
}

static void
defaults_are_the_originals(void)
{
	struct broker_conf c;
	struct namesrv_conf n;

	broker_conf_init(&c);
	namesrv_conf_init(&n);
	CU_ASSERT_EQUAL(c.listenPort, 10911);
	CU_ASSERT_EQUAL(c.haListenPort, 0);
	CU_ASSERT_EQUAL(c.mappedFileSizeCommitLog, 1073741824);
	CU_ASSERT_EQUAL(c.consumerFallbehindThreshold, INT64_C(17179869184));
	CU_ASSERT_EQUAL(c.flushDiskType, FLUSH_ASYNC);
	CU_ASSERT_EQUAL(c.brokerRole, ROLE_ASYNC_MASTER);
	CU_ASSERT_TRUE(c.useServerSideResetOffset);
	CU_ASSERT_STRING_EQUAL(c.deleteWhen, "04");
	CU_ASSERT_STRING_EQUAL(c.brokerName, "");
	CU_ASSERT_DOUBLE_EQUAL(c.logicalDiskSpaceCleanForciblyThreshold, 0.8, 0);
	CU_ASSERT_EQUAL(n.listenPort, 9876);
	CU_ASSERT_EQUAL(n.scanNotActiveBrokerInterval, 5000);
	CU_ASSERT_STRING_EQUAL(n.configBlackList, "configBlackList;configStorePath;kvConfigPath");
	broker_conf_free(&c);
	namesrv_conf_free(&n);
}

static void
keys_are_named_once_and_say_what_they_do(void)
{
	const struct param_table *tables[] = {&broker_params, &namesrv_params};

	for (size_t t = 0; t < COUNT_OF(tables); t++)
		for (size_t i = 0; i < tables[t]->count; i++) {
			const struct param *p = &tables[t]->rows[i];

			CU_ASSERT_PTR_EQUAL(param_find(tables[t], slice_of(p->name)), p);
			CU_ASSERT_TRUE(strlen(p->text) > 10);
		}
	CU_ASSERT_TRUE(broker_params.count > 440);
	CU_ASSERT_TRUE(namesrv_params.count >= 40);
}

/* A value of the kind that is not the default. */
static const char *
other_value(const struct param *p)
{
	switch (p->kind) {
	case PARAM_BOOL:
		return strcmp(p->def, "true") == 0 ? "false" : "true";
	case PARAM_DOUBLE:
		return "0.1";
	case PARAM_STR:
		if (strcmp(p->name, "defaultMessageRequestMode") == 0)
			return "POP";
		return strcmp(p->name, "messageDelayLevel") == 0 ? "1s 2h" : strcmp(p->name, "deleteWhen") == 0 ? "01;13" : "other";
	case PARAM_ROLE:
		return "SLAVE";
	case PARAM_FLUSH:
		return "SYNC_FLUSH";
	case PARAM_INT:
	case PARAM_LONG:
		break;
	}
	if (strcmp(p->name, "popFromRetryProbability") == 0 || strcmp(p->name, "reviveQueueNum") == 0)
		return "33";
	return strcmp(p->name, "brokerPermission") == 0 ? "4" : strstr(p->name, "atio") ? "33" : "5003";
}

struct target {
	const struct param_table *table;
	void	*conf;
	size_t	 count;
};

static enum rc
set_pair(void *arg, struct slice key, struct slice value, int line)
{
	struct target *t = arg;
	const struct param *p = param_find(t->table, key);
	struct err e;

	(void)line;
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	t->count++;
	return param_set(p, t->conf, value, &e);
}

static void
all_values_round_trip_through_properties(void)
{
	struct broker_conf a, b;
	struct buf text = {0};
	struct err e;
	struct target t = {&broker_params, &b, 0};

	broker_conf_init(&a);
	broker_conf_init(&b);
	for (size_t i = 0; i < broker_params.count; i++) {
		const struct param *p = &broker_params.rows[i];

		CU_ASSERT_EQUAL(param_set(p, &a, slice_of(other_value(p)), &e), RC_OK);
		CU_ASSERT_FALSE(param_equal(p, &a, &b));
	}
	params_put_properties(&broker_params, &a, &text);
	CU_ASSERT_EQUAL(properties_walk(buf_slice(&text), set_pair, &t), RC_OK);
	CU_ASSERT_EQUAL(t.count, broker_params.count);
	for (size_t i = 0; i < broker_params.count; i++)
		CU_ASSERT_TRUE(param_equal(&broker_params.rows[i], &a, &b));
	buf_free(&text);
	broker_conf_free(&a);
	broker_conf_free(&b);
}

static void
unset_texts_are_left_out_and_emptied_ones_are_not(void)
{
	struct broker_conf c;
	struct buf text = {0};

	broker_conf_init(&c);
	CU_ASSERT_EQUAL(set(&c, "msgTraceTopicName", "t"), RC_OK);
	CU_ASSERT_EQUAL(set(&c, "configBlackList", ""), RC_OK);
	params_put_properties(&broker_params, &c, &text);
	buf_put_char(&text, '\0');
	CU_ASSERT_PTR_NULL(strstr(text.p, "storePathCommitLog"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text.p, "\nconfigBlackList=\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text.p, "\nmsgTraceTopicName=t\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text.p, "\nlogicalDiskSpaceCleanForciblyThreshold=0.8\n"));
	buf_free(&text);
	broker_conf_free(&c);
}

static void
a_copy_has_texts_of_its_own(void)
{
	struct broker_conf a, b;

	broker_conf_init(&a);
	CU_ASSERT_EQUAL(set(&a, "brokerName", "broker-a"), RC_OK);
	broker_conf_copy(&b, &a);
	CU_ASSERT_EQUAL(set(&a, "brokerName", "broker-b"), RC_OK);
	CU_ASSERT_STRING_EQUAL(b.brokerName, "broker-a");
	broker_conf_free(&a);
	broker_conf_free(&b);
}

static void
old_spellings_take_effect(void)
{
	struct broker_conf c;

	broker_conf_init(&c);
	CU_ASSERT_EQUAL(set(&c, "mapedFileSizeCommitLog", "8192"), RC_OK);
	CU_ASSERT_EQUAL(c.mappedFileSizeCommitLog, 8192);
	CU_ASSERT_EQUAL(set(&c, "mapedFileSizeConsumeQueue", "2000"), RC_OK);
	CU_ASSERT_EQUAL(c.mappedFileSizeConsumeQueue, 2000);
	CU_ASSERT_EQUAL(set(&c, "haSlaveFallbehindMax", "7"), RC_OK);
	CU_ASSERT_EQUAL(c.haMaxGapNotInSync, 7);
	CU_ASSERT_EQUAL(set(&c, "storePathIndex", "/x"), RC_OK);
	CU_ASSERT_PTR_NULL(param_find(&namesrv_params, slice_of("mapedFileSizeCommitLog")));
	broker_conf_free(&c);
}

static void
a_misspelt_key_finds_its_neighbour(void)
{
	CU_ASSERT_STRING_EQUAL(param_nearest(&broker_params, "listnPort"), "listenPort");
	CU_ASSERT_STRING_EQUAL(param_nearest(&broker_params, "flushdisktype"), "flushDiskType");
	CU_ASSERT_STRING_EQUAL(param_nearest(&broker_params, "defaultTopicQueueNum"), "defaultTopicQueueNums");
	CU_ASSERT_PTR_NULL(param_nearest(&broker_params, "zzzz"));
	CU_ASSERT_PTR_NULL(param_find(&broker_params, SLICE_LIT("listenport")));
	CU_ASSERT_PTR_NULL(param_find(&broker_params, SLICE_NONE));
}

static void
wrong_values_are_refused_and_change_nothing(void)
{
	static const char *const wrong[][2] = {
		{"listenPort", "65536"}, {"listenPort", "-1"}, {"listenPort", "1x"}, {"listenPort", ""},
		{"listenPort", "4294967297"}, {"diskMaxUsedSpaceRatio", "101"}, {"maxMessageSize", "0"},
		{"mappedFileSizeCommitLog", "0"}, {"mappedFileSizeConsumeQueue", "19"}, {"brokerPermission", "8"},
		{"brokerId", "-1"}, {"brokerId", "9223372036854775808"}, {"traceOn", "yes"}, {"traceOn", ""},
		{"flushDiskType", "sync_flush"}, {"brokerRole", "MASTER"}, {"deleteWhen", "4"}, {"deleteWhen", "04;24"},
		{"deleteWhen", ""}, {"messageDelayLevel", "1s,5s"}, {"logicalDiskSpaceCleanForciblyThreshold", "nan"},
		{"logicalDiskSpaceCleanForciblyThreshold", "0.8x"}, {"brokerName", "a b"}, {"flushIntervalCommitLog", "0"},
	};
	struct broker_conf c, before;

	broker_conf_init(&c);
	broker_conf_init(&before);
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		if (set(&c, wrong[i][0], wrong[i][1]) != RC_INVAL)
			CU_FAIL(wrong[i][0]);
	for (size_t i = 0; i < broker_params.count; i++)
		CU_ASSERT_TRUE(param_equal(&broker_params.rows[i], &c, &before));
	broker_conf_free(&c);
	broker_conf_free(&before);
}

static void
a_refusal_names_key_value_and_limit(void)
{
	struct broker_conf c;
	struct err e;

	broker_conf_init(&c);
	CU_ASSERT_EQUAL(param_set(param_find(&broker_params, SLICE_LIT("listenPort")), &c, SLICE_LIT("70000"), &e), RC_INVAL);
	CU_ASSERT_STRING_EQUAL(e.text, "listenPort: 70000 is too large, the most is 65535");
	CU_ASSERT_EQUAL(param_set(param_find(&broker_params, SLICE_LIT("traceOn")), &c, SLICE_LIT("1"), &e), RC_INVAL);
	CU_ASSERT_STRING_EQUAL(e.text, "traceOn: \"1\" is not true or false");
	broker_conf_free(&c);
}

static void
keys_without_effect_take_what_old_files_have(void)
{
	struct broker_conf c;

	broker_conf_init(&c);
	CU_ASSERT_EQUAL(set(&c, "maxStatsIdleTimeInMinutes", "-1"), RC_OK);
	CU_ASSERT_EQUAL(set(&c, "bitMapLengthConsumeQueueExt", "-5"), RC_OK);
	CU_ASSERT_EQUAL(set(&c, "listenPort", " 10921 "), RC_OK);
	CU_ASSERT_EQUAL(set(&c, "traceOn", "TRUE "), RC_OK);
	CU_ASSERT_EQUAL(c.listenPort, 10921);
	broker_conf_free(&c);
}

static void
properties_are_read_as_java_does(void)
{
	check_walk("a=1\nb:2\r\nc 3\rd", "[a|1][b|2][c|3][d|]");
	check_walk("  # no\n! no \\\n\n \t\n a = 1 2 ", "[a|1 2 ]");
	check_walk("a=1,\\\n   2,\\\r\n\t3\nb=2", "[a|1,2,3][b|2]");
	check_walk("a=1\\\\\nb=2", "[a|1\\][b|2]");
	check_walk("a\\=b\\:c\\ d=\\t\\n\\q\\\\", "[a=b:c d|\t\nq\\]");
	check_walk("a==:x", "[a|=:x]");
	check_walk("=x", "[|x]");
	check_walk("a=\\u0041\\u00e9\\u4e2D\\ud83d\\ude00\\ud83dx", "[a|A\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\xef\xbf\xbdx]");
	check_walk("a=x\\", "[a|x]");
	check_walk("", "");
}

static void
broken_properties_are_refused(void)
{
	struct seen s = {.stop_at = 2};

	CU_ASSERT_EQUAL(properties_walk(slice_of("a=\\u12"), note_pair, &s), RC_BADDATA);
	CU_ASSERT_EQUAL(properties_walk(slice_of("\\u12g4=1"), note_pair, &s), RC_BADDATA);
	CU_ASSERT_EQUAL(s.count, 0);
	CU_ASSERT_EQUAL(properties_walk(slice_of("a=1\\\n2\n\nb=2\nc=3"), note_pair, &s), RC_INVAL);
	CU_ASSERT_STRING_EQUAL(s.text, "[a|12][b|2]");
	CU_ASSERT_EQUAL(s.last_line, 4);
}

static void
written_properties_read_back_the_same(void)
{
	struct buf b = {0};
	struct seen s = {0};

	properties_put(&b, SLICE_LIT("a b=c#:"), SLICE_LIT("  x=y\\z\n\t# "));
	properties_put(&b, SLICE_LIT("messageDelayLevel"), SLICE_LIT("1s 5s"));
	CU_ASSERT_EQUAL(properties_walk(buf_slice(&b), note_pair, &s), RC_OK);
	CU_ASSERT_STRING_EQUAL(s.text, "[a b=c#:|  x=y\\z\n\t# ][messageDelayLevel|1s 5s]");
	buf_put_char(&b, '\0');
	CU_ASSERT_PTR_NOT_NULL(strstr(b.p, "\nmessageDelayLevel=1s 5s\n"));
	buf_free(&b);
}

TEST_MAIN("common/conf", TEST(defaults_are_the_originals), TEST(keys_are_named_once_and_say_what_they_do),
    TEST(all_values_round_trip_through_properties), TEST(unset_texts_are_left_out_and_emptied_ones_are_not),
    TEST(a_copy_has_texts_of_its_own), TEST(old_spellings_take_effect), TEST(a_misspelt_key_finds_its_neighbour),
    TEST(wrong_values_are_refused_and_change_nothing), TEST(a_refusal_names_key_value_and_limit),
    TEST(keys_without_effect_take_what_old_files_have), TEST(properties_are_read_as_java_does),
    TEST(broken_properties_are_refused), TEST(written_properties_read_back_the_same))
