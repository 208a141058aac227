/*
 * lockfile: one process per store: an exclusive fcntl lock on byte 0 of <root>/lock, as the Java broker takes it.
 *
 * The lock belongs to the process and goes with it, however it ends. It is lost when the process closes any descriptor of
 * that file, so nobody but the one holder opens it.
 */
#ifndef STORE_LOCKFILE_H
#define STORE_LOCKFILE_H

#include "common/base.h"

#define LOCKFILE_NAME "lock" /* below the store's root */

/* RC_BUSY: held by another process, its pid in e and in *holder (if not NULL; 0 unknown). RC_IO. *fd stays open while the store is. */
enum rc	lockfile_take(const char *root, int *fd, long *holder, struct err *e) MUST_CHECK;
/*
 * Was it taken last by this system? The original writes other content when it takes the lock. Not from a process that holds it.
 */
bool	lockfile_was_ours(const char *root);
/* Gives it back; the file stays. *fd becomes -1. */
void	lockfile_release(int *fd);
/* Does somebody hold it? pid, or 0. Takes nothing; for tools. Not from the process that holds it. */
long	lockfile_holder(const char *root);

#endif
