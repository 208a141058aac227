/*
 * test_routes: the name server's tables as brokers come, change and go.
 */
#include "test.h"

#include <stdio.h>

#include "common/clock.h"
#include "workers/namesrv/routes.h"

static struct namesrv_conf conf;
static struct routes r;
static struct buf out;

/* What on_min_change and on_silent were told last. */
static char told[256];
static uint64_t silent_conn;

static void
note_min_change(void *arg, const struct min_change *m)
{
	(void)arg;
	snprintf(told, sizeof(told), "%s min %lld at %s, offline %s, ha %s", m->group->name,
		 (long long)m->group->addrs[0].id, m->group->addrs[0].addr, m->offline ? m->offline : "-",
		 m->ha_addr ? m->ha_addr : "-");
}

static void
note_silent(void *arg, uint64_t conn_id)
{
	(void)arg;
	silent_conn = conn_id;
}

static void
start(void)
{
	memset(&conf, 0, sizeof(conf));
	clock_set_made(1700000000000);
	routes_init(&r, &conf);
	r.on_min_change = note_min_change;
	r.on_silent = note_silent;
	told[0] = '\0';
	silent_conn = 0;
}

static void
end(void)
{
	routes_free(&r);
	buf_free(&out);
	clock_set_made(-1);
	CU_ASSERT_PTR_NULL(r.topics);
	CU_ASSERT_PTR_NULL(r.groups);
	CU_ASSERT_PTR_NULL(r.clusters);
	CU_ASSERT_PTR_NULL(r.lives);
	CU_ASSERT_EQUAL(r.cached_bytes, 0);
}

static struct topic_def two[] = {{SLICE_LIT("A"), 8, 4, 6, 0}, {SLICE_LIT("B"), 1, 1, 6, 0}};

/* A broker of cluster "c" with the topics A and B; the connection's number is the version's counter by default. */
static struct registration
broker(const char *name, int64_t id, const char *addr, int64_t version)
{
	return (struct registration){
	    .cluster = SLICE_LIT("c"),
	    .name = slice_of(name),
	    .id = id,
	    .addr = slice_of(addr),
	    .ha_addr = SLICE_LIT("ha"),
	    .new_style = true,
	    .version = {version, 0, 0},
	    .topics = two,
	    .topic_count = 2,
	};
}

static enum rc
come(struct registration g)
{
	struct register_result res;

	return routes_register(&r, &g, &res);
}

static enum rc
come_with(struct registration g, struct topic_def *topics, size_t n)
{
	g.topics = topics;
	g.topic_count = n;
	return come(g);
}

static void
leave(const char *name, int64_t id, const char *addr)
{
	routes_unregister(&r, SLICE_LIT("c"), slice_of(addr), slice_of(name), id);
}

static bool
out_is(const char *want)
{
	bool same = slice_is(buf_slice(&out), want) && !out.failed;

	if (!same)
		printf("got %.*s\n", (int)out.len, out.p);
	buf_reset(&out, 1 << 20);
	return same;
}

static bool
route_is(const char *topic, const char *want)
{
	struct slice body;

	if (routes_answer(&r, slice_of(topic), SLICE_NONE, &body) != RC_OK)
		return want == NULL;
	buf_reset(&out, 1 << 20);
	buf_put_slice(&out, body);
	return want != NULL && out_is(want);
}

static bool
topics_are(const char *want)
{
	buf_reset(&out, 1 << 20);
	routes_put_all_topics(&r, &out);
	return out_is(want);
}

/* perm of the topic's queues on the broker; -1: none. */
static int
perm_of(const char *topic, const char *name)
{
	struct ns_topic *t;
	struct ns_queue *q;

	HASH_FIND_STR(r.topics, topic, t);
	q = t != NULL ? routes_queue(t, name) : NULL;
	return q != NULL ? q->perm : -1;
}

#define GROUP_B1                                                                                                       \
	"{\"brokerAddrs\":{\"0\":\"1:1\"},\"brokerName\":\"b1\",\"cluster\":\"c\",\"enableActingMaster\":false}"
#define QUEUE_B1(r, w)                                                                                                 \
	"{\"brokerName\":\"b1\",\"perm\":6,\"readQueueNums\":" r ",\"topicSysFlag\":0,\"writeQueueNums\":" w "}"
#define ROUTE(groups, queues) "{\"brokerDatas\":[" groups "],\"filterServerTable\":{},\"queueDatas\":[" queues "]}"

