/*
 * plan: reads cluster.yaml into the spec.
 *
 * Runs in:    the master, at start and at SIGHUP.
 * Must not:   touch anything outside of the process.
 *
 * A key of a broker's or name server's entry that is none of ours is a key of the original: it goes to the parameter tables.
 * Values are taken in the order defaults, include, entry; the later wins.
 */
#include "master/plan.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "master/instance.h"

#define INCLUDE_MAX (1u << 20)

/* A key of our own: a text goes to *text, anything else to its function. */
struct plan_key {
	const char	*name;
	enum rc		(*set)(struct plan *p, yaml_node_t *value, struct err *e);
	size_t		 text; /* offset in struct cluster_spec, when set is NULL */
};

#define TEXT_KEY(key, member) {key, NULL, offsetof(struct cluster_spec, member)}
#define FUNC_KEY(key, func) {key, func, 0}

void
plan_warn(struct plan *p, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	p->warnings = xrealloc(p->warnings, (p->warning_count + 1) * sizeof(*p->warnings));
	p->warnings[p->warning_count++] = xstrdup(e.text);
}

size_t
plan_row(const struct param_table *t, const char *key)
{
	const struct param *p = param_find(t, slice_of(key));

	ensure(p != NULL);
	return (size_t)(p - t->rows);
}

bool
plan_given(const struct plan_item *it, const char *key)
{
	return it->given[plan_row(it->table, key)];
}

const yaml_node_t *
plan_at(const struct plan_item *it, const char *key)
{
	const yaml_node_t *at = it->key_at[plan_row(it->table, key)];

	return at != NULL ? at : it->at;
}

/* ---- keys of our own */

static const char *
nearest_key(const struct plan_key *keys, size_t count, const char *name, unsigned *distance)
{
	const char *best = NULL;

	*distance = (unsigned)(strlen(name) / 3 + 1); /* further away it is a guess that confuses */
	for (size_t i = 0; i < count; i++) {
		unsigned d = str_distance(keys[i].name, name);

		if (d <= *distance) {
			*distance = d;
			best = keys[i].name;
		}
	}
	return best;
}

static enum rc
unknown_key(struct plan *p, yaml_node_t *at, const char *where, const char *key, const char *nearest, struct err *e)
{
	if (nearest == NULL)
		return yamlfile_error(&p->y, at, e, "%s has no key `%s`", where, key);
	return yamlfile_error(&p->y, at, e, "%s has no key `%s`; did you mean `%s`?", where, key, nearest);
}

static enum rc
set_text(struct plan *p, const struct plan_key *k, yaml_node_t *value, struct err *e)
{
	char **at = (char **)((char *)&p->spec + k->text);
	const char *text;
	enum rc rc = yamlfile_text(&p->y, value, k->name, &text, e);

	if (rc != RC_OK)
		return rc;
	free(*at);
	*at = xstrdup(text);
	return RC_OK;
}

/* A mapping whose keys are all ours. */
struct section {
	struct plan		*p;
	const char		*name;
	const struct plan_key	*keys;
	size_t			 count;
};

static enum rc
section_pair(void *arg, const char *key, yaml_node_t *key_node, yaml_node_t *value, struct err *e)
{
	const struct section *s = arg;
	unsigned distance;

	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->keys[i].name, key) == 0)
			return s->keys[i].set != NULL ? s->keys[i].set(s->p, value, e)
						      : set_text(s->p, &s->keys[i], value, e);
	return unknown_key(s->p, key_node, s->name, key, nearest_key(s->keys, s->count, key, &distance), e);
}

static enum rc
read_section(struct plan *p, yaml_node_t *map, const char *name, const struct plan_key *keys, size_t count, struct err *e)
{
	struct section s = {p, name, keys, count};

	return yamlfile_each_pair(&p->y, map, name, section_pair, &s, e);
}

static int
choice(const char *text, const char *const names[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], text) == 0)
			return (int)i;
	return -1;
}

