/*
 * yamlfile: one YAML document as a tree, and sentences that name file, line and column.
 */
#include "master/yamlfile.h"

#include <stdio.h>
#include <strings.h>

#include "common/json.h"

#define YAML_FILE_MAX (4u << 20) /* a spec of thousands of brokers is far below it */

static enum rc
parser_error(const struct yamlfile *y, const yaml_parser_t *p, struct err *e)
{
	const char *problem = p->problem != NULL ? p->problem : "not readable as YAML";

	if (p->context != NULL)
		err_set(e, "%s:%zu:%zu: %s (%s that begins in line %zu)", y->path, p->problem_mark.line + 1,
		    p->problem_mark.column + 1, problem, p->context, p->context_mark.line + 1);
	else
		err_set(e, "%s:%zu:%zu: %s", y->path, p->problem_mark.line + 1, p->problem_mark.column + 1, problem);
	return RC_BADDATA;
}

/* Nothing but the end of the stream may follow the document. */
static enum rc
expect_end(struct yamlfile *y, yaml_parser_t *p, struct err *e)
{
	yaml_document_t next;
	yaml_node_t *root;
	enum rc rc = RC_OK;

	if (!yaml_parser_load(p, &next))
		return parser_error(y, p, e);
	root = yaml_document_get_root_node(&next);
	if (root != NULL) {
		yamlfile_error(y, root, e, "a second document begins here; the spec is one document");
		rc = RC_BADDATA;
	}
	yaml_document_delete(&next);
	return rc;
}

static enum rc
load_one(struct yamlfile *y, yaml_parser_t *p, struct err *e)
{
	if (!yaml_parser_load(p, &y->doc))
		return parser_error(y, p, e);
	y->loaded = true;
	if (yaml_document_get_root_node(&y->doc) == NULL) {
		err_set(e, "%s: the file is empty; it should hold at least `brokers:` or `namesrv:`", y->path);
		return RC_BADDATA;
	}
	return expect_end(y, p, e);
}

enum rc
yamlfile_parse(struct yamlfile *y, const char *path, struct slice text, struct err *e)
{
	yaml_parser_t p;
	enum rc rc;

	y->path = path;
	y->loaded = false;
	ensure(yaml_parser_initialize(&p));
	yaml_parser_set_input_string(&p, (const unsigned char *)(text.n > 0 ? text.p : ""), text.n);
	rc = load_one(y, &p, e);
	yaml_parser_delete(&p);
	if (rc != RC_OK)
		yamlfile_free(y);
	return rc;
}

enum rc
yamlfile_load(struct yamlfile *y, const char *path, struct err *e)
{
	struct buf b = {0};
	enum rc rc = file_read(path, YAML_FILE_MAX, &b, e);

	y->loaded = false;
	if (rc == RC_OK)
		rc = yamlfile_parse(y, path, buf_slice(&b), e);
	buf_free(&b);
	return rc;
}

void
yamlfile_free(struct yamlfile *y)
{
	if (y->loaded)
		yaml_document_delete(&y->doc);
	y->loaded = false;
}

yaml_node_t *
yamlfile_root(struct yamlfile *y)
{
	return yaml_document_get_root_node(&y->doc);
}

enum rc
yamlfile_error(const struct yamlfile *y, const yaml_node_t *at, struct err *e, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(e, "%s:%zu:%zu: %s", y->path, at->start_mark.line + 1, at->start_mark.column + 1, text);
	return RC_INVAL;
}

static const char *
kind_name(const yaml_node_t *n)
{
	return n->type == YAML_SEQUENCE_NODE ? "a list" : n->type == YAML_MAPPING_NODE ? "a mapping" : "a single value";
}

static const char *
scalar(const yaml_node_t *n)
{
	return (const char *)n->data.scalar.value;
}

/* Whether a pair before `upto` has the same key. */
static yaml_node_t *
same_key_before(struct yamlfile *y, yaml_node_t *map, const yaml_node_pair_t *upto, const char *key)
{
	for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < upto; p++) {
		yaml_node_t *k = yaml_document_get_node(&y->doc, p->key);

		if (k->type == YAML_SCALAR_NODE && strcmp(scalar(k), key) == 0)
			return k;
	}
	return NULL;
}

static enum rc
check_key(struct yamlfile *y, yaml_node_t *map, const yaml_node_pair_t *pair, struct err *e)
{
	yaml_node_t *before, *k = yaml_document_get_node(&y->doc, pair->key);

	if (k->type != YAML_SCALAR_NODE)
		return yamlfile_error(y, k, e, "a key must be a single value, not %s", kind_name(k));
	before = same_key_before(y, map, pair, scalar(k));
	if (before != NULL)
		return yamlfile_error(y, k, e, "`%s` is given twice; the first is in line %zu", scalar(k),
		    before->start_mark.line + 1);
	return RC_OK;
}

enum rc
yamlfile_each_pair(struct yamlfile *y, yaml_node_t *map, const char *what, yamlfile_pair *f, void *arg, struct err *e)
{
	enum rc rc = RC_OK;

	if (map->type != YAML_MAPPING_NODE)
		return yamlfile_error(y, map, e, "%s must be a mapping of keys to values, not %s", what, kind_name(map));
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top && rc == RC_OK; p++) {
		yaml_node_t *k = yaml_document_get_node(&y->doc, p->key);

		rc = check_key(y, map, p, e);
		if (rc == RC_OK)
			rc = f(arg, scalar(k), k, yaml_document_get_node(&y->doc, p->value), e);
	}
	return rc;
}

enum rc
yamlfile_each_item(struct yamlfile *y, yaml_node_t *list, const char *what, yamlfile_item *f, void *arg, struct err *e)
{
	enum rc rc = RC_OK;

	if (list->type != YAML_SEQUENCE_NODE)
		return yamlfile_error(y, list, e, "`%s` must be a list (each item begins with `-`), not %s", what,
		    kind_name(list));
	for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top && rc == RC_OK; i++)
		rc = f(arg, yaml_document_get_node(&y->doc, *i), e);
	return rc;
}

static bool
is_nothing(const yaml_node_t *n)
{
	const char *s = scalar(n);

	return n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (*s == '\0' || strcmp(s, "~") == 0 || strcasecmp(s, "null") == 0);
}

enum rc
yamlfile_text(struct yamlfile *y, yaml_node_t *value, const char *key, const char **text, struct err *e)
{
	if (value->type != YAML_SCALAR_NODE)
		return yamlfile_error(y, value, e, "`%s` must be a single value, not %s", key, kind_name(value));
	if (is_nothing(value))
		return yamlfile_error(y, value, e, "`%s` has no value; write \"\" if it is meant to be empty", key);
	if (strlen(scalar(value)) != value->data.scalar.length)
		return yamlfile_error(y, value, e, "`%s` has a NUL byte in its value", key);
	*text = scalar(value);
	return RC_OK;
}
