/*
 * fillahead: a mebibyte of zeros ahead of the records, when a segment has only been set aside.
 */
#include "store/fillahead.h"

#include <errno.h>
#include <unistd.h>

#include "common/log.h"

#define FILL_AHEAD (1 << 20) /* smaller: the books change too often; larger: a turn waits for the copy */

static char zeros[FILL_AHEAD];

void
fillahead_enter(struct fillahead *f, bool needed, int64_t at)
{
	f->on = needed;
	f->done = at;
}

void
fillahead_write(struct fillahead *f, int fd, int64_t at, int64_t n, int64_t segment_bytes)
{
	int64_t from = at + n, to = MIN_OF(from + FILL_AHEAD, segment_bytes);
	ssize_t wrote;

	if (!f->on || from <= f->done)
		return;
	wrote = from < to ? pwrite(fd, zeros, (size_t)(to - from), (off_t)from) : 0;
	if (wrote < 0 && errno != EINTR) {
		log_warn("nothing is filled ahead in this segment of the log: %s", strerror(errno));
		f->on = false;
	}
	f->done = from + MAX_OF(wrote, 0);
}
