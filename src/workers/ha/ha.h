/*
 * ha: the process that replicates the log: a master's to its slaves, a slave's from its master.
 */
#ifndef WORKERS_HA_HA_H
#define WORKERS_HA_HA_H

#include "common/worker.h"

int ha_run(struct worker *w);

#endif
