/*
 * topics: config/topics.json: the topics of this broker. Loaded at start, written on each change.
 */
#ifndef BROKER_TOPICS_H
#define BROKER_TOPICS_H

#include "workers/broker/broker.h"

#define PERM_INHERIT	1
#define PERM_WRITE	2
#define PERM_READ	4
#define TOPIC_SYS_UNIT	1
#define TOPIC_SYS_UNIT_SUB 2

struct data_version {
	int64_t	counter, timestamp, state_version;
};
void	data_version_next(struct data_version *v);
void	data_version_put_json(const struct data_version *v, struct buf *out);
/* {"counter":..}; anything else leaves v as it is. */
void	data_version_read(struct data_version *v, const json_t *o);

struct topic {
	char		*name;
	struct slice	 name_slice;
	int32_t		 read_queues, write_queues, perm, sys_flag;
	bool		 order, multi_tag;
	json_t		*attributes;	/* object of text, bare names; never NULL */
	/* for the hot path: the store's queues by id, filled on first use; NULL entries are not known yet */
	struct store_queue **queues;
	int32_t		 queue_slots;
};

struct topics	*topics_new(struct broker *b);
/* Reads the file and makes the system topics that are missing. RC_BADDATA, RC_IO: sentence in e; the broker must not start. */
enum rc		 topics_load(struct topics *t, struct err *e) MUST_CHECK;
void		 topics_free(struct topics **t);
struct topic	*topic_find(struct topics *t, struct slice name);
/*
 * The topic that a send needs: found, or made by auto creation from default_topic with that many queues (5.5 of the wire
 * reference), or a %RETRY%/%DLQ% one. RC_NOTFOUND: none and not to be made. Registers at the name servers when it made one.
 */
enum rc		 topic_for_send(struct topics *t, struct slice name, struct slice default_topic, int32_t queues, bool unit_mode,
		    struct topic **out) MUST_CHECK;
/* Makes a topic if it is missing (retry, dead letter and system topics). */
struct topic	*topic_ensure(struct topics *t, struct slice name, int32_t queues, int32_t perm, int32_t sys_flag);
/* Makes or changes one as code 17 does. attributes: the modification text "+k=v,-k2" or SLICE_NONE. RC_INVAL: sentence in e. */
enum rc		 topic_update(struct topics *t, const struct topic *wanted, struct slice attributes, struct err *e) MUST_CHECK;
/* Removes it from the table and the file (not its queues). */
bool		 topic_remove(struct topics *t, struct slice name);
void		 topics_each(struct topics *t, void (*each)(void *arg, struct topic *topic), void *arg);
size_t		 topics_count(const struct topics *t);
const struct data_version *topics_version(const struct topics *t);
/* The version moves on and the brokers' registration is renewed (brokerPermission changed, order flags ...). */
void		 topics_touch(struct topics *t);
/* {"attributes":..,"topicName":..}: one TopicConfig. */
void		 topic_put_json(const struct topic *topic, struct buf *out);
/* All but the name; what is missing becomes the original's default. attributes must be set (may be replaced). */
void		 topic_read_json(struct topic *topic, const json_t *o);
/* The name servers' table of order topics says so. */
void		 topic_set_order(struct topics *t, struct topic *topic, bool order);
/* Body of code 21, which registration also uses; perm_mask is ANDed to each perm when it is not 6. */
void		 topics_put_wrapper_json(struct topics *t, int32_t perm_mask, struct buf *out);
/*
 * A slave: the body of code 21 of its master. drop: what the master does not have goes, queues and all; only right while our log
 * is a copy of that master's.
 */
void		 topics_take(struct topics *t, const json_t *wrapper, bool drop);
/* NULL if the name is good, else the original's words for code 29. */
const char	*topic_name_fault(struct slice name, struct err *e);
/* Only letters, digits and %|-_ : topics and groups. */
bool		 topic_name_alphabet(struct slice name);
bool		 topic_is_system(const struct topics *t, struct slice name);	/* may not be changed or deleted */
bool		 topic_is_send_forbidden(struct slice name);
/* Names for code 305. */
void		 topics_put_system_json(struct topics *t, struct buf *out);
/* The store's queue, by way of topic->queues. */
struct store_queue *topic_queue(struct broker *b, struct topic *topic, int32_t queue_id);

#endif
