/*
 * groups: the consumer groups of this broker.
 *
 * Runs in:    the broker process.
 * Owns:       config/subscriptionGroup.json.
 * If it dies: groups that appeared in the last tenth of a second are made again by their next heartbeat.
 */
#include "workers/broker/groups.h"

#include "common/clock.h"

#include "workers/broker/cfgfile.h"
#include "workers/broker/table.h"

#define REMOVED_KEEP_SECONDS	1.0	/* how long others of the turn may still hold a removed group */
#define NAME_MAX_BYTES		255
#define SYSTEM_PREFIX		"CID_RMQ_SYS_"

static const int32_t save_delay_ms = 100;

struct entry {
	struct group	 g;
	UT_hash_handle	 hh;
	struct entry	*next_removed;
};

struct groups {
	struct broker	*b;
	struct cfgfile	*file;
	struct entry	*table;
	json_t		*forbidden;	/* {group:{topic:bits}} */
	struct data_version version;
	struct entry	*removed;
	ev_timer	 removed_timer;
};

/* ---- entries */

static struct entry *
entry_new(struct slice name)
{
	struct entry *e = xcalloc(1, sizeof *e);

	e->g.name = xslicedup(name);
	e->g.consume_enable = e->g.broadcast_enable = e->g.from_min_enable = e->g.notify_ids_changed = true;
	e->g.retry_queues = 1;
	e->g.retry_max = 16;
	e->g.timeout_minutes = 15;
	e->g.slow_broker_id = 1;
	e->g.rest = json_object();
	return e;
}

static void
entry_free(struct entry *e)
{
	json_decref(e->g.rest);
	free(e->g.name);
	free(e);
}

static struct entry *
find(struct groups *g, struct slice name)
{
	struct entry *e = NULL;

	if (name.n > 0)
		TABLE_FIND(g->table, name, e);
	return e;
}

static void
free_removed(struct groups *g)
{
	while (g->removed != NULL) {
		struct entry *e = g->removed;

		g->removed = e->next_removed;
		entry_free(e);
	}
}

static void
on_removed_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	free_removed(timer->data);
}

/* ---- text */

static const char *
truth(bool b)
{
	return b ? "true" : "false";
}

static void
put_rest(const struct group *g, const char *key, const char *dflt, struct buf *out)
{
	const json_t *v = json_object_get(g->rest, key);
	char *text = v != NULL ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	if (text != NULL || dflt != NULL)
		buf_printf(out, "\"%s\":%s,", key, text != NULL ? text : dflt);
	free(text);
}

void
group_put_json(const struct group *g, struct buf *out)
{
	buf_put_char(out, '{');
	put_rest(g, "attributes", "{}", out);
	buf_printf(out, "\"brokerId\":%lld,\"consumeBroadcastEnable\":%s,\"consumeEnable\":%s,\"consumeFromMinEnable\":%s,",
	    (long long)g->broker_id, truth(g->broadcast_enable), truth(g->consume_enable), truth(g->from_min_enable));
	buf_printf(out, "\"consumeMessageOrderly\":%s,\"consumeTimeoutMinute\":%d,\"groupName\":", truth(g->orderly), g->timeout_minutes);
	buf_put_json(out, slice_of(g->name));
	buf_put_char(out, ',');
	put_rest(g, "groupRetryPolicy", "{\"type\":\"CUSTOMIZED\"}", out);
	buf_printf(out, "\"groupSysFlag\":%d,\"notifyConsumerIdsChangedEnable\":%s,\"retryMaxTimes\":%d,\"retryQueueNums\":%d,",
	    g->sys_flag, truth(g->notify_ids_changed), g->retry_max, g->retry_queues);
	put_rest(g, "subscriptionDataSet", NULL, out);
	buf_printf(out, "\"whichBrokerWhenConsumeSlowly\":%lld}", (long long)g->slow_broker_id);
}

static void
read_rest(struct group *g, const json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	if (v != NULL && !json_is_null(v))
		json_object_set_new(g->rest, key, json_deep_copy(v));
	else
		json_object_del(g->rest, key);
}

/* All but name and attributes; what is missing becomes the default, as when Java reads it. */
static void
read_config(struct group *g, const json_t *o)
{
	g->consume_enable = json_get_bool(o, "consumeEnable", true);
	g->broadcast_enable = json_get_bool(o, "consumeBroadcastEnable", true);
	g->from_min_enable = json_get_bool(o, "consumeFromMinEnable", true);
	g->notify_ids_changed = json_get_bool(o, "notifyConsumerIdsChangedEnable", true);
	g->orderly = json_get_bool(o, "consumeMessageOrderly", false);
	g->retry_queues = (int32_t)json_get_i64(o, "retryQueueNums", 1);
	g->retry_max = (int32_t)json_get_i64(o, "retryMaxTimes", 16);
	g->sys_flag = (int32_t)json_get_i64(o, "groupSysFlag", 0);
	g->timeout_minutes = (int32_t)json_get_i64(o, "consumeTimeoutMinute", 15);
	g->broker_id = json_get_i64(o, "brokerId", 0);
	g->slow_broker_id = json_get_i64(o, "whichBrokerWhenConsumeSlowly", 1);
	read_rest(g, o, "groupRetryPolicy");
	read_rest(g, o, "subscriptionDataSet");
}

