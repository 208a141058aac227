/*
 * quorum: which slaves are in sync, how many copies are needed now, and what so many have. Decisions only: no clock, no
 * socket.
 */
#ifndef WORKERS_HA_QUORUM_H
#define WORKERS_HA_QUORUM_H

#include "common/conf.h"

#define QUORUM_JOIN_BYTES (4 << 20) /* so close to the master's end a slave joins; it leaves at haMaxGapNotInSync */

struct quorum_rule {
	enum broker_role role;
	int32_t need;    /* inSyncReplicas */
	int32_t least;   /* minInSyncReplicas */
	bool shrinks;    /* enableAutoInSyncReplicas */
	bool all;        /* allAckInSyncStateSet */
	int64_t max_gap; /* haMaxGapNotInSync */
};
struct quorum_rule quorum_rule_of(const struct broker_conf *c, enum broker_role role);

struct quorum_slave {
	int64_t id;    /* brokerId of one of ours; -1: not known, each connection counts */
	int64_t acked; /* -1: no valid report yet */
	bool empty;    /* it has confirmed nothing yet although it was sent something */
	bool silent;   /* it should have been heard of and was not */
	bool in_sync;  /* in: as it was; out: as it is now */
};

struct quorum {
	int32_t slaves, in_sync, needed;
	int64_t replicated; /* held by `needed` copies; the caller publishes it only if it is more than before */
};
/* appended: end of the master's own log. */
struct quorum quorum_count(const struct quorum_rule *r, int64_t appended, struct quorum_slave *s, size_t n);

#endif
