/*
 * filters: the SQL92 expressions of groups.
 *
 * Runs in:    the broker process.
 * Owns:       config/consumerFilter.json; one reference of each compiled expression.
 * If it dies: what changed in the last ten seconds comes again with the next heartbeats.
 *
 * A group's filter stays for a day after the group has left, since the client's version counter decides which text is newer.
 * Expressions that come with each pull (sysFlag bit 4) are compiled once and kept in a small table, the latest used ones.
 */
#include "workers/broker/filters.h"

#include "common/clock.h"
#include "workers/broker/cfgfile.h"
#include "workers/broker/filter_bloom.h"
#include "workers/broker/table.h"

#define REMEMBERED_MAX	100
#define FILTERS_MAX	20000
#define TEXT_BYTES_MAX	(64 << 20)	/* of all expressions */
#define LOADED_DEAD_MS	30000		/* a loaded group counts as gone since so long */

static const int32_t save_delay_ms = 10000;

struct filter_group {
	char		*name;
	struct group_filter *list;
	UT_hash_handle	 hh;
};

struct remembered {
	char		*text;
	struct sql_filter *sql;
	UT_hash_handle	 hh;
};

struct filters {
	struct broker	*b;
	struct cfgfile	*file;
	struct filter_group *groups;
	struct remembered *texts;	/* the longest unused first */
	unsigned	 count;
	size_t		 bytes;
};

/* ---- compiling */

static void
forget_text(struct filters *f, struct remembered *r)
{
	HASH_DEL(f->texts, r);
	sql_filter_unref(&r->sql);
	free(r->text);
	free(r);
}

static void
remember(struct filters *f, struct slice expression, struct sql_filter *sql)
{
	struct remembered *r = xcalloc(1, sizeof *r);

	if (HASH_COUNT(f->texts) >= REMEMBERED_MAX)
		forget_text(f, f->texts);
	r->text = xslicedup(expression);
	r->sql = sql_filter_ref(sql);
	HASH_ADD_KEYPTR(hh, f->texts, r->text, expression.n, r);
}

struct sql_filter *
filters_compile(struct filters *f, struct slice expression, struct err *e)
{
	struct remembered *r = NULL;
	struct sql_filter *sql;

	if (expression.n > 0)
		TABLE_FIND(f->texts, expression, r);
	if (r != NULL) {
		HASH_DEL(f->texts, r);
		HASH_ADD_KEYPTR(hh, f->texts, r->text, expression.n, r);
		return sql_filter_ref(r->sql);
	}
	sql = sql_filter_compile(expression, e);
	if (sql != NULL)
		remember(f, expression, sql);
	return sql;
}

/* ---- the table */

static bool
is_dead(const struct group_filter *it)
{
	return it->dead_ms >= it->born_ms;
}

static struct filter_group *
find_group(struct filters *f, struct slice group)
{
	struct filter_group *g = NULL;

	if (group.n > 0)
		TABLE_FIND(f->groups, group, g);
	return g;
}

static struct group_filter *
find_in(const struct filter_group *g, struct slice topic)
{
	struct group_filter *it = g != NULL ? g->list : NULL;

	while (it != NULL && !slice_is(topic, it->topic))
		it = it->next;
	return it;
}

const struct group_filter *
filters_find(struct filters *f, struct slice topic, struct slice group)
{
	return find_in(find_group(f, group), topic);
}

static void
free_filter(struct filters *f, struct group_filter *it)
{
	f->count--;
	f->bytes -= strlen(it->expression);
	sql_filter_unref(&it->sql);
	free(it->topic);
	free(it->expression);
	free(it);
}

static void
free_group(struct filters *f, struct filter_group *g)
{
	struct group_filter *it;

	HASH_DEL(f->groups, g);
	while ((it = g->list) != NULL) {
		g->list = it->next;
		free_filter(f, it);
	}
	free(g->name);
	free(g);
}

static void
remove_filter(struct filters *f, struct filter_group *g, struct group_filter *it)
{
	struct group_filter **at = &g->list;

	while (*at != it)
		at = &(*at)->next;
	*at = it->next;
	free_filter(f, it);
}

static struct filter_group *
make_group(struct filters *f, const char *name)
{
	struct filter_group *g = find_group(f, slice_of(name));

	if (g != NULL)
		return g;
	g = xcalloc(1, sizeof *g);
	g->name = xstrdup(name);
	TABLE_ADD(f->groups, name, g);
	return g;
}

/* Takes sql. */
static struct group_filter *
add_filter(struct filters *f, struct filter_group *g, const char *topic, const char *expression, int64_t version, struct sql_filter *sql)
{
	struct group_filter *it = xcalloc(1, sizeof *it);

	it->topic = xstrdup(topic);
	it->expression = xstrdup(expression);
	it->version = version;
	it->born_ms = clock_wall_ms();
	it->sql = sql;
	it->next = g->list;
	g->list = it;
	f->count++;
	f->bytes += strlen(expression);
	return it;
}