static void
a_registered_broker_is_in_the_routes(void)
{
	start();
	CU_ASSERT(route_is("A", NULL));
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT(route_is("A", ROUTE(GROUP_B1, QUEUE_B1("8", "4"))));
	CU_ASSERT(route_is("B", ROUTE(GROUP_B1, QUEUE_B1("1", "1"))));
	CU_ASSERT(route_is("C", NULL));
	CU_ASSERT(topics_are("{\"topicList\":[\"A\",\"B\"]}"));
	end();
}

static void
queues_of_several_brokers_stand_in_order(void)
{
	struct slice body;

	start();
	CU_ASSERT_EQUAL(come(broker("b3", 0, "3:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(broker("b2", 0, "2:1", 1)), RC_OK);
	CU_ASSERT_EQUAL_FATAL(routes_answer(&r, SLICE_LIT("A"), SLICE_NONE, &body), RC_OK);
	buf_put_slice(&out, body);
	buf_put_char(&out, '\0');
	CU_ASSERT(strstr(out.p, "\"b1\"") < strstr(out.p, "\"b2\""));
	CU_ASSERT(strstr(out.p, "\"b2\"") < strstr(out.p, "\"b3\""));
	end();
}

static void
an_unchanged_registration_keeps_cached_answers(void)
{
	uint64_t age;

	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT(route_is("A", ROUTE(GROUP_B1, QUEUE_B1("8", "4"))));
	age = r.age;
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 2)), RC_OK); /* newer, but the same */
	CU_ASSERT_EQUAL(r.age, age);
	CU_ASSERT(r.cached_bytes > 0);
	end();
}

static void
a_single_topic_of_an_unknown_broker_is_refused(void)
{
	start();
	CU_ASSERT_EQUAL(come_with(broker("b1", 0, "1:1", 1), two, 1), RC_INVAL);
	CU_ASSERT_PTR_NULL(r.groups);
	CU_ASSERT_PTR_NULL(r.clusters);
	CU_ASSERT_PTR_NULL(r.lives);
	CU_ASSERT_EQUAL(come_with(broker("b1", 0, "1:1", 1), NULL, 0), RC_OK); /* an empty table is no increment */
	CU_ASSERT_EQUAL(come_with(broker("b1", 1, "1:2", 1), two, 1), RC_INVAL); /* an unknown id of a known name */
	CU_ASSERT_EQUAL(r.groups->count, 1);
	end();
}

static void
an_increment_of_a_known_broker_adds_its_topic(void)
{
	struct topic_def c = {SLICE_LIT("C"), 3, 3, 6, 0};

	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come_with(broker("b1", 0, "1:1", 2), &c, 1), RC_OK);
	CU_ASSERT(route_is("C", ROUTE(GROUP_B1, QUEUE_B1("3", "3"))));
	CU_ASSERT(topics_are("{\"topicList\":[\"A\",\"B\",\"C\"]}")); /* what is not named stays */
	end();
}

static void
the_same_version_changes_nothing_but_missing_queues(void)
{
	struct topic_def changed[] = {{SLICE_LIT("A"), 16, 16, 6, 0}, {SLICE_LIT("D"), 2, 2, 6, 0}};

	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come_with(broker("b1", 0, "1:1", 1), changed, 2), RC_OK);
	CU_ASSERT(route_is("A", ROUTE(GROUP_B1, QUEUE_B1("8", "4"))));
	CU_ASSERT(route_is("D", ROUTE(GROUP_B1, QUEUE_B1("2", "2"))));
	CU_ASSERT_EQUAL(come_with(broker("b1", 0, "1:1", 2), changed, 2), RC_OK);
	CU_ASSERT(route_is("A", ROUTE(GROUP_B1, QUEUE_B1("16", "16"))));
	end();
}

static void
each_of_the_three_numbers_makes_a_version_another(void)
{
	struct topic_def changed[] = {{SLICE_LIT("A"), 9, 9, 6, 0}, {SLICE_LIT("B"), 9, 9, 6, 0}};
	struct ns_version v[] = {{2, 0, 0}, {2, 1, 0}, {2, 1, 5}};

	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	for (size_t i = 0; i < COUNT_OF(v); i++) {
		struct registration g = broker("b1", 0, "1:1", 1);

		g.version = v[i];
		changed[0].read_queues++;
		CU_ASSERT_EQUAL(come_with(g, changed, 2), RC_OK);
		CU_ASSERT_EQUAL(routes_queue(r.topics, "b1")->read_queues, changed[0].read_queues);
	}
	end();
}

