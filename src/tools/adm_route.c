/*
 * adm_route: which brokers a command is about.
 */
#include "common/str.h"
#include "tools/adm.h"

enum rc
adm_cluster(struct adm *a, json_t **borrowed)
{
	enum rc rc;

	if (a->cluster == NULL) {
		rc = adm_end_json(a, adm_begin_ns(a, REQ_GET_BROKER_CLUSTER_INFO), &a->cluster);
		if (rc != RC_OK)
			return rc;
	}
	*borrowed = a->cluster;
	return RC_OK;
}

enum rc
adm_route(struct adm *a, const char *topic, json_t **out)
{
	struct ask *k = adm_begin_ns(a, REQ_GET_ROUTEINFO_BY_TOPIC);

	if (k == NULL)
		return RC_IO;
	frame_field(&k->f, "topic", slice_of(topic));
	frame_field_bool(&k->f, "acceptStandardJsonOnly", true);
	return adm_end_json(a, k, out);
}

static void
add_broker(struct adm_brokers *b, const char *cluster, const char *name, int64_t id, const char *address)
{
	b->v = xrealloc(b->v, (b->n + 1) * sizeof(*b->v));
	b->v[b->n++] = (struct adm_broker){xstrdup(cluster), xstrdup(name), xstrdup(address), id};
}

/* From {"brokerAddrs":{"0":"ip:port"},"brokerName","cluster"}. */
static void
add_addresses(struct adm_brokers *b, const json_t *data, enum adm_which which)
{
	const char *id_text, *lowest = NULL, *cluster = json_get_str(data, "cluster", ""),
			     *name = json_get_str(data, "brokerName", "");
	int64_t id, lowest_id = INT64_MAX;
	json_t *addrs = json_object_get(data, "brokerAddrs"), *address;

	json_object_foreach (addrs, id_text, address) {
		if (!json_is_string(address) || str_i64(slice_of(id_text), &id) != RC_OK)
			continue;
		if (which == ADM_ALL)
			add_broker(b, cluster, name, id, json_string_value(address));
		if (id < lowest_id) {
			lowest_id = id;
			lowest = json_string_value(address);
		}
	}
	if (which == ADM_MASTERS && lowest)
		add_broker(b, cluster, name, lowest_id, lowest);
}

static int
compare_brokers(const void *x, const void *y)
{
	const struct adm_broker *a = x, *b = y;
	int c = strcmp(a->cluster, b->cluster);

	if (c == 0)
		c = strcmp(a->name, b->name);
	return c ? c : (a->id > b->id) - (a->id < b->id);
}

enum rc
adm_brokers_of_cluster(struct adm *a, const char *cluster, enum adm_which which, struct adm_brokers *out)
{
	json_t *info, *data;
	const char *name;
	enum rc rc = adm_cluster(a, &info);

	*out = (struct adm_brokers){0};
	if (rc != RC_OK)
		return rc;
	json_object_foreach (json_object_get(info, "brokerAddrTable"), name, data)
		if (cluster == NULL || strcmp(cluster, json_get_str(data, "cluster", "")) == 0)
			add_addresses(out, data, which);
	if (out->n == 0) {
		if (cluster)
			err_set(&a->e, "the name server knows no broker of a cluster '%s'", cluster);
		else
			err_set(&a->e, "the name server knows no broker");
		return RC_NOTFOUND;
	}
	qsort(out->v, out->n, sizeof(*out->v), compare_brokers);
	return RC_OK;
}

enum rc
adm_brokers_of_topic(struct adm *a, const char *topic, struct adm_brokers *out)
{
	json_t *route, *data;
	size_t i;
	enum rc rc = adm_route(a, topic, &route);

	*out = (struct adm_brokers){0};
	if (rc != RC_OK)
		return rc;
	json_array_foreach (json_object_get(route, "brokerDatas"), i, data)
		add_addresses(out, data, ADM_MASTERS);
	json_decref(route);
	if (out->n)
		qsort(out->v, out->n, sizeof(*out->v), compare_brokers);
	return RC_OK;
}

enum rc
adm_brokers_of_options(struct adm *a, enum adm_which which, struct adm_brokers *out)
{
	*out = (struct adm_brokers){0};
	if (adm_value(a, 'b') && adm_value(a, 'c')) {
		return adm_misused(a, "give either -b (one broker) or -c (a cluster), not both");
	}
	if (adm_value(a, 'c'))
		return adm_brokers_of_cluster(a, adm_value(a, 'c'), which, out);
	if (adm_value(a, 'b') == NULL) {
		return adm_misused(a, "-b (a broker's address) or -c (a cluster's name) is needed");
	}
	add_broker(out, "", "", 0, adm_value(a, 'b'));
	return RC_OK;
}

void
adm_brokers_free(struct adm_brokers *b)
{
	for (size_t i = 0; i < b->n; i++) {
		free(b->v[i].cluster);
		free(b->v[i].name);
		free(b->v[i].address);
	}
	free(b->v);
	*b = (struct adm_brokers){0};
}

bool
adm_next_ns(const struct adm *a, size_t *at, char **one)
{
	size_t n;

	*at += strspn(a->namesrv + *at, "; ");
	n = strcspn(a->namesrv + *at, "; ");
	*one = n ? xstrndup(a->namesrv + *at, n) : NULL;
	*at += n;
	return n > 0;
}