/* ---- heartbeats */

/* NULL: it cannot be read, or there is no room. The client's pulls are told that there is no filter. */
static struct sql_filter *
compile_for(struct filters *f, const char *group, const struct subscription *s)
{
	struct sql_filter *sql;
	struct err e;

	if (f->count >= FILTERS_MAX || f->bytes + strlen(s->text) > TEXT_BYTES_MAX) {
		log_warn("the filter of group %s for topic %s is not taken: there are %u filters of %zu bytes already", group, s->topic.p,
		    f->count, f->bytes);
		return NULL;
	}
	sql = filters_compile(f, slice_of(s->text), &e);
	if (sql == NULL)
		log_warn("the filter of group %s for topic %s is not taken: %s", group, s->topic.p, e.text);
	return sql;
}

static void
add_new(struct filters *f, const char *group, const struct subscription *s)
{
	struct sql_filter *sql = compile_for(f, group, s);

	if (sql == NULL)
		return;
	add_filter(f, make_group(f, group), s->topic.p, s->text, s->version, sql);
	log_info("group %s filters topic %s by: %s", group, s->topic.p, s->text);
	cfgfile_changed(f->file);
}

/* The same version only brings a dead one to life: its text cannot be another. */
static void
renew(struct filters *f, struct filter_group *g, struct group_filter *it, const struct subscription *s)
{
	if (s->version < it->version || (s->version == it->version && !is_dead(it)))
		return;
	cfgfile_changed(f->file);
	if (s->version > it->version && strcmp(s->text, it->expression) != 0) {
		remove_filter(f, g, it);
		add_new(f, g->name, s);
		return;
	}
	it->version = s->version;
	it->dead_ms = 0;
}

static void
take(struct filters *f, const char *group, const struct subscription *s)
{
	struct filter_group *g = find_group(f, slice_of(group));
	struct group_filter *it = find_in(g, s->topic);

	if (strcmp(s->expression_type, "SQL92") != 0 || s->text[0] == '\0')
		return;
	if (it != NULL)
		renew(f, g, it, s);
	else
		add_new(f, group, s);
}

static void
die(struct filters *f, struct group_filter *it)
{
	if (is_dead(it))
		return;
	it->dead_ms = MAX_OF(clock_wall_ms(), it->born_ms);
	cfgfile_changed(f->file);
}

void
filters_register(struct filters *f, const struct consumer_group *cg)
{
	struct filter_group *g;

	for (unsigned i = 0; i < cg->sub_count; i++)
		take(f, cg->name, cg->subs[i]);
	g = find_group(f, slice_of(cg->name));
	for (struct group_filter *it = g != NULL ? g->list : NULL; it != NULL; it = it->next)
		if (consumer_group_sub(cg, slice_of(it->topic)) == NULL)
			die(f, it);
}

void
filters_unregister(struct filters *f, struct slice group)
{
	struct filter_group *g = find_group(f, group);

	for (struct group_filter *it = g != NULL ? g->list : NULL; it != NULL; it = it->next)
		die(f, it);
}

static void
expire_group(struct filters *f, struct filter_group *g, int64_t before_ms)
{
	struct group_filter *it, *next;

	for (it = g->list; it != NULL; it = next) {
		next = it->next;
		if (!is_dead(it) || it->dead_ms > before_ms)
			continue;
		log_info("the filter of group %s for topic %s is removed: the group is gone for long", g->name, it->topic);
		remove_filter(f, g, it);
		cfgfile_changed(f->file);
	}
	if (g->list == NULL)
		free_group(f, g);
}

void
filters_expire(struct filters *f)
{
	int64_t before_ms = clock_wall_ms() - f->b->conf->filterDataCleanTimeSpan;
	struct filter_group *g, *tmp;

	HASH_ITER(hh, f->groups, g, tmp)
		expire_group(f, g, before_ms);
}

/* ---- the file */

static json_t *
bloom_json(struct filters *f, const char *group, const char *topic)
{
	char *name = xasprintf("%s#%s", group, topic);
	json_t *o = NULL, *bits;
	struct bloom bloom;

	if (bloom_of(f->b->conf->maxErrorRateOfBloomFilter, f->b->conf->expectConsumerNumUseFilter, slice_of(name), &bloom)) {
		o = json_object();
		bits = json_array();
		for (unsigned i = 0; i < bloom.count; i++)
			json_array_append_new(bits, json_integer(bloom.bits[i]));
		json_object_set_new(o, "bitNum", json_integer(bloom.bit_num));
		json_object_set_new(o, "bitPos", bits);
	}
	free(name);
	return o;
}

