/*
 * paths: names and sizes of a store's files, from the configuration.
 */
#include <stdio.h>

#include "store/paths.h"

#define QUEUE_UNIT_BYTES  20
#define INDEX_HEAD_BYTES  40
#define INDEX_SLOT_BYTES  4
#define INDEX_ENTRY_BYTES 20

void
paths_log(const struct broker_conf *c, char *out, size_t n)
{
	if (c->storePathCommitLog[0] != '\0')
		snprintf(out, n, "%s", c->storePathCommitLog);
	else
		paths_below(c, "commitlog", out, n);
}

void
paths_below(const struct broker_conf *c, const char *name, char *out, size_t n)
{
	snprintf(out, n, "%s/%s", c->storePathRootDir, name);
}

int64_t
paths_queue_file_bytes(const struct broker_conf *c)
{
	int64_t units = ((int64_t)c->mappedFileSizeConsumeQueue + QUEUE_UNIT_BYTES - 1) / QUEUE_UNIT_BYTES;

	return units * QUEUE_UNIT_BYTES;
}

int64_t
paths_index_file_bytes(const struct broker_conf *c)
{
	return INDEX_HEAD_BYTES + (int64_t)c->maxHashSlotNum * INDEX_SLOT_BYTES + (int64_t)c->maxIndexNum * INDEX_ENTRY_BYTES;
}
