/*
 * role: the kinds of worker processes, from roles.tbl.
 */
#ifndef COMMON_ROLE_H
#define COMMON_ROLE_H

#include "common/base.h"

struct worker;

enum role {
#define ROLE_ROW(NAME, title, per, run, group) WORKER_##NAME,
#include "common/roles.tbl"
#undef ROLE_ROW
	ROLE_COUNT
};

enum role_per { PER_HOST, PER_NS, PER_NODE };

struct role_def {
	const char	*title;		/* shown in ps, logs, status; accepted by -r */
	enum role_per	 per;
	/* Runs the worker until it is told to stop; the return value is the exit status (0: asked to stop). */
	int		(*run)(struct worker *w);
	bool		 with_broker;	/* the broker's death restarts it too */
};
/* Defined by the program (src/master/roles.c), so that libcommon does not need the workers. */
extern const struct role_def role_defs[ROLE_COUNT];
/* -1: no such title. "broker" is taken for "broker-store". */
int	role_by_title(const char *title);

#endif
