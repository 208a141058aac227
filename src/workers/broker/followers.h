/*
 * followers: what a master tells its slaves of everything that is not in the log: topics, groups, offsets, locks and so
 * on.
 *
 * Stock slaves ask for whole tables from time to time (codes 21, 43, 45, 60, 61, 201, 402). Slaves of this system ask
 * one question (SLAVE_SYNC, a code of our own that the original answers with "not supported") and say what they know;
 * it is answered with what has changed, or held until something has. What an operator did is told within milliseconds,
 * commits of offsets after FOLLOW_SOON_MS.
 *
 * Request: brokerName, brokerId, have (the text of the last answer, or none), holdMs; the body may be {"offsets":{..}}:
 * commits of clients at the slave, which are merged here. Answer: have, epoch; the body is one JSON object with a
 * member for each part that has changed.
 */
#ifndef BROKER_FOLLOWERS_H
#define BROKER_FOLLOWERS_H

#include "workers/broker/broker.h"

#define FOLLOW_SOON_MS 20   /* at least between answers that offsets cause; more when they are large */
#define FOLLOW_SLOW_MS 100  /* between looks at the progress of deliveries */
#define FOLLOW_HOLD_MS 1000 /* a slave that is up to date is answered after so long: it sees that its master lives */

struct followers;
struct followers *followers_new(struct broker *b);
void followers_free(struct followers **f);
/* In each turn's end, before output is sent: answers those for whom something has changed. Cheap when nothing has. */
void followers_turn(struct followers *f);
size_t followers_count(const struct followers *f);
/* {"name":..,"brokerId":..,"address":..,"askedMs":..},.. for the status page. */
void followers_put_json(const struct followers *f, struct buf *out);

#endif
