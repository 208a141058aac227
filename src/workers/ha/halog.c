/*
 * halog: open segments of the log; see halog.h.
 */
#include "workers/ha/halog.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/crc.h"

void
halog_init(struct halog *l, const char *dir, int64_t segment_bytes)
{
	*l = (struct halog){0};
	segs_init(&l->segs, dir, segment_bytes, "mappedFileSizeCommitLog");
	for (size_t i = 0; i < HALOG_SLOTS; i++)
		l->slot[i] = (struct halog_slot){.from = -1, .fd = -1};
}

static void
let_go(struct halog *l, struct halog_slot *s)
{
	if (s->from < 0)
		return;
	munmap((void *)(uintptr_t)s->map, (size_t)l->segs.file_bytes);
	close(s->fd);
	*s = (struct halog_slot){.from = -1, .fd = -1};
}

void
halog_free(struct halog *l)
{
	for (size_t i = 0; i < HALOG_SLOTS; i++)
		let_go(l, &l->slot[i]);
	segs_free(&l->segs);
}

static struct halog_slot *
oldest(struct halog *l)
{
	struct halog_slot *s = &l->slot[0];

	for (size_t i = 1; i < HALOG_SLOTS; i++)
		if (l->slot[i].used < s->used)
			s = &l->slot[i];
	return s;
}

static const struct halog_slot *
open_slot(struct halog *l, int64_t from, struct err *e)
{
	struct halog_slot *s = oldest(l);
	void *p;
	int fd;

	let_go(l, s);
	if (segs_open(&l->segs, from, SEG_READ, &fd, e) != RC_OK)
		return NULL;
	p = mmap(NULL, (size_t)l->segs.file_bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		err_set(e, "cannot map %s/%020" PRId64 ": %s", l->segs.dir, from, strerror(errno));
		close(fd);
		return NULL;
	}
	*s = (struct halog_slot){.from = from, .fd = fd, .map = p, .used = ++l->uses};
	return s;
}

const struct halog_slot *
halog_at(struct halog *l, int64_t at, struct err *e)
{
	int64_t from = segs_start(&l->segs, at);

	for (size_t i = 0; i < HALOG_SLOTS; i++)
		if (l->slot[i].from == from) {
			l->slot[i].used = ++l->uses;
			return &l->slot[i];
		}
	return open_slot(l, from, e);
}

bool
halog_crc(struct halog *l, int64_t from, int64_t to, uint32_t *crc)
{
	struct err e;

	for (*crc = 0; from < to;) {
		const struct halog_slot *s = halog_at(l, from, &e);
		int64_t n;

		if (s == NULL)
			return false;
		n = MIN_OF(to, s->from + l->segs.file_bytes) - from;
		*crc = crc32_more(*crc, s->map + (from - s->from), (size_t)n);
		from += n;
	}
	return true;
}
