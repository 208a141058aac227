/*
 * timer_heap: the timer messages that wait, by the time at which they are due.
 *
 * 32 bytes each: the log keeps the rest. Those that are due at the same millisecond come out in the order of their queue. Beside the
 * heap it knows the lowest place of the timer queue from which something is still to be delivered.
 */
#ifndef BROKER_TIMER_HEAP_H
#define BROKER_TIMER_HEAP_H

#include "common/base.h"

struct recalled;

struct timer_entry {
	int64_t		due_ms;
	int64_t		at;		/* queue offset in rmq_sys_wheel_timer */
	union {
		int64_t		 physical;	/* of its record */
		struct recalled	*recalled;	/* topic == 0: a marker; when it is due what it recalled has been dropped */
	};
	int32_t		size;
	uint32_t	topic;		/* number of its real topic, from 1 */
};

struct timer_heap {
	struct timer_entry *v;
	size_t		 count, cap;
	/* entries that are not finished in each BLOCK of queue offsets from `first` on */
	uint32_t	*block;
	size_t		 blocks, block_cap, empty; /* the first `empty` of them have none */
	int64_t		 first;
};

/* Is a due before b? */
static inline bool
timer_before(int64_t a_due, int64_t a_at, int64_t b_due, int64_t b_at)
{
	return a_due < b_due || (a_due == b_due && a_at < b_at);
}

void	timer_heap_free(struct timer_heap *h);
/* A new one: it counts as not finished until timer_heap_finish, in the heap or not. */
void	timer_heap_add(struct timer_heap *h, const struct timer_entry *e);
/* One that was taken out comes back. */
void	timer_heap_put_back(struct timer_heap *h, const struct timer_entry *e);
/* NULL: empty. */
const struct timer_entry *timer_heap_top(const struct timer_heap *h);
struct timer_entry timer_heap_pop(struct timer_heap *h); /* not when it is empty */
void	timer_heap_finish(struct timer_heap *h, int64_t at);
/* No unfinished entry lies below it (it may be some lower); none at all: `none`. */
int64_t	timer_heap_low(struct timer_heap *h, int64_t none);

#endif
