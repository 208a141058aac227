/*
 * filter_sql: which messages a SQL92 subscription lets through, by their properties.
 */
#ifndef BROKER_FILTER_SQL_H
#define BROKER_FILTER_SQL_H

#include "common/base.h"

#define SQL_TEXT_MAX  65536	/* bytes of an expression */
#define SQL_DEPTH_MAX 500	/* levels of the tree: bounds the recursion of an evaluation */

struct sql_filter;

/* What an expression says of a message. SQL_ERROR: a value could not be read as the type that it is compared with. */
enum sql_truth { SQL_FALSE, SQL_TRUE, SQL_NULL, SQL_ERROR };

/* NULL: refused, with a sentence in e. The caller owns one reference. */
struct sql_filter	*sql_filter_compile(struct slice text, struct err *e) MUST_CHECK;
struct sql_filter	*sql_filter_ref(struct sql_filter *f);	/* NULL stays NULL */
void		 sql_filter_unref(struct sql_filter **f);
/* props: `name 1 value 2 ...`, as in a record. */
enum sql_truth	 sql_filter_eval(const struct sql_filter *f, struct slice props);
/* Only SQL_TRUE passes. */
bool		 sql_filter_passes(const struct sql_filter *f, struct slice props);

#endif
