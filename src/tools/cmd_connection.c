/*
 * cmd_connection: consumerConnection, producerConnection.
 */
#include <stdio.h>

#include "tools/adm.h"

static const struct adm_col client_cols[] = {{"clientId", "#ClientId", false},
					     {"clientAddr", "#ClientAddr", false},
					     {"language", "#Language", false},
					     {"versionText", "#Version", false},
					     {"broker", "#Broker", false}};

/* Adds the connections that one broker has. */
static void
add_clients(json_t *rows, const char *broker, const json_t *body)
{
	char version[32];
	json_t *c;
	size_t i;

	json_array_foreach (json_object_get(body, "connectionSet"), i, c) {
		int64_t v = json_get_i64(c, "version", 0);

		json_array_append_new(rows, json_pack("{s:s,s:s,s:s,s:I,s:s,s:s}", "clientId",
						      json_get_str(c, "clientId", ""), "clientAddr",
						      json_get_str(c, "clientAddr", ""), "language",
						      json_get_str(c, "language", ""), "version", (json_int_t)v,
						      "versionText", adm_version_text(v, version), "broker", broker));
	}
}

static void
print_subscriptions(struct adm *a, const json_t *body)
{
	static const struct adm_col cols[] = {
	    {"topic", "#Topic", false}, {"type", "#Type", false}, {"expression", "#SubExpression", false}};
	json_t *rows = json_array(), *s;
	const char *topic;

	json_object_foreach (json_object_get(body, "subscriptionTable"), topic, s)
		json_array_append_new(rows, json_pack("{s:s,s:s,s:s}", "topic", topic, "type",
						      json_get_str(s, "expressionType", "TAG"), "expression",
						      json_get_str(s, "subString", "")));
	puts("\nBelow is subscription:");
	adm_rows(a, cols, COUNT_OF(cols), rows);
	printf("\nConsumeType: %s\nMessageModel: %s\nConsumeFromWhere: %s\n", json_get_str(body, "consumeType", ""),
	       json_get_str(body, "messageModel", ""), json_get_str(body, "consumeFromWhere", ""));
}

static enum rc
consumer_brokers(struct adm *a, struct adm_brokers *out)
{
	char *topic;
	enum rc rc;

	if (adm_value(a, 'b'))
		return adm_brokers_of_options(a, ADM_MASTERS, out);
	topic = xasprintf("%%RETRY%%%s", adm_value(a, 'g'));
	rc = adm_brokers_of_topic(a, topic, out);
	free(topic);
	return rc == RC_NOTFOUND ? adm_brokers_of_cluster(a, NULL, ADM_MASTERS, out) : rc;
}

/* Clients connect to every broker they use, so all brokers are asked; what the group is comes from the first that knows
 * it. */
static enum rc
ask_all(struct adm *a, const struct adm_brokers *brokers, int code, const char *field, json_t *rows, json_t **first)
{
	json_t *body;
	enum rc rc = RC_NOTFOUND, one;

	*first = NULL;
	for (size_t i = 0; i < brokers->n; i++) {
		struct ask *k = adm_begin(a, brokers->v[i].address, code);

		if (k)
			frame_field(&k->f, field, slice_of(adm_value(a, 'g')));
		one = adm_end_json(a, k, &body);
		if (one != RC_OK) {
			rc = rc == RC_OK ? rc : one;
			continue;
		}
		rc = RC_OK;
		add_clients(rows, brokers->v[i].address, body);
		if (*first == NULL)
			*first = json_incref(body);
		json_decref(body);
	}
	return rc;
}

enum rc
cmd_consumer_connection(struct adm *a)
{
	json_t *rows = json_array(), *body = NULL;
	struct adm_brokers brokers;
	enum rc rc = consumer_brokers(a, &brokers);

	if (rc == RC_OK)
		rc = ask_all(a, &brokers, REQ_GET_CONSUMER_CONNECTION_LIST, "consumerGroup", rows, &body);
	adm_brokers_free(&brokers);
	if (rc == RC_OK && a->json) {
		json_object_set(body, "connectionSet", rows);
		adm_print_json(json_incref(body));
	} else if (rc == RC_OK) {
		adm_rows(a, client_cols, COUNT_OF(client_cols), json_incref(rows));
		print_subscriptions(a, body);
	}
	json_decref(rows);
	json_decref(body);
	return rc;
}

enum rc
cmd_producer_connection(struct adm *a)
{
	json_t *rows = json_array(), *body = NULL;
	struct adm_brokers brokers;
	enum rc rc = adm_brokers_of_topic(a, adm_value(a, 't'), &brokers);

	if (rc == RC_OK)
		rc = ask_all(a, &brokers, REQ_GET_PRODUCER_CONNECTION_LIST, "producerGroup", rows, &body);
	adm_brokers_free(&brokers);
	json_decref(body);
	if (rc == RC_OK)
		adm_rows(a, client_cols, COUNT_OF(client_cols), rows);
	else
		json_decref(rows);
	return rc;
}
