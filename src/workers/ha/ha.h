/*
 * ha: the process that will replicate the log.
 */
#ifndef WORKERS_HA_HA_H
#define WORKERS_HA_HA_H

#include "common/worker.h"

int	ha_run(struct worker *w);

#endif