static void
topics_missing_from_a_registration_go_only_when_configured(void)
{
	struct topic_def others[] = {{SLICE_LIT("A"), 8, 4, 6, 0}, {SLICE_LIT("X"), 1, 1, 6, 0}};

	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(broker("b2", 0, "2:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come_with(broker("b1", 0, "1:1", 2), others, 2), RC_OK);
	CU_ASSERT_EQUAL(perm_of("B", "b1"), 6);
	conf.deleteTopicWithBrokerRegistration = true;
	CU_ASSERT_EQUAL(come_with(broker("b1", 0, "1:1", 2), others, 2), RC_OK);
	CU_ASSERT_EQUAL(perm_of("B", "b1"), -1);
	CU_ASSERT_EQUAL(perm_of("B", "b2"), 6);
	end();
}

static void
a_slave_is_an_address_but_brings_no_topics(void)
{
	struct registration slave = broker("b1", 1, "1:2", 9);
	struct topic_def changed[] = {{SLICE_LIT("A"), 99, 99, 6, 0}, {SLICE_LIT("X"), 1, 1, 6, 0}};
	struct register_result res;

	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	slave.topics = changed;
	CU_ASSERT_EQUAL(routes_register(&r, &slave, &res), RC_OK);
	CU_ASSERT_STRING_EQUAL(res.master_addr, "1:1");
	CU_ASSERT_STRING_EQUAL(res.ha_addr, "ha");
	CU_ASSERT(route_is(
	    "A", ROUTE("{\"brokerAddrs\":{\"0\":\"1:1\",\"1\":\"1:2\"},\"brokerName\":\"b1\",\"cluster\":\"c\","
		       "\"enableActingMaster\":false}",
		       QUEUE_B1("8", "4"))));
	CU_ASSERT(route_is("X", NULL));
	end();
}

static void
a_slave_alone_brings_topics_only_in_the_new_style(void)
{
	struct registration old = broker("b1", 1, "1:2", 1);
	struct register_result res;

	start();
	old.new_style = false;
	CU_ASSERT_EQUAL(routes_register(&r, &old, &res), RC_OK);
	CU_ASSERT_PTR_NULL(res.master_addr);
	CU_ASSERT(route_is("A", NULL));
	CU_ASSERT_EQUAL(come(broker("b2", 1, "2:2", 1)), RC_OK);
	CU_ASSERT_EQUAL(perm_of("A", "b2"), 6);
	end();
}

static void
a_master_hears_of_no_master(void)
{
	struct registration g = broker("b1", 0, "1:1", 1);
	struct register_result res;

	start();
	CU_ASSERT_EQUAL(routes_register(&r, &g, &res), RC_OK);
	CU_ASSERT_PTR_NULL(res.master_addr);
	CU_ASSERT_PTR_NULL(res.ha_addr);
	end();
}

static void
an_address_has_one_id_only(void)
{
	start();
	CU_ASSERT_EQUAL(come(broker("b1", 1, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 2)), RC_OK); /* the slave became the master */
	CU_ASSERT(route_is("A", ROUTE(GROUP_B1, QUEUE_B1("8", "4"))));
	end();
}

static void
an_id_is_taken_over_by_the_newer_state(void)
{
	struct registration old = broker("b1", 0, "1:1", 1), new = broker("b1", 0, "2:2", 1);

	start();
	old.version.state_version = 5;
	new.version.state_version = 4;
	CU_ASSERT_EQUAL(come(old), RC_OK);
	CU_ASSERT_EQUAL(come(new), RC_BUSY);
	CU_ASSERT_STRING_EQUAL(r.groups->addrs[0].addr, "1:1");
	CU_ASSERT_PTR_NULL(routes_live(&r, SLICE_LIT("c"), SLICE_LIT("2:2")));
	new.version.state_version = 5; /* as new is enough */
	CU_ASSERT_EQUAL(come(new), RC_OK);
	CU_ASSERT_STRING_EQUAL(r.groups->addrs[0].addr, "2:2");
	end();
}

static void
the_last_broker_takes_its_topics_along(void)
{
	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(broker("b2", 0, "2:1", 1)), RC_OK);
	leave("b2", 0, "2:1");
	CU_ASSERT(route_is("A", ROUTE(GROUP_B1, QUEUE_B1("8", "4"))));
	leave("b1", 0, "1:1");
	CU_ASSERT(route_is("A", NULL));
	CU_ASSERT(topics_are("{\"topicList\":[]}"));
	CU_ASSERT_PTR_NULL(r.clusters);
	CU_ASSERT_PTR_NULL(r.lives);
	leave("b1", 0, "1:1"); /* twice does no harm */
	end();
}

static void
a_master_that_leaves_slaves_behind_keeps_its_queues(void)
{
	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(broker("b1", 1, "1:2", 1)), RC_OK);
	leave("b1", 0, "1:1");
	CU_ASSERT(route_is("A", ROUTE("{\"brokerAddrs\":{\"1\":\"1:2\"},\"brokerName\":\"b1\",\"cluster\":\"c\","
	    "\"enableActingMaster\":false}", QUEUE_B1("8", "4"))));
	end();
}

