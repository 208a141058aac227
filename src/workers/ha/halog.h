/*
 * halog: the log as a master's ha reads it for its slaves: a few segments open and mapped, by their place.
 *
 * The broker makes and writes the files, clean removes them; here they are only read, below `appended`.
 */
#ifndef WORKERS_HA_HALOG_H
#define WORKERS_HA_HALOG_H

#include "store/segs.h"

#define HALOG_SLOTS 8 /* slaves that catch up read far behind those that keep up */

struct halog_slot {
	int64_t from; /* -1: free */
	int fd;
	const char *map;
	uint64_t used; /* for the choice of who goes */
};

struct halog {
	struct segs segs; /* names only */
	struct halog_slot slot[HALOG_SLOTS];
	uint64_t uses;
};

void halog_init(struct halog *l, const char *dir, int64_t segment_bytes);
void halog_free(struct halog *l);
/* The segment that holds `at`, valid until the next call. NULL: it is not there or cannot be opened; sentence in e. */
const struct halog_slot *halog_at(struct halog *l, int64_t at, struct err *e);
/* CRC-32 of from..to. False: not all of it can be read. */
bool halog_crc(struct halog *l, int64_t from, int64_t to, uint32_t *crc);

#endif
