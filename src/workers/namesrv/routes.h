/*
 * routes: what the name server knows of brokers and topics, without a socket.
 *
 * Nothing of it outlives the process: brokers register again. Tables: topic -> queues per broker name; broker name -> the
 * group of brokers of that name (master and slaves by id); (cluster, address) -> when that broker was last heard of.
 * Answers are built here too (routes_out.c), since they are the tables as JSON.
 */
#ifndef NAMESRV_ROUTES_H
#define NAMESRV_ROUTES_H

#include <uthash.h>

#include "common/buf.h"
#include "common/conf.h"
#include "workers/namesrv/registration.h"

#define PERM_READ	4
#define PERM_WRITE	2
#define UNIT_FLAG	1	/* bits of topicSysFlag */
#define UNIT_SUB_FLAG	2
#define MASTER_ID	0
#define LIVE_MS		120000	/* a silent broker is dropped after that time, unless its registration names another */

struct ns_queue {
	char	*broker;	/* name of the group */
	int32_t	 read_queues, write_queues, perm, sysflag;
};

struct ns_mapping { /* of a static topic: passed on as it came */
	char	*broker, *json;
};

struct ns_topic {
	UT_hash_handle	 hh;
	char		*name;
	struct ns_queue	*queues;	/* sorted by broker */
	size_t		 count;
	char		*route;		/* answer to 105, or NULL; good while route_age is the tables' age */
	size_t		 route_len;
	uint64_t	 route_age;
};

/* Mappings outlive the topic's queues, as in the original. */
struct ns_static {
	UT_hash_handle	 hh;
	char		*topic;
	struct ns_mapping *rows;
	size_t		 count;
};

struct ns_cluster {
	UT_hash_handle	 hh;
	char		*name;
	size_t		 groups;
};

struct ns_addr {
	int64_t	 id;
	char	*addr;
};

struct ns_group {
	UT_hash_handle	 hh;
	char		*name, *zone;	/* zone may be NULL */
	struct ns_cluster *cluster;
	bool		 acting;	/* enableActingMaster */
	struct ns_addr	*addrs;		/* sorted by id; never empty */
	size_t		 count;
};

struct ns_live {
	UT_hash_handle	 hh;
	char		*key;		/* cluster, 0 byte, address */
	const char	*cluster, *addr; /* in key */
	char		*ha_addr;
	char		*filters;	/* JSON array of filter servers, or NULL */
	struct ns_version version;
	int64_t		 last_ms, timeout_ms; /* monotonic */
	uint64_t	 conn_id;	/* that it last registered by; 0: none */
	uint64_t	 digest;	/* of that registration; 0: none */
	uint64_t	 digest_age;	/* of the tables when it had been taken */
};

/* The smallest id of a group has changed. offline: the address that went away, or NULL; ha_addr: of the one that came. */
struct min_change {
	const struct ns_group *group;
	const char	*offline, *ha_addr;
};

struct routes {
	const struct namesrv_conf *conf;
	struct ns_topic	*topics;
	struct ns_static *statics;
	struct ns_group	*groups;
	struct ns_cluster *clusters;
	struct ns_live	*lives;
	uint64_t	 age;		/* grows with each change that a route answer may show */
	size_t		 cached_bytes;	/* of ns_topic.route */
	struct buf	 scratch;
	/* Told about the smallest id while notifyMinBrokerIdChanged is set. May be NULL. */
	void		(*on_min_change)(void *arg, const struct min_change *m);
	/* A silent broker was dropped: its connection is of no use. May be NULL. */
	void		(*on_silent)(void *arg, uint64_t conn_id);
	void		*arg;
};

void	routes_init(struct routes *r, const struct namesrv_conf *conf);
void	routes_free(struct routes *r);
/* Something outside that route answers show has changed (order configuration, parameters). */
void	routes_touch_answers(struct routes *r);

struct register_result {
	const char	*master_addr, *ha_addr; /* for a slave whose master is live, else NULL */
};
/*
 * RC_INVAL: an increment (exactly one topic) of a broker that is not known. RC_BUSY: another address with a newer state
 * holds the id, and this one is not taken (it is not told).
 */
enum rc	routes_register(struct routes *r, const struct registration *g, struct register_result *res) MUST_CHECK;
/*
 * The same registration again, told by the digest of all its bytes, while the tables have not changed since: taking it would
 * change nothing, so it counts as a sign of life and its body need not be read. False: routes_register it.
 */
bool	routes_register_same(struct routes *r, const struct registration *g, struct register_result *res) MUST_CHECK;
void	routes_unregister(struct routes *r, struct slice cluster, struct slice addr, struct slice name, int64_t id);
/* The connection has gone: what last registered by it goes too. */
void	routes_conn_lost(struct routes *r, uint64_t conn_id);
/* Drops the brokers that were silent for too long; returns how many. */
size_t	routes_expire(struct routes *r);
/* A sign of life. NULL: no such broker. */
struct ns_live	*routes_heard(struct routes *r, struct slice cluster, struct slice addr);

/* Clears the write permission of the broker's queues, or sets read and write. Returns in how many topics. */
int32_t	routes_set_writable(struct routes *r, struct slice broker, bool writable);
/* cluster SLICE_NONE: all of them. */
void	routes_delete_topic(struct routes *r, struct slice topic, struct slice cluster);
struct queue_def {
	struct slice	broker;
	int32_t		read_queues, write_queues, perm, sysflag;
};
/* Nothing is taken from the first unknown broker name on. RC_NOTFOUND then. */
enum rc	routes_register_topic(struct routes *r, struct slice topic, const struct queue_def *q, size_t n) MUST_CHECK;

/* For the two files of this module. */
struct ns_queue	*routes_queue(const struct ns_topic *t, const char *broker); /* NULL: none */
void	routes_drop_answer(struct routes *r, struct ns_topic *t);	     /* the cached one */
struct ns_group	*routes_group(struct routes *r, const char *name);
struct ns_live	*routes_live(struct routes *r, struct slice cluster, struct slice addr);

/*
 * The answer to 105; valid until the tables change. order_conf may be SLICE_NONE. RC_NOTFOUND: no such topic, or no broker of
 * it is known.
 */
enum rc	routes_answer(struct routes *r, struct slice topic, struct slice order_conf, struct slice *body) MUST_CHECK;
/* As above for one zone, never cached: groups of other zones that have their master are left out. */
enum rc	routes_answer_zone(struct routes *r, struct slice topic, struct slice order_conf, struct slice zone,
	    struct slice *body) MUST_CHECK;
void	routes_put_cluster_info(struct routes *r, struct buf *b);
void	routes_put_members(struct routes *r, struct slice cluster, struct slice name, struct buf *b);
void	routes_put_all_topics(struct routes *r, struct buf *b);
void	routes_put_cluster_topics(struct routes *r, struct slice cluster, struct buf *b);
void	routes_put_system_topics(struct routes *r, struct buf *b);
/* Topics whose sysflag has all of `with` and none of `without`. */
void	routes_put_unit_topics(struct routes *r, int32_t with, int32_t without, struct buf *b);
/* The list of the status page. */
void	routes_put_brokers(struct routes *r, struct buf *b);

#endif