static struct registration
acting(int64_t id, const char *addr)
{
	struct registration g = broker("b1", id, addr, 1);

	g.acting = true;
	return g;
}

static void
without_its_master_an_acting_group_is_read_only(void)
{
	start();
	CU_ASSERT_EQUAL(come(acting(0, "1:1")), RC_OK);
	CU_ASSERT_EQUAL(come(acting(1, "1:2")), RC_OK);
	leave("b1", 0, "1:1");
	CU_ASSERT_EQUAL(perm_of("A", "b1"), 4);
	CU_ASSERT_EQUAL(come(acting(0, "1:1")), RC_OK); /* the master is back: its id is new, so its queues count */
	CU_ASSERT_EQUAL(perm_of("A", "b1"), 6);
	end();
}

static void
the_smallest_slave_is_shown_as_master_only_when_configured(void)
{
#define SHOWN(id)                                                                                                      \
	ROUTE("{\"brokerAddrs\":{\"" id                                                                                \
	      "\":\"1:2\",\"2\":\"1:3\"},\"brokerName\":\"b1\",\"cluster\":\"c\",\"enableActingMaster\":true}",        \
	      "{\"brokerName\":\"b1\",\"perm\":4,\"readQueueNums\":8,\"topicSysFlag\":0,\"writeQueueNums\":4}")
	start();
	CU_ASSERT_EQUAL(come(acting(1, "1:2")), RC_OK);
	CU_ASSERT_EQUAL(come(acting(2, "1:3")), RC_OK);
	CU_ASSERT(route_is("A", SHOWN("1")));
	conf.supportActingMaster = true;
	routes_touch_answers(&r);
	CU_ASSERT(route_is("A", SHOWN("0")));
	end();
}

static void
a_member_topic_never_shows_an_acting_master(void)
{
	struct topic_def t[] = {{SLICE_LIT("rmq_sys_SYNC_BROKER_MEMBER_b1"), 1, 1, 1, 0}, {SLICE_LIT("A"), 1, 1, 6, 0}};
	struct slice body;

	start();
	conf.supportActingMaster = true;
	CU_ASSERT_EQUAL(come_with(acting(1, "1:2"), t, 2), RC_OK);
	CU_ASSERT_EQUAL_FATAL(routes_answer(&r, t[0].name, SLICE_NONE, &body), RC_OK);
	CU_ASSERT_PTR_NOT_NULL(memmem(body.p, body.n, "{\"1\":\"1:2\"}", 11));
	CU_ASSERT_EQUAL_FATAL(routes_answer(&r, t[1].name, SLICE_NONE, &body), RC_OK);
	CU_ASSERT_PTR_NOT_NULL(memmem(body.p, body.n, "{\"0\":\"1:2\"}", 11));
	end();
}

static void
a_silent_broker_expires(void)
{
	struct registration g = broker("b1", 0, "1:1", 1);

	start();
	g.conn_id = 77;
	CU_ASSERT_EQUAL(come(g), RC_OK);
	clock_advance_ms(120000);
	CU_ASSERT_EQUAL(routes_expire(&r), 0);
	clock_advance_ms(1);
	CU_ASSERT_EQUAL(routes_expire(&r), 1);
	CU_ASSERT(route_is("A", NULL));
	CU_ASSERT_EQUAL(silent_conn, 77);
	end();
}

