/*
 * shm: making and using the shared memory of shm_layout.h.
 */
#ifndef COMMON_SHM_H
#define COMMON_SHM_H

#include "common/role.h"
#include "common/shm_layout.h"

/* Makes zeroed, inherited memory (a memfd, close-on-exec) and maps it shared. RC_IO: errno. */
enum rc	shm_make(const char *name, size_t size, void **at, struct err *e) MUST_CHECK;

/* Positions: publish after the bytes are where they must be. */
static inline void
pos_publish(shm_i64 *pos, int64_t value)
{
	atomic_store_explicit(pos, value, memory_order_release);
}

static inline int64_t
pos_read(const shm_i64 *pos)
{
	return atomic_load_explicit((shm_i64 *)pos, memory_order_acquire);
}

/* A counter with one writer: no locked instruction. */
static inline void
count_add(shm_u64 *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Before sleeping: arm, then look at the positions again. */
static inline void
wake_arm(struct shm_waiter *w)
{
	atomic_store(&w->armed, 1);
}
/* Wakes the process that sleeps on efd, if it does. */
void	wake_send(struct shm_waiter *w, int efd);
/* Empties the eventfd after it woke us. */
void	wake_drain(int efd);

/* The worker's page of JSON text for the console. Text beyond SHM_PAGE_TEXT is refused (RC_LIMIT). */
enum rc	page_publish(struct shm_page *p, struct slice json) MUST_CHECK;
/* Copies a consistent text (caller frees). NULL: nothing was ever written, or its writer died while it wrote. */
char	*page_copy(const struct shm_page *p, int64_t *written_ms);

#endif
