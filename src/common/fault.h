/*
 * fault: named places where a test may make this process die or an operation fail. Compiled in with --enable-dev.
 *
 * RMQ_FAULTS="append.before_publish=kill@3,flush.sync=EIO" in the environment: at the third pass kill -9 itself; each
 * pass through flush.sync answers EIO. The places are rows of faults.tbl.
 */
#ifndef COMMON_FAULT_H
#define COMMON_FAULT_H

#include "common/base.h"

enum fault_point {
#define FAULT(NAME, text, where) FAULT_##NAME,
#include "common/faults.tbl"
#undef FAULT
	FAULT_POINTS
};

#ifdef ENABLE_DEV
/* 0, or the errno that the operation shall pretend to have met. Does not return when the point says kill. */
int	fault_hit(enum fault_point p);
#else
static inline int
fault_hit(enum fault_point p)
{
	(void)p;
	return 0;
}
#endif

#endif
