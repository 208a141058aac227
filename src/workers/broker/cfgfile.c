/*
 * cfgfile: one JSON file below config/, written when its table has changed.
 *
 * Runs in:    the broker process.
 * Owns:       the file, its .tmp and its .bak.
 * If it dies: the last whole version is on disk; marks of the last moments are lost, as in the original.
 */
#include "workers/broker/cfgfile.h"

#include <errno.h>
#include <sys/stat.h>

#define RETRY_SECONDS 5.0

struct cfgfile {
	struct broker	*b;
	char		*path;
	double		 delay;
	void		(*put)(void *arg, struct buf *out);
	void		*arg;
	bool		 changed;
	bool		 failing;	/* it was said already */
	ev_timer	 timer;
};

static struct ev_loop *
loop_of(const struct cfgfile *f)
{
	return f->b->w->loop;
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
on_timer(struct ev_loop *loop, ev_timer *t, int events)
{
	struct cfgfile *f = t->data;

	(void)loop;
	(void)events;
	if (f->changed)
		cfgfile_save_or_say(f);
}

static char *
make_path(const char *dir, const char *name)
{
	char *config = xasprintf("%s/config", dir);
	char *path = xasprintf("%s/%s", config, name);

	/* A store that was never used has no such folder yet; if it cannot be made, the first write says why. */
	(void)mkdir(dir, 0700);
	(void)mkdir(config, 0700);
	free(config);
	return path;
}

struct cfgfile *
cfgfile_new(struct broker *b, const char *name, int delay_ms, void (*put)(void *arg, struct buf *out), void *arg)
{
	struct cfgfile *f = xcalloc(1, sizeof *f);

	f->b = b;
	f->path = make_path(b->conf->storePathRootDir, name);
	f->delay = delay_ms / 1000.;
	f->put = put;
	f->arg = arg;
	ev_init(&f->timer, on_timer);
	f->timer.data = f;
	return f;
}

void
cfgfile_free(struct cfgfile **fp)
{
	struct cfgfile *f = *fp;

	if (f == NULL)
		return;
	if (f->changed)
		cfgfile_save_or_say(f);
	ev_timer_stop(loop_of(f), &f->timer);
	free(f->path);
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
	write_later(f, f->delay);
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
	return rc;
}

enum rc
cfgfile_save_changes(struct cfgfile *f, struct err *e)
{
	return f->changed ? cfgfile_save(f, e) : RC_OK;
}

void
cfgfile_save_or_say(struct cfgfile *f)
{
	struct err e = {""};
	bool failed = cfgfile_save(f, &e) != RC_OK;

	if (failed && !f->failing)
		log_error("%s is kept in memory only for now, it is tried again every %.0f s: %s", f->path, RETRY_SECONDS, e.text);
	else if (!failed && f->failing)
		log_info("%s is written again", f->path);
	f->failing = failed;
}
