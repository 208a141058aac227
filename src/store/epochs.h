/*
 * epochs: where in the log each master's reign begins: epochFileCheckpoint, in the original's form.
 *
 * Each promotion raises the epoch and notes (epoch, end of the log then). Two nodes find by these lists up to where
 * their logs are the same, however often the role has moved. Below the first entry epoch 0 reigns from offset 0 on; an
 * empty list is a log that never saw a failover.
 *
 * Text: number of entries, CRC-32 & 0x7fffffff of the lines that follow (0: not checked), then `epoch-start` per line,
 * both ascending. The form is the original's and cannot be changed.
 *
 * Runs in:    broker (at start, at a promotion), ha on a slave (takes over its master's list), rmqdump (reads).
 */
#ifndef STORE_EPOCHS_H
#define STORE_EPOCHS_H

#include "common/conf.h"

#define EPOCHS_NAME "epochFileCheckpoint" /* below the store's root unless storePathEpochFile says otherwise */
#define EPOCHS_MAX  1000                  /* the oldest goes when there are more */

struct epoch_entry {
	int32_t epoch;
	int64_t start;
};

struct epochs { /* entries with ascending epochs and starts */
	size_t count;
	struct epoch_entry entry[EPOCHS_MAX];
};

void epochs_path(const struct broker_conf *c, char *out, size_t n);
/* No file: an empty list. RC_BADDATA: neither it nor its .bak can be read; RC_IO. Sentence in e. */
enum rc epochs_load(struct epochs *l, const char *path, struct err *e) MUST_CHECK;
/* tmp, fsync, rename. An empty list removes nothing but writes "0 entries". RC_FULL, RC_IO: the old one stands. */
enum rc epochs_save(const struct epochs *l, const char *path, struct err *e) MUST_CHECK;
/* RC_BADDATA: not that form, or the CRC is another. */
enum rc epochs_parse(struct epochs *l, struct slice text) MUST_CHECK;

bool epochs_equal(const struct epochs *a, const struct epochs *b);
/* 0: none. */
int32_t epochs_last(const struct epochs *l);
/* A reign begins. Entries that begin at `start` or behind it, or have that epoch or a higher one, held no byte that
 * counts: they go. */
void epochs_append(struct epochs *l, int32_t epoch, int64_t start);
/* The log ends at `end` now: drops reigns that begin behind it. True: there were any. */
bool epochs_cut(struct epochs *l, int64_t end);
/*
 * Up to where two logs that end at a_end and b_end are the same: in the highest epoch that begins at the same place in
 * both, as far as both have it.
 */
int64_t epochs_meet(const struct epochs *a, int64_t a_end, const struct epochs *b, int64_t b_end);

#endif
