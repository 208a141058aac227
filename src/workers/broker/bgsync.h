/*
 * bgsync: fsync that does not block the loop: the kernel does it, an eventfd tells when it is done.
 *
 * By the kernel's own asynchronous I/O (Linux 4.18 and later), which needs no thread of ours.
 */
#ifndef BROKER_BGSYNC_H
#define BROKER_BGSYNC_H

#include <ev.h>

#include "common/base.h"

struct bgsync;

/* One sync at a time. NULL: this kernel does not offer it. */
struct bgsync	*bgsync_new(struct ev_loop *loop);
/* Waits for a sync that is under way; its done is not called. */
void		 bgsync_free(struct bgsync **s);
/* done(arg, 0 or errno) comes in a later turn; fd must stay open until then. RC_INVAL: not for this file; RC_BUSY: one is under way. */
enum rc		 bgsync_start(struct bgsync *s, int fd, void (*done)(void *arg, int error), void *arg) MUST_CHECK;

#endif
