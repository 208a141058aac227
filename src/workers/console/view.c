/*
 * view: collects what the pages show.
 */
#include "workers/console/console.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

void
rates_sample(struct rates *r, const struct shm_counters *c)
{
	struct rate_sample *s = &r->ring[r->next];

	s->mono_ms = clock_mono_ms();
	s->count[RATE_MESSAGES_IN] = atomic_load(&c->put_msgs);
	s->count[RATE_BYTES_IN] = atomic_load(&c->put_bytes);
	s->count[RATE_MESSAGES_OUT] = atomic_load(&c->get_msgs);
	s->count[RATE_BYTES_OUT] = atomic_load(&c->get_bytes);
	s->count[RATE_REQUESTS] = atomic_load(&c->requests);
	r->next = (r->next + 1) % RATE_SAMPLES;
	if (r->count < RATE_SAMPLES)
		r->count++;
}

double
rates_per_second(const struct rates *r, enum rate which)
{
	const struct rate_sample *newest = &r->ring[(r->next + RATE_SAMPLES - 1) % RATE_SAMPLES];
	const struct rate_sample *oldest = &r->ring[(r->next + RATE_SAMPLES - r->count) % RATE_SAMPLES];

	if (r->count < 2 || newest->mono_ms <= oldest->mono_ms || newest->count[which] < oldest->count[which])
		return 0;
	return (double)(newest->count[which] - oldest->count[which]) * 1000 / (double)(newest->mono_ms - oldest->mono_ms);
}

/* A page that is no JSON object counts as none: it is a worker's fault, and must not spoil the others' data. */
static json_t *
load_page(const struct worker *w, int i, int64_t now_ms, int64_t *age_ms)
{
	int64_t written_ms = 0;
	char *text = w->pages != NULL && w->pages[i] != NULL ? page_copy(w->pages[i], &written_ms) : NULL;
	json_t *page = text != NULL ? json_loads(text, 0, NULL) : NULL;

	if (text != NULL && page == NULL)
		log_warn("the page of %.*s is no JSON and is left out", SHM_NAME_MAX, w->host->worker[i].name);
	free(text);
	if (page != NULL && !json_is_object(page)) {
		json_decref(page);
		page = NULL;
	}
	*age_ms = page != NULL ? MAX_OF(now_ms - written_ms, 0) : -1;
	return page;
}

static void
add_node(struct view *v, const struct broker_spec *spec, const struct rates *rates)
{
	size_t i = v->node_count++;
	struct view_node *n = &v->nodes[i];

	n->spec = spec;
	n->shm = v->w->nodes[i];
	n->rates = &rates[i];
	n->page_age_ms = -1;
}

static void
add_worker(struct view *v, int i)
{
	const struct shm_worker *sw = &v->w->host->worker[i];
	int role = atomic_load(&sw->role), node = atomic_load(&sw->node);
	int64_t age_ms;

	if (role == WORKER_BROKER && node >= 0 && (size_t)node < v->node_count) {
		struct view_node *n = &v->nodes[node];

		n->page = load_page(v->w, i, v->now_ms, &n->page_age_ms);
	} else if (role == WORKER_HA && node >= 0 && (size_t)node < v->node_count) {
		v->nodes[node].ha = load_page(v->w, i, v->now_ms, &age_ms);
	} else if (role == WORKER_NAMESRV) {
		struct view_ns *ns = &v->name_servers[v->ns_count++];

		ns->worker = sw;
		ns->page = load_page(v->w, i, v->now_ms, &ns->page_age_ms);
	}
}

static int
worker_count(const struct worker *w)
{
	int n = atomic_load(&w->host->workers);

	return n < 0 ? 0 : MIN_OF(n, SHM_WORKERS_MAX);
}

void
view_make(struct view *v, const struct worker *w, const struct rates *rates)
{
	size_t nodes = (size_t)atomic_load(&w->host->nodes);
	int workers = worker_count(w);

	*v = (struct view){.w = w, .now_ms = clock_wall_ms()};
	if (gethostname(v->hostname, sizeof(v->hostname) - 1) != 0)
		strcpy(v->hostname, "unknown");
	v->nodes = xcalloc(nodes + 1, sizeof(*v->nodes));
	v->name_servers = xcalloc((size_t)workers + 1, sizeof(*v->name_servers));
	for (size_t i = 0; i < w->cluster->broker_count && v->node_count < nodes; i++)
		if (w->cluster->brokers[i].here)
			add_node(v, &w->cluster->brokers[i], rates);
	for (int i = 0; i < workers; i++)
		add_worker(v, i);
}

void
view_free(struct view *v)
{
	for (size_t i = 0; i < v->node_count; i++) {
		json_decref(v->nodes[i].page);
		json_decref(v->nodes[i].ha);
	}
	for (size_t i = 0; i < v->ns_count; i++)
		json_decref(v->name_servers[i].page);
	free(v->nodes);
	free(v->name_servers);
	*v = (struct view){0};
}

bool
view_pages_fresh(const struct worker *w, int64_t now_ms)
{
	for (int i = 0; i < worker_count(w); i++) {
		const struct shm_worker *sw = &w->host->worker[i];
		int role = atomic_load(&sw->role);

		if ((role != WORKER_BROKER && role != WORKER_NAMESRV) || atomic_load(&sw->state) != WORKER_READY)
			continue;
		if (w->pages == NULL || w->pages[i] == NULL)
			continue;
		if (now_ms - atomic_load(&w->pages[i]->written_ms) > PAGE_FRESH_MS)
			return false;
	}
	return true;
}
