/*
 * shm: making and using the shared memory of shm_layout.h.
 */
#include "common/shm.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

#define PAGE_TRIES 1000 /* a writer that was killed half-way must not hold a reader */

_Static_assert(sizeof(((struct node_shm *)0)->waiters) / SHM_LINE >= ROLE_COUNT, "a waiter for each role");
_Static_assert(sizeof(struct shm_page) == 16, "the text begins behind the head");

const char *
node_state_name(enum node_state s)
{
	switch (s) {
	case NODE_STARTING:
		return "starting";
	case NODE_RECOVERING:
		return "recovering";
	case NODE_RUNNING:
		return "running";
	case NODE_READONLY:
		return "read-only";
	case NODE_FAILED:
		return "failed";
	case NODE_STOPPING:
		return "stopping";
	}
	return "unknown";
}

const char *
worker_state_name(enum worker_state s)
{
	switch (s) {
	case WORKER_NONE:
		return "none";
	case WORKER_STARTING:
		return "starting";
	case WORKER_READY:
		return "ready";
	case WORKER_STOPPING:
		return "stopping";
	case WORKER_BACKOFF:
		return "waiting before a restart";
	case WORKER_DEAD:
		return "dead";
	}
	return "unknown";
}

enum rc
shm_make(const char *name, size_t size, void **at, struct err *e)
{
	int saved, fd = memfd_create(name, MFD_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	saved = errno;
	if (fd >= 0)
		close(fd); /* the mapping keeps the memory, and a fork keeps the mapping */
	if (p == MAP_FAILED) {
		err_set(e, "%zu bytes of shared memory for %s: %s", size, name, strerror(saved));
		errno = saved;
		return RC_IO;
	}
	*at = p;
	return RC_OK;
}

/*
 * The fence stands between the caller's publishing and the look at `armed`; the sleeper arms, then looks at the positions.
 * One of the two sees the other.
 */
void
wake_send(struct shm_waiter *w, int efd)
{
	const uint64_t one = 1;
	ssize_t n;

	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&w->armed, memory_order_relaxed) == 0 || atomic_exchange(&w->armed, 0) == 0)
		return;
	do
		n = write(efd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	ensure(n == (ssize_t)sizeof(one) || errno == EAGAIN); /* EAGAIN: so full that it wakes anyway */
}

void
wake_drain(int efd)
{
	uint64_t n;

	while (read(efd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

enum rc
page_publish(struct shm_page *p, struct slice json)
{
	uint32_t odd = atomic_load_explicit(&p->seq, memory_order_relaxed) | 1;

	if (json.n > SHM_PAGE_TEXT)
		return RC_LIMIT;
	atomic_store_explicit(&p->seq, odd, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	if (json.n > 0)
		memcpy(p->text, json.p, json.n);
	atomic_store_explicit(&p->len, (uint32_t)json.n, memory_order_relaxed);
	atomic_store_explicit(&p->written_ms, clock_wall_ms(), memory_order_relaxed);
	atomic_store_explicit(&p->seq, odd + 1, memory_order_release);
	return RC_OK;
}

static char *
copy_once(const struct shm_page *p, uint32_t seq, int64_t *written_ms)
{
	uint32_t len = atomic_load_explicit(&p->len, memory_order_relaxed);
	int64_t ms = atomic_load_explicit(&p->written_ms, memory_order_relaxed);
	char *text;

	if (len > SHM_PAGE_TEXT)
		return NULL; /* half-written: the sequence will say so */
	text = xmalloc((size_t)len + 1);
	memcpy(text, p->text, len);
	text[len] = '\0';
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&p->seq, memory_order_relaxed) != seq) {
		free(text);
		return NULL;
	}
	if (written_ms != NULL)
		*written_ms = ms;
	return text;
}

char *
page_copy(const struct shm_page *p, int64_t *written_ms)
{
	for (int i = 0; i < PAGE_TRIES; i++) {
		uint32_t seq = atomic_load_explicit(&p->seq, memory_order_acquire);
		char *text;

		if (seq == 0)
			return NULL;
		if ((seq & 1) == 0 && (text = copy_once(p, seq, written_ms)) != NULL)
			return text;
		sched_yield();
	}
	return NULL;
}