void
groups_put_wrapper_json(struct groups *g, struct buf *out)
{
	char *forbidden = json_dumps(g->forbidden, JSON_COMPACT);
	struct entry *e, *tmp;
	bool first = true;

	buf_put_str(out, "{\"dataVersion\":");
	data_version_put_json(&g->version, out);
	buf_printf(out, ",\"forbiddenTable\":%s,\"subscriptionGroupTable\":{", forbidden != NULL ? forbidden : "{}");
	HASH_ITER(hh, g->table, e, tmp)
	{
		if (!first)
			buf_put_char(out, ',');
		first = false;
		buf_put_json(out, slice_of(e->g.name));
		buf_put_char(out, ':');
		group_put_json(&e->g, out);
	}
	buf_put_str(out, "}}");
	free(forbidden);
}

static void
put_file(void *arg, struct buf *out)
{
	groups_put_wrapper_json(arg, out);
	buf_put_char(out, '\n');
}

/* ---- life */

struct groups *
groups_new(struct broker *b)
{
	struct groups *g = xcalloc(1, sizeof *g);

	g->b = b;
	g->file = cfgfile_new(b, "subscriptionGroup.json", &save_delay_ms, put_file, g);
	g->forbidden = json_object();
	g->version.timestamp = clock_wall_ms();
	ev_timer_init(&g->removed_timer, on_removed_timer, REMOVED_KEEP_SECONDS, 0.);
	g->removed_timer.data = g;
	return g;
}

static void
read_table(struct groups *g, json_t *table)
{
	const char *name;
	json_t *config;

	json_object_foreach(table, name, config) {
		struct entry *e;

		if (!json_is_object(config) || *name == '\0' || find(g, slice_of(name)) != NULL)
			continue;
		e = entry_new(slice_of(name));
		read_config(&e->g, config);
		read_rest(&e->g, config, "attributes");
		TABLE_ADD(g->table, g.name, e);
	}
}

static void
read_file(struct groups *g, json_t *root)
{
	json_t *forbidden = json_object_get(root, "forbiddenTable");

	data_version_read(&g->version, json_object_get(root, "dataVersion"));
	read_table(g, json_object_get(root, "subscriptionGroupTable"));
	if (json_is_object(forbidden)) {
		json_decref(g->forbidden);
		g->forbidden = json_deep_copy(forbidden);
	}
}

/* True: one was made. */
static bool
make_system_groups(struct groups *g)
{
	static const char *const names[] = {"TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY",
	    "CID_ONSAPI_PULL", "CID_ONSAPI_PERMISSION", "CID_ONSAPI_OWNER", "CID_RMQ_SYS_TRANS"};
	bool made = false;

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct entry *e;

		if (find(g, slice_of(names[i])) != NULL)
			continue;
		e = entry_new(slice_of(names[i]));
		TABLE_ADD(g->table, g.name, e);
		made = true;
	}
	return made;
}

enum rc
groups_load(struct groups *g, struct err *e)
{
	json_t *root = NULL;
	enum rc rc = json_load_config(cfgfile_path(g->file), &root, e);

	if (rc != RC_OK && rc != RC_NOTFOUND)
		return rc;
	if (root != NULL) {
		read_file(g, root);
		json_decref(root);
	}
	return make_system_groups(g) ? cfgfile_save(g->file, e) : RC_OK;
}

void
groups_free(struct groups **gp)
{
	struct groups *g = *gp;
	struct entry *e, *tmp;

	if (g == NULL)
		return;
	cfgfile_free(&g->file);
	ev_timer_stop(g->b->w->loop, &g->removed_timer);
	free_removed(g);
	HASH_ITER(hh, g->table, e, tmp)
	{
		HASH_DEL(g->table, e);
		entry_free(e);
	}
	json_decref(g->forbidden);
	free(g);
	*gp = NULL;
}

/* ---- finding and changing */

struct group *
group_find(struct groups *g, struct slice name)
{
	struct entry *e = find(g, name);

	return e != NULL ? &e->g : NULL;
}

struct group *
group_find_or_make(struct groups *g, struct slice name)
{
	struct entry *e = find(g, name);

	if (LIKELY(e != NULL))
		return &e->g;
	if (!g->b->conf->autoCreateSubscriptionGroup && !slice_starts(name, SYSTEM_PREFIX))
		return NULL;
	if (name.n == 0 || name.n > NAME_MAX_BYTES || !topic_name_alphabet(name))
		return NULL;
	e = entry_new(name);
	TABLE_ADD(g->table, g.name, e);
	data_version_next(&g->version);
	cfgfile_changed(g->file);
	log_info("group %s is made with default settings", e->g.name);
	return &e->g;
}

