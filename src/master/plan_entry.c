/*
 * plan_entry: reads the entries of a spec: brokers and name servers with the original's keys.
 *
 * Runs in:    the master, at start and at SIGHUP.
 *
 * A key that is none of ours is a key of the original: it goes to the parameter tables. Values are taken in the order
 * defaults, include, entry; the later wins.
 */
#include "master/plan_read.h"

#include <stdlib.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/str.h"

#define INCLUDE_MAX (1u << 20)

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
	static const char *const own[] = {"host", "include"};
	const char *param = param_nearest(n->it->table, key);
	unsigned distance = plan_near(key);
	const char *ours = n->host != NULL ? plan_nearest(own, COUNT_OF(own), key, &distance) : NULL;

	if (ours != NULL && (param == NULL || distance <= str_distance(param, key)))
		param = ours;
	return plan_unknown_key(n->p, at, n->what, key, param, e);
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
enum rc
plan_read_entries(struct plan *p, struct err *e)
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
