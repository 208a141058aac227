/*
 * cut: taking off what the master never had; see cut.h.
 */
#include "store/cut.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"

#define FILE_MAX   (16 << 10)
#define COPY_CHUNK (1u << 20)

/* ---- the file `cut` */

static void
cut_path(const char *root, char *out, size_t n)
{
	snprintf(out, n, "%s/" CUT_NAME, root);
}

enum rc
cut_write(const char *root, const struct cut *c, struct err *e)
{
	char path[PATH_MAX];
	struct buf text = {0};
	enum rc rc;

	buf_printf(&text,
		   "{\"from\":%" PRId64 ",\"to\":%" PRId64 ",\"epoch\":%" PRId64 ",\"ms\":%" PRId64
		   ",\"save\":%s,\"master\":",
		   c->from, c->to, c->epoch, c->ms, c->save ? "true" : "false");
	buf_put_json(&text, slice_of(c->master));
	buf_put_str(&text, ",\"why\":");
	buf_put_json(&text, slice_of(c->why));
	buf_put_str(&text, "}\n");
	cut_path(root, path, sizeof(path));
	rc = file_replace(path, buf_slice(&text), e);
	buf_free(&text);
	return rc;
}

static enum rc
take_fields(const json_t *o, struct cut *c)
{
	c->from = json_get_i64(o, "from", -1);
	c->to = json_get_i64(o, "to", -1);
	c->epoch = json_get_i64(o, "epoch", 0);
	c->ms = json_get_i64(o, "ms", 0);
	c->save = json_get_bool(o, "save", true);
	snprintf(c->master, sizeof(c->master), "%s", json_get_str(o, "master", ""));
	snprintf(c->why, sizeof(c->why), "%s", json_get_str(o, "why", ""));
	return c->from >= 0 && c->to >= c->from && c->ms >= 0 ? RC_OK : RC_BADDATA;
}

enum rc
cut_read(const char *root, struct cut *c, struct err *e)
{
	char path[PATH_MAX];
	struct buf text = {0};
	json_t *o = NULL;
	enum rc rc;

	cut_path(root, path, sizeof(path));
	rc = file_read(path, FILE_MAX, &text, e);
	if (rc == RC_OK)
		rc = json_load_relaxed(buf_slice(&text), &o, e);
	if (rc == RC_OK) {
		rc = take_fields(o, c);
		if (rc != RC_OK)
			err_set(e, "it says no range of the log");
	}
	if (rc != RC_OK && rc != RC_NOTFOUND)
		err_prefix(e,
			   "%s, which says what is to be cut from the log, cannot be read; remove it to have that "
			   "found out again",
			   path);
	json_decref(o);
	buf_free(&text);
	return rc;
}

static enum rc
remove_file(const char *root, struct err *e)
{
	char path[PATH_MAX], bak[PATH_MAX + 8];

	cut_path(root, path, sizeof(path));
	snprintf(bak, sizeof(bak), "%s.bak", path);
	if ((unlink(path) != 0 && errno != ENOENT) || (unlink(bak) != 0 && errno != ENOENT)) {
		err_set(e, "cannot remove %s: %s", path, strerror(errno));
		return RC_IO;
	}
	return dir_sync(root, e);
}

/* ---- putting aside */

void
cut_dir(const char *root, const struct cut *c, char *out, size_t n)
{
	snprintf(out, n, "%s/" CUT_DIR "/%" PRId64 "-%" PRId64, root, c->from, c->ms);
}

static enum rc
copy_error(const char *path, int err, struct err *e)
{
	err_set(e, "what is to be cut from the log cannot be saved in %s: %s; nothing is cut before it is", path,
		strerror(err));
	return err == ENOSPC || err == EDQUOT ? RC_FULL : RC_IO;
}

/* Copies `n` bytes at `from` of one descriptor to the beginning of another. 0 or errno. */
static int
copy_bytes(int in, int64_t from, int out, int64_t n)
{
	char *buf = xmalloc(COPY_CHUNK);
	int64_t done = 0;
	int err = 0;

	while (done < n && err == 0) {
		ssize_t got = pread(in, buf, (size_t)MIN_OF(n - done, (int64_t)COPY_CHUNK), (off_t)(from + done));
		ssize_t put = got > 0 ? pwrite(out, buf, (size_t)got, (off_t)done) : got;

		if (put < 0 && errno != EINTR)
			err = errno;
		else if (put == 0)
			err = EIO;
		else if (put > 0)
			done += put;
	}
	free(buf);
	return err;
}

