/*
 * announce: registration of this broker at all name servers, at start, periodically and on changes.
 */
#ifndef BROKER_ANNOUNCE_H
#define BROKER_ANNOUNCE_H

#include "workers/broker/broker.h"

struct announce	*announce_new(struct broker *b);
void		 announce_free(struct announce **a);
/* First registration, and the timer from then on. When each name server has confirmed it or failed to, broker_ready is called. */
void		 announce_start(struct announce *a);
/* Topics or permissions have changed: register soon (the changes of some milliseconds make one registration). a may be NULL. */
void		 announce_changed(struct announce *a);
/* Leave all name servers (stop, FAILED). done is called when all have answered or 3 s are over, never within this call. */
void		 announce_leave(struct announce *a, void (*done)(void *arg), void *arg);
/* brokerId has become 0: registers at once everywhere. */
void		 announce_identity(struct announce *a);
/* Registers no more, and does not take itself off the name servers either, for the new master may stand in our place there. */
void		 announce_silence(struct announce *a);
/* namesrvAddr was changed by updateBrokerConfig. */
void		 announce_addresses(struct announce *a);
/* The connection belongs to announce: its on_command / on_close. */
void		 announce_conn_closed(struct announce *a, struct conn *c, const char *why);
/* Addresses of the master and of its ha port, as a name server told this slave; "" when not known. */
const char	*announce_master_addr(const struct announce *a);
const char	*announce_master_ha_addr(const struct announce *a);
/* Any connection to a name server, for questions of the broker's own; NULL: none is open. */
struct conn	*announce_conn(const struct announce *a);
/* The version of the topics (its counter) that all name servers have confirmed to which there is a connection; INT64_MAX: there is none. */
int64_t		 announce_confirmed(const struct announce *a);
/* {"addr":"..","registered":true,"lastMs":..,"error":".."},.. for the status page. */
void		 announce_put_json(struct announce *a, struct buf *out);

#endif
