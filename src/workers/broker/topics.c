/*
 * topics: the topics of this broker.
 *
 * Runs in:    the broker process.
 * Owns:       config/topics.json.
 * If it dies: topics made by clients in the last tenth of a second are made again by their next send; an operator's are on disk
 *             before he gets his answer.
 */
#include "workers/broker/topics.h"

#include <ctype.h>

#include "common/clock.h"

#include "workers/broker/announce.h"
#include "workers/broker/cfgfile.h"
#include "workers/broker/system_topics.h"
#include "workers/broker/table.h"
#include "workers/broker/topic_attrs.h"

#define REMOVED_KEEP_SECONDS	1.0	/* how long others of the turn may still hold a removed topic */
#define NAME_MAX_BYTES		127
#define RETRY_NAME_MAX_BYTES	255
#define QUEUE_SLOTS_MAX		65536
#define PERM_RW			(PERM_READ | PERM_WRITE)
#define TEMPLATE_TOPIC		"TBW102"

static const int32_t save_delay_ms = 100;

struct entry {
	struct topic	 t;
	UT_hash_handle	 hh;
	struct entry	*next_removed;
};

struct topics {
	struct broker	*b;
	struct cfgfile	*file;
	struct entry	*table;
	struct data_version version;
	int64_t		 mapping_ms;	/* version of the (always empty) static topic table */
	struct entry	*removed;
	ev_timer	 removed_timer;
};

/* ---- versions */

void
data_version_next(struct data_version *v)
{
	v->counter++;
	v->timestamp = clock_wall_ms();
}

void
data_version_put_json(const struct data_version *v, struct buf *out)
{
	buf_printf(out, "{\"counter\":%lld,\"stateVersion\":%lld,\"timestamp\":%lld}", (long long)v->counter,
	    (long long)v->state_version, (long long)v->timestamp);
}

void
data_version_read(struct data_version *v, const json_t *o)
{
	if (!json_is_object(o))
		return;
	v->counter = json_get_i64(o, "counter", 0);
	v->state_version = json_get_i64(o, "stateVersion", 0);
	v->timestamp = json_get_i64(o, "timestamp", v->timestamp);
}

/* ---- entries */

static struct entry *
entry_new(struct slice name)
{
	struct entry *e = xcalloc(1, sizeof *e);

	e->t.name = xslicedup(name);
	e->t.name_slice = (struct slice){e->t.name, name.n};
	e->t.read_queues = e->t.write_queues = 16;
	e->t.perm = PERM_RW;
	e->t.attributes = json_object();
	return e;
}

static void
entry_free(struct entry *e)
{
	json_decref(e->t.attributes);
	free(e->t.queues);
	free(e->t.name);
	free(e);
}

static void
add(struct topics *t, struct entry *e)
{
	TABLE_ADD(t->table, t.name, e);
}

static struct entry *
find(struct topics *t, struct slice name)
{
	struct entry *e = NULL;

	if (name.n > 0)
		TABLE_FIND(t->table, name, e);
	return e;
}

/* Cached queues may belong to numbers that have changed; they are found again on the next use. */
static void
forget_queues(struct topic *t)
{
	free(t->queues);
	t->queues = NULL;
	t->queue_slots = 0;
}

