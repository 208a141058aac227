/*
 * marks: syncs the queue and index files that the broker names, then says so in the checkpoint.
 *
 * The broker sends any number of files, then a mark; all are kept in order. An index file may have many scattered dirty
 * pages, so files are written out in parts, and a group commit of the log never waits for more than one part.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "workers/flush/flush.h"

#define PART_BYTES  (INT64_C(4) << 20)
#define EARLY_BYTES (INT64_C(8) << 20) /* a whole consume queue file; the front of an index file */

enum rc
marks_init(struct marks *m, const char *checkpoint_path, struct err *e)
{
	enum rc rc;

	*m = (struct marks){0};
	snprintf(m->checkpoint_path, sizeof(m->checkpoint_path), "%s", checkpoint_path);
	rc = checkpoint_read(checkpoint_path, &m->checkpoint, e);
	return rc == RC_NOTFOUND || rc == RC_BADDATA ? RC_OK : rc;
}

static void
free_step(struct mark_step *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->path);
}

void
marks_free(struct marks *m)
{
	for (size_t i = 0; i < m->count; i++)
		free_step(&m->steps[m->first + i]);
	free(m->steps);
	m->steps = NULL;
	m->first = m->count = m->cap = 0;
}

static struct mark_step *
add_step(struct marks *m)
{
	if (m->count == 0)
		m->first = 0;
	if (m->first + m->count == m->cap && m->first > 0) {
		memmove(m->steps, m->steps + m->first, m->count * sizeof(*m->steps));
		m->first = 0;
	}
	if (m->first + m->count == m->cap) {
		m->cap = m->cap == 0 ? 64 : m->cap * 2;
		m->steps = xrealloc(m->steps, m->cap * sizeof(*m->steps));
	}
	return &m->steps[m->first + m->count++];
}

/*
 * The write-out of all files begins as they are named: by the time that the first is synced, the others have their blocks,
 * and one commit of the file system's journal serves them all.
 */
static void
begin_writeout(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* removed, or the sync will say what is wrong */
	if (sync_file_range(fd, 0, EARLY_BYTES, SYNC_FILE_RANGE_WRITE) != 0)
		log_debug("write-out of %s did not begin: %s", path, strerror(errno));
	close(fd);
}

void
marks_add_file(struct marks *m, const char *path)
{
	struct mark_step *s = add_step(m);

	*s = (struct mark_step){.path = xstrdup(path), .fd = -1};
	begin_writeout(path);
}

void
marks_add_mark(struct marks *m, const struct mark *mark)
{
	struct mark_step *s = add_step(m);

	*s = (struct mark_step){.path = NULL, .fd = -1, .mark = *mark};
}

/* A file that is gone was expired, or its topic deleted: nothing to keep, *gone. */
static int
open_file(struct mark_step *s, bool *gone)
{
	struct stat st;

	s->fd = open(s->path, O_RDWR | O_CLOEXEC);
	*gone = s->fd < 0 && (errno == ENOENT || errno == ENOTDIR);
	if (s->fd < 0)
		return *gone ? 0 : errno;
	if (fstat(s->fd, &st) != 0)
		return errno;
	s->bytes = (int64_t)st.st_size;
	return 0;
}

/* A failure of the write-out is told once for each descriptor, here or at the sync: both count. */
static int
write_part(struct mark_step *s)
{
	const unsigned how = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
	int64_t at = s->at;

	s->at += PART_BYTES;
	return sync_file_range(s->fd, at, PART_BYTES, how) == 0 ? 0 : errno;
}

/* One step with the first file. *finished: it is synced, or gone. */
static int
sync_some(struct mark_step *s, bool *finished, struct err *e)
{
	int err = 0;

	*finished = false;
	if (s->fd < 0)
		err = open_file(s, finished);
	if (err == 0 && !*finished && s->at < s->bytes) {
		err = write_part(s);
	} else if (err == 0 && !*finished) {
		err = fault_hit(FAULT_FLUSH_FILE);
		if (err == 0 && fdatasync(s->fd) != 0)
			err = errno;
		*finished = true;
	}
	if (err != 0)
		err_set(e, "fdatasync of %s failed: %s (errno %d)", s->path, strerror(err), err);
	return err;
}

/* A checkpoint that cannot be written for want of space is old, not wrong: recovery then reads more of the log. */
static int
write_checkpoint(struct marks *m, const struct checkpoint *c, struct err *e)
{
	enum rc rc = checkpoint_write(m->checkpoint_path, c, e);

	if (rc == RC_FULL) {
		log_warn("%s", e->text);
		return 0;
	}
	if (rc != RC_OK)
		return errno != 0 ? errno : EIO;
	m->checkpoint = *c;
	return 0;
}

/* The broker writes it too, at a clean end and after recovery: what it said about the queues stays. */
static void
read_again(struct marks *m)
{
	struct checkpoint c;
	struct err e;

	if (checkpoint_read(m->checkpoint_path, &c, &e) == RC_OK)
		m->checkpoint = c;
}

int
marks_write_checkpoint(struct marks *m, int64_t flushed_ms, struct err *e)
{
	struct checkpoint c;

	read_again(m);
	c = m->checkpoint;
	if (flushed_ms <= 0 || flushed_ms == c.physic_ms)
		return 0;
	c.physic_ms = flushed_ms;
	return write_checkpoint(m, &c, e);
}

/* Times may go back, when the clock does: then the older ones are right. 0 says "none yet" and changes nothing. */
static int
settle(struct marks *m, const struct mark *mark, int64_t flushed_ms, struct err *e)
{
	struct checkpoint c;

	read_again(m);
	c = m->checkpoint;
	c.physic_ms = flushed_ms > 0 ? flushed_ms : c.physic_ms;
	c.logics_ms = mark->store_ms > 0 ? mark->store_ms : c.logics_ms;
	c.index_ms = mark->index_ms > 0 ? mark->index_ms : c.index_ms;
	if (memcmp(&c, &m->checkpoint, sizeof(c)) == 0)
		return 0;
	return write_checkpoint(m, &c, e);
}

static void
drop_first(struct marks *m)
{
	free_step(&m->steps[m->first++]);
	m->count--;
}

int
marks_step(struct marks *m, int64_t flushed_ms, int64_t *done, struct err *e)
{
	struct mark_step *s = &m->steps[m->first];
	bool finished = true;
	int err;

	*done = 0;
	ensure(m->count > 0);
	if (s->path != NULL) {
		err = sync_some(s, &finished, e);
	} else {
		err = settle(m, &s->mark, flushed_ms, e);
		*done = err == 0 ? s->mark.id : 0;
	}
	if (finished || err != 0)
		drop_first(m);
	return err;
}
