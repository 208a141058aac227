/*
 * dump_misc: rmqdump checkpoint and rmqdump config.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "store/checkpoint.h"
#include "store/lockfile.h"
#include "tools/dump.h"

/* ---- checkpoint */

static bool
has_abort(const struct dump_opts *o)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/abort", o->root);
	return access(path, F_OK) == 0;
}

static void
put_time(const char *what, int64_t ms)
{
	char t[TIME_TEXT];

	printf("%-24s %14" PRId64 "  %s\n", what, ms, time_text(ms, t));
}

int
dump_checkpoint(const struct dump_opts *o)
{
	struct checkpoint c;
	char path[PATH_MAX];
	struct err e;
	long holder = lockfile_holder(o->root);

	snprintf(path, sizeof(path), "%s/" CHECKPOINT_NAME, o->root);
	if (checkpoint_read(path, &c, &e) != RC_OK)
		return dump_fail("%s", e.text);
	if (o->json) {
		printf("{\"physicMsgTimestamp\":%" PRId64 ",\"logicsMsgTimestamp\":%" PRId64 ",\"indexMsgTimestamp\":%" PRId64
		    ",\"masterFlushedOffset\":%" PRId64 ",\"confirmPhyOffset\":%" PRId64 ",\"abort\":%s,\"lockedBy\":%ld}\n",
		    c.physic_ms, c.logics_ms, c.index_ms, c.master_flushed, c.confirm, has_abort(o) ? "true" : "false", holder);
		return DUMP_OK;
	}
	put_time("physicMsgTimestamp", c.physic_ms);
	put_time("logicsMsgTimestamp", c.logics_ms);
	put_time("indexMsgTimestamp", c.index_ms);
	printf("%-24s %14" PRId64 "\n%-24s %14" PRId64 "\n", "masterFlushedOffset", c.master_flushed, "confirmPhyOffset",
	    c.confirm);
	printf("%-24s %14s  %s\n", "abort", has_abort(o) ? "there" : "-",
	    has_abort(o) ? "a broker runs, or did not end well" : "the last broker ended well");
	if (holder != 0)
		printf("%-24s %14s  by process %ld\n", "lock", "held", holder);
	return DUMP_OK;
}

/* ---- config */

static int
is_json_name(const struct dirent *ent)
{
	size_t n = strlen(ent->d_name);

	return n > 5 && strcmp(ent->d_name + n - 5, ".json") == 0;
}

/* The original's files hold one table each beside their version; its size says the most. */
static size_t
count_rows(const json_t *root)
{
	const char *key;
	json_t *value;
	size_t rows = 0;

	json_object_foreach((json_t *)root, key, value)
		if (strcmp(key, "dataVersion") != 0 && json_is_object(value))
			rows = MAX_OF(rows, json_object_size(value));
	return rows;
}

static bool
put_config(const struct dump_opts *o, const char *dir, const char *name)
{
	char path[2 * PATH_MAX];
	json_t *root = NULL;
	const json_t *version;
	struct err e;
	enum rc rc;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	rc = json_read_config(path, &root, &e);
	if (rc != RC_OK) {
		dump_fail("%s", e.text);
		return false;
	}
	version = json_object_get(root, "dataVersion");
	printf(o->json ? "{\"file\":\"%s\",\"rows\":%zu,\"counter\":%" PRId64 ",\"timestamp\":%" PRId64 "}\n"
		       : "%-32s %8zu %10" PRId64 " %14" PRId64 "\n",
	    name, count_rows(root), json_get_i64(version, "counter", 0), json_get_i64(version, "timestamp", 0));
	json_decref(root);
	return true;
}

static int
put_content(const struct dump_opts *o, const char *dir)
{
	char path[2 * PATH_MAX];
	json_t *root = NULL;
	struct err e;

	if (strchr(o->name, '/') != NULL)
		return dump_fail("\"%s\" is no name of a file in %s", o->name, dir);
	snprintf(path, sizeof(path), "%s/%s%s", dir, o->name, strstr(o->name, ".json") != NULL ? "" : ".json");
	if (json_read_config(path, &root, &e) != RC_OK)
		return dump_fail("%s", e.text);
	json_dumpf(root, stdout, (o->json ? JSON_COMPACT : JSON_INDENT(2)) | JSON_SORT_KEYS);
	putchar('\n');
	json_decref(root);
	return DUMP_OK;
}

int
dump_config(const struct dump_opts *o)
{
	struct dirent **names;
	char dir[PATH_MAX];
	int count, status = DUMP_OK;

	snprintf(dir, sizeof(dir), "%s/config", o->root);
	if (o->name != NULL)
		return put_content(o, dir);
	count = scandir(dir, &names, is_json_name, alphasort);
	if (count < 0)
		return dump_fail("cannot read %s", dir);
	if (!o->json)
		printf("%-32s %8s %10s %14s\n", "FILE", "ROWS", "COUNTER", "TIMESTAMP");
	for (int i = 0; i < count; i++) {
		if (!put_config(o, dir, names[i]->d_name))
			status = DUMP_FAILED;
		free(names[i]);
	}
	free(names);
	return status;
}
