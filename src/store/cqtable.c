/*
 * cqtable: the two hash tables of topics and queues, and how queues come from and go with their directories.
 */
#include "store/cqtable.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "store/segs.h"

#define FIRST_SLOTS    1024
#define TOPIC_MAX      255 /* as a file name may be */
#define TOPIC_SCHEDULE "SCHEDULE_TOPIC_XXXX"

/* Multiplies eight bytes at a time: names are short, and the table is looked at twice per message. */
static uint32_t
hash_name(struct slice s)
{
	uint64_t h = 0x9E3779B97F4A7C15u ^ s.n;
	const char *p = s.p;
	size_t n = s.n;
	uint64_t w;

	for (; n >= 8; p += 8, n -= 8) {
		memcpy(&w, p, 8);
		h = (h ^ w) * 0xFF51AFD7ED558CCDu;
		h ^= h >> 32;
	}
	w = 0;
	if (n > 0)
		memcpy(&w, p, n);
	h = (h ^ w) * 0xC4CEB9FE1A85EC53u;
	return (uint32_t)(h ^ h >> 29);
}

static inline uint32_t
hash_queue(uint32_t topic_hash, int32_t id)
{
	uint64_t h = ((uint64_t)topic_hash << 32 | (uint32_t)id) * 0x9E3779B97F4A7C15u;

	return (uint32_t)(h >> 32);
}

void
cqtable_init(struct cqtable *t, struct cq_files *f)
{
	*t = (struct cqtable){.files = f, .cut_at = INT64_MAX, .mask = FIRST_SLOTS - 1, .topic_mask = FIRST_SLOTS - 1};
	t->slots = xcalloc(FIRST_SLOTS, sizeof(*t->slots));
	t->topics = xcalloc(FIRST_SLOTS, sizeof(struct cq_topic *));
}

void
cq_topic_free(struct cq_topic *topic)
{
	struct store_queue *q;

	while ((q = topic->queues) != NULL) {
		topic->queues = q->topic_next;
		cqueue_release(topic->files, q);
		free(q);
	}
	free(topic->name);
	free(topic);
}

static void
close_dirs(struct cqtable *t)
{
	if (t->topic_dir != NULL)
		closedir(t->topic_dir);
	if (t->root_dir != NULL)
		closedir(t->root_dir);
	free(t->topic_name);
	t->topic_dir = t->root_dir = NULL;
	t->topic_name = NULL;
}

void
cqtable_free(struct cqtable *t)
{
	close_dirs(t);
	for (uint32_t i = 0; t->topics != NULL && i <= t->topic_mask; i++)
		if (t->topics[i] != NULL)
			cq_topic_free(t->topics[i]);
	free(t->slots);
	free(t->topics);
	*t = (struct cqtable){0};
}

/* ---- topics */

static uint32_t
topic_place(const struct cqtable *t, struct slice name, uint32_t hash)
{
	uint32_t i = hash & t->topic_mask;
	struct cq_topic *topic;

	while ((topic = t->topics[i]) != NULL) {
		if (topic->hash == hash && topic->len == name.n && memcmp(topic->name, name.p, name.n) == 0)
			break;
		i = (i + 1) & t->topic_mask;
	}
	return i;
}

static void
put_topic(struct cqtable *t, struct cq_topic *topic)
{
	uint32_t i = topic->hash & t->topic_mask;

	while (t->topics[i] != NULL)
		i = (i + 1) & t->topic_mask;
	t->topics[i] = topic;
}

static void
grow_topics(struct cqtable *t)
{
	struct cq_topic **old = t->topics;
	uint32_t n = t->topic_mask + 1;

	t->topics = xcalloc((size_t)n * 2, sizeof(struct cq_topic *));
	t->topic_mask = n * 2 - 1;
	for (uint32_t i = 0; i < n; i++)
		if (old[i] != NULL)
			put_topic(t, old[i]);
	free(old);
}

static struct cq_topic *
make_topic(struct cqtable *t, struct slice name, uint32_t hash)
{
	struct cq_topic *topic = xcalloc(1, sizeof(*topic));

	topic->name = xslicedup(name);
	topic->files = t->files;
	topic->len = (uint32_t)name.n;
	topic->hash = hash;
	topic->index_hash = (uint32_t)str_java_hash(name) * 31 + '#';
	topic->delayed = slice_is(name, TOPIC_SCHEDULE);
	if (++t->topic_count * 2 > t->topic_mask)
		grow_topics(t);
	put_topic(t, topic);
	return topic;
}

bool
cqtable_name_ok(struct slice s)
{
	if (s.n == 0 || s.n > TOPIC_MAX || memchr(s.p, '/', s.n) != NULL || memchr(s.p, '\0', s.n) != NULL)
		return false;
	return !slice_is(s, ".") && !slice_is(s, "..");
}