static void
a_sign_of_life_and_an_own_timeout_count(void)
{
	struct registration quick = broker("b2", 0, "2:1", 1);

	start();
	quick.timeout_ms = 10000;
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(quick), RC_OK);
	clock_advance_ms(10001);
	CU_ASSERT_EQUAL(routes_expire(&r), 1);
	CU_ASSERT_EQUAL(perm_of("A", "b2"), -1);
	CU_ASSERT_PTR_NOT_NULL(routes_heard(&r, SLICE_LIT("c"), SLICE_LIT("1:1")));
	CU_ASSERT_PTR_NULL(routes_heard(&r, SLICE_LIT("c"), SLICE_LIT("2:1")));
	clock_advance_ms(115000);
	CU_ASSERT_EQUAL(routes_expire(&r), 0);
	CU_ASSERT_EQUAL(perm_of("A", "b1"), 6);
	end();
}

static void
the_connection_that_registered_last_counts(void)
{
	struct registration g = broker("b1", 0, "1:1", 1);

	start();
	g.conn_id = 5;
	CU_ASSERT_EQUAL(come(g), RC_OK);
	g.conn_id = 6; /* it came again by another one */
	CU_ASSERT_EQUAL(come(g), RC_OK);
	routes_conn_lost(&r, 5);
	CU_ASSERT_EQUAL(perm_of("A", "b1"), 6);
	routes_conn_lost(&r, 6);
	CU_ASSERT_EQUAL(perm_of("A", "b1"), -1);
	CU_ASSERT_PTR_NULL(r.lives);
	end();
}

static void
write_permission_is_wiped_and_added_for_one_broker(void)
{
	start();
	two[0].perm = 7;
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	two[0].perm = 6;
	CU_ASSERT_EQUAL(come(broker("b2", 0, "2:1", 1)), RC_OK);
	CU_ASSERT(route_is("B", ROUTE(GROUP_B1 ",{\"brokerAddrs\":{\"0\":\"2:1\"},\"brokerName\":\"b2\",\"cluster\":"
					       "\"c\",\"enableActingMaster\":false}",
				      QUEUE_B1("1", "1") ",{\"brokerName\":\"b2\",\"perm\":6,\"readQueueNums\":1,"
							 "\"topicSysFlag\":0,\"writeQueueNums\":1}")));
	CU_ASSERT_EQUAL(routes_set_writable(&r, SLICE_LIT("b1"), false), 2);
	CU_ASSERT_EQUAL(perm_of("A", "b1"), 5);
	CU_ASSERT_EQUAL(perm_of("B", "b1"), 4);
	CU_ASSERT_EQUAL(perm_of("A", "b2"), 6);
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK); /* the same version does not undo it */
	CU_ASSERT_EQUAL(perm_of("B", "b1"), 4);
	CU_ASSERT_EQUAL(routes_set_writable(&r, SLICE_LIT("b1"), true), 2);
	CU_ASSERT_EQUAL(perm_of("A", "b1"), 6);
	CU_ASSERT_EQUAL(routes_set_writable(&r, SLICE_LIT("nobody"), true), 0);
	end();
}

static void
a_wipe_changes_the_answer_that_was_cached(void)
{
	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT(route_is("A", ROUTE(GROUP_B1, QUEUE_B1("8", "4"))));
	CU_ASSERT_EQUAL(routes_set_writable(&r, SLICE_LIT("b1"), false), 2);
	CU_ASSERT(route_is("A", ROUTE(GROUP_B1,
	    "{\"brokerName\":\"b1\",\"perm\":4,\"readQueueNums\":8,\"topicSysFlag\":0,\"writeQueueNums\":4}")));
	end();
}

static void
a_topic_is_deleted_everywhere_or_in_one_cluster(void)
{
	struct registration other = broker("b2", 0, "2:1", 1);

	start();
	other.cluster = SLICE_LIT("c2");
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(other), RC_OK);
	routes_delete_topic(&r, SLICE_LIT("A"), SLICE_LIT("c2"));
	CU_ASSERT(route_is("A", ROUTE(GROUP_B1, QUEUE_B1("8", "4"))));
	routes_delete_topic(&r, SLICE_LIT("A"), SLICE_LIT("c"));
	CU_ASSERT(route_is("A", NULL));
	routes_delete_topic(&r, SLICE_LIT("B"), SLICE_NONE);
	CU_ASSERT(topics_are("{\"topicList\":[]}"));
	routes_delete_topic(&r, SLICE_LIT("B"), SLICE_NONE);
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK); /* it comes back with the next registration */
	CU_ASSERT_EQUAL(perm_of("A", "b1"), 6);
	end();
}

