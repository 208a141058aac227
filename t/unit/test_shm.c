/*
 * test_shm: positions, wake-ups and pages in memory that processes share.
 */
#include "test.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/shm.h"

#define PAGE_BYTES (sizeof(struct shm_page) + SHM_PAGE_TEXT)
#define ROUNDS     20000

static struct shm_page *
new_page(void)
{
	struct err e;
	void *at = NULL;

	CU_ASSERT_EQUAL_FATAL(shm_make("test", PAGE_BYTES, &at, &e), RC_OK);
	return at;
}

static bool
is_signalled(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void
memory_is_zeroed_and_shared_with_a_child(void)
{
	struct err e;
	void *at = NULL;
	shm_i64 *pos;
	pid_t pid;

	CU_ASSERT_EQUAL_FATAL(shm_make("test", 4096, &at, &e), RC_OK);
	pos = at;
	CU_ASSERT_EQUAL(pos_read(pos), 0);
	pid = fork();
	if (pid == 0) {
		pos_publish(pos, 4711);
		_exit(0);
	}
	CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
	CU_ASSERT_EQUAL(pos_read(pos), 4711);
	munmap(at, 4096);
}

static void
memory_that_cannot_be_had_is_said_in_a_sentence(void)
{
	struct err e;
	void *at = NULL;

	CU_ASSERT_EQUAL(shm_make("much", SIZE_MAX / 2, &at, &e), RC_IO);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "shared memory for much"));
	CU_ASSERT_PTR_NULL(at);
}

static void
only_an_armed_sleeper_is_woken_and_only_once(void)
{
	struct shm_waiter w = {0};
	int fd = eventfd(0, EFD_NONBLOCK);

	wake_send(&w, fd);
	CU_ASSERT_FALSE(is_signalled(fd));
	wake_arm(&w);
	wake_send(&w, fd);
	CU_ASSERT_TRUE(is_signalled(fd));
	wake_drain(fd);
	CU_ASSERT_FALSE(is_signalled(fd));
	wake_send(&w, fd);
	CU_ASSERT_FALSE(is_signalled(fd));
	close(fd);
}

/* The child publishes 1..ROUNDS, waking after each; the parent sleeps as worker.c does and must see the last. */
static void
no_wake_up_is_lost_between_arming_and_sleeping(void)
{
	struct {
		shm_i64 pos;
		_Alignas(SHM_LINE) struct shm_waiter w;
	} *s;
	struct err e;
	void *at = NULL;
	int fd = eventfd(0, EFD_NONBLOCK);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t seen;
	pid_t pid;

	CU_ASSERT_EQUAL_FATAL(shm_make("test", 4096, &at, &e), RC_OK);
	s = at;
	pid = fork();
	if (pid == 0) {
		for (int64_t i = 1; i <= ROUNDS; i++) {
			pos_publish(&s->pos, i);
			wake_send(&s->w, fd);
		}
		_exit(0);
	}
	for (;;) {
		wake_drain(fd);
		wake_arm(&s->w);
		seen = pos_read(&s->pos);
		if (seen == ROUNDS || poll(&p, 1, 10000) != 1)
			break;
	}
	CU_ASSERT_EQUAL(seen, ROUNDS);
	waitpid(pid, NULL, 0);
	munmap(at, 4096);
	close(fd);
}

static void
a_page_that_was_never_written_is_none(void)
{
	struct shm_page *p = new_page();
	int64_t ms = -1;

	CU_ASSERT_PTR_NULL(page_copy(p, &ms));
	CU_ASSERT_EQUAL(ms, -1);
	munmap(p, PAGE_BYTES);
}

static void
the_last_text_of_a_page_is_read_with_its_time(void)
{
	struct shm_page *p = new_page();
	int64_t ms = 0;
	char *text;

	clock_set_made(1234567);
	CU_ASSERT_EQUAL(page_publish(p, SLICE_LIT("{\"a\":1000000}")), RC_OK);
	CU_ASSERT_EQUAL(page_publish(p, SLICE_LIT("{}")), RC_OK);
	text = page_copy(p, &ms);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_STRING_EQUAL(text, "{}");
	CU_ASSERT_EQUAL(ms, 1234567);
	free(text);
	clock_set_made(-1);
	munmap(p, PAGE_BYTES);
}

