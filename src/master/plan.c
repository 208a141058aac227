/*
 * plan: reads cluster.yaml into the spec.
 *
 * Runs in:    the master, at start and at SIGHUP.
 * Must not:   touch anything outside of the process.
 */
#include "master/plan_read.h"

#include <stdlib.h>

#include "common/mem.h"
#include "common/shm_layout.h"
#include "common/str.h"
#include "master/instance.h"

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

unsigned
plan_near(const char *name)
{
	return (unsigned)(strlen(name) / 3 + 1);
}

const char *
plan_nearest(const char *const names[], size_t count, const char *name, unsigned *distance)
{
	const char *best = NULL;

	for (size_t i = 0; i < count; i++) {
		unsigned d = str_distance(names[i], name);

		if (d <= *distance) {
			*distance = d;
			best = names[i];
		}
	}
	return best;
}

enum rc
plan_unknown_key(struct plan *p, const yaml_node_t *at, const char *where, const char *key, const char *nearest, struct err *e)
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
	unsigned distance = plan_near(key);
	const char *nearest = NULL, *like;

	for (size_t i = 0; i < s->count; i++) {
		if (strcmp(s->keys[i].name, key) == 0)
			return s->keys[i].set != NULL ? s->keys[i].set(s->p, value, e)
						      : set_text(s->p, &s->keys[i], value, e);
		like = plan_nearest(&s->keys[i].name, 1, key, &distance);
		nearest = like != NULL ? like : nearest;
	}
	return plan_unknown_key(s->p, key_node, s->name, key, nearest, e);
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
set_number(struct plan *p, yaml_node_t *value, const char *key, int32_t min, int32_t max, int32_t *number, struct err *e)
{
	const char *text;
	int32_t n;
	enum rc rc = yamlfile_text(&p->y, value, key, &text, e);

	if (rc != RC_OK)
		return rc;
	if (str_i32(slice_of(text), &n) != RC_OK || n < min || n > max)
		return yamlfile_error(&p->y, value, e, "failover: `%s` is a number from %d to %d, not `%s`", key, (int)min, (int)max,
		    text);
	*number = n;
	return RC_OK;
}

static enum rc
set_detect(struct plan *p, yaml_node_t *value, struct err *e)
{
	return set_number(p, value, "detect", 4 * SHM_BEAT_MS, 600000, &p->spec.detect_ms, e);
}

static enum rc
set_master_timeout(struct plan *p, yaml_node_t *value, struct err *e)
{
	return set_number(p, value, "masterTimeout", 500, 600000, &p->spec.master_timeout_ms, e);
}

static enum rc
set_restarts(struct plan *p, yaml_node_t *value, struct err *e)
{
	return set_number(p, value, "restarts", 0, 1000, &p->spec.restarts, e);
}

static enum rc
set_unclean(struct plan *p, yaml_node_t *value, struct err *e)
{
	const char *text;
	enum rc rc = yamlfile_text(&p->y, value, "unclean", &text, e);

	if (rc != RC_OK)
		return rc;
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return yamlfile_error(&p->y, value, e, "failover: unclean: `%s` is neither true nor false", text);
	p->spec.unclean = *text == 't';
	return RC_OK;
}

static enum rc
read_failover(struct plan *p, yaml_node_t *map, struct err *e)
{
	static const struct plan_key keys[] = {FUNC_KEY("mode", set_failover_mode), TEXT_KEY("onPromote", on_promote),
	    TEXT_KEY("onFailed", on_failed), FUNC_KEY("unclean", set_unclean), FUNC_KEY("detect", set_detect),
	    FUNC_KEY("masterTimeout", set_master_timeout), FUNC_KEY("restarts", set_restarts)};
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

static enum rc
read_spec(struct plan *p, struct err *e)
{
	enum rc rc = read_section(p, yamlfile_root(&p->y), "the spec", top_keys, COUNT_OF(top_keys), e);

	if (rc == RC_OK)
		rc = plan_read_entries(p, e);
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
	p->spec.detect_ms = 1500;
	p->spec.master_timeout_ms = 3000;
	p->spec.restarts = 1;
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