static void
free_removed(struct topics *t)
{
	while (t->removed != NULL) {
		struct entry *e = t->removed;

		t->removed = e->next_removed;
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

/* ---- file */

static void
put_table(struct topics *t, int32_t perm_mask, struct buf *out)
{
	struct entry *e, *tmp;
	bool first = true;

	buf_put_str(out, "\"topicConfigTable\":{");
	HASH_ITER(hh, t->table, e, tmp)
	{
		struct topic shown = e->t;

		if (!first)
			buf_put_char(out, ',');
		first = false;
		shown.perm &= perm_mask;
		buf_put_json(out, e->t.name_slice);
		buf_put_char(out, ':');
		topic_put_json(&shown, out);
	}
	buf_put_char(out, '}');
}

static void
put_file(void *arg, struct buf *out)
{
	struct topics *t = arg;

	buf_put_str(out, "{\"dataVersion\":");
	data_version_put_json(&t->version, out);
	buf_put_char(out, ',');
	put_table(t, -1, out);
	buf_put_str(out, "}\n");
}

void
topic_put_json(const struct topic *t, struct buf *out)
{
	char *attributes = json_dumps(t->attributes, JSON_COMPACT | JSON_SORT_KEYS);

	buf_printf(out, "{\"attributes\":%s,\"order\":%s,\"perm\":%d,\"readQueueNums\":%d,\"topicFilterType\":\"%s\",\"topicName\":",
	    attributes ? attributes : "{}", t->order ? "true" : "false", t->perm, t->read_queues,
	    t->multi_tag ? "MULTI_TAG" : "SINGLE_TAG");
	buf_put_json(out, t->name_slice);
	buf_printf(out, ",\"topicSysFlag\":%d,\"writeQueueNums\":%d}", t->sys_flag, t->write_queues);
	free(attributes);
}

void
topic_read_json(struct topic *t, const json_t *o)
{
	const json_t *attributes = json_object_get(o, "attributes");

	t->read_queues = (int32_t)json_get_i64(o, "readQueueNums", 16);
	t->write_queues = (int32_t)json_get_i64(o, "writeQueueNums", 16);
	t->perm = (int32_t)json_get_i64(o, "perm", PERM_RW);
	t->sys_flag = (int32_t)json_get_i64(o, "topicSysFlag", 0);
	t->order = json_get_bool(o, "order", false);
	t->multi_tag = strcmp(json_get_str(o, "topicFilterType", "SINGLE_TAG"), "MULTI_TAG") == 0;
	if (json_is_object(attributes)) {
		json_decref(t->attributes);
		t->attributes = json_deep_copy(attributes);
	}
}

static void
read_table(struct topics *t, json_t *table)
{
	const char *name;
	json_t *config;

	json_object_foreach(table, name, config) {
		struct entry *e;

		if (!json_is_object(config) || *name == '\0' || find(t, slice_of(name)) != NULL)
			continue;
		e = entry_new(slice_of(name));
		topic_read_json(&e->t, config);
		add(t, e);
	}
}

/* ---- system topics */

struct making {
	struct topics	*topics;
	bool		 made;
};

/* A topic that is there keeps what the operator made of it. */
static void
make_system_topic(void *arg, struct slice name, int32_t queues, int32_t perm)
{
	struct making *m = arg;
	struct entry *e;

	if (find(m->topics, name) != NULL)
		return;
	e = entry_new(name);
	e->t.read_queues = e->t.write_queues = queues;
	e->t.perm = perm;
	add(m->topics, e);
	m->made = true;
}

/* True: one was made. */
static bool
make_system_topics(struct topics *t)
{
	struct making m = {t, false};

	system_topics_each(t->b->conf, make_system_topic, &m);
	return m.made;
}

bool
topic_is_system(const struct topics *t, struct slice name)
{
	return system_topic_is(t->b->conf, name);
}

void
topics_put_system_json(struct topics *t, struct buf *out)
{
	system_topics_put_json(t->b->conf, out);
}

bool
topic_is_send_forbidden(struct slice name)
{
	return system_topic_is_send_forbidden(name);
}

/* ---- names */

bool
topic_name_alphabet(struct slice name)
{
	for (size_t i = 0; i < name.n; i++) {
		unsigned char ch = (unsigned char)name.p[i];

		if (ch >= 0x80 || (!isalnum(ch) && strchr("%|-_", ch) == NULL) || ch == '\0')
			return false;
	}
	return true;
}

const char *
topic_name_fault(struct slice name, struct err *e)
{
	if (str_trim(name).n == 0)
		err_set(e, "The specified topic is blank.");
	else if (!topic_name_alphabet(name))
		err_set(e, "The specified topic contains illegal characters, allowing only ^[%%|a-zA-Z0-9_-]+$");
	else if (name.n > NAME_MAX_BYTES)
		err_set(e, "The specified topic is longer than topic max length.");
	else
		return NULL;
	return e->text;
}

/* ---- life */

struct topics *
topics_new(struct broker *b)
{
	struct topics *t = xcalloc(1, sizeof *t);

	t->b = b;
	t->file = cfgfile_new(b, "topics.json", &save_delay_ms, put_file, t);
	t->mapping_ms = t->version.timestamp = clock_wall_ms();
	ev_timer_init(&t->removed_timer, on_removed_timer, REMOVED_KEEP_SECONDS, 0.);
	t->removed_timer.data = t;
	return t;
}

enum rc
topics_load(struct topics *t, struct err *e)
{
	json_t *root = NULL;
	enum rc rc = json_load_config(cfgfile_path(t->file), &root, e);

	if (rc != RC_OK && rc != RC_NOTFOUND)
		return rc;
	if (root != NULL) {
		data_version_read(&t->version, json_object_get(root, "dataVersion"));
		read_table(t, json_object_get(root, "topicConfigTable"));
		json_decref(root);
	}
	if (!make_system_topics(t))
		return RC_OK;
	if (rc == RC_OK)
		data_version_next(&t->version);
	return cfgfile_save(t->file, e);
}

void
topics_free(struct topics **tp)
{
	struct topics *t = *tp;
	struct entry *e, *tmp;

	if (t == NULL)
		return;
	cfgfile_free(&t->file);
	ev_timer_stop(t->b->w->loop, &t->removed_timer);
	free_removed(t);
	HASH_ITER(hh, t->table, e, tmp)
	{
		HASH_DEL(t->table, e);
		entry_free(e);
	}
	free(t);
	*tp = NULL;
}

/* ---- finding and making */

struct topic *
topic_find(struct topics *t, struct slice name)
{
	struct entry *e = find(t, name);

	return e != NULL ? &e->t : NULL;
}

/* A change that a client caused: saved and announced soon. */
static void
changed_by_client(struct topics *t)
{
	data_version_next(&t->version);
	cfgfile_changed(t->file);
	announce_changed(t->b->announce);
}

static struct topic *
make(struct topics *t, struct slice name, int32_t queues, int32_t perm, int32_t sys_flag, bool multi_tag)
{
	struct entry *e = entry_new(name);

	e->t.read_queues = e->t.write_queues = queues;
	e->t.perm = perm;
	e->t.sys_flag = sys_flag;
	e->t.multi_tag = multi_tag;
	add(t, e);
	changed_by_client(t);
	log_info("topic %s is made with %d queues, perm %d", e->t.name, queues, perm);
	return &e->t;
}

struct topic *
topic_ensure(struct topics *t, struct slice name, int32_t queues, int32_t perm, int32_t sys_flag)
{
	struct topic *topic = topic_find(t, name);

	return topic != NULL ? topic : make(t, name, queues, perm, sys_flag, false);
}

/* What a client's default topic allows to be made from it; NULL: nothing. */
static const struct topic *
find_template(struct topics *t, struct slice default_topic)
{
	const struct topic *template = topic_find(t, default_topic);

	if (template == NULL || !(template->perm & PERM_INHERIT))
		return NULL;
	/* A TBW102 left from a time when auto creation was on gives nothing now. */
	if (slice_is(default_topic, TEMPLATE_TOPIC) && !t->b->conf->autoCreateTopicEnable)
		return NULL;
	return template;
}

enum rc
topic_for_send(struct topics *t, struct slice name, struct slice default_topic, int32_t queues, bool unit_mode, struct topic **out)
{
	struct topic *topic = topic_find(t, name);
	bool retry = slice_starts(name, "%RETRY%");
	int32_t sys_flag = !unit_mode ? 0 : retry ? TOPIC_SYS_UNIT_SUB : TOPIC_SYS_UNIT;
	const struct topic *template;

	*out = topic;
	if (LIKELY(topic != NULL))
		return RC_OK;
	if (name.n == 0 || name.n > RETRY_NAME_MAX_BYTES)
		return RC_NOTFOUND;
	template = find_template(t, default_topic);
	if (template != NULL) {
		queues = MAX_OF(0, MIN_OF(queues, template->write_queues));
		*out = make(t, name, queues, template->perm & ~PERM_INHERIT, sys_flag, template->multi_tag);
	} else if (retry) {
		*out = make(t, name, 1, PERM_RW, sys_flag, false);
	}
	return *out != NULL ? RC_OK : RC_NOTFOUND;
}

/* ---- operators */

static void
take_over(struct topic *to, const struct topic *from, json_t **attributes)
{
	to->read_queues = from->read_queues;
	to->write_queues = from->write_queues;
	to->perm = from->perm;
	to->sys_flag = from->sys_flag;
	to->order = from->order;
	to->multi_tag = from->multi_tag;
	json_decref(to->attributes);
	to->attributes = *attributes;
	*attributes = NULL;
	forget_queues(to);
}

static bool
same_config(const struct topic *a, const struct topic *b, const json_t *attributes)
{
	return a->read_queues == b->read_queues && a->write_queues == b->write_queues && a->perm == b->perm &&
	    a->sys_flag == b->sys_flag && a->order == b->order && a->multi_tag == b->multi_tag &&
	    json_equal(a->attributes, attributes);
}

enum rc
topic_update(struct topics *t, const struct topic *wanted, struct slice attributes, struct err *e)
{
	struct entry *old = find(t, wanted->name_slice);
	json_t *result;
	enum rc rc = topic_attrs_alter(old != NULL ? old->t.attributes : NULL, attributes, &result, e);

	if (rc != RC_OK)
		return rc;
	if (old != NULL && same_config(&old->t, wanted, result)) {
		json_decref(result);
		return RC_OK;
	}
	if (old == NULL) {
		old = entry_new(wanted->name_slice);
		add(t, old);
	}
	take_over(&old->t, wanted, &result);
	data_version_next(&t->version);
	announce_changed(t->b->announce);
	return cfgfile_save(t->file, e);
}

/* Others of the turn may still hold it. */
static void
take_out(struct topics *t, struct entry *e)
{
	HASH_DEL(t->table, e);
	forget_queues(&e->t);
	e->next_removed = t->removed;
	t->removed = e;
	ev_timer_again(t->b->w->loop, &t->removed_timer);
}

bool
topic_remove(struct topics *t, struct slice name)
{
	struct entry *e = find(t, name);

	if (e == NULL)
		return false;
	take_out(t, e);
	data_version_next(&t->version);
	cfgfile_save_or_say(t->file);
	announce_changed(t->b->announce);
	return true;
}

/* ---- a slave's table is its master's */

static void
take_topic(struct topics *t, struct slice name, const json_t *config)
{
	struct entry *e = find(t, name);

	if (name.n == 0 || name.n > RETRY_NAME_MAX_BYTES || !json_is_object(config))
		return;
	if (e == NULL) {
		e = entry_new(name);
		add(t, e);
	}
	topic_read_json(&e->t, config);
	forget_queues(&e->t);
}

static void
drop_others(struct topics *t, const json_t *table)
{
	struct entry *e, *tmp;

	HASH_ITER(hh, t->table, e, tmp)
	{
		if (json_object_get(table, e->t.name) != NULL)
			continue;
		log_info("topic %s was deleted at the master: its queues go here too", e->t.name);
		store_topic_delete(t->b->store, e->t.name_slice);
		take_out(t, e);
	}
}

void
topics_take(struct topics *t, const json_t *wrapper, bool drop)
{
	json_t *table = json_object_get(wrapper, "topicConfigTable"), *config;
	const char *name;

	if (!json_is_object(table))
		return;
	json_object_foreach(table, name, config)
		take_topic(t, slice_of(name), config);
	if (drop)
		drop_others(t, table);
	(void)make_system_topics(t);
	data_version_read(&t->version, json_object_get(wrapper, "dataVersion"));
	cfgfile_changed(t->file);
	announce_changed(t->b->announce);
}

void
topics_touch(struct topics *t)
{
	changed_by_client(t);
}

void
topic_set_order(struct topics *t, struct topic *topic, bool order)
{
	if (topic->order == order)
		return;
	topic->order = order;
	changed_by_client(t);
}

/* ---- looking */

void
topics_each(struct topics *t, void (*each)(void *arg, struct topic *topic), void *arg)
{
	struct entry *e, *tmp;

	HASH_ITER(hh, t->table, e, tmp)
		each(arg, &e->t);
}

size_t
topics_count(const struct topics *t)
{
	return HASH_COUNT(t->table);
}

const struct data_version *
topics_version(const struct topics *t)
{
	return &t->version;
}

void
topics_put_wrapper_json(struct topics *t, int32_t perm_mask, struct buf *out)
{
	const struct data_version mapping = {0, t->mapping_ms, 0};

	buf_put_str(out, "{\"dataVersion\":");
	data_version_put_json(&t->version, out);
	buf_put_str(out, ",\"mappingDataVersion\":");
	data_version_put_json(&mapping, out);
	buf_put_char(out, ',');
	put_table(t, perm_mask == PERM_RW ? -1 : perm_mask, out);
	buf_put_str(out, ",\"topicQueueMappingDetailMap\":{},\"topicQueueMappingInfoMap\":{}}");
}

static struct store_queue *
fill_queue_slot(struct broker *b, struct topic *t, int32_t id)
{
	int32_t slots = MIN_OF(MAX_OF(t->read_queues, t->write_queues), QUEUE_SLOTS_MAX);

	/* Beyond its numbers a topic may still have queues from before it was made smaller. */
	if (id >= slots)
		return store_queue_find(b->store, t->name_slice, id);
	if (t->queue_slots < slots) {
		t->queues = xrealloc(t->queues, (size_t)slots * sizeof *t->queues);
		memset(t->queues + t->queue_slots, 0, (size_t)(slots - t->queue_slots) * sizeof *t->queues);
		t->queue_slots = slots;
	}
	t->queues[id] = store_queue_get(b->store, t->name_slice, id);
	return t->queues[id];
}

struct store_queue *
topic_queue(struct broker *b, struct topic *t, int32_t id)
{
	if (LIKELY(id >= 0 && id < t->queue_slots && t->queues[id] != NULL))
		return t->queues[id];
	return id < 0 ? NULL : fill_queue_slot(b, t, id);
}
