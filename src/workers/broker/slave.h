/*
 * slave: a slave's side of everything that is not in the log: finds its master, follows its tables, gives back what
 * clients have committed here while the master was away, and tells ha where the master's log is to be had.
 *
 * The master is looked for at the address that the name servers tell, then at the other nodes of the same brokerName in
 * the spec. One of this system is asked by SLAVE_SYNC (followers.h); one that does not know it is asked for whole
 * tables each few seconds, as stock slaves do.
 */
#ifndef BROKER_SLAVE_H
#define BROKER_SLAVE_H

#include "workers/broker/broker.h"

struct slave;
struct slave *slave_new(struct broker *b);
void slave_free(struct slave **s);
/* Begins to follow, if this node is a slave. */
void slave_start(struct slave *s);
/* This node is a master now. */
void slave_stop(struct slave *s);
void slave_second(struct slave *s);
/* A name server has answered a registration of this slave: where the master and its replication are; "": it knows none.
 */
void slave_learned(struct slave *s, const char *master, const char *ha);
/* The connection belongs to it: its on_close. */
void slave_conn_closed(struct slave *s, struct conn *c, const char *why);
/* The master answers, or ha hears it: clients are to read there. */
bool slave_master_is_there(const struct slave *s);
/* {"master":..,"haMaster":..,"ours":..,"ageMs":..,"error":..} for the status page. */
void slave_put_json(const struct slave *s, struct buf *out);

#endif
