/*
 * cfgfile: one JSON file below config/, written when its table has changed.
 *
 * Runs in:    the broker process.
 * Owns:       the file, its .tmp and its .bak.
 * If it dies: the last whole version is on disk; marks of the last moments are lost, as in the original.
 */
#include "workers/broker/cfgfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "workers/broker/bgsync.h"

#define RETRY_SECONDS 5.0
#define DELAY_MIN_MS  20

struct cfgfile {
	struct broker	*b;
	char		*path, *dir;
	const int32_t	*delay_ms;
	void		(*put)(void *arg, struct buf *out);
	void		*arg;
	bool		 changed;
	bool		 failing;	/* it was said already */
	uint64_t	 saves;		/* that are on the disk */
	ev_timer	 timer;
	/* a write in the background: the new file, then the directory are synced */
	struct bgsync	*sync;		/* NULL: not on this kernel */
	char		*next;		/* path.next */
	int		 fd;		/* what is being synced; -1: nothing is */
	bool		 overtaken;	/* an operator's change was saved meanwhile: what is being synced is old */
};

static struct ev_loop *
loop_of(const struct cfgfile *f)
{
	return f->b->w->loop;
}

static double
delay_of(const struct cfgfile *f)
{
	return MAX_OF(*f->delay_ms, DELAY_MIN_MS) / 1000.;
}

static void
write_later(struct cfgfile *f, double seconds)
{
	if (ev_is_active(&f->timer))
		return;
	ev_timer_set(&f->timer, seconds, 0.);
	/* The loop's own clock may lag after a long turn: then the timer would fire too early, which does no harm. */
	ev_timer_start(loop_of(f), &f->timer);
}

static void
say(struct cfgfile *f, const char *failure)
{
	if (failure != NULL && !f->failing)
		log_error("%s is kept in memory only for now, it is tried again every %.0f s: %s", f->path, RETRY_SECONDS, failure);
	else if (failure == NULL && f->failing)
		log_info("%s is written again", f->path);
	f->failing = failure != NULL;
}

/* ---- in the background */

static void
stop_background(struct cfgfile *f)
{
	close(f->fd);
	f->fd = -1;
	f->overtaken = false;
	if (f->changed)
		write_later(f, f->failing ? RETRY_SECONDS : delay_of(f));
}

static void
fail_background(struct cfgfile *f, const char *what, int error)
{
	struct err e;

	err_set(&e, "cannot %s: %s", what, strerror(error));
	f->changed = true;
	say(f, e.text);
	(void)unlink(f->next);
	stop_background(f);
}

static void
on_dir_synced(void *arg, int error)
{
	struct cfgfile *f = arg;

	if (error != 0) {
		fail_background(f, "sync its directory", error);
		return;
	}
	f->saves++;
	say(f, NULL);
	stop_background(f);
}

static void
on_file_synced(void *arg, int error)
{
	struct cfgfile *f = arg;
	struct err e;

	if (f->overtaken) {
		(void)unlink(f->next);
		stop_background(f);
	} else if (error != 0) {
		fail_background(f, "sync it", error);
	} else if (file_swap(f->path, f->next, &e) != RC_OK) {
		fail_background(f, "put it in place", errno);
	} else {
		close(f->fd);
		f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (f->fd < 0 || bgsync_start(f->sync, f->fd, on_dir_synced, f) != RC_OK)
			fail_background(f, "sync its directory", errno);
	}
}

/* The text goes to the page cache here. False: the caller does it in the plain way. */
static bool
begin_background(struct cfgfile *f)
{
	struct buf text = {.limit = (size_t)1 << 30};
	bool begun;

	if (f->sync == NULL || f->fd >= 0)
		return f->fd >= 0; /* one is under way: its end begins the next */
	f->put(f->arg, &text);
	f->fd = open(f->next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	begun = !text.failed && f->fd >= 0 && write(f->fd, text.p, text.len) == (ssize_t)text.len &&
	    bgsync_start(f->sync, f->fd, on_file_synced, f) == RC_OK;
	buf_free(&text);
	if (begun) {
		f->changed = false;
	} else if (f->fd >= 0) {
		close(f->fd);
		f->fd = -1;
		(void)unlink(f->next);
	}
	return begun;
}

static void
on_timer(struct ev_loop *loop, ev_timer *t, int events)
{
	struct cfgfile *f = t->data;

	(void)loop;
	(void)events;
	if (f->changed && !begin_background(f))
		cfgfile_save_or_say(f);
}

/* What is under way is dropped: it is saved in the plain way if that matters. */
static void
cancel_background(struct cfgfile *f)
{
	bgsync_free(&f->sync);
	if (f->fd < 0)
		return;
	close(f->fd);
	f->fd = -1;
	(void)unlink(f->next);
	f->changed |= !f->overtaken;
}

/* ---- life */

struct cfgfile *
cfgfile_new(struct broker *b, const char *name, const int32_t *delay_ms, void (*put)(void *arg, struct buf *out), void *arg)
{
	struct cfgfile *f = xcalloc(1, sizeof *f);

	f->b = b;
	f->dir = xasprintf("%s/config", b->conf->storePathRootDir);
	f->path = xasprintf("%s/%s", f->dir, name);
	f->next = xasprintf("%s.next", f->path);
	/* A store that was never used has no such folder yet; if it cannot be made, the first write says why. */
	(void)mkdir(b->conf->storePathRootDir, 0700);
	(void)mkdir(f->dir, 0700);
	f->delay_ms = delay_ms;
	f->put = put;
	f->arg = arg;
	ev_init(&f->timer, on_timer);
	f->timer.data = f;
	f->sync = bgsync_new(loop_of(f));
	f->fd = -1;
	return f;
}

void
cfgfile_free(struct cfgfile **fp)
{
	struct cfgfile *f = *fp;

	if (f == NULL)
		return;
	cancel_background(f);
	if (f->changed)
		cfgfile_save_or_say(f);
	ev_timer_stop(loop_of(f), &f->timer);
	free(f->path);
	free(f->next);
	free(f->dir);
	free(f);
	*fp = NULL;
}

const char *
cfgfile_path(const struct cfgfile *f)
{
	return f->path;
}

void
cfgfile_changed(struct cfgfile *f)
{
	f->changed = true;
	write_later(f, delay_of(f));
}

enum rc
cfgfile_save(struct cfgfile *f, struct err *e)
{
	struct buf text = {.limit = (size_t)1 << 30};
	enum rc rc = RC_LIMIT;

	f->put(f->arg, &text);
	if (text.failed)
		err_set(e, "%s would be larger than %zu bytes", f->path, text.limit);
	else
		rc = file_replace(f->path, buf_slice(&text), e);
	buf_free(&text);
	f->changed = rc != RC_OK;
	if (f->changed)
		write_later(f, RETRY_SECONDS);
	else
		f->overtaken = f->fd >= 0;
	f->saves += rc == RC_OK;
	return rc;
}

uint64_t
cfgfile_saves(const struct cfgfile *f)
{
	return f->saves;
}

enum rc
cfgfile_save_changes(struct cfgfile *f, struct err *e)
{
	return f->changed || f->fd >= 0 ? cfgfile_save(f, e) : RC_OK;
}

void
cfgfile_save_or_say(struct cfgfile *f)
{
	struct err e = {""};
	bool failed = cfgfile_save(f, &e) != RC_OK;

	say(f, failed ? e.text : NULL);
}
