/*
 * A slave's store: following what ha writes, cutting what the master never had, and becoming a master in place.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/cut.h"
#include "store/epochs.h"
#include "t/unit/store_world.h"
#include "t/unit/test.h"

#define BODY 700 /* five records in a file of 4096 bytes */

static struct world w;

static void
epochs_of(struct epochs *l)
{
	char path[256];

	epochs_path(&w.conf, path, sizeof(path));
	CU_ASSERT_EQUAL(epochs_load(l, path, &w.e), RC_OK);
}

static void
set_epochs(int32_t epoch, int64_t start)
{
	struct epochs l = {0};
	char path[256];

	epochs_append(&l, epoch, start);
	epochs_path(&w.conf, path, sizeof(path));
	CU_ASSERT_EQUAL(epochs_save(&l, path, &w.e), RC_OK);
}

static void
order_cut(int64_t from, int64_t to, bool save)
{
	struct cut c = {
	    .from = from, .to = to, .epoch = 3, .ms = 1234, .save = save, .master = "127.0.0.1:1", .why = "a \"test\""};

	CU_ASSERT_EQUAL(cut_write(w.dir, &c, &w.e), RC_OK);
}

/* ---- cutting */

static void
what_is_cut_is_saved_and_gone_from_log_queues_and_index(void)
{
	struct store_put_result r[12];
	char name[128], saved[4096], lost[4096];
	int64_t end, from;

	world_begin(&w);
	for (int i = 0; i < 12; i++)
		r[i] = world_put(&w, "T", 0, BODY, i >= 6 ? "KEYS\001late\002" : "KEYS\001early\002");
	end = r[11].end;
	from = r[6].physical; /* in the second file; the third goes as a whole */
	world_peek(&w, world_log_file(from), from % WORLD_LOG_BYTES, lost, 500);
	set_epochs(2, from);
	order_cut(from, end, true);
	world_die(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(w.s->log.end, from);
	CU_ASSERT_EQUAL(pos_read(&w.shm->broker.appended), from);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 6);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	CU_ASSERT_EQUAL(world_query(&w, "T", "early"), 6);
	CU_ASSERT_EQUAL(world_query(&w, "T", "late"), 0);
	CU_ASSERT_FALSE(world_has(&w, world_log_file(end)));
	CU_ASSERT_FALSE(world_has(&w, CUT_NAME));
	snprintf(name, sizeof(name), CUT_DIR "/%lld-1234/%020lld", (long long)from, (long long)from);
	world_peek(&w, name, 0, saved, 500);
	CU_ASSERT_EQUAL(memcmp(saved, lost, 500), 0);
	world_peek(&w, world_log_file(from), from % WORLD_LOG_BYTES, saved, 500);
	for (int i = 0; i < 500; i++)
		CU_ASSERT_EQUAL(saved[i], 0);
	/* and goes on at that place */
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, NULL).queue_offset, 6);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
epochs_behind_the_cut_go_with_it(void)
{
	struct epochs l;
	int64_t from;

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 2);
	from = w.s->log.end;
	world_put_many(&w, "T", 0, BODY, 2);
	set_epochs(2, from + 10);
	order_cut(from, w.s->log.end, true);
	world_crash(&w);
	world_open(&w);
	epochs_of(&l);
	CU_ASSERT_EQUAL(l.count, 0);
	CU_ASSERT_EQUAL(w.s->log.end, from);
	world_end(&w);
}

static void
flushed_is_set_back_too(void)
{
	int64_t from;

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 2);
	from = w.s->log.end;
	world_put_many(&w, "T", 0, BODY, 2);
	pos_publish(&w.shm->flush.flushed, w.s->log.end);
	order_cut(from, w.s->log.end, true);
	world_die(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(pos_read(&w.shm->flush.flushed), from); /* or what comes next would count as flushed */
	world_end(&w);
}

static void
a_log_that_begins_anew_is_empty_and_nothing_is_saved(void)
{
	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 12);
	order_cut(0, w.s->log.end, false);
	world_stop(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(w.s->log.segs.count, 0);
	CU_ASSERT_EQUAL(w.s->log.end, 0);
	CU_ASSERT_PTR_NULL(store_queue_find(w.s, slice_of("T"), 0));
	CU_ASSERT_FALSE(world_has(&w, CUT_DIR));
	world_end(&w);
}

static void
an_order_that_cannot_be_read_stops_the_start(void)
{
	char path[128];
	int fd;

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 2);
	world_stop(&w);
	snprintf(path, sizeof(path), "%s/" CUT_NAME, w.dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL(write(fd, "{\"from\":-5}", 11), 11);
	close(fd);
	CU_ASSERT_EQUAL(world_try_open(&w), RC_BADDATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(w.e.text, path));
	unlink(path);
	world_open(&w);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 2);
	world_end(&w);
}

