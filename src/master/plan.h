/*
 * plan: cluster.yaml, read, checked and completed.
 *
 * plan_load does it all: reads the file (plan.c), fills in what follows from the rest (instance.c), refuses what cannot work
 * (plan_check.c). Nothing outside of the process is touched by it.
 */
#ifndef MASTER_PLAN_H
#define MASTER_PLAN_H

#include <stdio.h>

#include "common/spec.h"
#include "master/yamlfile.h"

/* What is known of one entry of `namesrv:` or `brokers:` besides its values. */
struct plan_item {
	const struct param_table *table;
	void		*conf;		/* the entry's struct broker_conf or namesrv_conf */
	const char	*host;		/* as in the entry's spec */
	char		*include;	/* path of a properties file, or NULL */
	bool		*given;		/* by row of table: the operator said it (entry, include or defaults) */
	yaml_node_t	*at;		/* these two only during plan_load */
	yaml_node_t	**key_at;	/* by row: where it was given, or NULL */
};

struct plan {
	struct cluster_spec spec;
	char		*host;		/* the host whose part is run; NULL: no entry has a host */
	bool		 log_given;	/* `log: to` was given */
	struct plan_item *namesrvs, *brokers; /* as many as in spec */
	char		**warnings;
	size_t		 warning_count;
	struct yamlfile	 y;
	yaml_node_t	*namesrv_list, *broker_list, *defaults, *console_at;
};

/* host NULL: this machine's name. RC_INVAL, RC_BADDATA, RC_NOTFOUND, RC_IO: sentence in e, the plan is empty. */
enum rc	plan_load(struct plan *p, const char *path, const char *host, struct err *e) MUST_CHECK;
void	plan_free(struct plan *p);
void	plan_warn(struct plan *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The row's number; the name must be a key of the table. */
size_t	plan_row(const struct param_table *t, const char *key);
bool	plan_given(const struct plan_item *it, const char *key);
/* Where the entry gives the key, else where the entry begins. */
const yaml_node_t	*plan_at(const struct plan_item *it, const char *key);

/* updateBrokerConfig may set it: it changes at once, or it has no effect here anyway. */
static inline bool
plan_may_change(const struct param *p)
{
	return p->reload == LIVE || p->effect == NOTHING;
}

/* Splits "ip:port", "[v6]:port" or "*:port". RC_INVAL. */
enum rc	plan_split_address(const char *text, char ip[64], int *port) MUST_CHECK;
/* Not one address, but all of the host. */
bool	plan_any_address(const char *ip);
/* True if a listener on a and one on b with the same port are in each other's way. */
bool	plan_same_address(const char *a, const char *b);

/* plan_check.c: contradictions between the entries. */
enum rc	plan_check(struct plan *p, struct err *e) MUST_CHECK;
/* plan_print.c: what would run here, for -t. */
void	plan_print(const struct plan *p, FILE *out);
/* A line in the log for each key that was set and does nothing here, or not all. */
void	plan_log_effects(const struct plan *p);

#endif
