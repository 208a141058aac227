/*
 * siblings: what the broker tells flush and clean: files to sync, marks, a new segment. Nothing of it may get lost, so what a
 * full channel does not take is kept and sent later, in order.
 */
#ifndef BROKER_SIBLINGS_H
#define BROKER_SIBLINGS_H

#include "workers/broker/broker.h"

struct siblings	*siblings_new(struct broker *b);
void		 siblings_free(struct siblings **s);
void		 siblings_dirty_file(struct siblings *s, const char *path);
void		 siblings_rolled(struct siblings *s, int64_t from);
/* Once a second: sends what waits, then the next mark if one is due. */
void		 siblings_push(struct siblings *s);

#endif
