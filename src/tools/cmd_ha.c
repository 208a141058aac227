/*
 * cmd_ha: haStatus: how far each slave of a broker is.
 */
#include <stdio.h>

#include "common/str.h"
#include "tools/adm.h"

/* One slave's connection, or what a slave says of its own. */
static json_t *
row_of(const struct adm_broker *b, const char *slave, int64_t acked, int64_t diff, int64_t bytes_per_second,
       bool in_sync)
{
	return json_pack("{s:s,s:s,s:s,s:I,s:I,s:f,s:s}", "broker", b->name != NULL ? b->name : b->address, "address",
			 b->address, "slave", slave, "acked", (json_int_t)acked, "diff", (json_int_t)diff, "speed",
			 (double)bytes_per_second / 1024, "status", in_sync ? "OK" : "fall behind");
}

static void
add_slaves(const struct adm_broker *b, const json_t *info, json_t *rows)
{
	const json_t *list = json_object_get(info, "haConnectionInfo");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *c = json_array_get(list, i);

		json_array_append_new(rows,
				      row_of(b, json_get_str(c, "addr", ""), json_get_i64(c, "slaveAckOffset", 0),
					     json_get_i64(c, "diff", 0), json_get_i64(c, "transferredByteInSecond", 0),
					     json_get_bool(c, "inSync", false)));
	}
	if (json_array_size(list) == 0)
		json_array_append_new(rows,
				      json_pack("{s:s,s:s,s:s,s:s}", "broker", b->name != NULL ? b->name : b->address,
						"address", b->address, "slave", "", "status", "no slave"));
}

/* A slave knows its own end of the connection only. */
static void
add_self(const struct adm_broker *b, const json_t *info, json_t *rows)
{
	const json_t *client = json_object_get(info, "haClientRuntimeInfo");
	bool there = json_get_i64(client, "lastReadTimestamp", 0) > 0;

	json_array_append_new(
	    rows, json_pack("{s:s,s:s,s:s,s:I,s:f,s:s}", "broker", b->name != NULL ? b->name : b->address, "address",
			    b->address, "slave", "(itself)", "acked", (json_int_t)json_get_i64(client, "maxOffset", 0),
			    "speed", (double)json_get_i64(client, "transferredByteInSecond", 0) / 1024, "status",
			    there ? "follows" : "no master"));
}

enum rc
cmd_ha_status(struct adm *a)
{
	static const struct adm_col cols[] = {{"broker", "#Broker", false},   {"address", "#Addr", false},
					      {"slave", "#SlaveAddr", false}, {"acked", "#SlaveAckOffset", true},
					      {"diff", "#Diff", true},        {"speed", "#TransferSpeed(KB/s)", true},
					      {"status", "#Status", false}};
	json_t *rows = json_array(), *info;
	struct adm_brokers brokers;
	enum rc rc = adm_brokers_of_options(a, ADM_ALL, &brokers);

	for (size_t i = 0; rc == RC_OK && i < brokers.n; i++) {
		const struct adm_broker *b = &brokers.v[i];

		if (adm_end_json(a, adm_begin(a, b->address, REQ_GET_BROKER_HA_STATUS), &info) != RC_OK) {
			adm_failed(a, b->address);
			continue;
		}
		(json_get_bool(info, "master", true) ? add_slaves : add_self)(b, info, rows);
		json_decref(info);
	}
	adm_brokers_free(&brokers);
	if (rc == RC_OK)
		adm_rows(a, cols, COUNT_OF(cols), rows);
	else
		json_decref(rows);
	return rc;
}
