/*
 * fillahead: writes zeros a little ahead of the records in a segment whose blocks are only set aside.
 *
 * A sync of bytes in blocks that were never written makes the file system change its own books, and that costs as much
 * again as the sync: measured on the 2-core reference machine, ext4: 1.3 kB a sync 4,700/s without, 6,000 to 8,600/s with a
 * mebibyte ahead; 21 kB 2,500/s and 6,200/s. Segments that clean has made ready need none of it; this is for a store's
 * first segment, one that the Java broker made, and one that the writer had to make itself.
 *
 * Runs in:    the broker, as part of the write; only worth it with SYNC_FLUSH.
 */
#ifndef STORE_FILLAHEAD_H
#define STORE_FILLAHEAD_H

#include "common/base.h"

struct fillahead {
	bool	on;
	int64_t	done;	/* bytes of the segment below this were written once */
};

/* The writer has opened a segment and will write at `at` (in the segment). needed: it is not zero-filled. */
void	fillahead_enter(struct fillahead *f, bool needed, int64_t at);
/*
 * Called with each write of n bytes at `at` (both in the segment, of segment_bytes): zeros what follows when it is time.
 * Nothing to check: without it the write is slower, not wrong.
 */
void	fillahead_write(struct fillahead *f, int fd, int64_t at, int64_t n, int64_t segment_bytes);

#endif
