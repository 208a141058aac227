/*
 * store_world: a store in a temporary directory, with small files, for the store's unit tests.
 */
#ifndef T_UNIT_STORE_WORLD_H
#define T_UNIT_STORE_WORLD_H

#include <CUnit/Basic.h>

#include "common/conf.h"
#include "common/shm.h"
#include "store/store.h"
#include "store/store_int.h"

struct world {
	char			 dir[64];
	struct broker_conf	 conf;
	struct node_shm		*shm;
	struct store		*s;
	struct err		 e;
	unsigned		 arrivals, dirty_files;
	int64_t			 rolled_to;
};

#define WORLD_LOG_BYTES	  4096 /* of one segment */
#define WORLD_QUEUE_UNITS 10   /* of one queue file */

/* Makes directory and settings and opens the store. */
void	world_begin(struct world *w);
/* The settings alone, for a directory that is there. */
void	world_settings(struct world *w);
/* Closes it and removes everything. */
void	world_end(struct world *w);

void	world_open(struct world *w); /* must succeed */
enum rc	world_try_open(struct world *w);
void	world_stop(struct world *w);	 /* clean */
void	world_die(struct world *w);	 /* the broker worker alone: shared memory stays */
void	world_kill(struct world *w);  /* everything is killed: shared memory is gone, the page cache is not */
void	world_crash(struct world *w); /* the machine: nobody knows more than the checkpoint */
/* As a flush that has synced all would have it. */
void	world_checkpoint(struct world *w, int64_t ms);

/* Stages one message of `body` bytes; keys may be NULL. Result of the staging. */
struct store_put_result	world_stage(struct world *w, const char *topic, int32_t queue, size_t body, const char *props);
/* The same and commits it. */
struct store_put_result	world_put(struct world *w, const char *topic, int32_t queue, size_t body, const char *props);
void	world_put_many(struct world *w, const char *topic, int32_t queue, size_t body, int n);
/* Size of the record that world_put makes. */
size_t	world_record_bytes(const char *topic, size_t body, const char *props);

/* The queue; must be there. */
struct store_queue	*world_queue(struct world *w, const char *topic, int32_t queue);
/* All offsets min..max of the queue name records of that topic and queue which say the same offset. */
bool	world_queue_whole(struct world *w, const char *topic, int32_t queue);
/* Reads all from `offset` on by store_get; the number of messages. */
int	world_read_all(struct world *w, const char *topic, int32_t queue, int64_t offset);
/* Hits of a query over all time. */
unsigned	world_query(struct world *w, const char *topic, const char *key);

/* Raw access to files below the directory: "commitlog/00000000000000000000". */
void	world_peek(struct world *w, const char *file, int64_t at, void *p, size_t n);
void	world_poke(struct world *w, const char *file, int64_t at, const void *p, size_t n);
bool	world_has(struct world *w, const char *file);
void	world_remove(struct world *w, const char *file_or_dir);
/* A file of that text, or with NULL a directory. */
void	world_make(struct world *w, const char *file_or_dir, const char *text);
/* Until the wall clock says another millisecond, `ms` times. */
void	world_wait_ms(int ms);
const char	*world_log_file(int64_t at); /* name of the segment that holds `at` */

#endif
