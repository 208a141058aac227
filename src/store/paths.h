/*
 * paths: where the files of a node's store are, from its configuration.
 */
#ifndef STORE_PATHS_H
#define STORE_PATHS_H

#include "common/conf.h"

/* storePathCommitLog, or <storePathRootDir>/commitlog when it is not set. */
void	paths_log(const struct broker_conf *c, char *out, size_t n);
/* "<storePathRootDir>/<name>": consumequeue, index, checkpoint, abort, lock ... */
void	paths_below(const struct broker_conf *c, const char *name, char *out, size_t n);
/* Bytes of one consume queue file: mappedFileSizeConsumeQueue rounded up to whole units, as the original does. */
int64_t	paths_queue_file_bytes(const struct broker_conf *c);
/* Bytes of one index file, from maxHashSlotNum and maxIndexNum. */
int64_t	paths_index_file_bytes(const struct broker_conf *c);

#endif