static enum rc
set_log_to(struct plan *p, yaml_node_t *value, struct err *e)
{
	static const char *const names[] = {[LOG_TO_STDERR] = "stderr", [LOG_TO_FILE] = "file", [LOG_TO_SYSLOG] = "syslog"};
	const char *text;
	enum rc rc = yamlfile_text(&p->y, value, "to", &text, e);
	int to = rc == RC_OK ? choice(text, names, COUNT_OF(names)) : -1;

	if (rc != RC_OK)
		return rc;
	if (to < 0)
		return yamlfile_error(&p->y, value, e, "log: to: `%s` is none of stderr, file, syslog", text);
	p->spec.log_to = (enum log_to)to;
	p->log_given = true;
	return RC_OK;
}

static enum rc
set_log_level(struct plan *p, yaml_node_t *value, struct err *e)
{
	static const char *const names[] = {"error", "warn", "info", "debug", "trace"};
	const char *text;
	enum rc rc = yamlfile_text(&p->y, value, "level", &text, e);

	if (rc != RC_OK)
		return rc;
	if (choice(text, names, COUNT_OF(names)) < 0)
		return yamlfile_error(&p->y, value, e, "log: level: `%s` is none of error, warn, info, debug, trace", text);
	free(p->spec.log_level);
	p->spec.log_level = xstrdup(text);
	return RC_OK;
}

static enum rc
read_log(struct plan *p, yaml_node_t *map, struct err *e)
{
	static const struct plan_key keys[] = {
	    FUNC_KEY("to", set_log_to), TEXT_KEY("dir", log_dir), FUNC_KEY("level", set_log_level)};

	return read_section(p, map, "`log`", keys, COUNT_OF(keys), e);
}

static enum rc
read_console(struct plan *p, yaml_node_t *map, struct err *e)
{
	static const struct plan_key keys[] = {TEXT_KEY("listen", console_listen)};
	char ip[64];
	int port;
	enum rc rc = read_section(p, map, "`console`", keys, COUNT_OF(keys), e);

	if (rc != RC_OK)
		return rc;
	p->console_at = map;
	if (p->spec.console_listen == NULL)
		return yamlfile_error(&p->y, map, e, "`console` needs `listen`, such as \"127.0.0.1:9877\"");
	if (plan_split_address(p->spec.console_listen, ip, &port) != RC_OK)
		return yamlfile_error(&p->y, map, e, "console: listen: `%s` is not of the form address:port",
		    p->spec.console_listen);
	return RC_OK;
}

static enum rc
set_failover_mode(struct plan *p, yaml_node_t *value, struct err *e)
{
	static const char *const names[] = {
	    [FAILOVER_OFF] = "off", [FAILOVER_SCRIPT] = "script", [FAILOVER_LOCAL] = "local"};
	const char *text;
	enum rc rc = yamlfile_text(&p->y, value, "mode", &text, e);
	int mode = rc == RC_OK ? choice(text, names, COUNT_OF(names)) : -1;

	if (rc != RC_OK)
		return rc;
	if (mode < 0)
		return yamlfile_error(&p->y, value, e, "failover: mode: `%s` is none of off, script, local", text);
	p->spec.failover = (enum failover_mode)mode;
	return RC_OK;
}

static enum rc
read_failover(struct plan *p, yaml_node_t *map, struct err *e)
{
	static const struct plan_key keys[] = {
	    FUNC_KEY("mode", set_failover_mode), TEXT_KEY("onPromote", on_promote), TEXT_KEY("onFailed", on_failed)};
	enum rc rc = read_section(p, map, "`failover`", keys, COUNT_OF(keys), e);

	if (rc == RC_OK && p->spec.failover == FAILOVER_SCRIPT && p->spec.on_promote == NULL)
		return yamlfile_error(&p->y, map, e, "failover: mode: script needs `onPromote`, the script");
	return rc;
}

static enum rc
set_seconds(struct plan *p, yaml_node_t *value, const char *key, int32_t *seconds, struct err *e)
{
	const char *text;
	int32_t n;
	enum rc rc = yamlfile_text(&p->y, value, key, &text, e);

	if (rc != RC_OK)
		return rc;
	if (str_i32(slice_of(text), &n) != RC_OK || n < 1 || n > 86400)
		return yamlfile_error(&p->y, value, e, "`%s` is a number of seconds from 1 to 86400, not `%s`", key, text);
	*seconds = n;
	return RC_OK;
}

