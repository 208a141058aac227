/*
 * orphans: workers of an earlier supervisor that died. They notice, answer what they have begun and leave; until then they hold the
 * listening sockets and the stores, so a supervisor that is started again right away (systemd does) waits for them.
 */
#ifndef MASTER_ORPHANS_H
#define MASTER_ORPHANS_H

#include "common/base.h"

/*
 * Marks the supervisor's lock file (open in fd): the mark passes to every worker that inherits the descriptor and ends when the last
 * of them has gone, while the lock of pidfile.c ends with the supervisor itself.
 */
void	orphans_mark(int fd);
/* Waits until nobody has marked the file. RC_BUSY: some are there still after ORPHANS_PATIENCE_MS; RC_OK if there is no such file. */
enum rc	orphans_wait(const char *path, struct err *e) MUST_CHECK;

#define ORPHANS_PATIENCE_MS 15000

#endif