/* Groups have no attributes in this version; a change that names one is refused in the original's words. */
static enum rc
check_attributes(const json_t *config, struct err *e)
{
	const char *key;
	json_t *v;

	json_object_foreach(json_object_get(config, "attributes"), key, v) {
		err_set(e, "unsupported key: %s", *key == '+' || *key == '-' ? key + 1 : key);
		return RC_INVAL;
	}
	return RC_OK;
}

enum rc
group_update(struct groups *g, json_t *config, struct err *e)
{
	struct slice name = slice_of(json_get_str(config, "groupName", ""));
	struct entry *entry;

	if (str_trim(name).n == 0 || name.n > NAME_MAX_BYTES) {
		err_set(e, "The group name is blank or longer than %d bytes.", NAME_MAX_BYTES);
		return RC_INVAL;
	}
	if (check_attributes(config, e) != RC_OK)
		return RC_INVAL;
	entry = find(g, name);
	if (entry == NULL) {
		entry = entry_new(name);
		TABLE_ADD(g->table, g.name, entry);
	}
	read_config(&entry->g, config);
	data_version_next(&g->version);
	return cfgfile_save(g->file, e);
}

/* Others of the turn may still hold it. */
static void
take_out(struct groups *g, struct entry *e)
{
	HASH_DEL(g->table, e);
	e->next_removed = g->removed;
	g->removed = e;
	ev_timer_again(g->b->w->loop, &g->removed_timer);
}

bool
group_remove(struct groups *g, struct slice name)
{
	struct entry *e = find(g, name);

	if (e == NULL)
		return false;
	json_object_del(g->forbidden, e->g.name);
	take_out(g, e);
	data_version_next(&g->version);
	cfgfile_save_or_say(g->file);
	return true;
}

/* ---- a slave's table is its master's */

static void
take_group(struct groups *g, struct slice name, const json_t *config)
{
	struct entry *e = find(g, name);

	if (name.n == 0 || name.n > NAME_MAX_BYTES || !json_is_object(config))
		return;
	if (e == NULL) {
		e = entry_new(name);
		TABLE_ADD(g->table, g.name, e);
	}
	read_config(&e->g, config);
	read_rest(&e->g, config, "attributes");
}

void
groups_take(struct groups *g, const json_t *wrapper)
{
	json_t *table = json_object_get(wrapper, "subscriptionGroupTable"), *forbidden = json_object_get(wrapper, "forbiddenTable"), *config;
	struct entry *e, *tmp;
	const char *name;

	if (!json_is_object(table))
		return;
	json_object_foreach(table, name, config)
		take_group(g, slice_of(name), config);
	HASH_ITER(hh, g->table, e, tmp)
		if (json_object_get(table, e->g.name) == NULL)
			take_out(g, e);
	if (json_is_object(forbidden)) {
		json_decref(g->forbidden);
		g->forbidden = json_deep_copy(forbidden);
	}
	(void)make_system_groups(g);
	data_version_read(&g->version, json_object_get(wrapper, "dataVersion"));
	cfgfile_changed(g->file);
}

void
groups_each(struct groups *g, void (*each)(void *arg, struct group *group), void *arg)
{
	struct entry *e, *tmp;

	HASH_ITER(hh, g->table, e, tmp)
		each(arg, &e->g);
}

size_t
groups_count(const struct groups *g)
{
	return HASH_COUNT(g->table);
}

const struct data_version *
groups_version(const struct groups *g)
{
	return &g->version;
}

/* ---- what a group may not do */

int32_t
group_forbidden(struct groups *g, struct slice group, struct slice topic)
{
	json_t *topics;

	if (LIKELY(json_object_size(g->forbidden) == 0) || group.n == 0 || topic.n == 0)
		return 0;
	topics = json_object_getn(g->forbidden, group.p, group.n);
	return (int32_t)json_integer_value(json_object_getn(topics, topic.p, topic.n));
}

void
group_set_forbidden(struct groups *g, struct slice group, struct slice topic, int bit, bool forbidden)
{
	int32_t old = group_forbidden(g, group, topic);
	int32_t now = forbidden ? old | 1 << bit : old & ~(1 << bit);
	json_t *topics = json_object_getn(g->forbidden, group.p, group.n);

	if (now == old || group.n == 0 || topic.n == 0)
		return;
	if (topics == NULL) {
		topics = json_object();
		json_object_setn_new(g->forbidden, group.p, group.n, topics);
	}
	if (now != 0)
		json_object_setn_new(topics, topic.p, topic.n, json_integer(now));
	else
		json_object_deln(topics, topic.p, topic.n);
	if (json_object_size(topics) == 0)
		json_object_deln(g->forbidden, group.p, group.n);
	data_version_next(&g->version);
	cfgfile_save_or_say(g->file);
}
