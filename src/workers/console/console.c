/*
 * console: what this host's processes do, for people and for monitoring.
 *
 * Runs in:    the console process, one per host.
 * Owns:       host_shm.wanted_ms.        Reads: all else in shared memory, and the workers' pages.
 * Must not:   write anything anywhere else, or be needed by anybody.
 * If it dies: it is started again alone; the first ten seconds of rates are missing.
 *
 * Broker and name server write their pages only while somebody looks. The first look finds none, or an old one: it says so
 * in wanted_ms and waits until they are there, a second later, or for 1.5 s; then it is answered with what there is.
 */
#include "workers/console/console.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "workers/console/http.h"

struct console {
	struct worker	*w;
	struct http	*http;
	struct rates	*rates;	/* one per node */
	int		 nodes;
};

static bool
pages_ready(void *arg)
{
	struct console *c = arg;
	int64_t now_ms = clock_wall_ms();

	atomic_store(&c->w->host->wanted_ms, now_ms);
	return view_pages_fresh(c->w, now_ms);
}

static int
make_page(struct console *c, void (*page)(const struct view *v, struct buf *out), struct buf *out)
{
	struct view v;

	view_make(&v, c->w, c->rates);
	page(&v, out);
	view_free(&v);
	return 200;
}

static int
make_status(void *arg, struct buf *out)
{
	return make_page(arg, page_status, out);
}

static int
make_metrics(void *arg, struct buf *out)
{
	return make_page(arg, page_metrics, out);
}

static int
make_health(void *arg, struct buf *out)
{
	struct console *c = arg;
	struct view v;
	bool healthy;

	view_make(&v, c->w, c->rates);
	healthy = page_health(&v, out);
	view_free(&v);
	return healthy ? 200 : 503;
}

static const struct http_page pages[] = {
	{"/status", "application/json", pages_ready, make_status},
	{"/metrics", "text/plain; version=0.0.4; charset=utf-8", pages_ready, make_metrics},
	{"/healthz", "text/plain; charset=utf-8", NULL, make_health},
};

static void
on_second(struct worker *w)
{
	struct console *c = w->state;

	for (int i = 0; i < c->nodes; i++)
		rates_sample(&c->rates[i], &w->nodes[i]->counters);
}

int
console_run(struct worker *w)
{
	struct console c = {.w = w, .nodes = atomic_load(&w->host->nodes)};
	struct err e;
	int status;

	worker_init(w);
	w->state = &c;
	w->on_second = on_second;
	c.rates = xcalloc((size_t)c.nodes + 1, sizeof(*c.rates));
	on_second(w);
	if (http_start(w->loop, w->listen_fds[0], pages, COUNT_OF(pages), &c, &c.http, &e) != RC_OK)
		worker_die(w, "the console cannot serve: %s", e.text);
	worker_ready(w);
	status = worker_loop(w);
	http_stop(&c.http);
	free(c.rates);
	return status;
}
