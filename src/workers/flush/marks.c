/*
 * marks: syncs the queue and index files that the broker names, then says so in the checkpoint.
 *
 * The broker sends any number of files, then a mark; all are kept in order, and one is done at a time, so that a group
 * commit of the log never waits for more than one of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "workers/flush/flush.h"

enum rc
marks_init(struct marks *m, const char *checkpoint_path, struct err *e)
{
	enum rc rc;

	*m = (struct marks){0};
	snprintf(m->checkpoint_path, sizeof(m->checkpoint_path), "%s", checkpoint_path);
	rc = checkpoint_read(checkpoint_path, &m->checkpoint, e);
	return rc == RC_NOTFOUND || rc == RC_BADDATA ? RC_OK : rc;
}

void
marks_free(struct marks *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->steps[m->first + i].path);
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
	if (sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) != 0)
		log_debug("write-out of %s did not begin: %s", path, strerror(errno));
	close(fd);
}

void
marks_add_file(struct marks *m, const char *path)
{
	struct mark_step *s = add_step(m);

	*s = (struct mark_step){.path = xstrdup(path)};
	begin_writeout(path);
}

void
marks_add_mark(struct marks *m, const struct mark *mark)
{
	struct mark_step *s = add_step(m);

	*s = (struct mark_step){.path = NULL, .mark = *mark};
}

/* A file that is gone was expired, or its topic deleted: nothing to keep. */
static int
sync_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int err = fd < 0 || fdatasync(fd) != 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	if (err == ENOENT || err == ENOTDIR)
		return 0;
	if (err != 0)
		err_set(e, "fdatasync of %s failed: %s (errno %d)", path, strerror(err), err);
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

int
marks_write_checkpoint(struct marks *m, int64_t flushed_ms, struct err *e)
{
	struct checkpoint c = m->checkpoint;

	if (flushed_ms <= 0 || flushed_ms == c.physic_ms)
		return 0;
	c.physic_ms = flushed_ms;
	return write_checkpoint(m, &c, e);
}

/* Times may go back, when the clock does: then the older ones are right. 0 says "none yet" and changes nothing. */
static int
settle(struct marks *m, const struct mark *mark, int64_t flushed_ms, struct err *e)
{
	struct checkpoint c = m->checkpoint;

	c.physic_ms = flushed_ms > 0 ? flushed_ms : c.physic_ms;
	c.logics_ms = mark->store_ms > 0 ? mark->store_ms : c.logics_ms;
	c.index_ms = mark->index_ms > 0 ? mark->index_ms : c.index_ms;
	if (memcmp(&c, &m->checkpoint, sizeof(c)) == 0)
		return 0;
	return write_checkpoint(m, &c, e);
}

int
marks_step(struct marks *m, int64_t flushed_ms, int64_t *done, struct err *e)
{
	struct mark_step s;
	int err;

	*done = 0;
	ensure(m->count > 0);
	s = m->steps[m->first++];
	m->count--;
	if (s.path == NULL) {
		err = settle(m, &s.mark, flushed_ms, e);
		if (err == 0)
			*done = s.mark.id;
		return err;
	}
	err = sync_file(s.path, e);
	free(s.path);
	return err;
}