static enum rc
set_ready_timeout(struct plan *p, yaml_node_t *value, struct err *e)
{
	return set_seconds(p, value, "readyTimeout", &p->spec.ready_timeout_s, e);
}

static enum rc
set_stop_timeout(struct plan *p, yaml_node_t *value, struct err *e)
{
	return set_seconds(p, value, "stopTimeout", &p->spec.stop_timeout_s, e);
}

/* The lists are read when all else is known: `defaults` may stand behind them. */
static enum rc
keep_namesrvs(struct plan *p, yaml_node_t *value, struct err *e)
{
	(void)e;
	p->namesrv_list = value;
	return RC_OK;
}

static enum rc
keep_brokers(struct plan *p, yaml_node_t *value, struct err *e)
{
	(void)e;
	p->broker_list = value;
	return RC_OK;
}

static enum rc
keep_defaults(struct plan *p, yaml_node_t *value, struct err *e)
{
	(void)e;
	p->defaults = value;
	return RC_OK;
}

static const struct plan_key top_keys[] = {
    TEXT_KEY("cluster", cluster),
    TEXT_KEY("dir", dir),
    TEXT_KEY("user", user),
    TEXT_KEY("group", group),
    TEXT_KEY("pidFile", pid_file),
    FUNC_KEY("readyTimeout", set_ready_timeout),
    FUNC_KEY("stopTimeout", set_stop_timeout),
    FUNC_KEY("log", read_log),
    FUNC_KEY("namesrv", keep_namesrvs),
    FUNC_KEY("defaults", keep_defaults),
    FUNC_KEY("brokers", keep_brokers),
    FUNC_KEY("console", read_console),
    FUNC_KEY("failover", read_failover),
};

/* ---- entries: keys of the original */

struct entry {
	struct plan		*p;
	struct plan_item	*it;
	char			**host;	/* of the entry; NULL while `defaults` is read */
	char			*path;	/* of the included file while it is read */
	const char		*what;	/* "a broker", "a name server" */
};

static enum rc
unknown_param(struct entry *n, yaml_node_t *at, const char *key, struct err *e)
{
	static const struct plan_key own[] = {{"host", NULL, 0}, {"include", NULL, 0}};
	const char *param = param_nearest(n->it->table, key);
	unsigned distance;
	const char *ours = nearest_key(own, n->host != NULL ? COUNT_OF(own) : 0, key, &distance);

	if (ours != NULL && (param == NULL || distance <= str_distance(param, key)))
		param = ours;
	return unknown_key(n->p, at, n->what, key, param, e);
}

static enum rc
entry_param(struct entry *n, const char *key, yaml_node_t *key_node, yaml_node_t *value, struct err *e)
{
	const struct param *param = param_find(n->it->table, slice_of(key));
	const char *text;
	struct err why;
	enum rc rc;

	if (param == NULL)
		return unknown_param(n, key_node, key, e);
	rc = yamlfile_text(&n->p->y, value, key, &text, e);
	if (rc != RC_OK)
		return rc;
	if (param_set(param, n->it->conf, slice_of(text), &why) != RC_OK)
		return yamlfile_error(&n->p->y, value, e, "%s", why.text);
	n->it->given[param - n->it->table->rows] = true;
	n->it->key_at[param - n->it->table->rows] = key_node;
	return RC_OK;
}

static enum rc
default_pair(void *arg, const char *key, yaml_node_t *key_node, yaml_node_t *value, struct err *e)
{
	return entry_param(arg, key, key_node, value, e);
}

static enum rc
entry_pair(void *arg, const char *key, yaml_node_t *key_node, yaml_node_t *value, struct err *e)
{
	struct entry *n = arg;
	const char *text;
	enum rc rc;

	if (strcmp(key, "include") == 0)
		return RC_OK; /* was read before */
	if (strcmp(key, "host") != 0)
		return entry_param(n, key, key_node, value, e);
	rc = yamlfile_text(&n->p->y, value, key, &text, e);
	if (rc == RC_OK && *text == '\0')
		return yamlfile_error(&n->p->y, value, e, "`host` is empty; leave it out if the entry is for every host");
	if (rc == RC_OK)
		*n->host = xstrdup(text);
	return rc;
}