static void
a_place_without_room_for_what_is_cut_keeps_the_log(void)
{
	char path[128];
	int64_t end;
	int fd;

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 4);
	end = w.s->log.end;
	order_cut(1000, end, true);
	world_die(&w);
	snprintf(path, sizeof(path), "%s/" CUT_DIR, w.dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600); /* a file is in the way of the directory */
	close(fd);
	CU_ASSERT_NOT_EQUAL(world_try_open(&w), RC_OK);
	CU_ASSERT_TRUE(world_has(&w, CUT_NAME));
	CU_ASSERT_TRUE(world_has(&w, "commitlog/00000000000000000000"));
	unlink(path);
	world_open(&w);
	CU_ASSERT(w.s->log.end > 0 && w.s->log.end <= 1000); /* what ends below is whole */
	world_end(&w);
}

#ifdef ENABLE_DEV
static const char *const deaths[] = {"cut.after_save=kill", "cut.after_log=kill", "cut.before_remove=kill"};

struct scene { /* in memory that the child shares */
	char dir[sizeof(w.dir)];
	int64_t from;
};

/* Faults are read once in a process: so the child does it all, and this process has passed no fault point before. */
static void
die_while_cutting(struct scene *s, const char *fault)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setenv("RMQ_FAULTS", fault, 1);
		world_begin(&w);
		memcpy(s->dir, w.dir, sizeof(w.dir));
		world_put_many(&w, "T", 0, BODY, 6);
		s->from = w.s->log.end;
		world_put_many(&w, "T", 0, BODY, 6);
		order_cut(s->from, w.s->log.end, true);
		world_crash(&w);
		(void)!world_try_open(&w);
		_exit(0);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT(WIFSIGNALED(status));
}

static void
is_done_again(const struct scene *s)
{
	w = (struct world){0};
	memcpy(w.dir, s->dir, sizeof(w.dir));
	world_settings(&w);
	world_crash(&w);
	CU_ASSERT_TRUE(world_has(&w, CUT_NAME));
	world_open(&w);
	CU_ASSERT_EQUAL(w.s->log.end, s->from);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 6);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	CU_ASSERT_FALSE(world_has(&w, CUT_NAME));
	world_end(&w);
}

static void
a_death_at_any_step_of_a_cut_changes_nothing_of_the_result(void)
{
	struct scene *s =
	    mmap(NULL, sizeof(*s) * COUNT_OF(deaths), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CU_ASSERT_PTR_NOT_EQUAL_FATAL(s, MAP_FAILED);
	for (size_t i = 0; i < COUNT_OF(deaths); i++)
		die_while_cutting(&s[i], deaths[i]);
	for (size_t i = 0; i < COUNT_OF(deaths); i++)
		is_done_again(&s[i]);
	munmap(s, sizeof(*s) * COUNT_OF(deaths));
}
#endif

/* ---- following, and promotion */

static struct commitlog source; /* as ha has it open */
static char log_bytes[16 * 4096];
static int64_t log_bytes_end;

/* Makes the bytes of a master's log of n records, then an empty slave on the same directory. */
static void
begin_slave(int n)
{
	char dir[128];

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, n);
	log_bytes_end = w.s->log.end;
	for (int64_t at = 0; at < log_bytes_end; at += WORLD_LOG_BYTES)
		world_peek(&w, world_log_file(at), 0, log_bytes + at, WORLD_LOG_BYTES);
	world_stop(&w);
	world_remove(&w, "commitlog");
	atomic_store(&w.shm->master.role, ROLE_SLAVE);
	world_open(&w);
	snprintf(dir, sizeof(dir), "%s/commitlog", w.dir);
	CU_ASSERT_EQUAL(commitlog_open(&source, dir, WORLD_LOG_BYTES, &w.e), RC_OK);
}

/* As ha: bytes are written up to `written`, records are whole up to `appended`. */
static void
receive(int64_t appended, int64_t written)
{
	while (source.end < written) {
		int64_t end = MIN_OF(written, segs_start(&source.segs, source.end) + WORLD_LOG_BYTES);

		CU_ASSERT_EQUAL_FATAL(commitlog_copy(&source, log_bytes + source.end, (size_t)(end - source.end), &w.e),
				      RC_OK);
	}
	pos_publish(&w.shm->ha.written, written);
	pos_publish(&w.shm->broker.appended, appended);
}

static void
promote(int64_t epoch)
{
	commitlog_close(&source);
	pos_publish(&w.shm->master.epoch, epoch);
	atomic_store(&w.shm->master.role, ROLE_ASYNC_MASTER);
	pos_publish(&w.shm->ha.role_epoch, epoch);
}

