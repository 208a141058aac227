/*
 * cqtable: all consume queues by topic and queue id.
 *
 * Looked up twice per message (staging, dispatch): open addressing, hashes kept, and the queue of the last look-up first.
 */
#ifndef STORE_CQTABLE_H
#define STORE_CQTABLE_H

#include "store/cqueue.h"

struct cq_slot {
	uint32_t		 hash;
	struct store_queue	*q; /* NULL: free */
};

struct cqtable {
	struct cq_files	 *files;
	struct cq_slot	 *slots;
	uint32_t	  mask, count;
	struct cq_topic	**topics; /* open addressing too */
	uint32_t	  topic_mask, topic_count;
};

void	cqtable_init(struct cqtable *t, struct cq_files *f);
/* Frees everything; files are only closed. */
void	cqtable_free(struct cqtable *t);
struct store_queue	*cqtable_find(const struct cqtable *t, struct slice topic, int32_t id);
/* Makes it if needed. The name must be one that cqtable_name_ok. */
struct store_queue	*cqtable_get(struct cqtable *t, struct slice topic, int32_t id);
struct cq_topic		*cqtable_topic(const struct cqtable *t, struct slice topic);
/* Takes the topic and its queues out of the table; they and the name are the caller's to free. */
struct cq_topic		*cqtable_take_topic(struct cqtable *t, struct slice topic);
void	cq_topic_free(struct cq_topic *topic);
/* Can it be the name of a directory? The broker has refused others; a foreign log may hold anything. */
bool	cqtable_name_ok(struct slice topic);
/*
 * Loads every <topic>/<id> directory. RC_BADDATA, RC_IO: sentence in e.
 */
enum rc	cqtable_load(struct cqtable *t, struct err *e) MUST_CHECK;

#define cqtable_each(t, q)                                                                                             \
	for (uint32_t slot_ = 0; slot_ <= (t)->mask; slot_++)                                                          \
		if (((q) = (t)->slots[slot_].q) != NULL)

#endif