/* One segment's part, as a file named by the place of its first byte. */
static enum rc
save_part(const struct commitlog *log, const char *dir, int64_t from, int64_t to, struct err *e)
{
	int64_t segment = segs_start(&log->segs, from);
	char path[PATH_MAX + 32];
	int in, out, err;
	enum rc rc = segs_open(&log->segs, segment, SEG_READ, &in, e);

	if (rc != RC_OK)
		return rc;
	snprintf(path, sizeof(path), "%s/%020" PRId64, dir, from);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	err = out < 0 ? errno : copy_bytes(in, from - segment, out, to - from);
	if (err == 0 && fsync(out) != 0)
		err = errno;
	if (out >= 0)
		close(out);
	close(in);
	return err == 0 ? RC_OK : copy_error(path, err, e);
}

static enum rc
save_all(const char *root, const struct cut *c, const struct commitlog *log, struct err *e)
{
	int64_t at = MAX_OF(c->from, log->min), to = MIN_OF(c->to, segs_end(&log->segs));
	char dir[PATH_MAX], above[PATH_MAX];
	enum rc rc;

	if (!c->save || at >= to)
		return RC_OK;
	cut_dir(root, c, dir, sizeof(dir));
	snprintf(above, sizeof(above), "%s/" CUT_DIR, root);
	rc = dir_make(dir, e);
	while (rc == RC_OK && at < to) {
		int64_t end = MIN_OF(to, segs_start(&log->segs, at) + log->segs.file_bytes);

		rc = save_part(log, dir, at, end, e);
		at = end;
	}
	if (rc == RC_OK)
		rc = dir_sync(dir, e);
	if (rc == RC_OK)
		rc = dir_sync(above, e);
	return rc == RC_OK ? dir_sync(root, e) : rc;
}

/* ---- taking off */

static enum rc
drop_all(struct commitlog *log, struct err *e)
{
	enum rc rc = RC_OK;

	while (log->segs.count > 0 && rc == RC_OK) {
		rc = segs_unlink(&log->segs, log->segs.from[log->segs.count - 1], e);
		if (rc == RC_OK)
			segs_drop_last(&log->segs);
	}
	log->min = 0;
	commitlog_set_end(log, 0);
	return rc;
}

/* The blank behind the new end reaches as far as anybody can have written: to the end of its segment. */
static enum rc
take_off(const struct cut *c, struct commitlog *log, struct err *e)
{
	bool changed;
	enum rc rc;

	if (log->segs.count == 0)
		return RC_OK;
	if (c->from <= log->min)
		return drop_all(log, e);
	rc = commitlog_cut(log, MIN_OF(c->from, segs_end(&log->segs)), 0, &changed, e);
	if (rc == RC_OK)
		rc = commitlog_sync(log, c->from - 1, e);
	return rc == RC_OK ? commitlog_sync(log, c->from, e) : rc; /* where a file begins that is another one */
}

static enum rc
cut_epochs(const struct cut *c, const char *path, bool all, struct err *e)
{
	struct epochs l;
	enum rc rc = epochs_load(&l, path, e);

	if (rc == RC_OK && all)
		l.count = 0;
	if (rc == RC_OK && (epochs_cut(&l, c->from) || all))
		rc = epochs_save(&l, path, e);
	return rc;
}

enum rc
cut_apply(const char *root, const struct cut *c, struct commitlog *log, const char *epochs_file, struct err *e)
{
	bool all = c->from <= log->min || log->segs.count == 0;
	char dir[PATH_MAX];
	enum rc rc = save_all(root, c, log, e);

	(void)fault_hit(FAULT_CUT_AFTER_SAVE);
	if (rc == RC_OK)
		rc = take_off(c, log, e);
	(void)fault_hit(FAULT_CUT_AFTER_LOG);
	if (rc == RC_OK)
		rc = segs_sync_dir(&log->segs, e);
	if (rc == RC_OK)
		rc = cut_epochs(c, epochs_file, all, e);
	(void)fault_hit(FAULT_CUT_BEFORE_REMOVE);
	if (rc == RC_OK)
		rc = remove_file(root, e);
	if (rc != RC_OK)
		return rc;
	cut_dir(root, c, dir, sizeof(dir));
	log_warn("%" PRId64 " bytes of the log from %" PRId64 " on were cut, the master %s does not have them (%s)%s%s",
		 c->to - c->from, c->from, c->master, c->why, c->save ? "; saved in " : "", c->save ? dir : "");
	return RC_OK;
}
