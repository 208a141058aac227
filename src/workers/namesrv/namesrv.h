/*
 * namesrv: the parts of the name server worker, as they see each other.
 */
#ifndef NAMESRV_NAMESRV_H
#define NAMESRV_NAMESRV_H

#include "common/worker.h"
#include "remoting/call.h"
#include "workers/namesrv/routes.h"

struct kv_space;

struct namesrv {
	struct worker	*w;
	struct namesrv_conf *conf;	/* of the worker's own spec; LIVE parameters change in it */
	struct conn_set	 conns;		/* brokers and clients, and ours to brokers (905) */
	struct calls	*calls;
	struct routes	 routes;
	struct kv_space	*kv;		/* by namespace; see ns_kv.c */
	char		*kv_path;
	struct buf	 body;		/* of the answer that is being made */
	int64_t		 started_ms;
	uint64_t	 requests, route_queries;
	ev_timer	 expire;
	ev_prepare	 turn_end;
};

/* One request while it is answered. */
struct ns_req {
	struct namesrv	*s;
	struct conn	*c;
	struct command	*cmd;
	struct request_id id;
};

/* The worker's life, from roles.tbl. Returns the exit status. */
int	namesrv_run(struct worker *w);

/* The field's value. False: it is missing, and the request is answered with that. */
bool	ns_need(struct ns_req *q, const char *name, struct slice *value) MUST_CHECK;
bool	ns_need_i64(struct ns_req *q, const char *name, int64_t *value) MUST_CHECK;
void	ns_answer_ok(struct ns_req *q);
/* Answers with what was put into s->body. */
void	ns_answer_body(struct ns_req *q);
/* The body to put an answer into, emptied. */
struct buf	*ns_body(struct ns_req *q);

/* ns_route.c: what clients and operators ask about routes. */
void	ns_route_of_topic(struct ns_req *q);		/* 105 */
void	ns_cluster_info(struct ns_req *q);		/* 106 */
void	ns_all_topics(struct ns_req *q);		/* 206 */
void	ns_topics_by_cluster(struct ns_req *q);		/* 224 */
void	ns_system_topics(struct ns_req *q);		/* 304 */
void	ns_unit_topics(struct ns_req *q);		/* 311 */
void	ns_unit_sub_topics(struct ns_req *q);		/* 312 */
void	ns_unit_sub_ununit_topics(struct ns_req *q);	/* 313 */
void	ns_wipe_write_perm(struct ns_req *q);		/* 205 */
void	ns_add_write_perm(struct ns_req *q);		/* 327 */
void	ns_delete_topic(struct ns_req *q);		/* 216 */
void	ns_register_topic(struct ns_req *q);		/* 217 */

/* ns_broker.c: what brokers say, and what they are told. */
void	ns_register_broker(struct ns_req *q);		/* 103 */
void	ns_unregister_broker(struct ns_req *q);		/* 104 */
void	ns_query_data_version(struct ns_req *q);	/* 322 */
void	ns_broker_heartbeat(struct ns_req *q);		/* 904 */
void	ns_member_group(struct ns_req *q);		/* 901 */
void	ns_broker_init(struct namesrv *s);
void	ns_broker_conn_open(struct conn *c);
void	ns_broker_conn_close(struct conn *c, const char *why);

/* ns_kv.c: key-value configuration, in memory and in kvConfig.json. */
void	ns_kv_put(struct ns_req *q);			/* 100 */
void	ns_kv_get(struct ns_req *q);			/* 101 */
void	ns_kv_delete(struct ns_req *q);			/* 102 */
void	ns_kv_list(struct ns_req *q);			/* 219 */
/* RC_BADDATA, RC_IO, RC_LIMIT: the file is there and cannot be used, sentence in e. */
enum rc	ns_kv_load(struct namesrv *s, struct err *e) MUST_CHECK;
void	ns_kv_free(struct namesrv *s);
/* SLICE_NONE: no such key. */
struct slice	ns_kv_value(struct namesrv *s, struct slice space, struct slice key);
/* {"table":{...}} of a namespace. False: there is none. */
bool	ns_kv_put_table(struct namesrv *s, struct slice space, struct buf *b) MUST_CHECK;
#define KV_ORDER_TOPICS "ORDER_TOPIC_CONFIG"

/* ns_config.c: the name server's own configuration. */
void	ns_config_update(struct ns_req *q);		/* 318 */
void	ns_config_get(struct ns_req *q);		/* 319 */
/* After a parameter has changed: what follows from it. */
void	ns_config_changed(struct namesrv *s);

#endif
