/*
 * relay: an operator's request that a client answers: passed on over the client's own connection, the answer passed back.
 */
#ifndef BROKER_RELAY_H
#define BROKER_RELAY_H

#include "workers/broker/broker.h"

#define RELAY_MS 10000

/*
 * Begins: header fields are the caller's to put into o->f, then call_end. The answer (code, remark, body) goes to asker as it is;
 * RES_CONSUME_MSG_TIMEOUT when there is none. `who` is for that sentence.
 */
void	relay_begin(struct call_out *o, struct broker *b, struct conn *to, struct conn *asker, const struct request_id *id,
	    const char *who);
/* All fields of the request but those whose names are in `but` (NULL-terminated; may be NULL). */
void	relay_fields(struct call_out *o, const struct command *cmd, const char *const but[]);

#endif
