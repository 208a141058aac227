/* test_gate: what is not in memory is noted and not read; once it is, answers are the same as without the gate. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "store_world.h"
#include "test.h"

#define UNITS 600 /* of each queue file: three pages */
#define PUT   1000

static unsigned dropped;
static bool keeps_all; /* a file system that is memory: nothing is ever cold */

static int
drop_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	int fd = kind == FTW_F ? open(path, O_RDWR) : -1;

	(void)st, (void)ftw;
	if (fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0)
		dropped++;
	if (fd >= 0)
		close(fd);
	return 0;
}

static bool
is_in_memory(struct world *w)
{
	char path[256], byte;
	struct iovec to = {&byte, 1};
	bool there;
	int fd;

	snprintf(path, sizeof(path), "%s/commitlog/%020d", w->dir, 0);
	fd = open(path, O_RDONLY);
	CU_ASSERT_FATAL(fd >= 0);
	there = preadv2(fd, &to, 1, 0, RWF_NOWAIT) == 1 || errno != EAGAIN;
	close(fd);
	return there;
}

/* A store of which nothing is in memory but what its start has read. */
static void
begin(struct world *w)
{
	char props[32];

	world_begin(w);
	world_stop(w);
	world_remove(w, "consumequeue");
	world_remove(w, "commitlog");
	w->conf.mappedFileSizeCommitLog = 256 << 10;
	w->conf.mappedFileSizeConsumeQueue = UNITS * CQ_UNIT;
	w->conf.maxHashSlotNum = 20000;
	w->conf.maxIndexNum = 3000;
	world_open(w);
	for (int i = 0; i < PUT; i++) {
		snprintf(props, sizeof(props), "KEYS\001k%d\002", i);
		(void)world_put(w, "T", 0, 1000, props);
	}
	world_stop(w);
	nftw(w->dir, drop_one, 16, FTW_PHYS);
	CU_ASSERT_TRUE(dropped > 0);
	keeps_all = is_in_memory(w);
	world_open(w);
}

/* As warm would: the bytes of the list are read. */
static void
warm(struct world *w, const struct cold_list *l)
{
	static char bytes[1 << 20];

	for (unsigned i = 0; i < l->count; i++) {
		const struct cold_range *r = &l->range[i];
		int64_t from = r->file != NULL ? 0 : r->at - r->at % w->conf.mappedFileSizeCommitLog;
		char path[256];
		int fd;

		snprintf(path, sizeof(path), "%s/commitlog/%020lld", w->dir, (long long)from);
		fd = open(r->file != NULL ? r->file : path, O_RDONLY);
		CU_ASSERT_FATAL(fd >= 0);
		CU_ASSERT_EQUAL(pread(fd, bytes, (size_t)r->len, (off_t)(r->at - from)), (ssize_t)r->len);
		close(fd);
	}
}

static void
cold_pull_asks_for_its_units_then_for_all_its_records(void)
{
	struct get_result r;
	struct world w;
	unsigned rounds = 0;

	begin(&w);
	do {
		store_get(w.s, world_queue(&w, "T", 0), 0, 32, NULL, true, &r);
		if (r.status == GET_COLD) {
			CU_ASSERT_TRUE(store_cold(w.s)->count > 0);
			warm(&w, store_cold(w.s));
		}
	} while (r.status == GET_COLD && ++rounds < 10);
	CU_ASSERT_TRUE(rounds >= 1 || keeps_all);
	CU_ASSERT_EQUAL(r.status, GET_FOUND);
	CU_ASSERT_TRUE(r.messages >= w.conf.maxTransferCountOnMessageInDisk);
	world_end(&w);
}

static void
pull_that_may_read_is_answered_at_once(void)
{
	struct get_result r;
	struct world w;

	begin(&w);
	store_get(w.s, world_queue(&w, "T", 0), 0, 32, NULL, false, &r);
	CU_ASSERT_EQUAL(r.status, GET_FOUND);
	world_end(&w);
}

