/*
 * dump_check_rest: rmqdump check of what stands beside log, queues and index: checkpoint, timer log and wheel, epochs,
 * config, and folders of other kinds of store.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "common/str.h"
#include "store/checkpoint.h"
#include "store/epochs.h"
#include "store/foreign.h"
#include "tools/dump_check.h"

#define TIMER_TOPIC      "rmq_sys_wheel_timer"
#define TIMER_UNIT       52
#define TIMER_MAGIC_MAX  15
#define TIMER_CHECK_FILE 4096
#define WHEEL_SLOT       32
#define WHEEL_BYTES      (2 * INT64_C(604800) * WHEEL_SLOT)
#define OFF_PREV         4
#define OFF_MAGIC        12
#define OFF_WRITTEN      16
#define OFF_DELAY        24
#define OFF_PHYSICAL     28
#define OFF_RECORD_SIZE  36

/* ---- checkpoint */

void
check_times(struct check *c)
{
	struct checkpoint p;
	char path[PATH_MAX];
	struct err e;
	enum rc rc;

	snprintf(path, sizeof(path), "%s/" CHECKPOINT_NAME, c->o->root);
	rc = checkpoint_read(path, &p, &e);
	if (rc != RC_OK) {
		if (rc != RC_NOTFOUND || (c->records > 0 && !c->unclean))
			problem(c, "checkpoint", "%s", e.text);
		return;
	}
	if (p.physic_ms < 0 || p.logics_ms < 0 || p.index_ms < 0)
		problem(c, "checkpoint", "%s: a time before 1970: %" PRId64 ", %" PRId64 ", %" PRId64, path,
			p.physic_ms, p.logics_ms, p.index_ms);
	if (p.index_ms > c->last_ms && c->records > 0)
		problem(c, "checkpoint",
			"the index is said to be synced up to %" PRId64 ", the last record is of %" PRId64, p.index_ms,
			c->last_ms);
	if (p.physic_ms > c->last_ms && c->records > 0)
		problem(c, "checkpoint",
			"the log is said to be synced up to %" PRId64 ", its last record is of %" PRId64, p.physic_ms,
			c->last_ms);
	if (p.logics_ms > c->last_ms && c->records > 0)
		problem(c, "checkpoint",
			"the queues are said to be synced up to %" PRId64 ", the last record is of %" PRId64,
			p.logics_ms, c->last_ms);
}

/* ---- timer log and wheel */

static void
check_timer_record(struct check *c, int64_t at, const char *p)
{
	int64_t physical = (int64_t)be64_get(p + OFF_PHYSICAL);
	int32_t size = (int32_t)be32_get(p + OFF_RECORD_SIZE);
	struct message m;

	if (physical < 0)
		problem(c, "timer", "the unit at %" PRId64 " of the timer log points at %" PRId64, at, physical);
	if (physical < c->begin || (physical >= c->end && c->unclean))
		return;
	if (log_record(&c->log, physical, false, &m) != RC_OK)
		problem(c, "timer",
			"the unit at %" PRId64 " of the timer log points at %" PRId64 ", where no record begins", at,
			physical);
	else if ((int32_t)m.size != size || !slice_is(m.topic, TIMER_TOPIC))
		problem(c, "timer",
			"the unit at %" PRId64 " of the timer log points at %" PRId64
			" (%d bytes), where %u bytes of %.*s stand",
			at, physical, size, m.size, (int)m.topic.n, m.topic.p);
}

/* The second in whose chain it is. */
static int64_t
slot_time(const char *p)
{
	return (int64_t)be64_get(p + OFF_WRITTEN) + (int32_t)be32_get(p + OFF_DELAY);
}

static bool
is_of_slot(struct dump_files *log, int64_t at, int64_t ms)
{
	struct slice s = dump_files_at(log, at);

	return s.p != NULL && s.n >= TIMER_UNIT && be32_get(s.p) == TIMER_UNIT && slot_time(s.p) == ms;
}

/* False: nothing is written there, or nothing that can be one. */
static bool
check_timer_unit(struct check *c, struct dump_files *log, int64_t at, const char *p)
{
	int64_t ms = slot_time(p);
	int32_t size = (int32_t)be32_get(p), magic = (int32_t)be32_get(p + OFF_MAGIC);
	int64_t prev = (int64_t)be64_get(p + OFF_PREV);

	if (size == 0 && magic == 0)
		return false;
	if (size != TIMER_UNIT || magic < 0 || magic > TIMER_MAGIC_MAX) {
		problem(c, "timer", "at %" PRId64 " of the timer log stands no unit (size %d, magic %d)", at, size,
			magic);
		return false;
	}
	check_timer_record(c, at, p);
	if (prev != -1 && (prev >= at || (prev >= segs_min(&log->segs) && !is_of_slot(log, prev, ms)) || prev < 0))
		problem(c, "timer",
			"the unit at %" PRId64 " of the timer log has the forerunner %" PRId64
			", which is no unit of its second",
			at, prev);
	return true;
}

static void
walk_timer_log(struct check *c, struct dump_files *log)
{
	int64_t at = segs_min(&log->segs);
	struct slice s;

	while ((s = dump_files_at(log, at)).p != NULL) {
		if (s.n < TIMER_UNIT || be32_get(s.p + OFF_MAGIC) == MSG_MAGIC_BLANK)
			at += (int64_t)s.n;
		else if (check_timer_unit(c, log, at, s.p))
			at += TIMER_UNIT;
		else
			return;
	}
}

