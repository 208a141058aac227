/*
 * trace: what all processes of a node do to the disk, in one order.
 *
 * Each record is one append to one file, so processes need no lock. A write is recorded after it was done, the begin of
 * a sync before it: what stands before the begin is certainly covered by the sync. What a process changes through a map
 * is found by comparing with a copy, at each of its operations, before that is recorded.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

#define TRACE_FD 1000 /* from here on: out of the way of programs */
#define MAPS_MAX 1024
#define PAGE     4096

struct record {         /* little-endian, as the machine */
	uint32_t bytes; /* all of it */
	uint32_t kind;
	uint32_t pid;
	uint32_t a_len, b_len;
	uint32_t zero;
	uint64_t ino;
	int64_t at;
	int64_t us; /* monotonic */
};

struct map {
	char *p, *copy;
	size_t n;
	uint64_t ino;
};

static int trace_fd = -1;
static char *trace_path;
static struct map maps[MAPS_MAX];

bool
trace_on(void)
{
	static bool asked;

	if (!asked && getenv("RMQ_SHIM_TRACE") != NULL)
		trace_path = strdup(getenv("RMQ_SHIM_TRACE")); /* see rules_path */
	asked = true;
	return trace_path != NULL;
}

bool
trace_owns(int fd)
{
	return fd >= 0 && fd == trace_fd;
}

static void
open_trace(void)
{
	int fd = real_open(trace_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	trace_fd = fcntl(fd, F_DUPFD_CLOEXEC, TRACE_FD);
	(void)real_close(fd);
	if (trace_fd < 0)
		abort(); /* a trace with a gap would prove nothing */
}

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
append(const struct record *r, const void *a, const void *b)
{
	struct iovec v[3] = {
	    {(void *)(uintptr_t)r, sizeof(*r)}, {(void *)(uintptr_t)a, r->a_len}, {(void *)(uintptr_t)b, r->b_len}};

	if (trace_fd < 0)
		open_trace();
	if (writev(trace_fd, v, 3) != (ssize_t)r->bytes)
		abort();
}

void
trace_put(enum trace_kind kind, uint64_t ino, int64_t at, const void *a, size_t a_len, const void *b, size_t b_len)
{
	int kept = errno;
	struct record r = {.kind = (uint32_t)kind,
			   .pid = (uint32_t)getpid(),
			   .a_len = (uint32_t)a_len,
			   .b_len = (uint32_t)b_len,
			   .ino = ino,
			   .at = at,
			   .us = now_us()};

	if (!trace_on())
		return;
	r.bytes = (uint32_t)(sizeof(r) + a_len + b_len);
	append(&r, a, b);
	errno = kept;
}

/* ---- maps */

void
trace_map(void *p, size_t n, uint64_t ino)
{
	if (!trace_on())
		return;
	for (int i = 0; i < MAPS_MAX; i++) {
		if (maps[i].p != NULL)
			continue;
		maps[i] = (struct map){.p = p, .copy = malloc(n), .n = n, .ino = ino};
		memcpy(maps[i].copy, p, n);
		return;
	}
	abort();
}

static void
put_changes(struct map *m)
{
	for (size_t at = 0; at < m->n; at += PAGE) {
		size_t n = m->n - at < PAGE ? m->n - at : PAGE;

		if (memcmp(m->p + at, m->copy + at, n) == 0)
			continue;
		memcpy(m->copy + at, m->p + at, n);
		trace_put(TRACE_MAPPED, m->ino, (int64_t)at, m->copy + at, n, NULL, 0);
	}
}

void
trace_maps(void)
{
	if (!trace_on())
		return;
	for (int i = 0; i < MAPS_MAX; i++)
		if (maps[i].p != NULL)
			put_changes(&maps[i]);
}

void
trace_unmap(void *p)
{
	trace_maps();
	for (int i = 0; i < MAPS_MAX; i++) {
		if (maps[i].p != p || p == NULL)
			continue;
		free(maps[i].copy);
		maps[i] = (struct map){0};
	}
}
