#include "store_world.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

static void
count_arrival(void *arg, struct store_queue *q, int64_t tags_code, struct slice props)
{
	(void)q;
	(void)tags_code;
	(void)props;
	((struct world *)arg)->arrivals++;
}

static void
count_dirty(void *arg, const char *path)
{
	(void)path;
	((struct world *)arg)->dirty_files++;
}

static void
note_roll(void *arg, int64_t from)
{
	((struct world *)arg)->rolled_to = from;
}

static void
fresh_shm(struct world *w)
{
	free(w->shm);
	w->shm = aligned_alloc(SHM_LINE, (sizeof(*w->shm) + SHM_LINE - 1) / SHM_LINE * SHM_LINE);
	memset(w->shm, 0, sizeof(*w->shm));
}

void
world_settings(struct world *w)
{
	broker_conf_init(&w->conf);
	free(w->conf.storePathRootDir);
	w->conf.storePathRootDir = xstrdup(w->dir);
	w->conf.mappedFileSizeCommitLog = WORLD_LOG_BYTES;
	w->conf.mappedFileSizeConsumeQueue = WORLD_QUEUE_UNITS * CQ_UNIT;
	w->conf.maxHashSlotNum = 64;
	w->conf.maxIndexNum = 100;
	w->conf.brokerRole = ROLE_ASYNC_MASTER;
	w->conf.flushDiskType = FLUSH_ASYNC;
}

