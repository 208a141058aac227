/*
 * clients: who is connected: producers and consumers by group, their subscriptions, their connections.
 */
#ifndef BROKER_CLIENTS_H
#define BROKER_CLIENTS_H

#include "workers/broker/groups.h"

enum consume_type { CONSUME_ACTIVELY, CONSUME_PASSIVELY, CONSUME_POP };
enum message_model { BROADCASTING, CLUSTERING };
extern const char *const consume_type_names[3], *const message_model_names[2], *const consume_from_names[6];

struct subscription {
	struct slice	 topic;		/* terminated copies, owned */
	char		*text;		/* subString */
	char		*expression_type; /* "TAG", "SQL92" */
	int64_t		 version;
	bool		 all;		/* TAG "*" */
	unsigned	 code_count;
	int32_t		*codes;		/* Java hashes of the tags */
	bool		 class_filter;
};
/* Parses a TAG expression: "*", "", or tags separated by ||. RC_INVAL: no tag in it. The result is freed by subscription_free. */
enum rc		 subscription_make(struct slice topic, struct slice text, struct slice type, int64_t version, struct subscription **out) MUST_CHECK;
void		 subscription_free(struct subscription **s);
/* One SubscriptionData of a heartbeat. NULL: it has no topic, or its expression cannot be read. */
struct subscription *subscription_from_json(const json_t *o);
bool		 subscription_matches_code(const struct subscription *s, int64_t tags_code);

struct member { /* one client in one group */
	struct conn	*conn;		/* a reference */
	char		*client_id;
	uint8_t		 language;
	int16_t		 version;
	int64_t		 last_ms;	/* wall time of the last heartbeat */
	struct member	*next;		/* in its group */
};

struct consumer_group {
	char		*name;
	enum consume_type consume_type;
	enum message_model model;
	int		 from_where;
	struct member	*members;
	unsigned	 member_count;
	struct subscription **subs;
	unsigned	 sub_count;
};

struct producer_group {
	char		*name;
	struct member	*members;
	unsigned	 member_count;
};

struct clients	*clients_new(struct broker *b);
void		 clients_free(struct clients **c);

/* What a heartbeat says of its sender. */
struct client_info {
	struct conn	*conn;
	struct slice	 client_id;
	uint8_t		 language;
	int16_t		 version;
	int32_t		 fingerprint;	/* of its subscriptions; 0: an old client */
};
/*
 * One ConsumerData. with_subs false: the known subscriptions stay (heartbeat V2). False: they are not known, the client must
 * send them; nothing was registered.
 */
bool		 clients_register_consumer(struct clients *c, const struct client_info *who, const json_t *data, bool with_subs);
void		 clients_register_producer(struct clients *c, const struct client_info *who, struct slice group);
/* Code 35: the connection leaves the group. */
void		 clients_unregister_consumer(struct clients *c, struct conn *conn, struct slice group);
void		 clients_unregister_producer(struct clients *c, struct conn *conn, struct slice group);
/* NULL: nobody of that group is there. */
struct consumer_group *consumer_group_find(struct clients *c, struct slice group);
struct producer_group *producer_group_find(struct clients *c, struct slice group);
struct subscription *consumer_group_sub(const struct consumer_group *g, struct slice topic);
struct member	*consumer_member(const struct consumer_group *g, struct slice client_id);
/* The connection of the producer with that client id in any group; NULL if none. */
struct conn	*producer_conn_by_client(struct clients *c, struct slice client_id);
void		 consumer_groups_each(struct clients *c, void (*each)(void *arg, struct consumer_group *g), void *arg);
void		 producer_groups_each(struct clients *c, void (*each)(void *arg, struct producer_group *g), void *arg);
/* A pull with its own subscription from a group that sends no heartbeat: kept for bookkeeping (not a connection). */
void		 clients_note_pull_sub(struct clients *c, struct slice group, const struct subscription *s);
/* The subscription of a group that is connected, else the one its pulls brought; NULL: none. Valid until the turn ends. */
const struct subscription *clients_known_sub(struct clients *c, struct slice group, struct slice topic);
/* From on_close. */
void		 clients_conn_closed(struct clients *c, struct conn *conn);
/* Every 10 s: members without a heartbeat for channelExpiredTimeout are dropped and their connections closed. */
void		 clients_expire(struct clients *c);
void		 clients_count(const struct clients *c, int64_t *producers, int64_t *consumers);
void		 subscription_put_json(const struct subscription *s, struct buf *out);

#endif
