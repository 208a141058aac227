/*
 * offsets_int: the table of consumed offsets as offsets.c and offsets_sync.c see it. Nobody else includes this.
 */
#ifndef BROKER_OFFSETS_INT_H
#define BROKER_OFFSETS_INT_H

#include "workers/broker/cfgfile.h"
#include "workers/broker/offsets.h"
#include "workers/broker/topics.h"

struct offset_entry {                       /* one group and topic */
	struct offset_entry *next;          /* in its bucket */
	struct offset_entry *newer, *older; /* by the last change */
	uint64_t hash;
	char *group, *topic;
	size_t group_len, topic_len;
	int32_t slots;    /* of each array */
	int32_t stored;   /* how many of offset[] are not -1 */
	uint64_t changed; /* offsets.clock at the last change of offset[] */
	int64_t *offset;
	int64_t *pulled;
	int64_t *reset; /* pending ones; NULL: none of this entry */
	int64_t *back;  /* offsets.clock when it last went back; -1 or NULL: never in this process' life */
	int64_t *own;   /* on a slave: what a client committed here and the master does not know yet; NULL: none */
};

/* An entry that is gone: a slave is told to drop it too. */
struct offsets_gone {
	uint64_t at;         /* offsets.clock */
	char *group, *topic; /* NULL: of any */
};
#define OFFSETS_GONE_MAX 256

struct offsets {
	struct broker *b;
	struct cfgfile *file;
	struct offset_entry **buckets;
	struct offset_entry *newest, *oldest;
	size_t bucket_count; /* a power of two */
	size_t entries;
	unsigned resets;                            /* pending ones of all entries */
	uint64_t resets_at;                         /* clock when they last changed */
	uint64_t clock;                             /* one more with each change */
	bool owns;                                  /* some entry has own[] */
	struct offsets_gone gone[OFFSETS_GONE_MAX]; /* a ring: number n is in [n % OFFSETS_GONE_MAX] */
	uint64_t gone_count;
	int64_t loaded_mark; /* see offsets_set_log_mark */
	int64_t (*mark)(void *arg);
	void *mark_arg;
	struct data_version version;
};

struct offset_entry *offsets_find(const struct offsets *o, struct slice group, struct slice topic);
/* With a place for that queue; NULL: nothing is kept for such names or numbers. */
struct offset_entry *offsets_place(struct offsets *o, struct slice group, struct slice topic, int32_t id);
void offsets_store(struct offsets *o, struct offset_entry *e, int32_t id, int64_t offset);
bool offsets_plain_names(struct slice group, struct slice topic);
int64_t *offsets_grow_array(int64_t *a, int32_t from, int32_t to);
/* ,"popLogOffset":.. if there is one. */
void offsets_put_log_mark(const struct offsets *o, struct buf *out);
/* On a slave: a client committed this here. */
void offsets_note_own(struct offsets *o, struct offset_entry *e, int32_t id);
/* Entries were removed: those of the group or of the topic. */
void offsets_note_gone(struct offsets *o, struct slice group, struct slice topic);
void offsets_forget_gone(struct offsets *o);
/* "topic@group":{"0":5,..} of those queues whose value in `of` is above `above`. */
void offsets_put_entry(const struct offset_entry *e, const int64_t *of, int64_t above, struct buf *out);
/* The key of such an object. False: it is none, or the names cannot be. */
bool offsets_read_key(const char *key, struct slice *group, struct slice *topic);

#endif
