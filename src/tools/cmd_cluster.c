/*
 * cmd_cluster: clusterList, wipeWritePerm, addWritePerm.
 */
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/str.h"
#include "tools/adm.h"

/* The first of several numbers in a text. */
static double
first_number(const json_t *table, const char *key)
{
	return strtod(json_get_str(table, key, "0"), NULL);
}

static json_t *
load_row(const struct adm_broker *b, const json_t *t)
{
	int64_t earliest = json_get_i64(t, "earliestMessageTimeStamp", 0); /* an empty store says -1 */
	double hours = earliest > 0 ? (double)(clock_wall_ms() - earliest) / 3600000.0 : 0;
	char *in, *out, *timer;
	json_t *row;

	in = xasprintf("%.2f(%s,%sms)", first_number(t, "putTps"), json_get_str(t, "sendThreadPoolQueueSize", "0"),
		       json_get_str(t, "sendThreadPoolQueueHeadWaitTimeMills", "0"));
	out = xasprintf("%.2f(%s,%sms|%s,%sms)", first_number(t, "getTransferredTps"),
			json_get_str(t, "pullThreadPoolQueueSize", "0"),
			json_get_str(t, "pullThreadPoolQueueHeadWaitTimeMills", "0"),
			json_get_str(t, "ackThreadPoolQueueSize", "0"),
			json_get_str(t, "ackThreadPoolQueueHeadWaitTimeMills", "0"));
	timer = xasprintf("%s-%s(%.1fw, %.1f, %.1f)", json_get_str(t, "timerReadBehind", "0"),
			  json_get_str(t, "timerOffsetBehind", "0"), first_number(t, "timerCongestNum") / 10000,
			  first_number(t, "timerEnqueueTps"), first_number(t, "timerDequeueTps"));
	row = json_pack("{s:s,s:s,s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:f,s:f,s:s}", "cluster", b->cluster, "broker", b->name,
			"id", (json_int_t)b->id, "address", b->address, "version",
			json_get_str(t, "brokerVersionDesc", ""), "in", in, "out", out, "timer", timer, "pageCacheWait",
			json_get_str(t, "pageCacheLockTimeMills", "0"), "hours", hours < 0 ? 0 : hours, "space",
			first_number(t, "commitLogDiskRatio"), "active", json_get_str(t, "brokerActive", ""));
	free(in);
	free(out);
	free(timer);
	return row;
}

static int64_t
difference(const json_t *t, const char *more, const char *less)
{
	return json_get_i64(t, more, 0) - json_get_i64(t, less, 0);
}

static json_t *
count_row(const struct adm_broker *b, const json_t *t)
{
	return json_pack(
	    "{s:s,s:s,s:s,s:I,s:I,s:I,s:I}", "cluster", b->cluster, "broker", b->name, "address", b->address,
	    "inYesterday", (json_int_t)difference(t, "msgPutTotalTodayMorning", "msgPutTotalYesterdayMorning"),
	    "outYesterday", (json_int_t)difference(t, "msgGetTotalTodayMorning", "msgGetTotalYesterdayMorning"),
	    "inToday", (json_int_t)difference(t, "msgPutTotalTodayNow", "msgPutTotalTodayMorning"), "outToday",
	    (json_int_t)difference(t, "msgGetTotalTodayNow", "msgGetTotalTodayMorning"));
}

static void
print_rows(struct adm *a, bool counts, json_t *rows)
{
	static const struct adm_col load[] = {{"cluster", "#Cluster Name", false},
					      {"broker", "#Broker Name", false},
					      {"id", "#BID", false},
					      {"address", "#Addr", false},
					      {"version", "#Version", false},
					      {"in", "#InTPS(LOAD)", true},
					      {"out", "#OutTPS(LOAD)", true},
					      {"timer", "#Timer(Progress)", true},
					      {"pageCacheWait", "#PCWait(ms)", true},
					      {"hours", "#Hour", true},
					      {"space", "#SPACE", true},
					      {"active", "#ACTIVATED", false}};
	static const struct adm_col count[] = {
	    {"cluster", "#Cluster Name", false},   {"broker", "#Broker Name", false},
	    {"inYesterday", "#InTotalYest", true}, {"outYesterday", "#OutTotalYest", true},
	    {"inToday", "#InTotalToday", true},    {"outToday", "#OutTotalToday", true}};

	if (counts)
		adm_rows(a, count, COUNT_OF(count), rows);
	else
		adm_rows(a, load, COUNT_OF(load), rows);
	fflush(stdout);
}

static enum rc
list_once(struct adm *a)
{
	bool counts = adm_value(a, 'm') != NULL;
	json_t *rows = json_array(), *info;
	struct adm_brokers brokers;
	enum rc rc = adm_brokers_of_cluster(a, adm_value(a, 'c'), ADM_ALL, &brokers);

	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		const struct adm_broker *b = &brokers.v[i];

		if (adm_end_json(a, adm_begin(a, b->address, REQ_GET_BROKER_RUNTIME_INFO), &info) != RC_OK) {
			adm_failed(a, b->name);
			json_array_append_new(rows, json_pack("{s:s,s:s,s:I,s:s,s:s}", "cluster", b->cluster, "broker",
							      b->name, "id", (json_int_t)b->id, "address", b->address,
							      "active", "no answer"));
			continue;
		}
		json_array_append_new(rows, (counts ? count_row : load_row)(b, json_object_get(info, "table")));
		json_decref(info);
	}
	adm_brokers_free(&brokers);
	if (rc == RC_OK)
		print_rows(a, counts, rows);
	else
		json_decref(rows);
	return rc;
}

enum rc
cmd_cluster_list(struct adm *a)
{
	int64_t seconds;
	enum rc rc = adm_number(a, 'i', 0, 1, 86400, &seconds);

	for (;;) {
		if (rc == RC_OK)
			rc = list_once(a);
		if (rc != RC_OK || seconds == 0)
			return rc;
		sleep((unsigned)seconds);
		adm_close(a);
	}
}

/* The request goes to every name server: each keeps its own routes. */
static enum rc
change_perm(struct adm *a, int code, const char *verb, const char *count_field)
{
	const char *broker = adm_value(a, 'b');
	size_t at = 0;
	char *ns;

	while (adm_next_ns(a, &at, &ns)) {
		struct ask *k = adm_begin(a, ns, code);

		if (k)
			frame_field(&k->f, "brokerName", slice_of(broker));
		if (adm_end(a, k, SLICE_NONE) == RC_OK)
			adm_done(a, "%s write perm of broker[%s] in name server[%s] OK, %d", verb, broker, ns,
				 field_i32(&k->answer, count_field, 0));
		else
			adm_failed(a, ns);
		free(ns);
	}
	return RC_OK;
}

enum rc
cmd_wipe_write_perm(struct adm *a)
{
	return change_perm(a, REQ_WIPE_WRITE_PERM_OF_BROKER, "wipe", "wipeTopicCount");
}

enum rc
cmd_add_write_perm(struct adm *a)
{
	return change_perm(a, REQ_ADD_WRITE_PERM_OF_BROKER, "add", "addTopicCount");
}
