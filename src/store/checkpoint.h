/*
 * checkpoint: the small file that says up to which store time the files were on stable storage.
 *
 * A 4096-byte file of big-endian 64-bit fields; recovery after a crash begins three seconds before the older of the first
 * two. So they must never be newer than what is really synced. The fields are the original's: to keep a store readable for
 * a Java broker, add none.
 *
 * Runs in:    flush (writes while running), broker (reads at start, writes at a clean end), rmqdump (reads).
 */
#ifndef STORE_CHECKPOINT_H
#define STORE_CHECKPOINT_H

#include "common/base.h"

#define CHECKPOINT_NAME	 "checkpoint" /* below the store's root */
#define CHECKPOINT_BYTES 4096

struct checkpoint {
	int64_t	physic_ms;	/* store time of the last log record that is synced */
	int64_t	logics_ms;	/* store time of the last record whose consume queue unit is synced */
	int64_t	index_ms;	/* end time of the last full, synced index file */
	int64_t	master_flushed;	/* 5.x; kept as it is found */
	int64_t	confirm;	/* 5.x; kept as it is found */
};

/* RC_NOTFOUND: no file, *c is zero. RC_BADDATA: shorter than its fields. RC_IO. */
enum rc	checkpoint_read(const char *path, struct checkpoint *c, struct err *e) MUST_CHECK;
/* Writes all fields and fdatasyncs. RC_FULL, RC_IO: the old content or the new one, the fields stand in one sector. */
enum rc	checkpoint_write(const char *path, const struct checkpoint *c, struct err *e) MUST_CHECK;
/* Where recovery may begin: max(0, min(physic, logics [, index]) - 3000). */
int64_t	checkpoint_recover_ms(const struct checkpoint *c, bool with_index);

#endif
