/*
 * rmqadmin: asks and changes a running cluster, whoever made it: the original's servers or ours.
 *
 * Exit status: 0 done, 1 something failed (the sentence is on stderr), 2 the command line cannot be meant.
 */
#include <stdio.h>

#include "common/str.h"
#include "tools/adm.h"

/* clang-format off */
#define END	{0, NULL, NULL, false, NULL}
#define BROKER	{'b', "brokerAddr", "address", false, "this broker (host:port)"}
#define CLUSTER	{'c', "clusterName", "name", false, "all masters of this cluster"}
#define TOPIC	{'t', "topic", "name", true, "topic"}
/* clang-format on */

static const struct adm_opt opts_cluster_list[] = {
    {'c', "clusterName", "name", false, "only this cluster"},
    {'m', "moreStats", NULL, false, "message counts of yesterday and today"},
    {'i', "interval", "seconds", false, "print again and again"},
    END};
static const struct adm_opt opts_perm[] = {{'b', "brokerName", "name", true, "broker's name"}, END};
static const struct adm_opt opts_topic_list[] = {{'c', "clusterModel", NULL, false, "with cluster and consumer groups"},
						 END};
static const struct adm_opt opts_topic_route[] = {TOPIC, {'l', "list", NULL, false, "as a table"}, END};
static const struct adm_opt opts_topic[] = {TOPIC, END};
static const struct adm_opt opts_update_topic[] = {
    TOPIC,
    BROKER,
    CLUSTER,
    {'r', "readQueueNums", "n", false, "read queues (8)"},
    {'w', "writeQueueNums", "n", false, "write queues (8)"},
    {'p', "perm", "2|4|6", false, "2 write, 4 read, 6 both (6)"},
    {'o', "order", "bool", false, "ordered topic; with -c the name servers are told its queues"},
    {'u', "unit", "bool", false, "unit topic"},
    {'s', "hasUnitSub", "bool", false, "has unit subscriptions"},
    {'a', "attributes", "list", false, "+key=value,-key"},
    END};
static const struct adm_opt opts_delete_topic[] = {
    TOPIC, {'c', "clusterName", "name", true, "from all brokers of this cluster"}, END};
static const struct adm_opt opts_update_group[] = {
    {'g', "groupName", "name", true, "consumer group"},
    BROKER,
    CLUSTER,
    {'s', "consumeEnable", "bool", false, "may consume (true)"},
    {'m', "consumeFromMinEnable", "bool", false, "from the smallest offset (false)"},
    {'d', "consumeBroadcastEnable", "bool", false, "may broadcast (false)"},
    {'o', "consumeMessageOrderly", "bool", false, "consumes in order (false)"},
    {'q', "retryQueueNums", "n", false, "retry queues (1)"},
    {'r', "retryMaxTimes", "n", false, "tries before the dead-letter queue (16)"},
    {'p', "groupRetryPolicy", "json", false, "retry policy"},
    {'i', "brokerId", "id", false, "consume from this broker id (0)"},
    {'w', "whichBrokerWhenConsumeSlowly", "id", false, "broker id for slow consumers (1)"},
    {'a', "notifyConsumerIdsChanged", "bool", false, "tell members of changes (true)"},
    {'A', "attributes", "list", false, "+key=value,-key"},
    END};
static const struct adm_opt opts_delete_group[] = {
    {'g', "groupName", "name", true, "consumer group"},
    BROKER,
    CLUSTER,
    {'r', "removeOffset", "bool", false, "its offsets and, with -c, its retry and dead-letter topics too (false)"},
    END};
static const struct adm_opt opts_progress[] = {
    {'g', "groupName", "name", false, "consumer group; without it: all groups"},
    {'t', "topicName", "name", false, "only this topic"},
    {'s', "showClientIP", "bool", false, "which client has each queue (false)"},
    END};
static const struct adm_opt opts_consumer_conn[] = {{'g', "consumerGroup", "name", true, "consumer group"},
						    {'b', "brokerAddr", "address", false, "ask this broker only"},
						    END};
static const struct adm_opt opts_producer_conn[] = {{'g', "producerGroup", "name", true, "producer group"}, TOPIC, END};
static const struct adm_opt opts_reset[] = {
    {'g', "group", "name", true, "consumer group"},
    TOPIC,
    {'s', "timestamp", "time", true, "now, milliseconds or yyyy-MM-dd#HH:mm:ss:SSS"},
    {'f', "force", "bool", false, "back too, not only forward (true)"},
    {'o', "offset", "n", false, "to this offset instead of a time"},
    {'q', "queue", "id", false, "only this queue"},
    {'b', "broker", "address", false, "only this broker"},
    END};
static const struct adm_opt opts_broker[] = {
    BROKER, {'c', "clusterName", "name", false, "all brokers of this cluster"}, END};
static const struct adm_opt opts_update_config[] = {
    BROKER,
    CLUSTER,
    {'a', "updateAllBroker", "bool", false, "with -c: slaves too (false)"},
    {'k', "key", "name", true, "configuration key"},
    {'v', "value", "text", true, "its value"},
    END};
static const struct adm_opt opts_send[] = {TOPIC,
					   {'p', "body", "text", true, "body"},
					   {'k', "key", "text", false, "keys"},
					   {'c', "tags", "text", false, "tag"},
					   {'b', "broker", "name", false, "to the broker of this name"},
					   {'i', "qid", "id", false, "to this queue"},
					   {'P', "property", "name=value,..", false, "properties: DELAY=3, TIMER_DELAY_SEC=5, your own"},
					   END};