/* ---- queues */

static struct store_queue *
look_up(const struct cqtable *t, struct slice topic, int32_t id, uint32_t hash)
{
	uint32_t i = hash & t->mask;
	const struct cq_slot *s;

	for (s = &t->slots[i]; s->q != NULL; i = (i + 1) & t->mask, s = &t->slots[i])
		if (s->hash == hash && s->q->id == id && s->q->topic->len == topic.n &&
		    memcmp(s->q->topic->name, topic.p, topic.n) == 0)
			return s->q;
	return NULL;
}

static struct store_queue *load_wanted(struct cqtable *t, struct slice topic, int32_t id);

struct store_queue *
cqtable_find(struct cqtable *t, struct slice topic, int32_t id)
{
	struct store_queue *q = look_up(t, topic, id, hash_queue(hash_name(topic), id));

	return q != NULL || LIKELY(!t->later) ? q : load_wanted(t, topic, id);
}

static void
put_queue(struct cqtable *t, struct store_queue *q)
{
	uint32_t i = q->hash & t->mask;

	while (t->slots[i].q != NULL)
		i = (i + 1) & t->mask;
	t->slots[i] = (struct cq_slot){q->hash, q};
}

static void
resize(struct cqtable *t, uint32_t slots)
{
	struct cq_slot *old = t->slots;
	uint32_t n = t->mask + 1;

	t->slots = xcalloc(slots, sizeof(*t->slots));
	t->mask = slots - 1;
	for (uint32_t i = 0; i < n; i++)
		if (old[i].q != NULL)
			put_queue(t, old[i].q);
	free(old);
}

static struct store_queue *
make_queue(struct cqtable *t, struct slice name, uint32_t topic_hash, int32_t id)
{
	struct cq_topic *topic = t->topics[topic_place(t, name, topic_hash)];
	struct store_queue *q = xmalloc(sizeof(*q));

	if (topic == NULL)
		topic = make_topic(t, name, topic_hash);
	cqueue_init(q);
	q->topic = topic;
	q->id = id;
	q->hash = hash_queue(topic_hash, id);
	q->topic_next = topic->queues;
	topic->queues = q;
	if (++t->count * 2 > t->mask)
		resize(t, (t->mask + 1) * 2);
	put_queue(t, q);
	return q;
}

struct store_queue *
cqtable_get(struct cqtable *t, struct slice topic, int32_t id)
{
	uint32_t topic_hash = hash_name(topic);
	struct store_queue *q = look_up(t, topic, id, hash_queue(topic_hash, id));

	if (LIKELY(q != NULL))
		return q;
	q = t->later ? load_wanted(t, topic, id) : NULL;
	return q != NULL ? q : make_queue(t, topic, topic_hash, id);
}

/* ---- loading */

static enum rc
say_unreadable(const struct cq_files *f, const char *topic, struct err *e)
{
	err_set(e, "cannot read the directory %s/%s: %s", f->root, topic, strerror(errno));
	return RC_IO;
}

static DIR *
open_dir_at(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

	if (d == NULL && fd >= 0)
		close(fd);
	return d;
}

static bool
is_gone(void)
{
	return errno == ENOENT || errno == ENOTDIR;
}

/* The queue whose directory is open as fd, which is closed. */
static enum rc
load_open_queue(struct cqtable *t, struct slice topic, int32_t id, int fd, struct err *e)
{
	struct store_queue *q = make_queue(t, topic, hash_name(topic), id);
	enum rc rc = cqueue_load(t->files, q, fd, e);

	return rc == RC_OK && t->cut_at != INT64_MAX ? cqueue_cut(t->files, q, t->cut_at, e) : rc;
}

