/*
 * resolve: the address behind "host:port" without blocking the loop.
 *
 * A numeric address is answered at once (in the next turn). For a name a short-lived child asks the system's resolver, which has no
 * other way to be asked without waiting.
 */
#ifndef BROKER_RESOLVE_H
#define BROKER_RESOLVE_H

#include <ev.h>

#include "common/sock.h"

struct resolve;

/* addr NULL: there is none, with a sentence why. Called once, never within resolve_start. */
typedef void resolve_done(void *arg, const struct addr *addr, const char *why);

/* *out is set until done is called. */
void	resolve_start(struct ev_loop *loop, const char *text, resolve_done *done, void *arg, struct resolve **out);
/* done will not be called. *r may be NULL. */
void	resolve_cancel(struct resolve **r);

#endif
