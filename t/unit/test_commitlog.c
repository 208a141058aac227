/* test_commitlog: staging, the turn's write, the roll to the next segment, and what a failed write leaves. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "store_world.h"
#include "test.h"

static void
record_stands_byte_for_byte_where_it_was_promised(void)
{
	struct world w;
	struct store_put_result r;
	struct message m;
	char raw[512];
	size_t n = world_record_bytes("T", 11, "TAGS\001TagA\002");

	world_begin(&w);
	clock_set_made(1700000000123);
	r = world_put(&w, "T", 3, 11, "TAGS\001TagA\002");
	clock_set_made(-1);
	CU_ASSERT_EQUAL(n, 91 + 11 + 1 + 10);
	CU_ASSERT_EQUAL(r.physical, 0);
	CU_ASSERT_EQUAL(r.queue_offset, 0);
	CU_ASSERT_EQUAL(r.end, (int64_t)n);
	world_peek(&w, world_log_file(0), 0, raw, n + 8);
	CU_ASSERT_EQUAL(be32_get(raw), n);
	CU_ASSERT_EQUAL(be32_get(raw + 4), 0xDAA320A7u);
	CU_ASSERT_EQUAL(be32_get(raw + 12), 3);
	CU_ASSERT_EQUAL(be64_get(raw + 28), 0);
	CU_ASSERT_EQUAL(be64_get(raw + 56), 1700000000123);
	CU_ASSERT_EQUAL(message_decode(&m, raw, n, true), RC_OK);
	CU_ASSERT_EQUAL(be64_get(raw + n), 0);
	world_end(&w);
}

static void
full_segment_ends_with_eight_bytes_of_filler(void)
{
	struct world w;
	size_t n = world_record_bytes("T", 900, NULL);
	struct store_put_result r;
	char raw[24];

	world_begin(&w);
	world_put_many(&w, "T", 0, 900, 4);
	CU_ASSERT_EQUAL(w.rolled_to, 0);
	r = world_put(&w, "T", 0, 900, NULL);
	CU_ASSERT_EQUAL(r.physical, WORLD_LOG_BYTES);
	CU_ASSERT_EQUAL(r.queue_offset, 4);
	CU_ASSERT_EQUAL(w.rolled_to, WORLD_LOG_BYTES);
	world_peek(&w, world_log_file(0), (int64_t)(4 * n), raw, 24);
	CU_ASSERT_EQUAL(be32_get(raw), WORLD_LOG_BYTES - 4 * n);
	CU_ASSERT_EQUAL(be32_get(raw + 4), 0xCBD43194u);
	CU_ASSERT_EQUAL(be64_get(raw + 8), 0);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

/* A record fits if eight bytes stay free behind it. */
static void
record_goes_to_the_next_segment_when_no_filler_would_fit(void)
{
	size_t head = world_record_bytes("T", 0, NULL);
	struct world w;

	for (int spare = 7; spare <= 8; spare++) {
		world_begin(&w);
		CU_ASSERT_EQUAL(world_put(&w, "T", 0, WORLD_LOG_BYTES / 2 - head, NULL).physical, 0);
		CU_ASSERT_EQUAL(world_put(&w, "T", 0, WORLD_LOG_BYTES / 2 - head - (size_t)spare, NULL).physical,
		    spare == 8 ? WORLD_LOG_BYTES / 2 : WORLD_LOG_BYTES);
		world_end(&w);
	}
}

static void
turn_may_cross_several_segments(void)
{
	struct world w;

	world_begin(&w);
	for (int i = 0; i < 40; i++)
		(void)world_stage(&w, "T", i % 3, 700, NULL);
	CU_ASSERT_TRUE(store_staged(w.s));
	CU_ASSERT_FALSE(world_has(&w, world_log_file(0)));
	CU_ASSERT_EQUAL(store_commit(w.s, &w.e), RC_OK);
	CU_ASSERT_FALSE(store_staged(w.s));
	CU_ASSERT_EQUAL(w.arrivals, 40);
	CU_ASSERT_EQUAL(world_read_all(&w, "T", 0, 0), 14);
	CU_ASSERT_EQUAL(world_read_all(&w, "T", 1, 0), 13);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_TRUE(world_queue_whole(&w, "T", i));
	world_end(&w);
}

static void
batch_stands_in_one_segment_at_consecutive_offsets(void)
{
	struct store_put_result r[4];
	struct message m[4];
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 900, 2);
	for (int i = 0; i < 4; i++)
		m[i] = (struct message){.topic = SLICE_LIT("T"), .body = SLICE_LIT("0123456789"),
		    .props = {{.p = "K\001V\002", .n = 4}}};
	for (int i = 0; i < 4; i++)
		m[i].props[1] = (struct slice){"                                ", 32};
	(void)world_stage(&w, "T", 0, 1500, NULL);
	CU_ASSERT_EQUAL(store_stage_batch(w.s, m, 4, r), RC_OK);
	CU_ASSERT_EQUAL(r[0].physical, WORLD_LOG_BYTES);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(r[i].queue_offset, 3 + i);
	CU_ASSERT_EQUAL(r[3].end - r[0].physical, (int64_t)(4 * message_size(&m[0])));
	CU_ASSERT_EQUAL(store_commit(w.s, &w.e), RC_OK);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
batch_larger_than_a_segment_is_refused(void)
{
	struct store_put_result r[5];
	struct message m[5];
	struct world w;
	char body[900] = "";

	world_begin(&w);
	for (int i = 0; i < 5; i++)
		m[i] = (struct message){.topic = SLICE_LIT("T"), .body = {body, sizeof(body)}};
	CU_ASSERT_EQUAL(store_stage_batch(w.s, m, 5, r), RC_LIMIT);
	CU_ASSERT_FALSE(store_staged(w.s));
	CU_ASSERT_EQUAL(store_stage_batch(w.s, m, 4, r), RC_OK);
	CU_ASSERT_EQUAL(r[0].queue_offset, 0);
	world_end(&w);
}

