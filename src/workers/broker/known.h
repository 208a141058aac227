/*
 * known: answers that wait until the name servers know the topic of which they speak.
 *
 * A client that sends to a new topic asks for its route as soon as it has its answer, and would wait 30 s for its next look if the name
 * servers did not know it then. So the answer to whoever made or changed a topic waits until all name servers that are reachable
 * have confirmed it, but not longer than KNOWN_MS: a name server that does not answer must not stop the broker's clients.
 */
#ifndef BROKER_KNOWN_H
#define BROKER_KNOWN_H

#include "workers/broker/broker.h"

#define KNOWN_MS 500

struct known;

struct known	*known_new(struct broker *b);
void		 known_free(struct known **k);
/* The answer to this request waits for the topics as they are now. Nothing to wait for: it will not. */
void		 known_hold(struct known *k, struct conn *c, const struct request_id *id);
/* Where the answer to this request is to be put: in place of c->out. Valid until the turn's end. */
struct buf	*known_out(struct known *k, struct conn *c, const struct request_id *id);
/* A name server has confirmed a registration, or is gone. */
void		 known_look(struct known *k);
/* So many requests wait. */
size_t		 known_count(const struct known *k);

#endif