static void
a_topic_is_registered_for_known_brokers_only(void)
{
	struct queue_def q[] = {{SLICE_LIT("b1"), 2, 2, 6, 0}, {SLICE_LIT("ghost"), 1, 1, 6, 0}};

	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL(routes_register_topic(&r, SLICE_LIT("N"), q + 1, 1), RC_NOTFOUND);
	CU_ASSERT(route_is("N", NULL));
	CU_ASSERT_EQUAL(routes_register_topic(&r, SLICE_LIT("N"), q, 2), RC_NOTFOUND);
	CU_ASSERT_EQUAL(routes_register_topic(&r, SLICE_LIT("N"), q, 1), RC_OK);
	CU_ASSERT(route_is("N", ROUTE(GROUP_B1, QUEUE_B1("2", "2"))));
	end();
}

static void
a_new_smallest_id_is_told_only_when_configured(void)
{
	start();
	CU_ASSERT_EQUAL(come(broker("b1", 2, "1:3", 1)), RC_OK);
	CU_ASSERT_EQUAL(come(broker("b1", 1, "1:2", 1)), RC_OK);
	CU_ASSERT_STRING_EQUAL(told, "");
	conf.notifyMinBrokerIdChanged = true;
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_STRING_EQUAL(told, "b1 min 0 at 1:1, offline -, ha ha");
	told[0] = '\0';
	CU_ASSERT_EQUAL(come(broker("b1", 3, "1:4", 1)), RC_OK);
	CU_ASSERT_STRING_EQUAL(told, "");
	end();
}

static void
a_lost_smallest_id_is_told_to_acting_groups(void)
{
	start();
	conf.notifyMinBrokerIdChanged = true;
	CU_ASSERT_EQUAL(come(acting(0, "1:1")), RC_OK);
	CU_ASSERT_EQUAL(come(acting(1, "1:2")), RC_OK);
	CU_ASSERT_EQUAL(come(acting(2, "1:3")), RC_OK);
	leave("b1", 1, "1:2");
	CU_ASSERT_STRING_EQUAL(told, "");
	leave("b1", 0, "1:1");
	CU_ASSERT_STRING_EQUAL(told, "b1 min 2 at 1:3, offline 1:1, ha -");
	end();
}

static void
lists_name_clusters_brokers_and_units(void)
{
	struct topic_def t[] = {{SLICE_LIT("U"), 1, 1, 6, 1},
				{SLICE_LIT("S"), 1, 1, 6, 2},
				{SLICE_LIT("US"), 1, 1, 6, 3},
				{SLICE_LIT("N"), 1, 1, 6, 0}};

	start();
	routes_put_system_topics(&r, &out);
	CU_ASSERT(out_is("{\"topicList\":[]}"));
	CU_ASSERT_EQUAL(come_with(broker("b1", 0, "1:1", 1), t, 4), RC_OK);
	routes_put_unit_topics(&r, UNIT_FLAG, 0, &out);
	CU_ASSERT(out_is("{\"topicList\":[\"U\",\"US\"]}"));
	routes_put_unit_topics(&r, UNIT_SUB_FLAG, 0, &out);
	CU_ASSERT(out_is("{\"topicList\":[\"S\",\"US\"]}"));
	routes_put_unit_topics(&r, UNIT_SUB_FLAG, UNIT_FLAG, &out);
	CU_ASSERT(out_is("{\"topicList\":[\"S\"]}"));
	routes_put_system_topics(&r, &out);
	CU_ASSERT(out_is("{\"brokerAddr\":\"1:1\",\"topicList\":[\"c\",\"b1\"]}"));
	routes_put_cluster_topics(&r, SLICE_LIT("c"), &out);
	CU_ASSERT(out_is("{\"topicList\":[\"U\",\"S\",\"US\",\"N\"]}"));
	routes_put_cluster_topics(&r, SLICE_LIT("other"), &out);
	CU_ASSERT(out_is("{\"topicList\":[]}"));
	routes_put_cluster_info(&r, &out);
	CU_ASSERT(out_is("{\"brokerAddrTable\":{\"b1\":" GROUP_B1 "},\"clusterAddrTable\":{\"c\":[\"b1\"]}}"));
	routes_put_members(&r, SLICE_LIT("c"), SLICE_LIT("b1"), &out);
	CU_ASSERT(out_is(
	    "{\"brokerMemberGroup\":{\"brokerAddrs\":{\"0\":\"1:1\"},\"brokerName\":\"b1\",\"cluster\":\"c\"}}"));
	routes_put_members(&r, SLICE_LIT("c"), SLICE_LIT("b9"), &out);
	CU_ASSERT(out_is("{\"brokerMemberGroup\":{\"brokerAddrs\":{},\"brokerName\":\"b9\",\"cluster\":\"c\"}}"));
	routes_put_brokers(&r, &out);
	CU_ASSERT(out_is("[{\"cluster\":\"c\",\"name\":\"b1\",\"id\":0,\"addr\":\"1:1\",\"haAddr\":\"ha\",\"lastMs\":"
			 "1700000000000,\"topics\":4}]"));
	end();
}

