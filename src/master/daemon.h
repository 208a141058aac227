/*
 * daemon: going to the background, for -d.
 */
#ifndef MASTER_DAEMON_H
#define MASTER_DAEMON_H

#include "common/base.h"

/*
 * Returns in the child only, with the pipe that is to get one byte when it serves. The parent waits for it and exits with 0,
 * or with 1 when the child ends before, or takes longer than timeout_s (then it goes on). RC_IO: errno, still in the foreground.
 */
enum rc	daemon_begin(int timeout_s, int *ready_pipe, struct err *e) MUST_CHECK;
/* Lets go of the terminal. */
void	daemon_detach(void);

#endif
