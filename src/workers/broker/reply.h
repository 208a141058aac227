/*
 * reply: the answer of a consumer to a request message, on its way to the asker and into the reply topic.
 */
#ifndef BROKER_REPLY_H
#define BROKER_REPLY_H

#include "workers/broker/sends.h"

/* The message is stored (stored NULL: it is not). From sends or waiters, exactly once. */
void	reply_stored(struct reply *r, const struct sent *sent);

#endif