static enum rc
load_entry(struct cqtable *t, int topic_fd, const char *topic, const char *name, struct err *e)
{
	struct slice s = slice_of(topic);
	int32_t id;
	int fd;

	if (str_i32(slice_of(name), &id) == RC_OK && look_up(t, s, id, hash_queue(hash_name(s), id)) != NULL)
		return RC_OK; /* asked for before its turn came */
	fd = openat(topic_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return is_gone() ? RC_OK : say_unreadable(t->files, topic, e);
	if (str_i32(slice_of(name), &id) != RC_OK) {
		close(fd);
		err_set(e, "%s/%s/%s is no queue: its name is no number; move it away", t->files->root, topic, name);
		return RC_BADDATA;
	}
	return load_open_queue(t, s, id, fd, e);
}

/* Goes on to the next topic's directory. RC_NOTFOUND: there is none left. */
static enum rc
open_next_topic(struct cqtable *t, struct err *e)
{
	struct dirent *ent = readdir(t->root_dir);

	if (ent == NULL)
		return RC_NOTFOUND;
	if (!cqtable_name_ok(slice_of(ent->d_name)))
		return RC_OK;
	t->topic_dir = open_dir_at(dirfd(t->root_dir), ent->d_name);
	if (t->topic_dir == NULL)
		return is_gone() ? RC_OK : say_unreadable(t->files, ent->d_name, e);
	free(t->topic_name);
	t->topic_name = xstrdup(ent->d_name);
	return RC_OK;
}

/* One entry of a topic's directory, or the step to the next topic. RC_NOTFOUND: all is loaded. */
static enum rc
load_step(struct cqtable *t, struct err *e)
{
	struct dirent *ent;

	if (t->topic_dir == NULL)
		return open_next_topic(t, e);
	ent = readdir(t->topic_dir);
	if (ent == NULL) {
		closedir(t->topic_dir);
		t->topic_dir = NULL;
		return RC_OK;
	}
	return ent->d_name[0] == '.' ? RC_OK : load_entry(t, dirfd(t->topic_dir), t->topic_name, ent->d_name, e);
}

static enum rc
begin_load(struct cqtable *t, struct err *e)
{
	t->root_dir = open_dir_at(AT_FDCWD, t->files->root);
	if (t->root_dir != NULL)
		return RC_OK;
	return errno == ENOENT ? RC_NOTFOUND : say_unreadable(t->files, "", e);
}

enum rc
cqtable_load(struct cqtable *t, struct err *e)
{
	enum rc rc = begin_load(t, e);

	while (rc == RC_OK)
		rc = load_step(t, e);
	close_dirs(t);
	return rc == RC_NOTFOUND ? RC_OK : rc;
}

void
cqtable_load_later(struct cqtable *t, int64_t cut_at)
{
	t->later = true;
	t->cut_at = cut_at;
}

static void
must_load(enum rc rc, const struct err *e)
{
	if (rc == RC_OK || rc == RC_NOTFOUND)
		return;
	log_error("a consume queue cannot be loaded: %s", e->text);
	ensure(!"a queue that is there is loaded");
}

bool
cqtable_load_some(struct cqtable *t, unsigned n)
{
	struct err e = {""};
	enum rc rc = RC_OK;

	if (!t->later)
		return false;
	if (t->root_dir == NULL)
		rc = begin_load(t, &e);
	for (; n > 0 && rc == RC_OK; n--)
		rc = load_step(t, &e);
	must_load(rc, &e);
	if (rc == RC_OK)
		return true;
	close_dirs(t);
	t->later = false;
	return false;
}

/* A queue that is looked up while not all are loaded. NULL: it is not on disk either. */
static struct store_queue *
load_wanted(struct cqtable *t, struct slice topic, int32_t id)
{
	char path[PATH_MAX];
	struct err e;
	int fd;

	if (!cqtable_name_ok(topic) || (size_t)snprintf(path, sizeof(path), "%s/%.*s/%" PRId32, t->files->root,
	    (int)topic.n, topic.p, id) >= sizeof(path))
		return NULL;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		if (!is_gone())
			must_load(say_unreadable(t->files, path, &e), &e);
		return NULL;
	}
	must_load(load_open_queue(t, topic, id, fd, &e), &e);
	return look_up(t, topic, id, hash_queue(hash_name(topic), id));
}

/* ---- deleting */

static void
load_topic(struct cqtable *t, struct slice name)
{
	char *topic = xslicedup(name), *path = xasprintf("%s/%s", t->files->root, topic);
	DIR *d = cqtable_name_ok(name) ? open_dir_at(AT_FDCWD, path) : NULL;
	struct dirent *ent;
	struct err e;

	while (d != NULL && (ent = readdir(d)) != NULL)
		if (ent->d_name[0] != '.')
			must_load(load_entry(t, dirfd(d), topic, ent->d_name, &e), &e);
	if (d != NULL)
		closedir(d);
	free(path);
	free(topic);
}

struct cq_topic *
cqtable_take_topic(struct cqtable *t, struct slice name)
{
	struct cq_topic *topic, **old;
	uint32_t place;

	if (t->later)
		load_topic(t, name);
	place = topic_place(t, name, hash_name(name));
	old = t->topics;
	topic = old[place];
	if (topic == NULL)
		return NULL;
	/* Rare: both tables are simply made anew without them. */
	old[place] = NULL;
	t->topic_count--;
	t->topics = xcalloc((size_t)t->topic_mask + 1, sizeof(struct cq_topic *));
	for (uint32_t i = 0; i <= t->topic_mask; i++)
		if (old[i] != NULL)
			put_topic(t, old[i]);
	free(old);
	for (uint32_t i = 0; i <= t->mask; i++)
		if (t->slots[i].q != NULL && t->slots[i].q->topic == topic) {
			t->slots[i].q = NULL;
			t->count--;
		}
	resize(t, t->mask + 1);
	return topic;
}
