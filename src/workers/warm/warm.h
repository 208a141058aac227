/*
 * warm: the process that brings cold ranges of the log into the page cache.
 */
#ifndef WORKERS_WARM_WARM_H
#define WORKERS_WARM_WARM_H

#include "common/worker.h"

int	warm_run(struct worker *w);

#endif
