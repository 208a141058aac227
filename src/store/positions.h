/*
 * positions: how far log, queues and index had come, kept beside `abort` for a start after everything was killed.
 *
 * The shared memory that knows this goes with the last process, but the kernel's page cache does not: while the machine
 * has not been booted again, all that was written is there, synced or not. So the positions noted here are true as long
 * as nobody else has touched the store, and recovery need only look at what came after. After a power cut they mean
 * nothing.
 *
 * They are believed only if the file itself says the running kernel's boot id and the very directories (inodes) that
 * the store has now: a copy, a restored backup or a removed consumequeue/ has others. The caller adds what only it
 * knows: `abort` stands, and nobody else has held the lock (see lockfile_was_ours). A failed sync makes the page cache
 * a lie: flush removes the file. An image of the whole block device put back under a running kernel is the one thing
 * that is not seen: remove the file then.
 *
 * Noting is a plain write of one page every few MiB of log: an old position is as true as a new one, only more is to be
 * looked at.
 *
 * Runs in:    broker (writes, reads at start), flush (removes).
 * To change the layout: raise POSITIONS_VERSION; another version is not believed, the checkpoint serves instead.
 */
#ifndef STORE_POSITIONS_H
#define STORE_POSITIONS_H

#include <limits.h>

#include "common/base.h"

#define POSITIONS_NAME	  "positions" /* below the store's root; the original knows no such name and passes it over */
#define POSITIONS_VERSION 1
#define BOOT_ID_LEN	  36

struct positions {
	int64_t	dispatched;	/* queues and index hold everything below, the log has whole records up to here */
	int64_t	dispatched_store_ms; /* of the last record below */
	int64_t	last_record;	/* where that record begins; -1: there was none since the start */
	int64_t	flushed;	/* the log is synced below */
	int64_t	queues;		/* how many have files: fewer later, and somebody has removed some */
};

struct positions_file {
	char	root[PATH_MAX];
	char	log_dir[PATH_MAX];
	int	fd;		/* -1: nothing noted yet */
	bool	said;		/* that it cannot be written */
	char	boot_id[BOOT_ID_LEN + 1]; /* "": not known, nothing is noted */
};

/* Remembers the names and the boot id. Opens nothing. */
void	positions_init(struct positions_file *f, const char *root, const char *log_dir);
/* Closes; the file stays. */
void	positions_close(struct positions_file *f);
/* True: *p was noted by this very store since the machine was booted; the file is kept in use. */
bool	positions_read(struct positions_file *f, struct positions *p);
/* Makes the file anew when called first, and writes it. A failure is logged once; what stands in the file stays true. */
void	positions_note(struct positions_file *f, const struct positions *p);
/* Nobody is to believe them any more. False: the file is there and cannot be removed (errno). */
bool	positions_remove(const char *root);

/* For tests: "another boot". NULL: the real one again. */
void	positions_set_boot_id(const char *id);

#endif
