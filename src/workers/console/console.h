/*
 * console: what its pages are made from, and the pages.
 *
 * A view is one moment: shared memory as it is, the rates that the console has sampled, and the workers' own pages, parsed.
 */
#ifndef CONSOLE_CONSOLE_H
#define CONSOLE_CONSOLE_H

#include <jansson.h>

#include "common/worker.h"

#define RATE_SAMPLES	11	/* one a second: rates over 10 s */
#define PAGE_FRESH_MS	3000	/* a worker's page older than that is asked for again */

enum rate { RATE_MESSAGES_IN, RATE_BYTES_IN, RATE_MESSAGES_OUT, RATE_BYTES_OUT, RATE_REQUESTS, RATES };

struct rate_sample {
	int64_t		 mono_ms;
	uint64_t	 count[RATES];
};

/* The last samples of one node's counters. */
struct rates {
	struct rate_sample ring[RATE_SAMPLES];
	unsigned	 next, count;
};

/* Takes a sample of the counters. */
void	rates_sample(struct rates *r, const struct shm_counters *c);
/* Per second, between the oldest sample and the newest. 0 with less than two samples. */
double	rates_per_second(const struct rates *r, enum rate which);

struct view_node {
	const struct broker_spec *spec;
	const struct node_shm	*shm;
	const struct rates	*rates;
	json_t		*page;		/* the broker worker's own, or NULL */
	int64_t		 page_age_ms;	/* -1: there is none */
	json_t		*ha;		/* the ha worker's, or NULL: each slave's or the master's connection */
};

struct view_ns {
	const struct shm_worker *worker;
	json_t		*page;
	int64_t		 page_age_ms;
};

struct view {
	const struct worker *w;
	int64_t		 now_ms;
	char		 hostname[256];
	struct view_node *nodes;
	size_t		 node_count;
	struct view_ns	*name_servers;
	size_t		 ns_count;
};

/* rates: one for each of w->nodes. */
void	view_make(struct view *v, const struct worker *w, const struct rates *rates);
void	view_free(struct view *v);
/* True if every broker and name server of this host that serves has written its page lately. */
bool	view_pages_fresh(const struct worker *w, int64_t now_ms);

/* /status: one JSON document. */
void	page_status(const struct view *v, struct buf *out);
/* /metrics: Prometheus' text format. */
void	page_metrics(const struct view *v, struct buf *out);
/* /healthz: true and "ok", or false and the first reason in one line. */
bool	page_health(const struct view *v, struct buf *out);

/* The console process, see roles.tbl. */
int	console_run(struct worker *w);

#endif