static void
filter_servers_come_and_go_with_registrations(void)
{
	struct registration g = broker("b1", 0, "1:1", 1);

	start();
	g.filters_given = true;
	g.filters = SLICE_LIT("[\"f:1\"]");
	CU_ASSERT_EQUAL(come(g), RC_OK);
	CU_ASSERT(route_is("B",
			   "{\"brokerDatas\":[" GROUP_B1
			   "],\"filterServerTable\":{\"1:1\":[\"f:1\"]},\"queueDatas\":[" QUEUE_B1("1", "1") "]}"));
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK); /* not named: unchanged */
	CU_ASSERT_PTR_NOT_NULL(r.lives->filters);
	g.filters = SLICE_NONE;
	CU_ASSERT_EQUAL(come(g), RC_OK);
	CU_ASSERT(route_is("B", ROUTE(GROUP_B1, QUEUE_B1("1", "1"))));
	end();
}

static void
mappings_of_static_topics_are_passed_on(void)
{
	struct mapping_def m = {SLICE_LIT("B"), SLICE_LIT("b1"), SLICE_LIT("{\"x\":1}")};
	struct registration g = broker("b1", 0, "1:1", 1);

	start();
	g.mappings = &m;
	g.mapping_count = 1;
	CU_ASSERT_EQUAL(come(g), RC_OK);
	CU_ASSERT(route_is("B", "{\"brokerDatas\":[" GROUP_B1 "],\"filterServerTable\":{},\"queueDatas\":[" QUEUE_B1(
				    "1", "1") "],"
					      "\"topicQueueMappingByBroker\":{\"b1\":{\"x\":1}}}"));
	end();
}

static void
order_configuration_is_in_the_answer(void)
{
	struct slice body;

	start();
	CU_ASSERT_EQUAL(come(broker("b1", 0, "1:1", 1)), RC_OK);
	CU_ASSERT_EQUAL_FATAL(routes_answer(&r, SLICE_LIT("B"), SLICE_LIT("b1:4"), &body), RC_OK);
	buf_put_slice(&out, body);
	CU_ASSERT(
	    out_is("{\"brokerDatas\":[" GROUP_B1
		   "],\"filterServerTable\":{},\"orderTopicConf\":\"b1:4\",\"queueDatas\":[" QUEUE_B1("1", "1") "]}"));
	end();
}

static void
a_zone_sees_its_own_groups_and_those_without_master(void)
{
	struct registration z1 = broker("b1", 0, "1:1", 1), z2 = broker("b2", 0, "2:1", 1),
			    z3 = broker("b3", 1, "3:2", 1);
	struct slice body;

	start();
	z1.zone = SLICE_LIT("Z1");
	z2.zone = z3.zone = SLICE_LIT("z2");
	CU_ASSERT_EQUAL(come(z1), RC_OK);
	CU_ASSERT_EQUAL(come(z2), RC_OK);
	CU_ASSERT_EQUAL(come(z3), RC_OK);
	CU_ASSERT_EQUAL_FATAL(routes_answer_zone(&r, SLICE_LIT("A"), SLICE_NONE, SLICE_LIT("z1"), &body), RC_OK);
	CU_ASSERT_PTR_NOT_NULL(memmem(body.p, body.n, "\"b1\"", 4));
	CU_ASSERT_PTR_NULL(memmem(body.p, body.n, "\"b2\"", 4));
	CU_ASSERT_PTR_NOT_NULL(memmem(body.p, body.n, "\"b3\"", 4));
	end();
}

static bool
same_again(struct registration g)
{
	struct register_result res;

	return routes_register_same(&r, &g, &res);
}

static void
the_same_registration_is_a_sign_of_life_only(void)
{
	struct registration g = broker("b1", 0, "1:1", 1);

	start();
	CU_ASSERT_FALSE(same_again(g));
	g.digest = 7;
	g.conn_id = 1;
	CU_ASSERT_EQUAL(come(g), RC_OK);
	clock_advance_ms(100000);
	g.conn_id = 2;
	CU_ASSERT(same_again(g));
	clock_advance_ms(100000);
	CU_ASSERT_EQUAL(routes_expire(&r), 0);
	routes_conn_lost(&r, 1); /* it is known by the other connection now */
	CU_ASSERT(same_again(g));
	g.digest = 8;
	CU_ASSERT_FALSE(same_again(g));
	end();
}

