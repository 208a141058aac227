/*
 * system_topics: the topics that every broker has, and the names that nobody may change or send to.
 *
 * Runs in:    the broker process.
 */
#include "workers/broker/system_topics.h"

#include "common/mem.h"
#include "common/str.h"
#include "workers/broker/topics.h"

#define PERM_RW (PERM_READ | PERM_WRITE)

struct row {
	const char	*name;		/* printf pattern with one %s at most */
	const char	*of;		/* fills it */
	int32_t		 queues, perm;
	bool		 wanted;
};

static int32_t
delay_levels(const struct broker_conf *c)
{
	struct slice rest = slice_of(c->messageDelayLevel), piece;
	int32_t n = 0;

	while (str_next(&rest, ' ', &piece))
		n += piece.n > 0;
	return n > 0 ? n : 18;
}

#define ROWS 14
static void
list_rows(const struct broker_conf *c, struct row list[ROWS])
{
	const struct row all[ROWS] = {
	    {"SELF_TEST_TOPIC", "", 1, PERM_RW, true},
	    {"TBW102", "", c->defaultTopicQueueNums, PERM_RW | PERM_INHERIT, c->autoCreateTopicEnable},
	    {"BenchmarkTest", "", 1024, PERM_RW, true},
	    {"%s", c->brokerClusterName, 16, PERM_INHERIT | (c->clusterTopicEnable ? PERM_RW : 0), true},
	    {"%s", c->brokerName, 1, PERM_INHERIT | (c->brokerTopicEnable ? PERM_RW : 0), true},
	    {"OFFSET_MOVED_EVENT", "", 1, PERM_RW, true},
	    {"SCHEDULE_TOPIC_XXXX", "", delay_levels(c), PERM_RW, true},
	    {"%s", c->msgTraceTopicName, 1, PERM_RW, c->traceTopicEnable},
	    {"%s_REPLY_TOPIC", c->brokerClusterName, 1, PERM_RW, true},
	    {"rmq_sys_REVIVE_LOG_%s", c->brokerClusterName, c->reviveQueueNum, PERM_RW, true},
	    {"rmq_sys_SYNC_BROKER_MEMBER_%s", c->brokerName, 1, PERM_INHERIT, true},
	    {"RMQ_SYS_TRANS_HALF_TOPIC", "", 1, PERM_RW, true},
	    {"RMQ_SYS_TRANS_OP_HALF_TOPIC", "", 1, PERM_RW, true},
	    {"rmq_sys_wheel_timer", "", 1, PERM_RW, c->timerWheelEnable},
	};

	memcpy(list, all, sizeof all);
}

void
system_topics_each(const struct broker_conf *c, system_topic_each *each, void *arg)
{
	struct row list[ROWS];

	list_rows(c, list);
	for (int i = 0; i < ROWS; i++) {
		char *name = xasprintf(list[i].name, list[i].of);

		if (list[i].wanted && *name != '\0')
			each(arg, slice_of(name), list[i].queues, list[i].perm);
		free(name);
	}
}

static const char *const fixed_names[] = {"RMQ_SYS_TRACE_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC", "CHECKPOINT_TOPIC"};

bool
system_topic_is(const struct broker_conf *c, struct slice name)
{
	struct row list[ROWS];
	bool is = slice_starts(name, "rmq_sys_");

	for (size_t i = 0; !is && i < COUNT_OF(fixed_names); i++)
		is = slice_is(name, fixed_names[i]);
	list_rows(c, list);
	for (int i = 0; !is && i < ROWS; i++) {
		char *system = xasprintf(list[i].name, list[i].of);

		is = slice_is(name, system);
		free(system);
	}
	return is;
}

void
system_topics_put_json(const struct broker_conf *c, struct buf *out)
{
	struct row list[ROWS];

	buf_put_str(out, "{\"topicList\":[");
	for (size_t i = 0; i < COUNT_OF(fixed_names); i++)
		buf_printf(out, "%s\"%s\"", i > 0 ? "," : "", fixed_names[i]);
	list_rows(c, list);
	for (int i = 0; i < ROWS; i++) {
		char *name = xasprintf(list[i].name, list[i].of);
		bool fixed = list[i].of[0] == '\0' && !slice_starts(slice_of(name), "rmq_sys_");

		/* The fixed names count even when the topic was not made. */
		if ((list[i].wanted || fixed) && *name != '\0' && strcmp(name, fixed_names[0]) != 0) {
			buf_put_char(out, ',');
			buf_put_json(out, slice_of(name));
		}
		free(name);
	}
	buf_put_str(out, "]}");
}

bool
system_topic_is_send_forbidden(struct slice name)
{
	static const char *const names[] = {"SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC",
	    "TRANS_CHECK_MAX_TIME_TOPIC", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT"};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (slice_is(name, names[i]))
			return true;
	return false;
}
