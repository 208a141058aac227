/*
 * Topics: system topics, names, auto creation, attributes, the file.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "t/unit/broker_fixture.h"
#include "workers/broker/topics.h"

#define RW (PERM_READ | PERM_WRITE)

static struct fixture f;

static struct topic *
get(const char *name)
{
	return topic_find(f.b->topics, slice_of(name));
}

static enum rc
auto_create(const char *name, const char *from, int32_t queues, struct topic **out)
{
	return topic_for_send(f.b->topics, slice_of(name), slice_of(from), queues, false, out);
}

static enum rc
set(const char *name, int32_t queues, const char *attributes, struct err *e)
{
	struct topic t = {.name_slice = slice_of(name), .read_queues = queues, .write_queues = queues, .perm = RW};

	return topic_update(f.b->topics, &t, slice_of(attributes), e);
}

static const char *
attribute(const char *topic, const char *name)
{
	const char *text = json_string_value(json_object_get(get(topic)->attributes, name));

	return text != NULL ? text : "";
}

static char *
read_topics_file(void)
{
	char path[128];
	struct buf b = {0};
	struct err e;

	snprintf(path, sizeof path, "%s/config/topics.json", f.dir);
	CU_ASSERT_EQUAL_FATAL(file_read(path, 1 << 24, &b, &e), RC_OK);
	return buf_steal(&b);
}

static void
write_topics_file(const char *name, const char *text)
{
	char path[128];
	FILE *to;

	snprintf(path, sizeof path, "%s/config/%s", f.dir, name);
	to = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(to);
	fputs(text, to);
	fclose(to);
}

static void
system_topics_are_made_at_the_first_start(void)
{
	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(get("TBW102")->perm, 7);
	CU_ASSERT_EQUAL(get("TBW102")->write_queues, 8);
	CU_ASSERT_EQUAL(get("BenchmarkTest")->read_queues, 1024);
	CU_ASSERT_EQUAL(get("test")->read_queues, 16);
	CU_ASSERT_EQUAL(get("broker-t")->perm, 7);
	CU_ASSERT_EQUAL(get("SCHEDULE_TOPIC_XXXX")->read_queues, 18);
	CU_ASSERT_EQUAL(get("rmq_sys_REVIVE_LOG_test")->read_queues, 8);
	CU_ASSERT_EQUAL(get("rmq_sys_SYNC_BROKER_MEMBER_broker-t")->perm, PERM_INHERIT);
	CU_ASSERT_PTR_NULL(get("RMQ_SYS_TRACE_TOPIC"));
	fixture_stop(&f);
}

static void
names_outside_of_the_rules_have_the_originals_words(void)
{
	struct err e;
	char longer[129];

	memset(longer, 'a', 128);
	longer[128] = '\0';
	CU_ASSERT_PTR_NULL(topic_name_fault(slice_of("%RETRY%a-b_C|9"), &e));
	CU_ASSERT_STRING_EQUAL(topic_name_fault(slice_of(" "), &e), "The specified topic is blank.");
	CU_ASSERT_PTR_NOT_NULL(strstr(topic_name_fault(slice_of("a.b"), &e), "illegal characters"));
	CU_ASSERT_PTR_NOT_NULL(topic_name_fault((struct slice){"a\0b", 3}, &e));
	CU_ASSERT_STRING_EQUAL(topic_name_fault(slice_of(longer), &e), "The specified topic is longer than topic max length.");
	longer[127] = '\0';
	CU_ASSERT_PTR_NULL(topic_name_fault(slice_of(longer), &e));
}

static void
a_send_makes_a_topic_from_its_template(void)
{
	struct topic *t;

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL_FATAL(auto_create("A", "TBW102", 4, &t), RC_OK);
	CU_ASSERT(t->write_queues == 4 && t->read_queues == 4 && t->perm == RW);
	CU_ASSERT_EQUAL_FATAL(auto_create("B", "TBW102", 99, &t), RC_OK);
	CU_ASSERT_EQUAL(t->write_queues, 8);
	CU_ASSERT_EQUAL_FATAL(auto_create("C", "TBW102", -3, &t), RC_OK);
	CU_ASSERT_EQUAL(t->write_queues, 0);
	CU_ASSERT_EQUAL(auto_create("D", "A", 4, &t), RC_NOTFOUND);
	CU_ASSERT_EQUAL(auto_create("D", "nosuch", 4, &t), RC_NOTFOUND);
	CU_ASSERT_EQUAL(auto_create("D", "", 4, &t), RC_NOTFOUND);
	fixture_stop(&f);
}

static void
without_auto_creation_only_retry_topics_are_made(void)
{
	static const char *const off[] = {"autoCreateTopicEnable=false", NULL};
	struct topic *t;

	fixture_start(&f, off);
	CU_ASSERT_EQUAL(auto_create("A", "TBW102", 4, &t), RC_NOTFOUND);
	CU_ASSERT_EQUAL_FATAL(auto_create("%RETRY%G", "TBW102", 4, &t), RC_OK);
	CU_ASSERT(t->write_queues == 1 && t->perm == RW);
	fixture_stop(&f);
}

static void
a_template_left_from_before_gives_nothing_when_auto_creation_is_off(void)
{
	static const char *const off[] = {"autoCreateTopicEnable=false", NULL};
	struct topic *t;

	fixture_start(&f, NULL);
	fixture_kill(&f);
	fixture_restart(&f, off);
	CU_ASSERT_PTR_NOT_NULL(get("TBW102"));
	CU_ASSERT_EQUAL(auto_create("A", "TBW102", 4, &t), RC_NOTFOUND);
	fixture_stop(&f);
}

static void
attributes_change_by_the_originals_rules(void)
{
	struct err e;

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(set("A", 4, "+message.type=FIFO,+queue.type=SimpleCQ", &e), RC_OK);
	CU_ASSERT_STRING_EQUAL(attribute("A", "message.type"), "FIFO");
	CU_ASSERT_EQUAL(set("B", 4, "+queue.type=BatchCQ", &e), RC_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "BatchCQ is not supported"));
	CU_ASSERT_EQUAL(set("A", 4, "+queue.type=SimpleCQ", &e), RC_INVAL);
	CU_ASSERT_STRING_EQUAL(e.text, "attempt to update an unchangeable attribute. key: queue.type");
	CU_ASSERT_EQUAL(set("A", 4, "-reserve.time", &e), RC_INVAL);
	CU_ASSERT_STRING_EQUAL(e.text, "attempt to delete a nonexistent key: reserve.time");
	CU_ASSERT_EQUAL(set("A", 4, "+zz=1", &e), RC_INVAL);
	CU_ASSERT_STRING_EQUAL(e.text, "unsupported key: zz");
	CU_ASSERT_EQUAL(set("A", 4, "+reserve.time=-2", &e), RC_INVAL);
	CU_ASSERT_EQUAL(set("A", 4, "+reserve.time=x", &e), RC_INVAL);
	CU_ASSERT_EQUAL(set("A", 4, "+reserve.time=5", &e), RC_OK);
	CU_ASSERT_EQUAL(set("A", 4, "-message.type", &e), RC_OK);
	CU_ASSERT_STRING_EQUAL(attribute("A", "message.type"), "");
	CU_ASSERT_STRING_EQUAL(attribute("A", "reserve.time"), "5");
	CU_ASSERT_EQUAL(set("B", 4, "-message.type", &e), RC_INVAL);
	CU_ASSERT_PTR_NULL(get("B"));
	fixture_stop(&f);
}

static void
an_operators_topic_is_on_disk_when_he_is_told(void)
{
	struct err e;
	char *text;

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(set("Orders", 3, "+message.type=NORMAL", &e), RC_OK);
	text = read_topics_file();
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"Orders\":{\"attributes\":{\"message.type\":\"NORMAL\"}"));
	free(text);
	fixture_stop(&f);
}

static void
a_clients_topic_is_on_disk_after_the_stop(void)
{
	struct topic *t;
	char *text;

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(auto_create("Auto", "TBW102", 4, &t), RC_OK);
	text = read_topics_file();
	CU_ASSERT_PTR_NULL(strstr(text, "\"Auto\""));
	free(text);
	fixture_kill(&f);
	fixture_restart(&f, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(get("Auto"));
	CU_ASSERT_EQUAL(get("Auto")->write_queues, 4);
	fixture_stop(&f);
}

static void
nothing_changes_when_the_same_is_set_again(void)
{
	struct err e;
	int64_t counter;

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(set("A", 4, "", &e), RC_OK);
	counter = topics_version(f.b->topics)->counter;
	CU_ASSERT_EQUAL(set("A", 4, "", &e), RC_OK);
	CU_ASSERT_EQUAL(topics_version(f.b->topics)->counter, counter);
	CU_ASSERT_EQUAL(set("A", 5, "", &e), RC_OK);
	CU_ASSERT_EQUAL(topics_version(f.b->topics)->counter, counter + 1);
	fixture_stop(&f);
}

static void
a_file_of_the_java_broker_is_read(void)
{
	fixture_start(&f, NULL);
	fixture_kill(&f);
	write_topics_file("topics.json",
	    "{\n\t\"dataVersion\":{\n\t\t\"counter\":41,\n\t\t\"stateVersion\":0,\n\t\t\"timestamp\":1795179713813\n\t},\n"
	    "\t\"topicConfigTable\":{\n\t\t\"J1\":{\n\t\t\t\"attributes\":{},\n\t\t\t\"order\":true,\n\t\t\t\"perm\":4,\n"
	    "\t\t\t\"readQueueNums\":3,\n\t\t\t\"topicFilterType\":\"MULTI_TAG\",\n\t\t\t\"topicName\":\"J1\",\n"
	    "\t\t\t\"topicSysFlag\":2,\n\t\t\t\"writeQueueNums\":2\n\t\t}, \"J2\":{\"topicName\":\"J2\",\"unknown\":[1]},\n\t}\n}\n");
	fixture_restart(&f, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(get("J1"));
	CU_ASSERT(get("J1")->order && get("J1")->multi_tag && get("J1")->perm == 4);
	CU_ASSERT(get("J1")->read_queues == 3 && get("J1")->write_queues == 2 && get("J1")->sys_flag == 2);
	CU_ASSERT_EQUAL(get("J2")->read_queues, 16);
	CU_ASSERT(topics_version(f.b->topics)->counter > 41);
	fixture_stop(&f);
}

static void
a_broken_file_is_replaced_by_its_bak_and_never_by_nothing(void)
{
	struct topics *t;
	struct err e = {""};

	fixture_start(&f, NULL);
	fixture_kill(&f);
	write_topics_file("topics.json", "{\"topicConfigTable\":{\"A\":");
	write_topics_file("topics.json.bak", "{\"topicConfigTable\":{\"FromBak\":{\"topicName\":\"FromBak\"}}}");
	fixture_restart(&f, NULL);
	CU_ASSERT_PTR_NOT_NULL(get("FromBak"));
	write_topics_file("topics.json", "garbage");
	write_topics_file("topics.json.bak", "garbage too");
	t = topics_new(f.b);
	CU_ASSERT_EQUAL(topics_load(t, &e), RC_BADDATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "topics.json"));
	topics_free(&t);
	fixture_stop(&f);
}

static void
a_removed_topic_is_gone_and_may_come_back(void)
{
	struct err e;

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(set("A", 4, "", &e), RC_OK);
	CU_ASSERT_TRUE(topic_remove(f.b->topics, slice_of("A")));
	CU_ASSERT_FALSE(topic_remove(f.b->topics, slice_of("A")));
	CU_ASSERT_PTR_NULL(get("A"));
	CU_ASSERT_EQUAL(set("A", 2, "", &e), RC_OK);
	CU_ASSERT_EQUAL(get("A")->read_queues, 2);
	fixture_stop(&f);
}

static void
queues_are_found_within_and_beyond_the_topics_numbers(void)
{
	struct err e;
	struct topic *t;
	struct store_queue *q;

	fixture_start(&f, NULL);
	CU_ASSERT_EQUAL(set("A", 4, "", &e), RC_OK);
	t = get("A");
	q = topic_queue(f.b, t, 3);
	CU_ASSERT_PTR_NOT_NULL(q);
	CU_ASSERT_PTR_EQUAL(topic_queue(f.b, t, 3), q);
	CU_ASSERT_PTR_NULL(topic_queue(f.b, t, 4));
	CU_ASSERT_PTR_NULL(topic_queue(f.b, t, -1));
	CU_ASSERT_EQUAL(set("A", 2, "", &e), RC_OK);
	CU_ASSERT_PTR_EQUAL(topic_queue(f.b, t, 3), q);
	fixture_stop(&f);
}

static void
system_names_are_known(void)
{
	fixture_start(&f, NULL);
	CU_ASSERT_TRUE(topic_is_system(f.b->topics, slice_of("TBW102")));
	CU_ASSERT_TRUE(topic_is_system(f.b->topics, slice_of("broker-t")));
	CU_ASSERT_TRUE(topic_is_system(f.b->topics, slice_of("rmq_sys_anything")));
	CU_ASSERT_TRUE(topic_is_system(f.b->topics, slice_of("RMQ_SYS_TRACE_TOPIC")));
	CU_ASSERT_FALSE(topic_is_system(f.b->topics, slice_of("Orders")));
	CU_ASSERT_TRUE(topic_is_send_forbidden(slice_of("SCHEDULE_TOPIC_XXXX")));
	CU_ASSERT_FALSE(topic_is_send_forbidden(slice_of("BenchmarkTest")));
	fixture_stop(&f);
}

TEST_MAIN("broker/topics", TEST(system_topics_are_made_at_the_first_start), TEST(names_outside_of_the_rules_have_the_originals_words),
    TEST(a_send_makes_a_topic_from_its_template), TEST(without_auto_creation_only_retry_topics_are_made),
    TEST(a_template_left_from_before_gives_nothing_when_auto_creation_is_off), TEST(attributes_change_by_the_originals_rules),
    TEST(an_operators_topic_is_on_disk_when_he_is_told), TEST(a_clients_topic_is_on_disk_after_the_stop),
    TEST(nothing_changes_when_the_same_is_set_again), TEST(a_file_of_the_java_broker_is_read),
    TEST(a_broken_file_is_replaced_by_its_bak_and_never_by_nothing), TEST(a_removed_topic_is_gone_and_may_come_back),
    TEST(queues_are_found_within_and_beyond_the_topics_numbers), TEST(system_names_are_known))