static void
the_same_registration_is_read_again_when_tables_have_changed(void)
{
	struct registration g = broker("b1", 0, "1:1", 1), slave = broker("b1", 1, "1:2", 1);
	struct register_result res;

	start();
	g.digest = 7;
	slave.digest = 9;
	CU_ASSERT_EQUAL(come(g), RC_OK);
	routes_delete_topic(&r, SLICE_LIT("A"), SLICE_NONE);
	CU_ASSERT_FALSE(same_again(g));
	CU_ASSERT_EQUAL(come(g), RC_OK);
	CU_ASSERT_EQUAL(perm_of("A", "b1"), 6);
	CU_ASSERT(same_again(g));
	CU_ASSERT_EQUAL(come(slave), RC_OK);
	CU_ASSERT_FALSE(same_again(g));
	CU_ASSERT(routes_register_same(&r, &slave, &res));
	CU_ASSERT_STRING_EQUAL(res.master_addr, "1:1");
	leave("b1", 0, "1:1");
	CU_ASSERT_FALSE(same_again(slave));
	CU_ASSERT_FALSE(same_again(g));
	end();
}

static void
many_brokers_and_topics_come_and_go(void)
{
	static char names[50][16], addrs[50][16];

	start();
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 50; i++) {
			snprintf(names[i], sizeof(names[i]), "b%d", i);
			snprintf(addrs[i], sizeof(addrs[i]), "%d:1", i);
			CU_ASSERT_EQUAL(come(broker(names[i], 0, addrs[i], round)), RC_OK);
		}
		CU_ASSERT_EQUAL(r.topics->count, 50);
		for (size_t i = 1; i < 50; i++)
			CU_ASSERT(strcmp(r.topics->queues[i - 1].broker, r.topics->queues[i].broker) < 0);
		for (int i = 49; i >= 0; i--)
			leave(names[i], 0, addrs[i]);
		CU_ASSERT_PTR_NULL(r.topics);
	}
	end();
}

TEST_MAIN("namesrv/routes", TEST(a_registered_broker_is_in_the_routes), TEST(queues_of_several_brokers_stand_in_order),
    TEST(an_unchanged_registration_keeps_cached_answers), TEST(a_single_topic_of_an_unknown_broker_is_refused),
    TEST(an_increment_of_a_known_broker_adds_its_topic), TEST(the_same_version_changes_nothing_but_missing_queues),
    TEST(each_of_the_three_numbers_makes_a_version_another),
    TEST(topics_missing_from_a_registration_go_only_when_configured), TEST(a_slave_is_an_address_but_brings_no_topics),
    TEST(a_slave_alone_brings_topics_only_in_the_new_style), TEST(a_master_hears_of_no_master),
    TEST(an_address_has_one_id_only), TEST(an_id_is_taken_over_by_the_newer_state),
    TEST(the_last_broker_takes_its_topics_along), TEST(a_master_that_leaves_slaves_behind_keeps_its_queues),
    TEST(without_its_master_an_acting_group_is_read_only),
    TEST(the_smallest_slave_is_shown_as_master_only_when_configured),
    TEST(a_member_topic_never_shows_an_acting_master), TEST(a_silent_broker_expires),
    TEST(a_sign_of_life_and_an_own_timeout_count), TEST(the_connection_that_registered_last_counts),
    TEST(write_permission_is_wiped_and_added_for_one_broker), TEST(a_wipe_changes_the_answer_that_was_cached),
    TEST(a_topic_is_deleted_everywhere_or_in_one_cluster), TEST(a_topic_is_registered_for_known_brokers_only),
    TEST(a_new_smallest_id_is_told_only_when_configured), TEST(a_lost_smallest_id_is_told_to_acting_groups),
    TEST(lists_name_clusters_brokers_and_units), TEST(filter_servers_come_and_go_with_registrations),
    TEST(mappings_of_static_topics_are_passed_on), TEST(order_configuration_is_in_the_answer),
    TEST(a_zone_sees_its_own_groups_and_those_without_master), TEST(the_same_registration_is_a_sign_of_life_only),
    TEST(the_same_registration_is_read_again_when_tables_have_changed), TEST(many_brokers_and_topics_come_and_go))
