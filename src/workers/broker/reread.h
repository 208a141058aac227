/*
 * reread: requests that read single records, units or index entries, wherever they are. The loop must not wait for the disk, so they
 * are done as often as it takes until all that they look at is in memory.
 *
 *	reread_begin(b);
 *	... find out what to answer; with what is cold missing, it does not matter ...
 *	if (reread_needed(b, c, cmd, req_view))
 *		return;	// called again when warm has read it
 *	... answer ...
 *
 * The handler must not change anything before reread_needed.
 */
#ifndef BROKER_REREAD_H
#define BROKER_REREAD_H

#include "workers/broker/broker.h"

void	reread_begin(struct broker *b);
/* True: the request waits for warm, or was refused since too many do. False: what was found since reread_begin is complete. */
bool	reread_needed(struct broker *b, struct conn *c, struct command *cmd, request_handler *again);
/* Ends reread_begin where nobody waits, a status page say: what was cold is read ahead for the next time. */
void	reread_never_mind(struct broker *b);

#endif
