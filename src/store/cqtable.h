/*
 * cqtable: all consume queues by topic and queue id.
 *
 * Looked up twice per message (staging, dispatch): open addressing, hashes kept.
 *
 * A start reads every queue's end, which takes some seconds for 200,000 of them. After the death of the broker worker alone
 * nobody can wait for that: then a queue is loaded when it is first asked for, and the others little by little.
 */
#ifndef STORE_CQTABLE_H
#define STORE_CQTABLE_H

#include <dirent.h>

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
	/* loading little by little */
	bool		  later;	/* a queue that is not in the table may still be on disk */
	int64_t		  cut_at;	/* units of records from here on are not taken over when a queue is loaded */
	DIR		 *root_dir, *topic_dir;
	char		 *topic_name;	/* of topic_dir */
};

void	cqtable_init(struct cqtable *t, struct cq_files *f);
/* Frees everything; files are only closed. */
void	cqtable_free(struct cqtable *t);
struct store_queue	*cqtable_find(struct cqtable *t, struct slice topic, int32_t id);
/* Makes it if needed. The name must be one that cqtable_name_ok. */
struct store_queue	*cqtable_get(struct cqtable *t, struct slice topic, int32_t id);
/* Takes the topic and its queues out of the table; they and the name are the caller's to free. */
struct cq_topic		*cqtable_take_topic(struct cqtable *t, struct slice topic);
void	cq_topic_free(struct cq_topic *topic);
/* Can it be the name of a directory? The broker has refused others; a foreign log may hold anything. */
bool	cqtable_name_ok(struct slice topic);
/*
 * Loads every <topic>/<id> directory. RC_BADDATA, RC_IO: sentence in e.
 */
enum rc	cqtable_load(struct cqtable *t, struct err *e) MUST_CHECK;
/*
 * Loads none now: each when it is first looked up (an error there ends the worker: its messages cannot be guessed), the others by
 * cqtable_load_some, at most n at a time. True: there may be more.
 */
void	cqtable_load_later(struct cqtable *t, int64_t cut_at);
bool	cqtable_load_some(struct cqtable *t, unsigned n);

#define cqtable_each(t, q)                                                                                             \
	for (uint32_t slot_ = 0; slot_ <= (t)->mask; slot_++)                                                          \
		if (((q) = (t)->slots[slot_].q) != NULL)

#endif
