#include <errno.h>
#include <sys/mman.h>

#include "t/unit/node.h"
#include "workers/warm/warm.h"

#define SEG (1 << 20)

static struct node n;

static void
begin(void)
{
	node_init(&n, WORKER_WARM);
	close(node_file(&n, "commitlog/00000000000000000000", SEG));
	close(node_file(&n, "commitlog/00000000000001048576", SEG));
	node_start(&n, warm_run);
	node_ready(&n);
}

static void
end(void)
{
	CU_ASSERT_EQUAL(node_stop(&n), 0);
	node_free(&n);
}

static void
ask(int64_t id, int64_t at, int64_t len)
{
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_WARM_RANGE, id, at, len), RC_OK);
}

static void
expect(int64_t id, int err)
{
	struct ipc_msg m;

	CU_ASSERT_TRUE_FATAL(node_message(n.peer, IPC_WARM_BROKER_DONE, &m));
	CU_ASSERT_EQUAL(ipc_i64(&m), id);
	CU_ASSERT_EQUAL(ipc_i32(&m), err);
}

static void
requests_are_answered_in_their_order(void)
{
	begin();
	for (int64_t id = 1; id <= 20; id++)
		ask(id, id * 4096, 300000);
	for (int64_t id = 1; id <= 20; id++)
		expect(id, 0);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->warm.asked), 20);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->warm.warmed_bytes), 20 * 300000);
	end();
}

static void
a_range_may_lie_across_two_segments(void)
{
	begin();
	ask(1, SEG - 1000, 2000);
	expect(1, 0);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->warm.warmed_bytes), 2000);
	end();
}

static void
one_request_reads_at_most_a_mebibyte(void)
{
	begin();
	ask(1, 0, INT64_MAX);
	expect(1, 0);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->warm.warmed_bytes), 1 << 20);
	end();
}

static void
a_segment_that_is_gone_is_an_error_and_the_next_request_is_served(void)
{
	begin();
	ask(1, 5 * (int64_t)SEG, 1000);
	ask(2, 0, 1000);
	ask(3, 0, 0);
	expect(1, ENOENT);
	expect(2, 0);
	expect(3, 0);
	end();
}

static void
files_of_queues_and_index_are_read_too(void)
{
	char path[PATH_MAX];

	begin();
	node_path(&n, "commitlog/00000000000000000000", path); /* any file */
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_WARM_FILE, (int64_t)1, path, (int64_t)4096, (int64_t)300000), RC_OK);
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_WARM_FILE, (int64_t)2, "/nothing/here", (int64_t)0, (int64_t)1), RC_OK);
	CU_ASSERT_EQUAL(ipc_send(n.peer, IPC_BROKER_WARM_FILE, (int64_t)3, path, (int64_t)SEG, (int64_t)1), RC_OK);
	ask(4, 0, 1000);
	expect(1, 0);
	expect(2, ENOENT);
	expect(3, EIO); /* behind its end */
	expect(4, 0);
	CU_ASSERT_EQUAL(atomic_load(&n.shm->warm.warmed_bytes), 301000);
	end();
}

static void
the_range_is_in_the_page_cache_afterwards(void)
{
	unsigned char in[SEG / 4096] = {0};
	char path[PATH_MAX];
	void *map;
	int fd;

	begin();
	node_path(&n, "commitlog/00000000000000000000", path);
	fd = open(path, O_RDWR);
	CU_ASSERT_EQUAL(pwrite(fd, path, 1, SEG - 1), 1);
	CU_ASSERT_EQUAL(fsync(fd), 0);
	CU_ASSERT_EQUAL(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	ask(1, 0, SEG);
	expect(1, 0);
	map = mmap(NULL, SEG, PROT_READ, MAP_SHARED, fd, 0);
	CU_ASSERT_EQUAL(mincore(map, SEG, in), 0);
	for (size_t i = 0; i < sizeof(in); i++)
		CU_ASSERT_TRUE(in[i] & 1);
	munmap(map, SEG);
	close(fd);
	end();
}

TEST_MAIN("warm", TEST(requests_are_answered_in_their_order), TEST(a_range_may_lie_across_two_segments),
    TEST(files_of_queues_and_index_are_read_too), TEST(one_request_reads_at_most_a_mebibyte), TEST(a_segment_that_is_gone_is_an_error_and_the_next_request_is_served),
    TEST(the_range_is_in_the_page_cache_afterwards))
