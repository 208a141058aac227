/*
 * plan_read: what plan.c and plan_entry.c share while a spec is read.
 */
#ifndef MASTER_PLAN_READ_H
#define MASTER_PLAN_READ_H

#include "master/plan.h"

/* The name that is most like `name`, no further away than *distance, which becomes its distance. NULL: none. */
const char	*plan_nearest(const char *const names[], size_t count, const char *name, unsigned *distance);
/* Further away than this a name is a guess that confuses. */
unsigned	 plan_near(const char *name);
/* "where has no key `key`; did you mean `nearest`?"; always RC_INVAL. */
enum rc	plan_unknown_key(struct plan *p, const yaml_node_t *at, const char *where, const char *key, const char *nearest,
	    struct err *e);
/* plan_entry.c: the entries of `namesrv:` and `brokers:`. */
enum rc	plan_read_entries(struct plan *p, struct err *e) MUST_CHECK;

#endif
