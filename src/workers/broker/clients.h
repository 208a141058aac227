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
	json_t		*shown;		/* as the client sent it */
	bool		 class_filter;
};
/* Parses a TAG expression: "*", "", or tags separated by ||. RC_INVAL: no tag in it. The result is freed by subscription_free. */
enum rc		 subscription_make(struct slice topic, struct slice text, struct slice type, int64_t version, struct subscription **out) MUST_CHECK;
void		 subscription_free(struct subscription **s);
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
/* From on_close. */
void		 clients_conn_closed(struct clients *c, struct conn *conn);
/* Every 10 s: members without a heartbeat for channelExpiredTimeout are dropped and their connections closed. */
void		 clients_expire(struct clients *c);
void		 clients_count(const struct clients *c, int64_t *producers, int64_t *consumers);
void		 subscription_put_json(const struct subscription *s, struct buf *out);

#endif
