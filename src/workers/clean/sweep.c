/*
 * sweep: walks the queues, and removes what points below the log's first byte.
 */
#include "workers/clean/sweep.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"

#define QUEUES_PER_STEP	 32
#define UNIT_BYTES	 20
#define INDEX_NAME_LEN	 17 /* yyyyMMddHHmmssSSS */
#define INDEX_END_OFFSET 24 /* of endPhyOffset in the head */

void
sweep_init(struct sweep *s, const char *root, int64_t file_bytes)
{
	*s = (struct sweep){.file_bytes = file_bytes};
	snprintf(s->root, sizeof(s->root), "%s", root);
}

static void
close_queue(struct sweep *s)
{
	if (s->queue.dir != NULL)
		segs_free(&s->queue);
}

void
sweep_end(struct sweep *s)
{
	close_queue(s);
	if (s->queues != NULL)
		closedir(s->queues);
	if (s->topics != NULL)
		closedir(s->topics);
	s->topics = s->queues = NULL;
	s->active = false;
}

void
sweep_begin(struct sweep *s, int64_t min)
{
	sweep_end(s);
	s->min = min;
	s->topics = opendir(s->root);
	s->active = s->topics != NULL;
}

/* ---- one queue */

/* Log offset of the last unit of a file. False: it cannot be read. */
static bool
last_unit(const struct segs *q, int64_t from, int64_t *log_offset)
{
	char unit[UNIT_BYTES];
	struct err e;
	ssize_t n;
	int fd;

	if (segs_open(q, from, SEG_READ, &fd, &e) != RC_OK)
		return false;
	n = pread(fd, unit, sizeof(unit), (off_t)(q->file_bytes - UNIT_BYTES));
	close(fd);
	if (n != UNIT_BYTES)
		return false;
	*log_offset = (int64_t)be64_get(unit);
	return true;
}

/* Removes the first file if it may go. The last file of a queue stays: its name says where the queue goes on. */
static bool
remove_first(struct sweep *s)
{
	struct segs *q = &s->queue;
	int64_t log_offset;
	struct err e;

	if (q->count < 2 || !last_unit(q, q->from[0], &log_offset) || log_offset >= s->min)
		return false;
	(void)fault_hit(FAULT_EXPIRE_QUEUE);
	if (segs_unlink(q, q->from[0], &e) != RC_OK) {
		log_warn("%s", e.text);
		return false;
	}
	log_debug("removed %s/%020" PRId64 ": all it points at is below %" PRId64, q->dir, q->from[0], s->min);
	segs_drop_first(q, 1);
	return true;
}

static bool
open_queue(struct sweep *s, const char *name)
{
	char dir[2 * PATH_MAX];
	struct err e;

	snprintf(dir, sizeof(dir), "%s/%s/%s", s->root, s->topic, name);
	segs_init(&s->queue, dir, s->file_bytes, "mappedFileSizeConsumeQueue");
	if (segs_scan(&s->queue, &e) == RC_OK)
		return true;
	log_debug("not cleaned: %s", e.text);
	close_queue(s);
	return false;
}

/* ---- the walk */

static struct dirent *
next_dir(DIR *d)
{
	struct dirent *ent;

	while ((ent = readdir(d)) != NULL)
		if (ent->d_name[0] != '.' && (ent->d_type == DT_DIR || ent->d_type == DT_UNKNOWN))
			return ent;
	return NULL;
}

/* False: no further topic. */
static bool
next_topic(struct sweep *s)
{
	char dir[2 * PATH_MAX];
	struct dirent *ent;

	while ((ent = next_dir(s->topics)) != NULL) {
		snprintf(s->topic, sizeof(s->topic), "%s", ent->d_name);
		snprintf(dir, sizeof(dir), "%s/%s", s->root, s->topic);
		s->queues = opendir(dir);
		if (s->queues != NULL)
			return true;
	}
	return false;
}

/* Opens the next queue that can be read. False: the walk is over. */
static bool
next_queue(struct sweep *s)
{
	struct dirent *ent;

	while (s->queues != NULL || next_topic(s)) {
		while ((ent = next_dir(s->queues)) != NULL)
			if (open_queue(s, ent->d_name))
				return true;
		closedir(s->queues);
		s->queues = NULL;
	}
	return false;
}

enum sweep_result
sweep_step(struct sweep *s)
{
	if (!s->active)
		return SWEEP_DONE;
	for (int n = 0; n < QUEUES_PER_STEP; n++) {
		if (s->queue.dir != NULL && remove_first(s))
			return SWEEP_REMOVED;
		close_queue(s);
		if (!next_queue(s)) {
			sweep_end(s);
			return SWEEP_DONE;
		}
	}
	return SWEEP_MORE;
}

/* ---- index */

static int
is_index_name(const struct dirent *ent)
{
	const char *p = ent->d_name;

	while (isdigit((unsigned char)*p))
		p++;
	return *p == '\0' && p - ent->d_name == INDEX_NAME_LEN;
}

static bool
is_index_below(const char *path, int64_t min)
{
	char field[8];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = pread(fd, field, sizeof(field), INDEX_END_OFFSET);
	close(fd);
	return n == (ssize_t)sizeof(field) && (int64_t)be64_get(field) < min;
}

static unsigned
remove_index_files(const char *dir, struct dirent **names, int count, int64_t min)
{
	char path[PATH_MAX];
	unsigned removed = 0;

	for (int i = 0; i + 1 < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		if (!is_index_below(path, min))
			break;
		(void)fault_hit(FAULT_EXPIRE_INDEX);
		if (unlink(path) != 0) {
			log_warn("cannot remove %s: %s", path, strerror(errno));
			break;
		}
		removed++;
	}
	return removed;
}

unsigned
sweep_index(const char *dir, int64_t min)
{
	struct dirent **names;
	int count = scandir(dir, &names, is_index_name, alphasort);
	unsigned removed;

	if (count < 0)
		return 0;
	removed = remove_index_files(dir, names, count, min);
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
	return removed;
}