static const struct adm_opt opts_consume[] = {TOPIC,
					      {'b', "brokerName", "name", false, "from the broker of this name"},
					      {'i', "queueId", "id", false, "from this queue"},
					      {'o', "offset", "n", false, "from this queue offset"},
					      {'c', "MessageNumber", "n", false, "at most so many messages (128)"},
					      {'s', "beginTimestamp", "time", false, "stored at this time or later"},
					      {'e', "endTimestamp", "time", false, "stored before this time"},
					      {'g', "consumerGroup", "name", false, "as this group (TOOLS_CONSUMER)"},
					      END};
static const struct adm_opt opts_query[] = {
    TOPIC, {'i', "msgId", "ids", true, "message ids, unique or offset ids, separated by commas"}, END};

static const struct adm_opt opts_query_key[] = {TOPIC,
						{'k', "msgKey", "key", true, "one of its keys"},
						{'m', "maxNum", "n", false, "at most so many of each broker (64)"},
						{'b', "beginTimestamp", "time", false, "stored at this time or later"},
						{'e', "endTimestamp", "time", false, "stored before this time"},
						END};

static const struct adm_cmd commands[] = {
    {"clusterList", cmd_cluster_list, "Lists the brokers with their load.", opts_cluster_list},
    {"topicList", cmd_topic_list, "Lists the topics.", opts_topic_list},
    {"topicRoute", cmd_topic_route, "Shows where a topic's queues are.", opts_topic_route},
    {"topicStatus", cmd_topic_status, "Shows the offsets of a topic's queues.", opts_topic},
    {"updateTopic", cmd_update_topic, "Makes or changes a topic.", opts_update_topic},
    {"deleteTopic", cmd_delete_topic, "Deletes a topic from brokers and name servers.", opts_delete_topic},
    {"updateSubGroup", cmd_update_sub_group, "Makes or changes a consumer group.", opts_update_group},
    {"deleteSubGroup", cmd_delete_sub_group, "Deletes a consumer group.", opts_delete_group},
    {"consumerProgress", cmd_consumer_progress, "Shows how far consumer groups are behind.", opts_progress},
    {"consumerConnection", cmd_consumer_connection, "Lists the clients of a consumer group.", opts_consumer_conn},
    {"producerConnection", cmd_producer_connection, "Lists the clients of a producer group.", opts_producer_conn},
    {"resetOffsetByTime", cmd_reset_offset, "Moves a group's offsets to a time.", opts_reset},
    {"brokerStatus", cmd_broker_status, "Shows a broker's run-time figures.", opts_broker},
    {"haStatus", cmd_ha_status, "Shows how far the slaves of a broker are.", opts_broker},
    {"getBrokerConfig", cmd_get_broker_config, "Shows a broker's configuration.", opts_broker},
    {"updateBrokerConfig", cmd_update_broker_config, "Changes one configuration key.", opts_update_config},
    {"wipeWritePerm", cmd_wipe_write_perm, "Takes write permission off a broker at all name servers.", opts_perm},
    {"addWritePerm", cmd_add_write_perm, "Gives write permission back to a broker.", opts_perm},
    {"sendMessage", cmd_send_message, "Sends one message.", opts_send},
    {"consumeMessage", cmd_consume_message, "Shows messages without changing any group's offsets.", opts_consume},
    {"queryMsgById", cmd_query_msg_by_id, "Shows the messages of these ids.", opts_query},
    {"queryMsgByKey", cmd_query_msg_by_key, "Shows the messages with this key.", opts_query_key},
};

static const struct adm_cmd *
find_command(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		if (strcasecmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int
unknown_command(const char *name)
{
	const char *nearest = NULL;
	unsigned best = 5;

	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		unsigned d = str_distance(name, commands[i].name);

		if (d < best) {
			best = d;
			nearest = commands[i].name;
		}
	}
	fprintf(stderr, "rmqadmin: there is no command '%s'%s%s%s; rmqadmin help lists them\n", name,
		nearest ? " (did you mean " : "", nearest ? nearest : "", nearest ? "?)" : "");
	return 2;
}

static int
help(const char *name)
{
	const struct adm_cmd *c = name ? find_command(name) : NULL;

	if (c) {
		adm_usage(c);
		return 0;
	}
	if (name)
		return unknown_command(name);
	puts("usage: rmqadmin COMMAND -n NAMESRV [options]\n       rmqadmin help COMMAND\n");
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		printf("  %-20s %s\n", commands[i].name, commands[i].help);
	puts("\nThe name server's address may be in NAMESRV_ADDR. --json prints JSON.");
	return 0;
}

static int
run(const struct adm_cmd *c, int argc, char **argv)
{
	struct adm a = {.cmd = c};
	int status = 0;

	if (adm_parse(&a, argc, argv) != RC_OK) {
		fprintf(stderr, "rmqadmin %s: %s\n", c->name, a.e.text);
		return 2;
	}
	if (adm_value(&a, 'h')) {
		adm_usage(c);
		return 0;
	}
	if (c->run(&a) != RC_OK) {
		fprintf(stderr, "rmqadmin %s: %s\n", c->name, a.e.text);
		status = a.misused ? 2 : 1;
	}
	adm_done_print(&a);
	adm_close(&a);
	return status == 0 && a.failures ? 1 : status;
}

int
main(int argc, char **argv)
{
	const struct adm_cmd *c;

	if (argc < 2)
		return help(NULL), 2;
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
		return help(argc > 2 ? argv[2] : NULL);
	if (strcmp(argv[1], "--version") == 0) {
		puts(PACKAGE_STRING);
		return 0;
	}
	c = find_command(argv[1]);
	return c ? run(c, argc - 1, argv + 1) : unknown_command(argv[1]);
}
