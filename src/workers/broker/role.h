/*
 * role: master or slave, now: what the supervisor has decided, what follows from it here, and when nothing may be
 * stored.
 *
 * The role in force is conf->brokerRole of this process (conf->brokerId goes with it). Shared memory says the wanted
 * one. A slave becomes a master while it runs; a master becomes a slave by a restart of the node's processes, and
 * stores nothing from the moment at which it hears of it.
 */
#ifndef BROKER_ROLE_H
#define BROKER_ROLE_H

#include "workers/broker/broker.h"

/* At the start, before anything else looks at the role: takes role and id from shared memory. */
void role_begin(struct broker *b);
/* MASTER_ALL_ROLE: the role and its epoch have changed. */
void role_told(struct broker *b, int32_t role, int64_t epoch);
/* In each turn's end, first: a promotion that waits for ha goes on; what ha says of another master is heard. */
void role_turn(struct broker *b);
/* Why nothing may be stored although the node is a master, or NULL: another one has a higher epoch, or the role is
 * moving. */
const char *role_refusal(const struct broker *b);
/* Another master has a higher epoch, or this node was made a slave: what was stored just now must not be acknowledged
 * either. */
bool role_is_fenced(const struct broker *b);
/* "SLAVE" ... as in the configuration. */
const char *role_name(enum broker_role r);

#endif
