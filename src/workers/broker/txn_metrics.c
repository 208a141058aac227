/*
 * txn_metrics: config/transactionMetrics: how many transactions of each topic are open. Nothing is decided by it.
 *
 * Runs in:    the broker process.
 * Owns:       the file. If it dies: the changes of the last seconds are missing there, as in the original.
 */
#include "common/clock.h"
#include "workers/broker/cfgfile.h"
#include "workers/broker/topics.h"
#include "workers/broker/txn_int.h"

#define FILE_DELAY_MIN 100

struct open_count {
	char *topic;
	int64_t count, changed_ms;
	UT_hash_handle hh;
};

struct txn_metrics {
	struct broker *b;
	struct cfgfile *file;
	int32_t delay_ms;
	struct data_version version;
	struct open_count *topics;
};

static void
put_file(void *arg, struct buf *out)
{
	struct txn_metrics *m = arg;
	struct open_count *it, *tmp;
	const char *comma = "";

	data_version_next(&m->version);
	buf_put_str(out, "{\"dataVersion\":");
	data_version_put_json(&m->version, out);
	buf_put_str(out, ",\"transactionCount\":{");
	HASH_ITER (hh, m->topics, it, tmp) {
		if (it->count == 0 && topic_find(m->b->topics, slice_of(it->topic)) == NULL)
			continue;
		buf_put_str(out, comma);
		buf_put_json(out, slice_of(it->topic));
		buf_printf(out, ":{\"count\":%lld,\"timeStamp\":%lld}", (long long)it->count,
			   (long long)it->changed_ms);
		comma = ",";
	}
	buf_put_str(out, "}}");
}

struct txn_metrics *
txn_metrics_new(struct broker *b)
{
	struct txn_metrics *m = xcalloc(1, sizeof(*m));

	m->b = b;
	m->delay_ms = (int32_t)MIN_OF(MAX_OF(b->conf->transactionMetricFlushInterval, FILE_DELAY_MIN), INT32_MAX);
	m->file = cfgfile_new(b, "transactionMetrics", &m->delay_ms, put_file, m);
	return m;
}

static struct open_count *
count_of(struct txn_metrics *m, struct slice topic)
{
	struct open_count *it;

	TABLE_FIND(m->topics, topic, it);
	if (it == NULL) {
		it = xcalloc(1, sizeof(*it));
		it->topic = xslicedup(topic);
		TABLE_ADD(m->topics, topic, it);
	}
	return it;
}

/* A file that cannot be read is begun anew: it is only for show. */
void
txn_metrics_load(struct txn_metrics *m)
{
	json_t *root = NULL, *o;
	const char *topic;
	struct err e;
	enum rc rc = json_load_config(cfgfile_path(m->file), &root, &e);

	if (rc != RC_OK) {
		if (rc != RC_NOTFOUND)
			log_warn("%s; it is begun anew", e.text);
		return;
	}
	data_version_read(&m->version, json_object_get(root, "dataVersion"));
	json_object_foreach (json_object_get(root, "transactionCount"), topic, o) {
		struct open_count *it = count_of(m, slice_of(topic));

		it->count = json_integer_value(json_object_get(o, "count"));
		it->changed_ms = json_integer_value(json_object_get(o, "timeStamp"));
	}
	json_decref(root);
}

void
txn_metrics_free(struct txn_metrics **mp)
{
	struct txn_metrics *m = *mp;
	struct open_count *it, *tmp;

	cfgfile_free(&m->file);
	HASH_ITER (hh, m->topics, it, tmp) {
		HASH_DEL(m->topics, it);
		free(it->topic);
		free(it);
	}
	free(m);
	*mp = NULL;
}

void
txn_metrics_add(struct txn_metrics *m, struct slice topic, int n)
{
	struct open_count *it;

	if (topic.n == 0)
		return;
	it = count_of(m, topic);
	it->count = MAX_OF(it->count + n, 0);
	it->changed_ms = clock_wall_ms();
	cfgfile_changed(m->file);
}
