/*
 * modes: how a group wants to get the messages of a topic.
 *
 * Runs in:    the broker process.
 * Owns:       config/messageRequestMode.json.
 */
#include "workers/broker/modes.h"

#include "workers/broker/cfgfile.h"


#define RETRY_PREFIX "%RETRY%"

static const int32_t save_delay_ms = 100;

struct modes {
	struct broker	*b;
	struct cfgfile	*file;
	int64_t		 version; /* one more with each change; of this process' life */
	json_t		*map;	/* {topic:{group:{"consumerGroup","mode","popShareQueueNum","topic"}}} */
};

void
modes_put_json(struct modes *m, struct buf *out)
{
	char *text = json_dumps(m->map, JSON_COMPACT);

	buf_printf(out, "{\"messageRequestModeMap\":%s}", text != NULL ? text : "{}");
	free(text);
}

static void
put_file(void *arg, struct buf *out)
{
	modes_put_json(arg, out);
	buf_put_char(out, '\n');
}

struct modes *
modes_new(struct broker *b)
{
	struct modes *m = xcalloc(1, sizeof *m);

	m->b = b;
	m->file = cfgfile_new(b, "messageRequestMode.json", &save_delay_ms, put_file, m);
	m->map = json_object();
	return m;
}

enum rc
modes_load(struct modes *m, struct err *e)
{
	json_t *root = NULL, *map;
	enum rc rc = json_load_config(cfgfile_path(m->file), &root, e);

	if (rc == RC_NOTFOUND)
		return RC_OK;
	if (rc != RC_OK)
		return rc;
	map = json_object_get(root, "messageRequestModeMap");
	if (json_is_object(map)) {
		json_decref(m->map);
		m->map = json_incref(map);
	}
	json_decref(root);
	return RC_OK;
}

void
modes_free(struct modes **mp)
{
	struct modes *m = *mp;

	if (m == NULL)
		return;
	cfgfile_free(&m->file);
	json_decref(m->map);
	free(m);
	*mp = NULL;
}

struct request_mode
modes_get(const struct modes *m, const char *topic, const char *group)
{
	const struct broker_conf *conf = m->b->conf;
	const json_t *entry = json_object_get(json_object_get(m->map, topic), group);
	bool pop = strcmp(json_get_str(entry, "mode", conf->defaultMessageRequestMode), "POP") == 0;

	if (slice_starts(slice_of(topic), RETRY_PREFIX))
		return (struct request_mode){.pop = false};
	return (struct request_mode){
	    .pop = pop, .share_queues = (int32_t)json_get_i64(entry, "popShareQueueNum", entry != NULL ? 0 : conf->defaultPopShareQueueNum)};
}

enum rc
modes_set(struct modes *m, const char *topic, const char *group, const char *mode, int32_t share_queues, struct err *e)
{
	json_t *groups = json_object_get(m->map, topic);
	json_t *entry = json_object();

	if (!json_is_object(groups)) {
		groups = json_object();
		json_object_set_new(m->map, topic, groups);
	}
	json_object_set_new(entry, "consumerGroup", json_string(group));
	json_object_set_new(entry, "mode", json_string(mode));
	json_object_set_new(entry, "popShareQueueNum", json_integer(share_queues));
	json_object_set_new(entry, "topic", json_string(topic));
	json_object_set_new(groups, group, entry);
	m->version++;
	return cfgfile_save(m->file, e);
}

int64_t
modes_version(const struct modes *m)
{
	return m->version;
}

void
modes_take(struct modes *m, const json_t *wrapper)
{
	json_t *map = json_object_get(wrapper, "messageRequestModeMap");

	if (!json_is_object(map) || json_equal(map, m->map))
		return;
	json_decref(m->map);
	m->map = json_deep_copy(map);
	m->version++;
	cfgfile_changed(m->file);
}
