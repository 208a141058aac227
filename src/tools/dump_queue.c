/*
 * dump_queue: rmqdump queue: a line for each queue, or the units of one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/dump.h"

#define UNITS_DEFAULT 100

struct queue_dump {
	const struct dump_opts	*o;
	bool			 units;
	int			 status;
	unsigned		 queues;
};

/* First offset that stands for a message, and the one behind the last: by bisection, since used units come first. */
static void
find_bounds(struct dump_files *f, int64_t *min, int64_t *max)
{
	int64_t lo = segs_min(&f->segs) / UNIT_BYTES, hi = segs_end(&f->segs) / UNIT_BYTES, first = lo;
	struct unit u;

	while (lo < hi) {
		int64_t mid = lo + (hi - lo) / 2;
		struct slice s = dump_files_at(f, mid * UNIT_BYTES);

		if (s.p != NULL)
			unit_read(&u, s.p);
		if (s.p != NULL && unit_is_used(&u))
			lo = mid + 1;
		else
			hi = mid;
	}
	*max = lo;
	for (*min = first; *min < *max; (*min)++) {
		struct slice s = dump_files_at(f, *min * UNIT_BYTES);

		if (s.p == NULL)
			break;
		unit_read(&u, s.p);
		if (!unit_is_blank(&u))
			break;
	}
}

static void
put_queue(const struct dump_opts *o, const char *topic, int32_t id, const struct dump_files *f, int64_t min, int64_t max)
{
	struct buf b = {0};

	if (!o->json) {
		put_cell(slice_of(topic), 48);
		printf(" %5d %12" PRId64 " %12" PRId64 " %6zu\n", id, min, max, f->segs.count);
		return;
	}
	buf_put_str(&b, "{\"topic\":");
	buf_put_json(&b, slice_of(topic));
	buf_printf(&b, ",\"queueId\":%d,\"min\":%" PRId64 ",\"max\":%" PRId64 ",\"files\":%zu,\"fileBytes\":%" PRId64 "}\n", id,
	    min, max, f->segs.count, f->segs.file_bytes);
	fwrite(b.p, 1, b.len, stdout);
	buf_free(&b);
}

static void
put_units(const struct dump_opts *o, struct dump_files *f, int64_t min, int64_t max)
{
	int64_t at = o->from >= 0 ? o->from : min, left = o->count < 0 ? UNITS_DEFAULT : o->count;
	bool all = o->count == 0;

	if (!o->json)
		printf("%12s %14s %9s %20s\n", "QOFFSET", "OFFSET", "SIZE", "TAGSCODE");
	for (; at < max && (all || left > 0); at++, left--) {
		struct slice s = dump_files_at(f, at * UNIT_BYTES);
		struct unit u;

		if (s.p == NULL)
			break;
		unit_read(&u, s.p);
		printf(o->json ? "{\"queueOffset\":%" PRId64 ",\"offset\":%" PRId64 ",\"size\":%d,\"tagsCode\":%" PRId64 "}\n"
			       : "%12" PRId64 " %14" PRId64 " %9d %20" PRId64 "\n",
		    at, u.physical, u.size, u.tags_code);
	}
}

static enum rc
one_queue(void *arg, const char *topic, int32_t id, const char *dir)
{
	struct queue_dump *d = arg;
	struct dump_files f;
	int64_t min, max;
	struct err e;
	enum rc rc = dump_files_open(&f, dir, &e);

	d->queues++;
	if (rc == RC_OK) {
		find_bounds(&f, &min, &max);
		if (d->units)
			put_units(d->o, &f, min, max);
		else
			put_queue(d->o, topic, id, &f, min, max);
	} else if (rc != RC_NOTFOUND) {
		d->status = dump_fail("%s", e.text);
	}
	dump_files_close(&f);
	return RC_OK;
}

int
dump_queue(const struct dump_opts *o)
{
	struct queue_dump d = {.o = o, .units = o->topic != NULL && o->queue >= 0};
	struct err e;

	if (!d.units && (o->from >= 0 || o->count >= 0))
		return dump_fail("--from and --count show units: give --topic and --queue too");
	if (!d.units && !o->json)
		printf("%-48s %5s %12s %12s %6s\n", "TOPIC", "QUEUE", "MIN", "MAX", "FILES");
	if (queues_each(o, one_queue, &d, &e) != RC_OK)
		return dump_fail("%s", e.text);
	if (d.units && d.queues == 0)
		return dump_fail("%s has no queue %d of topic %s", o->root, o->queue, o->topic);
	return d.status;
}
