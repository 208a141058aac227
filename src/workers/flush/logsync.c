/*
 * logsync: fdatasync of the log's segments between two positions.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "workers/flush/flush.h"

void
logsync_init(struct logsync *l, const char *dir, int64_t file_bytes)
{
	segs_init(&l->segs, dir, file_bytes, "mappedFileSizeCommitLog");
	l->fd = -1;
	l->fd_from = -1;
}

static void
close_segment(struct logsync *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	l->fd_from = -1;
}

void
logsync_free(struct logsync *l)
{
	close_segment(l);
	segs_free(&l->segs);
}

/* A segment seen for the first time: its name must be on stable storage too. */
static int
open_segment(struct logsync *l, int64_t from, struct err *e)
{
	close_segment(l);
	if (segs_open(&l->segs, from, SEG_WRITE, &l->fd, e) != RC_OK)
		return errno;
	l->fd_from = from;
	l->new_name = true;
	return 0;
}

static int
sync_segment(struct logsync *l, int64_t from, struct err *e)
{
	char path[PATH_MAX];
	int err = 0;

	if (l->fd < 0 || l->fd_from != from)
		err = open_segment(l, from, e);
	if (err != 0)
		return err;
	err = fault_hit(FAULT_FLUSH_SYNC);
	if (err == 0 && fdatasync(l->fd) != 0)
		err = errno;
	if (err != 0) {
		segs_path(&l->segs, from, path, sizeof(path));
		err_set(e, "fdatasync of %s failed: %s (errno %d)", path, strerror(err), err);
	}
	return err;
}

static int
sync_names(struct logsync *l, struct err *e)
{
	int err = fault_hit(FAULT_FLUSH_NAMES);

	if (err != 0)
		err_set(e, "fsync of the directory %s failed: %s (errno %d)", l->segs.dir, strerror(err), err);
	else if (segs_sync_dir(&l->segs, e) != RC_OK)
		err = errno;
	l->new_name = err != 0;
	return err;
}

int
logsync_range(struct logsync *l, int64_t from, int64_t to, struct err *e)
{
	int64_t last = segs_start(&l->segs, to - 1);

	for (int64_t at = segs_start(&l->segs, from); at <= last; at += l->segs.file_bytes) {
		int err = sync_segment(l, at, e);

		/* Expired before we looked: nothing of it is to be kept. The last one cannot be. */
		if (err == ENOENT && at != last)
			continue;
		if (err != 0)
			return err;
	}
	/* Names last: a later segment's must not be certain before what stands in an earlier one is. */
	return l->new_name ? sync_names(l, e) : 0;
}