static enum rc
include_pair(void *arg, struct slice key, struct slice value, int line)
{
	struct entry *n = arg;
	const struct param *param = param_find(n->it->table, key);
	struct err e;

	if (param == NULL) {
		plan_warn(n->p, "%s:%d: `%.*s` is no key of %s and is left out", n->path, line, (int)MIN_OF(key.n, 100),
		    key.p, n->what);
		return RC_OK;
	}
	if (param_set(param, n->it->conf, value, &e) != RC_OK) {
		plan_warn(n->p, "%s:%d: %s", n->path, line, e.text); /* read_include makes it the error */
		return RC_INVAL;
	}
	n->it->given[param - n->it->table->rows] = true;
	n->it->key_at[param - n->it->table->rows] = n->it->at;
	return RC_OK;
}

/* A relative path belongs to the folder of the spec: the two files travel together. */
static char *
beside(const char *spec_path, const char *path)
{
	const char *slash = strrchr(spec_path, '/');

	if (*path == '/' || slash == NULL)
		return xstrdup(path);
	return xasprintf("%.*s/%s", (int)(slash - spec_path), spec_path, path);
}

static enum rc
read_include(struct entry *n, yaml_node_t *value, const char *name, struct err *e)
{
	struct buf b = {0};
	struct err why;
	enum rc rc;

	n->path = beside(n->p->y.path, name);
	rc = file_read(n->path, INCLUDE_MAX, &b, &why);
	if (rc != RC_OK) {
		rc = yamlfile_error(&n->p->y, value, e, "include: %s", why.text);
	} else if (properties_walk(buf_slice(&b), include_pair, n) != RC_OK) {
		const char *last = n->p->warning_count > 0 ? n->p->warnings[n->p->warning_count - 1] : n->path;

		rc = yamlfile_error(&n->p->y, value, e, "include: %s", last);
	}
	buf_free(&b);
	free(n->it->include);
	n->it->include = n->path;
	n->path = NULL;
	return rc;
}

static enum rc
include_first(void *arg, const char *key, yaml_node_t *key_node, yaml_node_t *value, struct err *e)
{
	struct entry *n = arg;
	const char *name;
	enum rc rc;

	(void)key_node;
	if (strcmp(key, "include") != 0)
		return RC_OK;
	rc = yamlfile_text(&n->p->y, value, key, &name, e);
	return rc == RC_OK ? read_include(n, value, name, e) : rc;
}

static enum rc
read_entry(struct entry *n, yaml_node_t *map, yaml_node_t *defaults, struct err *e)
{
	struct plan_item *it = n->it;
	char **host = n->host;
	enum rc rc = RC_OK;

	it->at = map;
	it->given = xcalloc(it->table->count, sizeof(*it->given));
	it->key_at = xcalloc(it->table->count, sizeof(yaml_node_t *));
	n->host = NULL;
	if (defaults != NULL)
		rc = yamlfile_each_pair(&n->p->y, defaults, "`defaults`", default_pair, n, e);
	n->host = host;
	if (rc == RC_OK)
		rc = yamlfile_each_pair(&n->p->y, map, n->what, include_first, n, e);
	if (rc == RC_OK)
		rc = yamlfile_each_pair(&n->p->y, map, n->what, entry_pair, n, e);
	it->host = *host;
	return rc;
}

static enum rc
read_broker(void *arg, yaml_node_t *map, struct err *e)
{
	struct plan *p = arg;
	size_t i = p->spec.broker_count++;
	struct broker_spec *b = &p->spec.brokers[i];
	struct entry n = {p, &p->brokers[i], &b->host, NULL, "a broker"};

	broker_conf_init(&b->conf);
	n.it->table = &broker_params;
	n.it->conf = &b->conf;
	return read_entry(&n, map, p->defaults, e);
}

static enum rc
read_namesrv(void *arg, yaml_node_t *map, struct err *e)
{
	struct plan *p = arg;
	size_t i = p->spec.namesrv_count++;
	struct namesrv_spec *s = &p->spec.namesrvs[i];
	struct entry n = {p, &p->namesrvs[i], &s->host, NULL, "a name server"};

	namesrv_conf_init(&s->conf);
	n.it->table = &namesrv_params;
	n.it->conf = &s->conf;
	return read_entry(&n, map, NULL, e);
}

