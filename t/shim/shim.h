/*
 * shim: a library for LD_PRELOAD that stands between the workers and the system: it makes file operations fail, be
 * short or slow, moves the wall clock, and records what is written and synced.
 *
 * RMQ_SHIM_ROOT      the folder whose files are concerned; everything else passes through. Without it nothing is done.
 * RMQ_SHIM_RULES     a file of rules (see rules.c), looked at again at each operation: replace it to switch a running
 * process. What was done is appended to the file's name with ".log". RMQ_SHIM_TRACE     a file to which all processes
 * append what they do, in one order (see trace.c).
 *
 * Test code only: single-threaded processes, forked without exec, as the workers are.
 */
#ifndef T_SHIM_SHIM_H
#define T_SHIM_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum shim_op {
	OP_WRITE,    /* write, pwrite, writev, pwritev of files */
	OP_SYNC,     /* fsync, fdatasync, msync, and the aio one */
	OP_RANGE,    /* sync_file_range */
	OP_TRUNCATE, /* ftruncate */
	OP_FALLOCATE,
	OP_RENAME,
	OP_UNLINK,
	OP_CREATE, /* open that makes the file */
	OP_OPEN,   /* open of an existing file for writing */
	OP_LINK,
	OP_MKDIR,
	OP_MAP,  /* mmap, shared and writable */
	OP_READ, /* pread */
	SHIM_OPS
};

/* ---- rules.c */

enum shim_what { SHIM_PASS, SHIM_FAIL, SHIM_SHORT };
struct shim_verdict {
	enum shim_what what;
	int error; /* of SHIM_FAIL */
};
/* What shall become of this operation; waits here if a rule says so. path is below the root, without it. */
struct shim_verdict rules_ask(enum shim_op op, const char *path);
/* Milliseconds to add to the wall clock. */
int64_t rules_clock_ms(void);

/* ---- trace.c. All do nothing without RMQ_SHIM_TRACE. */

enum trace_kind {
	TRACE_CREATE = 'C',     /* path, ino */
	TRACE_WRITE = 'W',      /* ino, at, bytes */
	TRACE_MAPPED = 'M',     /* the same, through a map */
	TRACE_SIZE = 'T',       /* ino, at = size */
	TRACE_RESERVE = 'F',    /* ino, at = size that it has at least */
	TRACE_RENAME = 'R',     /* path, other path */
	TRACE_LINK = 'L',       /* path, other path */
	TRACE_UNLINK = 'U',     /* path */
	TRACE_MKDIR = 'D',      /* path, ino */
	TRACE_RMDIR = 'X',      /* path */
	TRACE_SYNC_BEGIN = 'B', /* ino, at = number of the sync in its process */
	TRACE_SYNC_END = 'E',   /* the same; only when it succeeded */
	TRACE_SENT = 'A',       /* at = port of the peer, bytes */
};

bool trace_on(void);
void trace_put(enum trace_kind kind, uint64_t ino, int64_t at, const void *a, size_t a_len, const void *b,
	       size_t b_len);
bool trace_owns(int fd); /* it is the trace's own: not to be closed */
/* Shared writable maps: what was changed in them since the last look is put as TRACE_MAPPED. */
void trace_map(void *p, size_t n, uint64_t ino);
void trace_unmap(void *p);
void trace_maps(void);

/* ---- the C library's own, for the three files */
ssize_t real_write(int fd, const void *p, size_t n);
int real_open(const char *path, int flags, mode_t mode);
int real_close(int fd);

#endif