static void
search_by_time_ends_where_it_does_without_the_gate(void)
{
	const struct cold_list *cold;
	struct store_queue *q;
	int64_t found, ms;
	unsigned rounds = 0;
	struct world w;

	begin(&w);
	q = world_queue(&w, "T", 0);
	ms = store_time_at(w.s, q, PUT - 1);
	do {
		store_ask(w.s);
		found = store_offset_by_time(w.s, q, ms, BOUNDARY_LOWER);
		cold = store_asked(w.s);
		warm(&w, cold);
	} while (cold->noted > 0 && ++rounds < 100);
	CU_ASSERT_TRUE((rounds > 1 || keeps_all) && rounds < 100);
	CU_ASSERT_EQUAL(found, store_offset_by_time(w.s, q, ms, BOUNDARY_LOWER));
	CU_ASSERT_TRUE(store_time_at(w.s, q, found) >= ms && (found == 0 || store_time_at(w.s, q, found - 1) < ms));
	world_end(&w);
}

static void
query_and_view_come_to_the_same_through_the_gate(void)
{
	const struct cold_list *cold;
	struct query_result r;
	struct slice record;
	unsigned rounds = 0;
	enum rc rc;
	struct world w;

	begin(&w);
	do {
		store_ask(w.s);
		store_query(w.s, SLICE_LIT("T"), SLICE_LIT("k17"), QUERY_MAX, 0, INT64_MAX, &r);
		rc = r.count > 0 ? store_record_at(w.s, r.physical[0], &record) : RC_NOTFOUND;
		cold = store_asked(w.s);
		warm(&w, cold);
	} while (cold->noted > 0 && ++rounds < 100);
	CU_ASSERT_TRUE((rounds > 1 || keeps_all) && rounds < 100); /* slot, entry, head, body: some of them together */
	CU_ASSERT_EQUAL(r.count, 1);
	CU_ASSERT_EQUAL_FATAL(rc, RC_OK);
	CU_ASSERT_EQUAL(record.n, world_record_bytes("T", 1000, "KEYS\001k17\002"));
	world_end(&w);
}

static void
first_offset_stays_the_old_one_until_its_units_are_there(void)
{
	const struct cold_list *cold;
	struct store_queue *q;
	unsigned rounds = 0;
	struct world w;
	int64_t min;

	begin(&w);
	q = world_queue(&w, "T", 0);
	world_remove(&w, "commitlog/00000000000000000000");
	pos_publish(&w.shm->clean.min, 256 << 10);
	store_second(w.s);
	store_ask(w.s);
	CU_ASSERT_TRUE(queue_min(q) == 0 || keeps_all);
	cold = store_asked(w.s);
	CU_ASSERT_TRUE(cold->noted > 0 || keeps_all);
	do {
		warm(&w, cold);
		store_ask(w.s);
		min = queue_min(q);
		cold = store_asked(w.s);
	} while (cold->noted > 0 && ++rounds < 100);
	CU_ASSERT_TRUE(rounds < 100);
	CU_ASSERT_TRUE(min > 200 && min < 300);
	CU_ASSERT_EQUAL(store_time_at(w.s, q, min - 1), -1);
	CU_ASSERT_TRUE(store_time_at(w.s, q, min) > 0);
	world_end(&w);
}

static void
neighbouring_ranges_become_one_and_too_many_are_left_for_later(void)
{
	struct cold_list g = {0};

	gate_close(&g);
	gate_note(&g, NULL, 1000, 10, 1 << 30);
	gate_note(&g, NULL, 2000, GATE_BYTES, 1 << 30);
	CU_ASSERT_EQUAL(g.count, 1);
	CU_ASSERT_EQUAL(g.range[0].at, 1000);
	CU_ASSERT_EQUAL(g.range[0].len, 1000 + GATE_BYTES);
	gate_note(&g, "/a", 2000, 10, 2005); /* not beyond the end */
	CU_ASSERT_EQUAL(g.range[1].len, 5);
	for (int i = 0; i < 2 * GATE_RANGES; i++)
		gate_note(&g, "/b", i * INT64_C(1000000), 1, INT64_MAX);
	CU_ASSERT_EQUAL(g.count, GATE_RANGES);
	CU_ASSERT_EQUAL(g.noted, 3 + 2 * GATE_RANGES);
	gate_close(&g);
	CU_ASSERT_EQUAL(g.count + g.noted, 0);
}

TEST_MAIN("store/gate", TEST(cold_pull_asks_for_its_units_then_for_all_its_records),
	  TEST(pull_that_may_read_is_answered_at_once), TEST(search_by_time_ends_where_it_does_without_the_gate),
	  TEST(query_and_view_come_to_the_same_through_the_gate),
	  TEST(first_offset_stays_the_old_one_until_its_units_are_there),
	  TEST(neighbouring_ranges_become_one_and_too_many_are_left_for_later))