static int64_t
record_end(int n)
{
	return (int64_t)n * (int64_t)world_record_bytes("T", BODY, NULL);
}

static void
a_slave_dispatches_what_comes_across_files(void)
{
	begin_slave(12);
	CU_ASSERT_FALSE(store_progress(w.s, 1000));
	receive(record_end(3), record_end(3) + 100);
	(void)store_progress(w.s, 1000);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 3);
	receive(log_bytes_end, log_bytes_end);
	(void)store_progress(w.s, 1000);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 12);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	CU_ASSERT_EQUAL(w.rolled_to, log_bytes_end - log_bytes_end % WORLD_LOG_BYTES); /* clean hears of each file */
	commitlog_close(&source);
	world_end(&w);
}

static void
a_promoted_slave_goes_on_behind_its_last_whole_record(void)
{
	struct epochs l;
	char rest[100];
	int64_t end;

	begin_slave(4);
	end = record_end(2);
	receive(end, end + 100);
	CU_ASSERT_EQUAL(store_become_master(w.s, 3, &w.e), RC_BUSY); /* ha has not let go */
	promote(3);
	CU_ASSERT_EQUAL(store_become_master(w.s, 3, &w.e), RC_OK);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 2);
	world_peek(&w, world_log_file(0), end, rest, sizeof(rest));
	for (size_t i = 0; i < sizeof(rest); i++)
		CU_ASSERT_EQUAL(rest[i], 0);
	epochs_of(&l);
	CU_ASSERT(l.count == 1 && l.entry[0].epoch == 3 && l.entry[0].start == end);
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, NULL).queue_offset, 2);
	CU_ASSERT_EQUAL(world_put(&w, "U", 0, BODY, NULL).queue_offset, 0);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	/* the broker dies; its store comes back as the master's that it is */
	world_die(&w);
	world_open(&w);
	CU_ASSERT_EQUAL(queue_max(world_queue(&w, "T", 0)), 3);
	epochs_of(&l);
	CU_ASSERT(l.count == 1 && l.entry[0].start == end);
	world_end(&w);
}

static void
a_promotion_just_where_a_file_ends_opens_the_next(void)
{
	begin_slave(12);
	receive(WORLD_LOG_BYTES, WORLD_LOG_BYTES);
	promote(1);
	CU_ASSERT_EQUAL(store_become_master(w.s, 1, &w.e), RC_OK);
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, NULL).physical, WORLD_LOG_BYTES);
	CU_ASSERT_TRUE(world_queue_whole(&w, "T", 0));
	world_end(&w);
}

static void
an_empty_slave_can_be_promoted(void)
{
	begin_slave(1);
	promote(1);
	CU_ASSERT_EQUAL(store_become_master(w.s, 1, &w.e), RC_OK);
	CU_ASSERT_EQUAL(world_put(&w, "T", 0, BODY, NULL).physical, 0);
	world_end(&w);
}

static void
a_master_that_lost_its_tail_begins_its_epoch_again(void)
{
	struct epochs l;
	int64_t end;

	world_begin(&w);
	world_put_many(&w, "T", 0, BODY, 3);
	end = w.s->log.end;
	set_epochs(4, end + 5000); /* a power cut took what was appended since, and more */
	world_crash(&w);
	pos_publish(&w.shm->master.epoch, 4);
	world_open(&w);
	epochs_of(&l);
	CU_ASSERT(l.count == 1 && l.entry[0].epoch == 4 && l.entry[0].start == end);
	world_end(&w);
}

#ifdef ENABLE_DEV
#define DEATHS TEST(a_death_at_any_step_of_a_cut_changes_nothing_of_the_result), /* the first: see die_while_cutting   \
										  */
#else
#define DEATHS
#endif

TEST_MAIN("cut", DEATHS TEST(what_is_cut_is_saved_and_gone_from_log_queues_and_index),
	  TEST(epochs_behind_the_cut_go_with_it), TEST(flushed_is_set_back_too),
	  TEST(a_log_that_begins_anew_is_empty_and_nothing_is_saved),
	  TEST(an_order_that_cannot_be_read_stops_the_start), TEST(a_place_without_room_for_what_is_cut_keeps_the_log),
	  TEST(a_slave_dispatches_what_comes_across_files), TEST(a_promoted_slave_goes_on_behind_its_last_whole_record),
	  TEST(a_promotion_just_where_a_file_ends_opens_the_next), TEST(an_empty_slave_can_be_promoted),
	  TEST(a_master_that_lost_its_tail_begins_its_epoch_again))
