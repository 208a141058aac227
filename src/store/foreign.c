/*
 * foreign: knows other kinds of store by their folders.
 */
#include "store/foreign.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct kind {
	const char *name; /* in the root; of one that ends with '*' that is the beginning */
	int depth;        /* levels of folders that may be there without a file; -1: a file */
	const char *text;
};

static const struct kind kinds[] = {
    {"consumequeue/CURRENT", -1,
     "a store with its queues in RocksDB (storeType=defaultRocksDB): move consumequeue away, and after a clean stop of "
     "the "
     "original the queues are made again from the log"},
    {"config/topics/CURRENT", -1,
     "a store with its tables in RocksDB (storeType=defaultRocksDB): let the original write them to config/*.json "
     "(mqadmin rocksDBConfigToJson), then move config/topics, subscriptionGroups and consumerOffsets away"},
    {"config/rdb/CURRENT", -1,
     "a store with its tables in RocksDB (configManagerVersion=v2): let the original write them to config/*.json, then "
     "move config/rdb away"},
    {"dledger-*", 0,
     "a store of DLedger (enableDLegerCommitLog), whose log has another form: only a broker with DLedger reads it; let "
     "consumers take what is in it"},
    {"batchconsumequeue", 2,
     "a store with batch queues (topics with queue.type=BatchCQ), whose messages share records: consume those topics "
     "and "
     "delete them with the original"},
    {"consumequeue_ext", 2,
     "a store with extended queues (enableConsumeQueueExt=true), whose units name places in there instead of tags: "
     "after a "
     "clean stop of the original move consumequeue and consumequeue_ext away, and the queues are made again from the "
     "log"},
    {"compaction/compactionLog", 2,
     "a store with compacted topics (cleanup.policy=COMPACTION), which keep their messages there: consume those topics "
     "and "
     "delete them with the original"},
};

static bool
holds_files(const char *dir, int depth)
{
	DIR *d = opendir(dir);
	bool found = false;
	struct dirent *ent;

	if (d == NULL)
		return false;
	while (!found && (ent = readdir(d)) != NULL) {
		char below[PATH_MAX];

		if (ent->d_name[0] == '.')
			continue;
		found = depth == 0;
		if (!found && snprintf(below, sizeof(below), "%s/%s", dir, ent->d_name) < (int)sizeof(below))
			found = holds_files(below, depth - 1);
	}
	closedir(d);
	return found;
}

static bool
is_there(const char *path, int depth)
{
	return depth < 0 ? access(path, F_OK) == 0 : holds_files(path, depth);
}

/* Puts its name in full into path, if it is there. */
static bool
find(const char *root, const struct kind *k, char path[PATH_MAX])
{
	size_t n = strlen(k->name) - 1;
	struct dirent *ent;
	bool found = false;
	DIR *d;

	if (k->name[n] != '*')
		return snprintf(path, PATH_MAX, "%s/%s", root, k->name) < PATH_MAX && is_there(path, k->depth);
	if ((d = opendir(root)) == NULL)
		return false;
	while (!found && (ent = readdir(d)) != NULL)
		if (strncmp(ent->d_name, k->name, n) == 0 &&
		    snprintf(path, PATH_MAX, "%s/%s", root, ent->d_name) < PATH_MAX)
			found = is_there(path, k->depth);
	closedir(d);
	return found;
}

enum rc
foreign_check(const char *root, struct err *e)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		if (!find(root, &kinds[i], path))
			continue;
		err_set(e, "%s: this is %s", path, kinds[i].text);
		return RC_INVAL;
	}
	return RC_OK;
}
