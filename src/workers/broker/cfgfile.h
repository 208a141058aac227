/*
 * cfgfile: one JSON file below config/ and the table that it holds: read at start, written when the table has changed.
 *
 * What an operator was told is saved at once (cfgfile_save), which syncs and costs the loop a moment. What clients cause by
 * themselves, maybe hundreds of times in a burst, is marked (cfgfile_changed), written once soon after, and synced by the kernel
 * while the loop goes on. A write that fails is said once, and tried again every few seconds until it succeeds.
 */
#ifndef BROKER_CFGFILE_H
#define BROKER_CFGFILE_H

#include "workers/broker/broker.h"

struct cfgfile;

/* put writes the whole text. *delay_ms: how long a mark may wait; it may change meanwhile, and must outlive the file. */
struct cfgfile	*cfgfile_new(struct broker *b, const char *name, const int32_t *delay_ms, void (*put)(void *arg, struct buf *out),
		    void *arg);
/* Writes what is still marked. */
void		 cfgfile_free(struct cfgfile **f);
const char	*cfgfile_path(const struct cfgfile *f);
void		 cfgfile_changed(struct cfgfile *f);
/* Now, whether it was marked or not. RC_FULL, RC_IO: it stays marked. */
enum rc		 cfgfile_save(struct cfgfile *f, struct err *e) MUST_CHECK;
/* As cfgfile_save, if it was marked. */
enum rc		 cfgfile_save_changes(struct cfgfile *f, struct err *e) MUST_CHECK;
/* How often it was written up to the disk. */
uint64_t	 cfgfile_saves(const struct cfgfile *f);
/* As cfgfile_save; a failure goes to the log only. */
void		 cfgfile_save_or_say(struct cfgfile *f);

#endif
