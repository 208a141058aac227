/*
 * test_store_faults: a full disk and sudden death at each named place. Every step runs in a child of its own, since fault
 * points are read once per process.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "store_world.h"
#include "test.h"

#define BODY 100

struct scene { /* what the children share */
	struct world	 w;
	struct node_shm	*shm;
	int64_t		 end;	/* what a step wants to tell the next */
	int		 acked;
};

typedef void step(struct scene *s);

/* Runs it in a child with these faults; the wait status. */
static int
run_step(struct scene *s, const char *faults, step *run)
{
	unsigned failed_before = CU_get_number_of_failures();
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		setenv("RMQ_FAULTS", faults, 1);
		run(s);
		for (CU_pFailureRecord f = CU_get_failure_list(); f != NULL; f = f->pNext)
			fprintf(stderr, "step: %s:%u: %s\n", f->strFileName, f->uiLineNumber, f->strCondition);
		_exit(CU_get_number_of_failures() > failed_before ? 1 : 0);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	return status;
}

static struct scene *
scene_begin(void)
{
	struct scene *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct node_shm *shm = mmap(NULL, sizeof(*shm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_FATAL(s != MAP_FAILED && shm != MAP_FAILED);
	(void)(log_set_level("error") == RC_OK);
	s->shm = shm;
	snprintf(s->w.dir, sizeof(s->w.dir), "%.40s/rmq-fault-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(s->w.dir));
	return s;
}

static void
scene_end(struct scene *s)
{
	world_remove(&s->w, "");
	munmap(s->shm, sizeof(*s->shm));
	munmap(s, sizeof(*s));
}

static void
open_here(struct scene *s)
{
	s->w.rolled_to = -1;
	s->w.s = NULL;
	s->w.shm = s->shm;
	world_settings(&s->w);
	world_open(&s->w);
}

static void
forget_memory(struct scene *s)
{
	memset(s->shm, 0, sizeof(*s->shm));
}

/* Puts one at a time and counts those that were answered, until the process dies. */
static void
put_until_death(struct scene *s)
{
	open_here(s);
	for (int i = 0; i < 30; i++) {
		struct store_put_result r = world_put(&s->w, "T", 0, BODY, "UNIQ_KEY\001u\002");

		s->end = r.end;
		s->acked++;
	}
}

/* Everything that was answered is there, once, and the store goes on. */
static void
expect_all_answered(struct scene *s)
{
	struct store_queue *q;
	int there;

	open_here(s);
	q = store_queue_get(s->w.s, SLICE_LIT("T"), 0);
	there = (int)queue_max(q);
	CU_ASSERT_TRUE(there == s->acked || there == s->acked + 1); /* one may have been written but not answered */
	CU_ASSERT_EQUAL(world_read_all(&s->w, "T", 0, 0), there);
	CU_ASSERT_TRUE(there == 0 || world_queue_whole(&s->w, "T", 0));
	CU_ASSERT_EQUAL(world_query(&s->w, "T", "u"), (unsigned)there);
	CU_ASSERT_EQUAL(world_put(&s->w, "T", 0, BODY, NULL).queue_offset, there);
	CU_ASSERT_EQUAL(world_read_all(&s->w, "T", 0, 0), there + 1);
	store_close(&s->w.s, true);
	CU_ASSERT_FALSE(world_has(&s->w, "abort"));
}

static void
die_at(const char *point)
{
	static const char *const passes[] = {"1", "2", "17", "18", "19"};

	for (unsigned i = 0; i < COUNT_OF(passes); i++)
		for (int memory = 0; memory < 2; memory++) {
			struct scene *s = scene_begin();
			char faults[64];
			int status;

			snprintf(faults, sizeof(faults), "%s=kill@%s", point, passes[i]);
			status = run_step(s, faults, put_until_death);
			if (WIFSIGNALED(status)) {
				CU_ASSERT_EQUAL(WTERMSIG(status), SIGKILL);
				CU_ASSERT_TRUE(s->acked < 30);
			} else {
				CU_ASSERT_TRUE(i > 0); /* a point that is passed only now and then */
			}
			if (!memory)
				forget_memory(s);
			CU_ASSERT_EQUAL(run_step(s, "", expect_all_answered), 0);
			scene_end(s);
		}
}

static void
killed_before_the_write(void)
{
	die_at("append.before_write");
}

static void
killed_after_the_write(void)
{
	die_at("append.after_write");
}

static void
killed_after_publishing(void)
{
	die_at("append.after_publish");
}

static void
killed_before_the_filler(void)
{
	die_at("roll.before_filler");
}

static void
killed_after_the_filler(void)
{
	die_at("roll.after_filler");
}

static void
killed_with_the_next_segment_empty(void)
{
	die_at("roll.after_open");
}

static void
killed_before_the_queue(void)
{
	die_at("dispatch.queue");
}

static void
killed_before_the_index(void)
{
	die_at("dispatch.index");
}

/* ---- the log is taken over, the new epoch is not noted */

static void
promote(struct scene *s)
{
	struct err e = {""};

	atomic_store(&s->shm->ha.role_epoch, 1);
	CU_ASSERT_EQUAL(store_become_master(s->w.s, 1, &e), RC_OK);
}

static void
put_and_promote(struct scene *s)
{
	open_here(s);
	for (; s->acked < 20; s->acked++)
		(void)world_put(&s->w, "T", 0, BODY, "UNIQ_KEY\001u\002");
	promote(s);
}

static void
open_and_promote(struct scene *s)
{
	open_here(s);
	promote(s);
	store_close(&s->w.s, false);
}

static void
killed_while_it_becomes_master(void)
{
	for (int memory = 0; memory < 2; memory++) {
		struct scene *s = scene_begin();
		int status = run_step(s, "promote.before_epoch=kill@1", put_and_promote);

		CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		CU_ASSERT_EQUAL(s->acked, 20);
		if (!memory)
			forget_memory(s);
		CU_ASSERT_EQUAL(run_step(s, "", open_and_promote), 0);
		forget_memory(s);
		CU_ASSERT_EQUAL(run_step(s, "", expect_all_answered), 0);
		scene_end(s);
	}
}

/* ---- full disk */

static void
refuse_and_go_on(struct scene *s)
{
	struct message m = {.topic = SLICE_LIT("T"), .body = SLICE_LIT("0123456789")};
	struct store_put_result r;
	struct err e = {""};

	open_here(s);
	(void)world_put(&s->w, "T", 0, BODY, NULL);
	CU_ASSERT_EQUAL(store_stage(s->w.s, &m, &r), RC_OK);
	CU_ASSERT_EQUAL(r.queue_offset, 1);
	m.topic = SLICE_LIT("U");
	CU_ASSERT_EQUAL(store_stage(s->w.s, &m, &r), RC_OK);
	CU_ASSERT_EQUAL(store_commit(s->w.s, &e), RC_FULL); /* the second write */
	CU_ASSERT_PTR_NOT_NULL(strstr(e.text, "no space"));
	CU_ASSERT_FALSE(store_staged(s->w.s));
	CU_ASSERT_EQUAL(queue_max(world_queue(&s->w, "T", 0)), 1);
	r = world_put(&s->w, "T", 0, BODY, NULL);
	CU_ASSERT_EQUAL(r.queue_offset, 1);
	CU_ASSERT_EQUAL(world_put(&s->w, "U", 0, BODY, NULL).queue_offset, 0);
	CU_ASSERT_TRUE(world_queue_whole(&s->w, "T", 0));
	CU_ASSERT_TRUE(world_queue_whole(&s->w, "U", 0));
}

static void
full_disk_refuses_the_turn_and_gives_offsets_back(void)
{
	struct scene *s = scene_begin();

	CU_ASSERT_EQUAL(run_step(s, "append.write=ENOSPC@2", refuse_and_go_on), 0);
	scene_end(s);
}

/* The first segment's part of the turn is in the file when the second part fails. */
static void
refuse_after_a_roll(struct scene *s)
{
	struct store_put_result r;
	char raw[WORLD_LOG_BYTES], zeros[WORLD_LOG_BYTES] = "";
	struct err e;

	open_here(s);
	r = world_put(&s->w, "T", 0, BODY, NULL);
	s->end = r.end;
	for (int i = 0; i < 30; i++)
		(void)world_stage(&s->w, "T", 0, BODY, NULL);
	CU_ASSERT_EQUAL(store_commit(s->w.s, &e), RC_FULL);
	CU_ASSERT_EQUAL(pos_read(&s->shm->broker.appended), s->end);
	world_peek(&s->w, world_log_file(0), 0, raw, sizeof(raw));
	CU_ASSERT_EQUAL(memcmp(raw + s->end, zeros, (size_t)(WORLD_LOG_BYTES - s->end)), 0);
}

static void
only_the_first_is_there(struct scene *s)
{
	open_here(s);
	CU_ASSERT_EQUAL(s->w.s->log.end, s->end);
	CU_ASSERT_EQUAL(queue_max(world_queue(&s->w, "T", 0)), 1);
	world_put_many(&s->w, "T", 0, BODY, 40);
	CU_ASSERT_TRUE(world_queue_whole(&s->w, "T", 0));
	CU_ASSERT_EQUAL(world_read_all(&s->w, "T", 0, 0), 41);
}

static void
turn_that_fails_in_its_second_segment_leaves_nothing(void)
{
	struct scene *s = scene_begin();

	CU_ASSERT_EQUAL(run_step(s, "append.write=ENOSPC@3", refuse_after_a_roll), 0);
	forget_memory(s);
	CU_ASSERT_EQUAL(run_step(s, "", only_the_first_is_there), 0);
	scene_end(s);
}

static void
put_while_dispatch_stands_still(struct scene *s)
{
	open_here(s);
	world_put_many(&s->w, "T", 0, BODY, 1);
	world_put_many(&s->w, "T", 0, BODY, 3); /* dispatch fails at the first of them */
	CU_ASSERT_EQUAL(queue_max(world_queue(&s->w, "T", 0)), 1);
	CU_ASSERT_EQUAL(s->w.arrivals, 1);
	CU_ASSERT_PTR_NULL(store_refusal(s->w.s)); /* the log goes on */
	store_second(s->w.s);
	CU_ASSERT_EQUAL(queue_max(world_queue(&s->w, "T", 0)), 4);
	CU_ASSERT_EQUAL(s->w.arrivals, 4);
	CU_ASSERT_TRUE(world_queue_whole(&s->w, "T", 0));
}

static void
dispatch_without_space_is_tried_again_and_skips_nothing(void)
{
	struct scene *s = scene_begin();

	CU_ASSERT_EQUAL(run_step(s, "dispatch.queue=ENOSPC@2", put_while_dispatch_stands_still), 0);
	scene_end(s);
}

/* Everything was killed with records that no queue has; the disk is full at the start. */
static void
put_two_undispatched(struct scene *s)
{
	open_here(s);
	world_put_many(&s->w, "T", 0, BODY, 1);
	world_put_many(&s->w, "T", 0, BODY, 2);
	s->acked = 3;
}

static void
start_on_a_full_disk(struct scene *s)
{
	struct message m = {.topic = SLICE_LIT("T"), .body = SLICE_LIT("x")};
	struct store_put_result r;

	open_here(s);
	CU_ASSERT_TRUE(queue_max(world_queue(&s->w, "T", 0)) < s->acked);
	CU_ASSERT_PTR_NOT_NULL(store_refusal(s->w.s));
	CU_ASSERT_EQUAL(store_stage(s->w.s, &m, &r), RC_BUSY); /* its queue offset is not known */
	store_second(s->w.s);
	CU_ASSERT_PTR_NULL(store_refusal(s->w.s));
	CU_ASSERT_EQUAL(queue_max(world_queue(&s->w, "T", 0)), s->acked);
	CU_ASSERT_EQUAL(world_put(&s->w, "T", 0, BODY, NULL).queue_offset, s->acked);
	CU_ASSERT_TRUE(world_queue_whole(&s->w, "T", 0));
}

static void
start_without_space_reads_and_takes_messages_when_there_is(void)
{
	struct scene *s = scene_begin();

	CU_ASSERT_EQUAL(run_step(s, "dispatch.queue=ENOSPC@2", put_two_undispatched), 0);
	forget_memory(s);
	CU_ASSERT_EQUAL(run_step(s, "dispatch.queue=ENOSPC@1", start_on_a_full_disk), 0);
	scene_end(s);
}

TEST_MAIN("store/faults", TEST(killed_before_the_write), TEST(killed_after_the_write), TEST(killed_after_publishing),
    TEST(killed_before_the_filler), TEST(killed_after_the_filler), TEST(killed_with_the_next_segment_empty),
    TEST(killed_before_the_queue), TEST(killed_before_the_index), TEST(killed_while_it_becomes_master),
    TEST(full_disk_refuses_the_turn_and_gives_offsets_back),
    TEST(turn_that_fails_in_its_second_segment_leaves_nothing), TEST(dispatch_without_space_is_tried_again_and_skips_nothing),
    TEST(start_without_space_reads_and_takes_messages_when_there_is))
