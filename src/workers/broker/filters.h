/*
 * filters: the SQL92 expressions of groups, by group and topic, as their heartbeats brought them.
 */
#ifndef BROKER_FILTERS_H
#define BROKER_FILTERS_H

#include "workers/broker/clients.h"
#include "workers/broker/filter_sql.h"

#define RETRY_PREFIX "%RETRY%"

struct filters;

struct group_filter {
	char		*topic;
	char		*expression;
	int64_t		 version;	/* of the subscription */
	int64_t		 born_ms, dead_ms; /* wall time; dead since then if that is not before its birth */
	struct sql_filter *sql;		/* a reference */
	struct group_filter *next;	/* of the group */
};

struct filters	*filters_new(struct broker *b);
/* Writes what has changed. */
void		 filters_free(struct filters **f);
/* consumerFilter.json. Its groups count as gone until their heartbeats come. */
enum rc		 filters_load(struct filters *f, struct err *e) MUST_CHECK;
/* A heartbeat's subscriptions are the group's: filters are compiled if they are new. One that cannot be read is left out. */
void		 filters_register(struct filters *f, const struct consumer_group *g);
/* The last member has left. */
void		 filters_unregister(struct filters *f, struct slice group);
/* NULL: none. Valid until the turn ends; keep a reference of sql. */
const struct group_filter *filters_find(struct filters *f, struct slice topic, struct slice group);
/* Every 10 s: those that are dead for filterDataCleanTimeSpan go. */
void		 filters_expire(struct filters *f);
/* Compiled or remembered: a reference of the caller's. NULL: refused, sentence in e. */
struct sql_filter *filters_compile(struct filters *f, struct slice expression, struct err *e) MUST_CHECK;
/* One entry as the original writes it. The caller owns it. */
json_t		*filters_entry_json(struct filters *f, const char *group, const struct group_filter *it);

#endif