/* What a slot counts its time in: timerPrecisionMs, or 0 if the unit at `at` is none of its time. */
static int64_t
precision_of(struct dump_files *log, int64_t at, int64_t time)
{
	static const int64_t known[] = {1000, 500, 200, 100};

	for (size_t i = 0; i < COUNT_OF(known); i++)
		if (time <= INT64_MAX / known[i] && is_of_slot(log, at, time * known[i]))
			return known[i];
	return 0;
}

static void
check_slot(struct check *c, struct dump_files *log, const char *slot, long number)
{
	int64_t time = (int64_t)be64_get(slot), first = (int64_t)be64_get(slot + 8),
		last = (int64_t)be64_get(slot + 16);
	int64_t precision;

	if (time == 0 && last == 0)
		return; /* never used */
	if (time > 0 && first >= 0 && last >= first && last < segs_min(&log->segs))
		return; /* its units went with a file that has gone */
	precision = time > 0 ? precision_of(log, last, time) : 0;
	if (first < 0 || first > last || precision == 0 ||
	    (first >= segs_min(&log->segs) && !is_of_slot(log, first, time * precision)))
		problem(c, "timer",
			"slot %ld of the timer wheel (time %" PRId64 ") has the units from %" PRId64 " to %" PRId64
			", which are none of its time",
			number, time, first, last);
}

static void
check_wheel(struct check *c, struct dump_files *log)
{
	char path[PATH_MAX], slot[WHEEL_SLOT];
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "%s/timerwheel", c->o->root);
	if ((f = fopen(path, "r")) == NULL)
		return; /* the original makes it anew */
	if (fstat(fileno(f), &st) == 0 && st.st_size != WHEEL_BYTES)
		problem(c, "timer", "%s has %lld bytes, the original wants %lld and does not start", path,
			(long long)st.st_size, (long long)WHEEL_BYTES);
	else if (!c->unclean)
		for (long n = 0; fread(slot, sizeof(slot), 1, f) == 1; n++)
			check_slot(c, log, slot, n);
	fclose(f);
}

static void
check_timer_check(struct check *c)
{
	char path[PATH_MAX], page[TIMER_CHECK_FILE];
	struct queue *q = find_queue(c, SLICE_LIT(TIMER_TOPIC), 0);
	int64_t end = q != NULL ? queue_end(q) : 0;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/config/timercheck", c->o->root);
	if ((f = fopen(path, "r")) == NULL)
		return;
	n = fread(page, 1, sizeof(page), f);
	fclose(f);
	if (n < 56)
		problem(c, "timer", "%s has only %zu bytes", path, n);
	else if ((int64_t)be64_get(page + 16) > end && !c->unclean)
		problem(c, "timer", "%s says that the timer queue was read up to %" PRId64 ", it ends at %" PRId64,
			path, (int64_t)be64_get(page + 16), end);
}

void
check_timer(struct check *c)
{
	struct dump_files log;
	char dir[PATH_MAX];
	struct err e;
	enum rc rc;

	snprintf(dir, sizeof(dir), "%s/timerlog", c->o->root);
	rc = dump_files_open(&log, dir, &e);
	if (rc == RC_OK) {
		walk_timer_log(c, &log);
		check_wheel(c, &log);
	} else if (rc != RC_NOTFOUND) {
		problem(c, "timer", "%s", e.text);
	}
	dump_files_close(&log);
	check_timer_check(c);
}

/* ---- epochs */

void
check_epochs(struct check *c)
{
	struct epochs *l = calloc(1, sizeof(*l));
	char path[PATH_MAX];
	struct err e;

	snprintf(path, sizeof(path), "%s/" EPOCHS_NAME, c->o->root);
	if (l == NULL)
		return;
	if (epochs_load(l, path, &e) != RC_OK)
		problem(c, "epochs", "%s", e.text);
	else if (l->count > 0 && l->entry[l->count - 1].start > c->end)
		problem(c, "epochs", "%s: epoch %d begins at %" PRId64 ", the log ends at %" PRId64, path,
			l->entry[l->count - 1].epoch, l->entry[l->count - 1].start, c->end);
	free(l);
}

/* ---- config */

static bool
is_json(const char *name)
{
	size_t n = strlen(name);

	return n > 5 && strcmp(name + n - 5, ".json") == 0;
}

void
check_config(struct check *c)
{
	char dir[PATH_MAX], path[2 * PATH_MAX];
	struct dirent *ent;
	struct err e;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/config", c->o->root);
	if ((d = opendir(dir)) == NULL)
		return;
	while ((ent = readdir(d)) != NULL) {
		json_t *root = NULL;

		if (!is_json(ent->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, ent->d_name);
		if (json_read_config(path, &root, &e) != RC_OK)
			problem(c, "config", "%s", e.text);
		json_decref(root);
	}
	closedir(d);
}

/* ---- other kinds of store */

void
check_others(struct check *c)
{
	struct err e;

	if (foreign_check(c->o->root, &e) != RC_OK)
		problem(c, "store", "%s", e.text);
}
