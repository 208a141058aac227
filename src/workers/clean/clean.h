/*
 * clean: the process that keeps a node's disk from filling up, and the next segment ready.
 */
#ifndef WORKERS_CLEAN_CLEAN_H
#define WORKERS_CLEAN_CLEAN_H

#include "common/worker.h"

int	clean_run(struct worker *w);

#endif