json_t *
filters_entry_json(struct filters *f, const char *group, const struct group_filter *it)
{
	json_t *o = json_object(), *bloom = bloom_json(f, group, it->topic);

	if (bloom != NULL)
		json_object_set_new(o, "bloomFilterData", bloom);
	json_object_set_new(o, "bornTime", json_integer(it->born_ms));
	json_object_set_new(o, "clientVersion", json_integer(it->version));
	json_object_set_new(o, "consumerGroup", json_string(group));
	json_object_set_new(o, "dead", json_boolean(is_dead(it)));
	json_object_set_new(o, "deadTime", json_integer(it->dead_ms));
	json_object_set_new(o, "expression", json_string(it->expression));
	json_object_set_new(o, "expressionType", json_string("SQL92"));
	json_object_set_new(o, "topic", json_string(it->topic));
	return o;
}

/* The groups of that topic, made if they are not there. */
static json_t *
groups_of_topic(json_t *topics, const char *topic)
{
	json_t *o = json_object_get(topics, topic);

	if (o == NULL) {
		o = json_object();
		json_object_set_new(o, "groupFilterData", json_object());
		json_object_set_new(o, "topic", json_string(topic));
		json_object_set_new(topics, topic, o);
	}
	return json_object_get(json_object_get(topics, topic), "groupFilterData");
}

static void
put_file(void *arg, struct buf *out)
{
	struct filters *f = arg;
	json_t *root = json_object(), *topics = json_object();
	struct filter_group *g, *tmp;
	char *text;

	json_object_set_new(root, "filterDataByTopic", topics);
	HASH_ITER(hh, f->groups, g, tmp)
		for (const struct group_filter *it = g->list; it != NULL; it = it->next)
			json_object_set_new(groups_of_topic(topics, it->topic), g->name, filters_entry_json(f, g->name, it));
	text = json_dumps(root, JSON_INDENT(1));
	buf_put_str(out, text != NULL ? text : "{}");
	buf_put_char(out, '\n');
	free(text);
	json_decref(root);
}

/* One entry. What cannot be compiled is left out: the group's next heartbeat brings it again, or what took its place. */
static void
load_entry(struct filters *f, const char *topic, const char *group, const json_t *o)
{
	const char *expression = json_get_str(o, "expression", "");
	int64_t now_ms = clock_wall_ms();
	struct group_filter *it;
	struct sql_filter *sql;
	struct err e = {""};

	if (*topic == '\0' || *group == '\0' || find_in(find_group(f, slice_of(group)), slice_of(topic)) != NULL)
		return;
	if (strcmp(json_get_str(o, "expressionType", ""), "SQL92") != 0 || (sql = sql_filter_compile(slice_of(expression), &e)) == NULL) {
		log_warn("%s: the filter of group %s for topic %s is left out: %s", cfgfile_path(f->file), group, topic,
		    e.text[0] != '\0' ? e.text : "it is no SQL92 expression");
		return;
	}
	it = add_filter(f, make_group(f, group), topic, expression, json_get_i64(o, "clientVersion", 0), sql);
	it->born_ms = json_get_i64(o, "bornTime", now_ms);
	it->dead_ms = json_get_i64(o, "deadTime", 0);
	if (it->dead_ms == 0)
		it->dead_ms = MAX_OF(now_ms - LOADED_DEAD_MS, it->born_ms);
}

enum rc
filters_load(struct filters *f, struct err *e)
{
	json_t *root = NULL, *entry, *of_topic;
	const char *topic, *group;
	enum rc rc = json_load_config(cfgfile_path(f->file), &root, e);

	if (rc != RC_OK)
		return rc == RC_NOTFOUND ? RC_OK : rc;
	json_object_foreach(json_object_get(root, "filterDataByTopic"), topic, of_topic)
		json_object_foreach(json_object_get(of_topic, "groupFilterData"), group, entry)
			load_entry(f, topic, group, entry);
	json_decref(root);
	return RC_OK;
}

/* ---- life */

struct filters *
filters_new(struct broker *b)
{
	struct filters *f = xcalloc(1, sizeof *f);

	f->b = b;
	f->file = cfgfile_new(b, "consumerFilter.json", &save_delay_ms, put_file, f);
	return f;
}

void
filters_free(struct filters **fp)
{
	struct filters *f = *fp;
	struct filter_group *g, *tmp;

	if (f == NULL)
		return;
	cfgfile_free(&f->file);
	HASH_ITER(hh, f->groups, g, tmp)
		free_group(f, g);
	while (f->texts != NULL)
		forget_text(f, f->texts);
	free(f);
	*fp = NULL;
}
