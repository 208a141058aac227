/*
 * segs: a directory of equally sized files, each named by the offset of its first byte in 20 decimal digits.
 *
 * So are the commit log, each consume queue and the timer log kept, by the Java broker and by us. This part knows names,
 * sizes and how such files come and go; what stands in them is the business of others.
 *
 * Runs in:    broker (loads, creates), clean (prepares, removes), flush, warm, ha, rmqdump (read).
 * Must not:   remember open files: descriptors belong to the caller.
 */
#ifndef STORE_SEGS_H
#define STORE_SEGS_H

#include "common/base.h"

#define SEGS_NAME_LEN	 20
#define SEGS_PREPARE_DIR "prepare" /* sub-directory of the log for the segment to come; Java ignores sub-directories */

struct segs {
	char		*dir;
	int64_t		 file_bytes;	/* size that each file must have */
	const char	*size_key;	/* the parameter that says so, for error texts: "mappedFileSizeCommitLog" */
	int64_t		*from;		/* starts of the files that are there, ascending; filled by segs_load and segs_scan */
	size_t		 count, cap;
};

enum seg_mode { SEG_READ, SEG_WRITE /* read and write */ };
enum seg_space {
	SEG_RESERVED, /* blocks are set aside: a later write cannot meet a full disk */
	SEG_SPARSE    /* for the many consume queues; writes may meet a full disk */
};

/* size_key must live as long as s. dir is copied. */
void	segs_init(struct segs *s, const char *dir, int64_t file_bytes, const char *size_key);
void	segs_free(struct segs *s);
/* RC_INVAL: a list of several paths, or a multi-path separator in it; one path only in this version. Sentence in e. */
enum rc	segs_check_path(const char *path, struct err *e) MUST_CHECK;

/*
 * Lists the directory by the original's rules: sub-directories are passed over, any other name that is no number is an
 * error, so is a size that differs; an empty file at the end is removed with a warning. No directory: no files.
 * RC_BADDATA: sentence in e names file and key. RC_IO.
 */
enum rc	segs_load(struct segs *s, struct err *e) MUST_CHECK;
/*
 * Removes each file without a byte, with a warning: what a power cut leaves of files that were being made, even before one whose size was
 * on the disk in time. Only for a store that did not end cleanly: elsewhere such a file says that something is wrong.
 */
enum rc	segs_drop_empty(const struct segs *s, struct err *e) MUST_CHECK;
/* As segs_load, but changes nothing on disk (an empty last file is left out of the list): for those who do not own the store. */
enum rc	segs_scan(struct segs *s, struct err *e) MUST_CHECK;
/*
 * For a store whose configuration is not at hand: file_bytes = size of the largest file in dir. RC_NOTFOUND: there is none.
 */
enum rc	segs_guess_bytes(const char *dir, int64_t *file_bytes, struct err *e) MUST_CHECK;

/* Start of the file that holds (or would hold) this offset. */
static inline int64_t
segs_start(const struct segs *s, int64_t offset)
{
	return offset - offset % s->file_bytes;
}
/* Index in s->from of the file that holds offset, or -1. */
long	segs_index(const struct segs *s, int64_t offset);
/* Ends of what is there: 0 if there is no file. */
int64_t	segs_min(const struct segs *s);
int64_t	segs_end(const struct segs *s);
/* Keeps the list in step with what the caller did to the directory. `from` must be behind the last one. */
void	segs_add(struct segs *s, int64_t from);
void	segs_drop_first(struct segs *s, size_t n);
void	segs_drop_last(struct segs *s);

/* "<dir>/<20 digits>". */
void	segs_path(const struct segs *s, int64_t from, char *out, size_t n);
/* "<dir>/prepare/<20 digits>". */
void	segs_prepare_path(const struct segs *s, int64_t from, char *out, size_t n);
/* RC_BADDATA: not exactly decimal digits that fit. */
enum rc	segs_parse_name(const char *name, int64_t *from) MUST_CHECK;

/* RC_NOTFOUND: no such file. RC_IO. Close-on-exec. */
enum rc	segs_open(const struct segs *s, int64_t from, enum seg_mode mode, int *fd, struct err *e) MUST_CHECK;
/*
 * Makes the file at full size (and the directory above it), opened SEG_WRITE, and adds it to the list if it is the last.
 * The directory is not synced: see segs_sync_dir. RC_FULL: nothing is left behind, free bytes in e. RC_IO (also EEXIST).
 */
enum rc	segs_create(struct segs *s, int64_t from, enum seg_space space, int *fd, struct err *e) MUST_CHECK;
/*
 * Takes the file that clean has made ready under prepare/ by rename: zero-filled, of full size. RC_NOTFOUND: none is
 * ready, use segs_create. RC_IO.
 */
enum rc	segs_take_prepared(struct segs *s, int64_t from, int *fd, struct err *e) MUST_CHECK;
/* Removes the file. Not there is no error. The list is not changed. */
enum rc	segs_unlink(const struct segs *s, int64_t from, struct err *e) MUST_CHECK;
/* fsync of the directory, so that names survive a power cut. */
enum rc	segs_sync_dir(const struct segs *s, struct err *e) MUST_CHECK;

/* The same for any directory; mkdir -p with mode 0755 of all that is missing. */
enum rc	dir_sync(const char *dir, struct err *e) MUST_CHECK;
enum rc	dir_make(const char *dir, struct err *e) MUST_CHECK;

#endif
