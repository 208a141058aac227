/*
 * clock: the system's clocks, or a test's.
 */
#include "common/clock.h"

#include <stdbool.h>
#include <time.h>

static bool made;
static int64_t made_wall_ms;
static int64_t made_mono_us = 1000000000; /* any start will do */

static int64_t
read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_wall_ms(void)
{
	return made ? made_wall_ms : read_us(CLOCK_REALTIME) / 1000;
}

int64_t
clock_mono_us(void)
{
	return made ? made_mono_us : read_us(CLOCK_MONOTONIC);
}

void
clock_set_made(int64_t wall_ms)
{
	made = wall_ms >= 0;
	made_wall_ms = wall_ms;
}

void
clock_advance_ms(int64_t ms)
{
	made_wall_ms += ms;
	made_mono_us += ms * 1000;
}
