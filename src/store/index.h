/*
 * index: finds records by topic and key: files of hash slots and chained entries, in the original's layout.
 *
 * A file is a header of 40 bytes, maxHashSlotNum slots of 4 and maxIndexNum entries of 20, all big-endian. Entry 0 is never
 * used; the count in the header is the number of the next entry. To change the layout: not possible, it is the original's.
 *
 * Runs in:    the broker, which writes through a shared map. A write can not meet a full disk (SIGBUS): header and slots are
 *             set aside when a file is made, entries some megabytes ahead.
 * If it dies: at most one entry is half put; index_mend puts that right.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "common/base.h"
#include "store/gate.h"

struct index_file {
	char	*path;
	char	*map;		/* NULL: not mapped yet */
	bool	 writable;	/* the map is */
	int64_t	 begin_ms, end_ms, begin_physical, end_physical;
	int32_t	 used_slots, count; /* count: number of the next entry, at least 1 */
	int64_t	 reserved;	/* bytes of the file that have blocks */
	int64_t	 touched;	/* bytes whose pages are in memory: entries are put without a page fault */
	bool	 dirty;
	bool	 slots_told;	/* somebody was asked to bring its slots into memory */
};

struct index {
	char	*dir;
	int32_t	 slots, entries;
	struct index_file *files; /* oldest first */
	size_t	 count, cap;
	int64_t	 last_name;
	struct cold_list *gate;	/* for walks; see gate.h */
};

struct index_key {
	uint32_t hash;	/* as stored: not negative */
	int64_t	 physical, store_ms;
};

/* Lists the directory and reads headers. RC_BADDATA: a size that cannot be; sentence in e. RC_IO. */
enum rc	index_open(struct index *ix, const char *dir, int32_t slots, int32_t entries, struct err *e) MUST_CHECK;
void	index_close(struct index *ix);

/* Hash of topic#key; topic_hash is cq_topic.index_hash. */
uint32_t	index_hash(uint32_t topic_hash, struct slice key);
/* Brings the slot of a key that is put soon into the cache. */
void	index_prefetch(const struct index *ix, uint32_t hash);
/*
 * Puts n keys in log order. Keys of records that are indexed already are passed over. RC_FULL, RC_IO: sentence in e; the keys
 * before are put, and putting all of them again later is right.
 */
enum rc	index_put(struct index *ix, const struct index_key *keys, size_t n, struct err *e) MUST_CHECK;

/* Walks the entries of hash newest first while each() wants more: time is to the second. A file whose entries are cold ends at the gate. */
void	index_walk(struct index *ix, uint32_t hash, int64_t begin_ms, int64_t end_ms,
	    bool (*each)(void *arg, int64_t physical), void *arg);
/* End of the newest entries, 0 if there is none. */
void	index_last(const struct index *ix, int64_t *store_ms, int64_t *physical);
/* End time of the newest full file: what the checkpoint may say once the files are synced. */
int64_t	index_full_ms(const struct index *ix);

/*
 * Each entry touches a slot anywhere in the first *bytes of the newest file: they are to be in memory. NULL: this was told before, or
 * there is no file.
 */
const char	*index_cold_slots(struct index *ix, int64_t *bytes);
/* Tells each file with unsynced bytes, once. */
void	index_tell_dirty(struct index *ix, void (*tell)(void *arg, const char *path), void *arg);
/* The files that were told may not have been synced: the newest two count as dirty again. */
void	index_tell_again(struct index *ix);
/* At a clean end. RC_IO: it is not known what of the files is on the disk. */
enum rc	index_sync(struct index *ix, struct err *e) MUST_CHECK;
/* Files that clean has removed (all their records lie below log_min) are let go. */
void	index_forget(struct index *ix, int64_t log_min);

/* Recovery, only the broker died: the memory is whole but for a put that was not finished. */
enum rc	index_mend(struct index *ix, struct err *e) MUST_CHECK;
/*
 * Recovery after a crash of the host: keeps what belongs to records below `physical`, drops the rest and chains the slots of the
 * files concerned anew. Files that were made before entries could be trusted keep what is plausible.
 */
enum rc	index_cut(struct index *ix, int64_t physical, struct err *e) MUST_CHECK;

#endif