static void
limits_of_a_message_are_the_originals(void)
{
	static char text[40000];
	struct message m = {.topic = {text, 127}};
	struct store_put_result r;
	struct world w;

	memset(text, 'x', sizeof(text));
	world_begin(&w);
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_OK);
	m.topic.n = 128;
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_LIMIT);
	memcpy(text, "%RETRY%", 7);
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_OK);
	m.topic.n = 255;
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_OK);
	m.topic.n = 0;
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_LIMIT);
	m.topic.n = 5;
	m.props[0] = (struct slice){text, 32767};
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_LIMIT); /* no segment of this store is so large */
	m.props[0].n = 0;
	w.conf.maxMessageSize = 100;
	m.body = (struct slice){text, 100};
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_OK);
	m.body.n = 101;
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_LIMIT);
	world_end(&w);
}

static void
prepared_messages_take_no_queue_offset(void)
{
	struct message m = {.topic = SLICE_LIT("T"), .sysflag = MSG_SYS_TRAN_PREPARED};
	struct store_put_result r;
	struct world w;

	world_begin(&w);
	world_put_many(&w, "T", 0, 10, 2);
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_OK);
	CU_ASSERT_EQUAL(r.queue_offset, 0);
	m.sysflag = MSG_SYS_TRAN_COMMIT;
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_OK);
	CU_ASSERT_EQUAL(r.queue_offset, 2);
	CU_ASSERT_EQUAL(store_commit(w.s, &w.e), RC_OK);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 3);
	world_end(&w);
}

static void
slave_refuses_messages(void)
{
	struct message m = {.topic = SLICE_LIT("T")};
	struct store_put_result r;
	struct world w;

	world_begin(&w);
	atomic_store(&w.shm->master.role, ROLE_SLAVE);
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_BUSY);
	CU_ASSERT_PTR_NOT_NULL(store_refusal(w.s));
	atomic_store(&w.shm->master.role, ROLE_ASYNC_MASTER);
	CU_ASSERT_PTR_NULL(store_refusal(w.s));
	atomic_store(&w.shm->clean.disk_full, 1);
	CU_ASSERT_EQUAL(store_stage(w.s, &m, &r), RC_BUSY);
	world_end(&w);
}

static void
sync_flush_shows_messages_when_they_are_flushed(void)
{
	struct store_put_result r;
	struct world w;

	world_begin(&w);
	w.conf.flushDiskType = FLUSH_SYNC;
	r = world_put(&w, "T", 0, 10, NULL);
	CU_ASSERT_EQUAL(queue_max(store_queue_get(w.s, SLICE_LIT("T"), 0)), 0);
	CU_ASSERT_EQUAL(pos_read(&w.shm->broker.appended), r.end);
	CU_ASSERT_FALSE(store_progress(w.s, 100));
	CU_ASSERT_EQUAL(w.arrivals, 0);
	pos_publish(&w.shm->flush.flushed, r.end);
	CU_ASSERT_FALSE(store_progress(w.s, 100));
	CU_ASSERT_EQUAL(w.arrivals, 1);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 1);
	CU_ASSERT_EQUAL(pos_read(&w.shm->broker.dispatched), r.end);
	world_end(&w);
}

static void
progress_takes_no_more_than_it_is_told(void)
{
	struct store_put_result r = {0};
	struct world w;

	world_begin(&w);
	w.conf.flushDiskType = FLUSH_SYNC;
	for (int i = 0; i < 10; i++)
		r = world_put(&w, "T", 0, 10, NULL);
	pos_publish(&w.shm->flush.flushed, r.end);
	CU_ASSERT_TRUE(store_progress(w.s, 4));
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 4);
	CU_ASSERT_TRUE(store_progress(w.s, 4));
	CU_ASSERT_FALSE(store_progress(w.s, 4));
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 10);
	world_end(&w);
}

static void
prepared_segment_is_taken_into_use(void)
{
	struct world w;
	char path[128];
	int fd;

	world_begin(&w);
	snprintf(path, sizeof(path), "%s/commitlog/prepare", w.dir);
	CU_ASSERT_EQUAL(dir_make(path, &w.e), RC_OK);
	snprintf(path, sizeof(path), "%s/commitlog/prepare/%020d", w.dir, WORLD_LOG_BYTES);
	fd = open(path, O_RDWR | O_CREAT, 0644);
	CU_ASSERT_EQUAL(ftruncate(fd, WORLD_LOG_BYTES), 0);
	close(fd);
	world_put_many(&w, "T", 0, 900, 5);
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
	CU_ASSERT_TRUE(world_has(&w, world_log_file(WORLD_LOG_BYTES)));
	world_end(&w);
}

TEST_MAIN("store/commitlog", TEST(record_stands_byte_for_byte_where_it_was_promised),
    TEST(full_segment_ends_with_eight_bytes_of_filler), TEST(record_goes_to_the_next_segment_when_no_filler_would_fit),
    TEST(turn_may_cross_several_segments), TEST(batch_stands_in_one_segment_at_consecutive_offsets),
    TEST(batch_larger_than_a_segment_is_refused), TEST(limits_of_a_message_are_the_originals),
    TEST(prepared_messages_take_no_queue_offset), TEST(slave_refuses_messages),
    TEST(sync_flush_shows_messages_when_they_are_flushed), TEST(progress_takes_no_more_than_it_is_told),
    TEST(prepared_segment_is_taken_into_use))