static void
a_text_over_the_limit_is_refused_and_the_old_one_stays(void)
{
	struct shm_page *p = new_page();
	char *huge = calloc(1, SHM_PAGE_TEXT + 1), *text;

	CU_ASSERT_EQUAL(page_publish(p, SLICE_LIT("old")), RC_OK);
	CU_ASSERT_EQUAL(page_publish(p, (struct slice){huge, SHM_PAGE_TEXT + 1}), RC_LIMIT);
	text = page_copy(p, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_STRING_EQUAL(text, "old");
	free(text);
	free(huge);
	munmap(p, PAGE_BYTES);
}

static void
a_writer_that_died_half_way_does_not_hold_the_reader_nor_the_next_writer(void)
{
	struct shm_page *p = new_page();
	char *text;

	CU_ASSERT_EQUAL(page_publish(p, SLICE_LIT("one")), RC_OK);
	atomic_fetch_add(&p->seq, 1);
	CU_ASSERT_PTR_NULL(page_copy(p, NULL));
	CU_ASSERT_EQUAL(page_publish(p, SLICE_LIT("two")), RC_OK);
	text = page_copy(p, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_STRING_EQUAL(text, "two");
	free(text);
	munmap(p, PAGE_BYTES);
}

/* A child writes texts of one letter each, of different lengths, without a pause; a torn one would mix letters. */
static NORETURN void
write_for_ever(struct shm_page *p)
{
	static char text[3000];

	for (unsigned i = 0;; i++) {
		size_t n = 1 + (i * 37) % sizeof(text);

		memset(text, 'a' + (int)(i % 26), n);
		if (page_publish(p, (struct slice){text, n}) != RC_OK)
			_exit(1);
	}
}

static void
a_text_is_never_torn(void)
{
	struct shm_page *p = new_page();
	int64_t end = clock_mono_ms() + 20000;
	int copies = 0, torn = 0;
	pid_t pid = fork();

	if (pid == 0)
		write_for_ever(p);
	while (copies < 2000 && clock_mono_ms() < end) {
		char *text = page_copy(p, NULL);

		if (text == NULL)
			continue;
		copies++;
		torn += strspn(text, (char[]){text[0], '\0'}) != strlen(text);
		free(text);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CU_ASSERT_EQUAL(torn, 0);
	CU_ASSERT_TRUE(copies > 0); /* else nothing was tried */
	munmap(p, PAGE_BYTES);
}

static void
each_writer_has_cache_lines_of_its_own(void)
{
	CU_ASSERT_EQUAL(offsetof(struct node_shm, flush) % SHM_LINE, 0);
	CU_ASSERT_EQUAL(offsetof(struct node_shm, ha) % SHM_LINE, 0);
	CU_ASSERT_EQUAL(offsetof(struct node_shm, clean) % SHM_LINE, 0);
	CU_ASSERT_EQUAL(offsetof(struct node_shm, warm) % SHM_LINE, 0);
	CU_ASSERT_EQUAL(offsetof(struct node_shm, master) % SHM_LINE, 0);
	CU_ASSERT_EQUAL(offsetof(struct node_shm, counters) % SHM_LINE, 0);
	CU_ASSERT_EQUAL(sizeof(((struct node_shm *)0)->waiters[0]), SHM_LINE);
}

TEST_MAIN("common/shm", TEST(memory_is_zeroed_and_shared_with_a_child),
    TEST(memory_that_cannot_be_had_is_said_in_a_sentence), TEST(only_an_armed_sleeper_is_woken_and_only_once),
    TEST(no_wake_up_is_lost_between_arming_and_sleeping), TEST(a_page_that_was_never_written_is_none),
    TEST(the_last_text_of_a_page_is_read_with_its_time), TEST(a_text_over_the_limit_is_refused_and_the_old_one_stays),
    TEST(a_writer_that_died_half_way_does_not_hold_the_reader_nor_the_next_writer), TEST(a_text_is_never_torn),
    TEST(each_writer_has_cache_lines_of_its_own))
