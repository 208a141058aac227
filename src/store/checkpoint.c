/*
 * checkpoint: reads and writes the times that recovery begins from.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "store/checkpoint.h"

#define FIELDS_BYTES 40	  /* five fields of 64 bits */
#define BACK_MS	     3000 /* the original goes this far back behind the recorded times */

static void
decode(struct checkpoint *c, const char *p)
{
	c->physic_ms = (int64_t)be64_get(p);
	c->logics_ms = (int64_t)be64_get(p + 8);
	c->index_ms = (int64_t)be64_get(p + 16);
	c->master_flushed = (int64_t)be64_get(p + 24);
	c->confirm = (int64_t)be64_get(p + 32);
}

static void
encode(const struct checkpoint *c, char *p)
{
	be64_put(p, (uint64_t)c->physic_ms);
	be64_put(p + 8, (uint64_t)c->logics_ms);
	be64_put(p + 16, (uint64_t)c->index_ms);
	be64_put(p + 24, (uint64_t)c->master_flushed);
	be64_put(p + 32, (uint64_t)c->confirm);
}

enum rc
checkpoint_read(const char *path, struct checkpoint *c, struct err *e)
{
	char bytes[FIELDS_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	*c = (struct checkpoint){0};
	if (fd < 0) {
		err_set(e, "cannot open %s: %s", path, strerror(errno));
		return errno == ENOENT ? RC_NOTFOUND : RC_IO;
	}
	n = pread(fd, bytes, sizeof(bytes), 0);
	if (n < 0)
		err_set(e, "cannot read %s: %s", path, strerror(errno));
	else if (n < FIELDS_BYTES)
		err_set(e, "%s has only %zd bytes, a checkpoint has %d: remove it, recovery then reads the whole log", path, n,
		    CHECKPOINT_BYTES);
	close(fd);
	if (n != FIELDS_BYTES)
		return n < 0 ? RC_IO : RC_BADDATA;
	decode(c, bytes);
	return RC_OK;
}

static int
write_whole(int fd, const char *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pwrite(fd, p + done, n - done, (off_t)done);

		if (r < 0 && errno != EINTR)
			return errno;
		if (r == 0)
			return EIO;
		done += (size_t)MAX_OF(r, 0);
	}
	return 0;
}

/* The file always has its full size: the original maps it whole. */
static int
write_fields(int fd, const struct checkpoint *c)
{
	char bytes[FIELDS_BYTES];
	off_t size = lseek(fd, 0, SEEK_END);
	int err;

	encode(c, bytes);
	if (size < 0 || (size < CHECKPOINT_BYTES && ftruncate(fd, CHECKPOINT_BYTES) != 0))
		return errno;
	err = write_whole(fd, bytes, sizeof(bytes));
	if (err == 0)
		err = fault_hit(FAULT_CHECKPOINT_SYNC);
	return err != 0 ? err : fdatasync(fd) == 0 ? 0 : errno;
}

enum rc
checkpoint_write(const char *path, const struct checkpoint *c, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	int err = fd < 0 ? errno : fault_hit(FAULT_CHECKPOINT_WRITE);

	if (err == 0)
		err = write_fields(fd, c);
	if (fd >= 0)
		close(fd);
	if (err == 0)
		return RC_OK;
	err_set(e, "cannot write %s: %s", path, strerror(err));
	errno = err;
	return err == ENOSPC || err == EDQUOT ? RC_FULL : RC_IO;
}

int64_t
checkpoint_recover_ms(const struct checkpoint *c, bool with_index)
{
	int64_t t = MIN_OF(c->physic_ms, c->logics_ms);

	if (with_index)
		t = MIN_OF(t, c->index_ms);
	return t > BACK_MS ? t - BACK_MS : 0;
}