void
world_begin(struct world *w)
{
	const char *tmp = getenv("TMPDIR");

	*w = (struct world){.rolled_to = -1};
	(void)(log_set_level("error") == RC_OK);
	snprintf(w->dir, sizeof(w->dir), "%.40s/rmq-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(w->dir) == NULL)
		abort();
	world_settings(w);
	fresh_shm(w);
	world_open(w);
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void
world_end(struct world *w)
{
	store_close(&w->s, false);
	nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	broker_conf_free(&w->conf);
	free(w->shm);
}

enum rc
world_try_open(struct world *w)
{
	struct store_opts o = {.conf = &w->conf, .shm = w->shm,
	    .ops = {.on_arrival = count_arrival, .on_dirty_file = count_dirty, .on_roll = note_roll, .arg = w}};

	return store_open(&w->s, &o, &w->e);
}

void
world_open(struct world *w)
{
	enum rc rc = world_try_open(w);

	CU_ASSERT_EQUAL_FATAL(rc, RC_OK);
}

void
world_stop(struct world *w)
{
	store_close(&w->s, true);
	fresh_shm(w);
}

void
world_die(struct world *w)
{
	int32_t state = atomic_load(&w->shm->broker.state);

	store_close(&w->s, false);
	atomic_store(&w->shm->broker.state, state); /* a dead one writes nothing */
}

void
world_kill(struct world *w)
{
	store_close(&w->s, false);
	fresh_shm(w);
}

void
world_crash(struct world *w)
{
	world_kill(w);
	world_remove(w, POSITIONS_NAME); /* as if the machine had been booted again */
}

void
world_checkpoint(struct world *w, int64_t ms)
{
	struct checkpoint c = {.physic_ms = ms, .logics_ms = ms};
	char path[128];

	snprintf(path, sizeof(path), "%s/checkpoint", w->dir);
	CU_ASSERT_EQUAL(checkpoint_write(path, &c, &w->e), RC_OK);
}

/* ---- messages */

static char body_bytes[1 << 20];

static void
make_message(struct message *m, const char *topic, int32_t queue, size_t body, const char *props)
{
	if (body_bytes[0] == 0)
		for (size_t i = 0; i < sizeof(body_bytes); i++)
			body_bytes[i] = (char)('a' + i % 26);
	*m = (struct message){.topic = slice_of(topic), .queue_id = queue, .born_ms = 1234,
	    .body = {body_bytes, body}, .props = {slice_of(props)}};
	m->born_host = (struct addr){.ip = {10, 0, 0, 1}, .port = 4000};
	m->store_host = (struct addr){.ip = {127, 0, 0, 1}, .port = 10911};
}

size_t
world_record_bytes(const char *topic, size_t body, const char *props)
{
	struct message m;

	make_message(&m, topic, 0, body, props);
	return message_size(&m);
}

struct store_put_result
world_stage(struct world *w, const char *topic, int32_t queue, size_t body, const char *props)
{
	struct store_put_result r = {-1, -1, -1};
	struct message m;

	make_message(&m, topic, queue, body, props);
	CU_ASSERT_EQUAL(store_stage(w->s, &m, &r), RC_OK);
	return r;
}

struct store_put_result
world_put(struct world *w, const char *topic, int32_t queue, size_t body, const char *props)
{
	struct store_put_result r = world_stage(w, topic, queue, body, props);

	CU_ASSERT_EQUAL(store_commit(w->s, &w->e), RC_OK);
	return r;
}

void
world_put_many(struct world *w, const char *topic, int32_t queue, size_t body, int n)
{
	for (int i = 0; i < n; i++)
		(void)world_put(w, topic, queue, body, NULL);
}

/* ---- looking */

struct store_queue *
world_queue(struct world *w, const char *topic, int32_t queue)
{
	struct store_queue *q = store_queue_find(w->s, slice_of(topic), queue);

	CU_ASSERT_PTR_NOT_NULL_FATAL(q);
	return q;
}

static bool
unit_names_record(struct world *w, struct store_queue *q, int64_t offset)
{
	int64_t physical, tags;
	struct slice rec;
	struct message m;
	int32_t size;

	if (store_unit_at(w->s, q, offset, &physical, &size, &tags) != RC_OK ||
	    store_record_at(w->s, physical, &rec) != RC_OK || rec.n != (size_t)size ||
	    message_decode(&m, rec.p, rec.n, true) != RC_OK)
		return false;
	return slice_eq(m.topic, queue_topic(q)) && m.queue_id == queue_id(q) && m.queue_offset == offset;
}

bool
world_queue_whole(struct world *w, const char *topic, int32_t queue)
{
	struct store_queue *q = world_queue(w, topic, queue);

	for (int64_t i = queue_min(q); i < queue_max(q); i++)
		if (!unit_names_record(w, q, i))
			return false;
	return true;
}

int
world_read_all(struct world *w, const char *topic, int32_t queue, int64_t offset)
{
	struct store_queue *q = store_queue_find(w->s, slice_of(topic), queue);
	struct get_result r;
	int n = 0;

	for (;;) {
		store_get(w->s, q, offset, 32, NULL, true, &r);
		if (r.status != GET_FOUND)
			return n;
		n += r.messages;
		offset = r.next;
	}
}

unsigned
world_query(struct world *w, const char *topic, const char *key)
{
	struct query_result r;

	store_query(w->s, slice_of(topic), slice_of(key), QUERY_MAX, 0, INT64_MAX, &r);
	return r.count;
}

/* ---- files */

static int
open_below(struct world *w, const char *file, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", w->dir, file);
	fd = open(path, flags);
	CU_ASSERT_FATAL(fd >= 0);
	return fd;
}

void
world_peek(struct world *w, const char *file, int64_t at, void *p, size_t n)
{
	int fd = open_below(w, file, O_RDONLY);

	CU_ASSERT_EQUAL(pread(fd, p, n, (off_t)at), (ssize_t)n);
	close(fd);
}

void
world_poke(struct world *w, const char *file, int64_t at, const void *p, size_t n)
{
	int fd = open_below(w, file, O_RDWR);

	CU_ASSERT_EQUAL(pwrite(fd, p, n, (off_t)at), (ssize_t)n);
	close(fd);
}

bool
world_has(struct world *w, const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", w->dir, file);
	return access(path, F_OK) == 0;
}

void
world_remove(struct world *w, const char *file_or_dir)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", w->dir, file_or_dir);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void
world_make(struct world *w, const char *file_or_dir, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", w->dir, file_or_dir);
	if (text == NULL) {
		CU_ASSERT_EQUAL(mkdir(path, 0755), 0);
		return;
	}
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_TRUE(fputs(text, f) >= 0);
	CU_ASSERT_EQUAL(fclose(f), 0);
}

void
world_wait_ms(int ms)
{
	int64_t until = clock_wall_ms() + ms;

	while (clock_wall_ms() < until)
		sched_yield();
}

const char *
world_log_file(int64_t at)
{
	static char name[64];

	snprintf(name, sizeof(name), "commitlog/%020" PRId64, at - at % WORLD_LOG_BYTES);
	return name;
}
