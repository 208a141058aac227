/*
 * dump_check_index: rmqdump check of the index files.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem.h"
#include "common/str.h"
#include "tools/dump_check.h"

static bool
has_key(const struct message *m, uint32_t hash)
{
	struct slice uniq = props_get(m->props[0], "UNIQ_KEY"), rest = props_get(m->props[0], "KEYS"), key;

	if (uniq.n > 0 && index_hash_of(m->topic, uniq) == hash)
		return true;
	while (str_next(&rest, ' ', &key))
		if (key.n > 0 && index_hash_of(m->topic, key) == hash)
			return true;
	return false;
}

/* Whole seconds since the head's begin; the original takes 0 for what comes out as less. */
static void
check_time(struct check *c, const struct index_view *v, int32_t number, const struct message *m)
{
	struct index_entry x;
	int64_t seconds = (m->store_ms - v->begin_ms) / 1000;

	index_entry_read(v, number, &x);
	if (v->begin_ms > 0 && x.store_ms != v->begin_ms + MAX_OF(seconds, 0) * 1000)
		problem(c, "index",
			"%s: entry %d says %" PRId64 " s after the file's begin, its record was stored %" PRId64
			" s after it",
			v->path, number, (x.store_ms - v->begin_ms) / 1000, seconds);
}

static void
check_head_time(struct check *c, const struct index_view *v, const char *which, int64_t offset, int64_t ms)
{
	struct message m;

	if (offset >= c->begin && offset < c->end && log_record(&c->log, offset, false, &m) == RC_OK &&
	    m.store_ms != ms)
		problem(c, "index",
			"%s: its head says that the %s entry's record was stored at %" PRId64
			", the record says %" PRId64,
			v->path, which, ms, m.store_ms);
}

/* `newest`: for each slot the last entry before this one, which is its forerunner. */
static void
check_entry(struct check *c, const struct index_view *v, int32_t number, int32_t *newest)
{
	struct index_entry x;
	struct message m;
	int32_t *before;

	c->entries++;
	index_entry_read(v, number, &x);
	before = &newest[x.hash % (uint32_t)v->slots];
	if (x.prev != *before)
		problem(c, "index", "%s: entry %d has the forerunner %d, its slot had %d", v->path, number, x.prev,
			*before);
	*before = number;
	if (x.offset < 0)
		problem(c, "index", "%s: entry %d points at %" PRId64, v->path, number, x.offset);
	if (x.offset < c->begin || (x.offset >= c->end && c->unclean))
		return;
	if (log_record(&c->log, x.offset, false, &m) != RC_OK)
		problem(c, "index", "%s: entry %d points at %" PRId64 ", where no record begins", v->path, number,
			x.offset);
	else if (!has_key(&m, x.hash))
		problem(c, "index", "%s: entry %d points at the record at %" PRId64 ", which has no key of that hash",
			v->path, number, x.offset);
	else
		check_time(c, v, number, &m);
}

/* The head tells of the first and of the last entry; only the broker that is killed leaves it behind. */
static void
check_head(struct check *c, const struct index_view *v)
{
	struct index_entry first, last;

	if (v->next <= 1 || c->unclean)
		return;
	index_entry_read(v, 1, &first);
	index_entry_read(v, v->next - 1, &last);
	if (first.offset != v->begin_offset || last.offset != v->end_offset)
		problem(c, "index",
			"%s: its head names offsets %" PRId64 " to %" PRId64 ", its entries have %" PRId64
			" to %" PRId64,
			v->path, v->begin_offset, v->end_offset, first.offset, last.offset);
	check_head_time(c, v, "first", first.offset, v->begin_ms);
	check_head_time(c, v, "last", last.offset, v->end_ms);
}

/* A killed broker leaves slots behind the entries. */
static void
check_slots(struct check *c, const struct index_view *v, const int32_t *newest)
{
	int32_t used = 0;

	for (int32_t n = 0; n < v->slots && !c->unclean; n++) {
		int32_t first = index_slot_read(v, n);

		used += first > 0;
		if (first != newest[n])
			problem(c, "index", "%s: slot %d begins with entry %d, the last entry of that slot is %d",
				v->path, n, first, newest[n]);
	}
	if (used != v->used_slots && !c->unclean)
		problem(c, "index", "%s: its head counts %d slots in use, there are %d", v->path, v->used_slots, used);
}

static enum rc
check_index(void *arg, const struct index_view *v)
{
	struct check *c = arg;
	int32_t *newest;

	if (v->next > v->entries || v->next < 1) {
		problem(c, "index", "%s: its head counts %d entries of %d", v->path, v->next, v->entries);
		return RC_OK;
	}
	newest = xcalloc((size_t)v->slots, sizeof(newest[0]));
	check_head(c, v);
	for (int32_t n = 1; n < v->next; n++)
		check_entry(c, v, n, newest);
	check_slots(c, v, newest);
	free(newest);
	return RC_OK;
}

void
check_index_files(struct check *c)
{
	struct err e;
	enum rc rc = index_each(c->o, check_index, c, &e);

	if (rc != RC_OK && rc != RC_NOTFOUND)
		problem(c, "index", "%s", e.text);
}
