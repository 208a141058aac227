/*
 * cut: a slave's log has bytes that its master never had: they are put aside and taken off the log at the next start.
 *
 * ha finds out where the two logs part, writes the file `cut` below the store's root and has the node's workers started
 * again. store_open then copies the bytes to cut-away/<from>-<time>/, takes them off log and epochs, and removes `cut`;
 * queues and index follow by the ordinary recovery.
 *
 * If it dies at any place: `cut` still stands, and all of it is done again with the same result.
 */
#ifndef STORE_CUT_H
#define STORE_CUT_H

#include "store/commitlog.h"
#include "store/epochs.h"

#define CUT_NAME "cut"      /* below the store's root */
#define CUT_DIR  "cut-away" /* below it, too: one directory for each cut, removed by nobody but the operator */

struct cut {
	int64_t from, to; /* of the log; all of it goes when it does not begin before `from` */
	int64_t epoch;    /* of the master that does not have them */
	int64_t ms;       /* when it was found out */
	bool save;        /* false: they were the master's once and have expired there */
	char master[128];
	char why[400];
};

/* tmp, fsync, rename. RC_FULL, RC_IO: sentence in e, nothing is to be cut. */
enum rc cut_write(const char *root, const struct cut *c, struct err *e) MUST_CHECK;
/* RC_NOTFOUND: nothing is to be cut. RC_BADDATA: the file says what cannot be. RC_IO. */
enum rc cut_read(const char *root, struct cut *c, struct err *e) MUST_CHECK;
/* Where the bytes go. */
void cut_dir(const char *root, const struct cut *c, char *out, size_t n);
/*
 * Does it: log is open and not recovered. RC_OK: `cut` is gone and everything synced. RC_FULL, RC_IO, RC_BADDATA:
 * sentence in e, the store must not be used.
 */
enum rc cut_apply(const char *root, const struct cut *c, struct commitlog *log, const char *epochs_file,
		  struct err *e) MUST_CHECK;

#endif