static size_t
items_of(const yaml_node_t *list)
{
	if (list == NULL || list->type != YAML_SEQUENCE_NODE)
		return 0;
	return (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
}

/* The arrays are made once: entries are pointed to. */
static enum rc
read_lists(struct plan *p, struct err *e)
{
	size_t ns = items_of(p->namesrv_list) + 1, br = items_of(p->broker_list) + 1;
	enum rc rc = RC_OK;

	p->spec.namesrvs = xcalloc(ns, sizeof(*p->spec.namesrvs));
	p->namesrvs = xcalloc(ns, sizeof(*p->namesrvs));
	p->spec.brokers = xcalloc(br, sizeof(*p->spec.brokers));
	p->brokers = xcalloc(br, sizeof(*p->brokers));
	if (p->namesrv_list != NULL)
		rc = yamlfile_each_item(&p->y, p->namesrv_list, "namesrv", read_namesrv, p, e);
	if (rc == RC_OK && p->broker_list != NULL)
		rc = yamlfile_each_item(&p->y, p->broker_list, "brokers", read_broker, p, e);
	return rc;
}

static enum rc
read_spec(struct plan *p, struct err *e)
{
	enum rc rc = read_section(p, yamlfile_root(&p->y), "the spec", top_keys, COUNT_OF(top_keys), e);

	if (rc == RC_OK)
		rc = read_lists(p, e);
	if (rc == RC_OK && p->spec.namesrv_count + p->spec.broker_count == 0)
		rc = yamlfile_error(&p->y, yamlfile_root(&p->y), e, "there is neither a broker nor a name server in it");
	return rc;
}

/* ---- all of it */

static void
forget_places(struct plan_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(items[i].key_at);
		items[i].key_at = NULL;
		items[i].at = NULL;
	}
}

enum rc
plan_load(struct plan *p, const char *path, const char *host, struct err *e)
{
	enum rc rc;

	memset(p, 0, sizeof(*p));
	p->spec.ready_timeout_s = p->spec.stop_timeout_s = 30;
	rc = yamlfile_load(&p->y, path, e);
	if (rc == RC_OK)
		rc = read_spec(p, e);
	if (rc == RC_OK)
		rc = instance_fill(p, host, e);
	if (rc == RC_OK)
		rc = plan_check(p, e);
	forget_places(p->namesrvs, p->spec.namesrv_count);
	forget_places(p->brokers, p->spec.broker_count);
	yamlfile_free(&p->y);
	p->namesrv_list = p->broker_list = p->defaults = p->console_at = NULL;
	if (rc != RC_OK)
		plan_free(p);
	return rc;
}

static void
free_items(struct plan_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(items[i].include);
		free(items[i].given);
		free(items[i].key_at);
	}
	free(items);
}

static void
free_entries(struct cluster_spec *s)
{
	for (size_t i = 0; i < s->namesrv_count; i++) {
		free(s->namesrvs[i].host);
		free(s->namesrvs[i].name);
		free(s->namesrvs[i].dir);
		namesrv_conf_free(&s->namesrvs[i].conf);
	}
	for (size_t i = 0; i < s->broker_count; i++) {
		free(s->brokers[i].host);
		free(s->brokers[i].name);
		free(s->brokers[i].dir);
		free(s->brokers[i].conf_file);
		broker_conf_free(&s->brokers[i].conf);
	}
	free(s->namesrvs);
	free(s->brokers);
}

void
plan_free(struct plan *p)
{
	struct cluster_spec *s = &p->spec;
	char *const texts[] = {s->file, s->cluster, s->dir, s->user, s->group, s->pid_file, s->log_dir, s->log_level,
	    s->console_listen, s->on_promote, s->on_failed, p->host};

	yamlfile_free(&p->y);
	free_items(p->namesrvs, s->namesrv_count);
	free_items(p->brokers, s->broker_count);
	free_entries(s);
	for (size_t i = 0; i < COUNT_OF(texts); i++)
		free(texts[i]);
	for (size_t i = 0; i < p->warning_count; i++)
		free(p->warnings[i]);
	free(p->warnings);
	memset(p, 0, sizeof(*p));
}
