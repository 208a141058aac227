/*
 * clock: the two times there are. Tests put their own in place.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

/* Milliseconds since 1970: for what is stored or shown. It may jump. */
int64_t	clock_wall_ms(void);
/* Microseconds from some start: for intervals and deadlines. It only grows. */
int64_t	clock_mono_us(void);
static inline int64_t
clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}
/* For tests: from now on clock_* answer these (and clock_advance_ms moves both); wall_ms < 0 gives the real ones back. */
void	clock_set_made(int64_t wall_ms);
void	clock_advance_ms(int64_t ms);

#endif
