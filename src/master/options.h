/*
 * options: the command line of rmqsupervisor.
 */
#ifndef MASTER_OPTIONS_H
#define MASTER_OPTIONS_H

#include "common/base.h"

struct options {
	const char	*file, *host, *role, *node, *pid_file, *switch_to;
	bool		 test, daemon, unclean;
	int		 role_number;	/* of `role`, or -1 */
};

/* -1: go on. Otherwise all is said, and this is the exit status. */
int	options_read(struct options *o, int argc, char **argv) MUST_CHECK;

#endif
