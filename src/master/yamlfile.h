/*
 * yamlfile: one YAML document as a tree, and sentences that name file, line and column.
 */
#ifndef MASTER_YAMLFILE_H
#define MASTER_YAMLFILE_H

#include <yaml.h>

#include "common/base.h"

struct yamlfile {
	const char	*path;	/* as the user gave it; not owned */
	yaml_document_t	 doc;
	bool		 loaded;
};

/* RC_NOTFOUND, RC_IO: no such file; RC_BADDATA: not YAML, empty, or more than one document. Sentence in e. */
enum rc	yamlfile_load(struct yamlfile *y, const char *path, struct err *e) MUST_CHECK;
/* The same from memory; path is only a name. */
enum rc	yamlfile_parse(struct yamlfile *y, const char *path, struct slice text, struct err *e) MUST_CHECK;
void	yamlfile_free(struct yamlfile *y);

yaml_node_t	*yamlfile_root(struct yamlfile *y);
/* Writes "path:line:column: " and the sentence; always RC_INVAL. */
enum rc	yamlfile_error(const struct yamlfile *y, const yaml_node_t *at, struct err *e, const char *fmt, ...) PRINTF_LIKE(4, 5);

typedef enum rc	yamlfile_pair(void *arg, const char *key, yaml_node_t *key_node, yaml_node_t *value, struct err *e);
typedef enum rc	yamlfile_item(void *arg, yaml_node_t *item, struct err *e);
/* Calls f for each pair; stops at another result than RC_OK. What is no mapping, and a key given twice, are RC_INVAL. */
enum rc	yamlfile_each_pair(struct yamlfile *y, yaml_node_t *map, const char *what, yamlfile_pair *f, void *arg, struct err *e) MUST_CHECK;
enum rc	yamlfile_each_item(struct yamlfile *y, yaml_node_t *list, const char *what, yamlfile_item *f, void *arg, struct err *e) MUST_CHECK;
/* The text of a scalar. RC_INVAL: a list, a mapping, nothing, or text with a NUL byte. */
enum rc	yamlfile_text(struct yamlfile *y, yaml_node_t *value, const char *key, const char **text, struct err *e) MUST_CHECK;

#endif
