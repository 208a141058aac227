/*
 * The list of epochs: its text, its file, and where two logs part.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "store/epochs.h"
#include "t/unit/test.h"

static struct epochs a, b;

static void
make(struct epochs *l, const struct epoch_entry *e, size_t n)
{
	l->count = 0;
	for (size_t i = 0; i < n; i++)
		epochs_append(l, e[i].epoch, e[i].start);
}

#define MAKE(l, ...)                                                                                                   \
	make(l, (const struct epoch_entry[]){__VA_ARGS__},                                                             \
	     sizeof((const struct epoch_entry[]){__VA_ARGS__}) / sizeof(struct epoch_entry))

static void
the_text_of_the_original_is_read(void)
{
	/* as EpochFileCache of 5.3.3 writes two entries: the CRC is over the lines */
	CU_ASSERT_EQUAL(epochs_parse(&a, slice_of("2\n0\n1-0\n3-1196000\n")), RC_OK);
	CU_ASSERT(a.count == 2 && a.entry[1].epoch == 3 && a.entry[1].start == 1196000);
	CU_ASSERT_EQUAL(epochs_parse(&a, slice_of("2\r\n0\r\n1-0\r\n3-7\r\n")), RC_OK);
	CU_ASSERT_EQUAL(epochs_last(&a), 3);
	CU_ASSERT_EQUAL(epochs_parse(&a, slice_of("0\n0\n")), RC_OK);
	CU_ASSERT_EQUAL(epochs_last(&a), 0);
}

static void
a_damaged_text_is_refused(void)
{
	static const char *const bad[] = {"",
					  "1\n",
					  "x\n0\n1-0\n",
					  "1\n0\n",
					  "2\n0\n1-0\n",
					  "1\n5\n1-0\n",
					  "1\n0\n1_0\n",
					  "1\n0\n-1-0\n",
					  "1\n0\n1--5\n",
					  "2\n0\n2-0\n1-5\n",
					  "2\n0\n1-5\n2-4\n",
					  "1\n0\n99999999999-0\n",
					  "-1\n0\n",
					  "1001\n0\n1-0\n"};

	for (size_t i = 0; i < COUNT_OF(bad); i++)
		CU_ASSERT_EQUAL(epochs_parse(&a, slice_of(bad[i])), RC_BADDATA);
}

static void
what_was_saved_is_loaded_and_a_broken_file_gives_way_to_its_old_one(void)
{
	char dir[] = "/tmp/test_epochs.XXXXXX", path[64], cmd[80];
	struct err e;
	int fd;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/epochs", dir);
	CU_ASSERT_EQUAL(epochs_load(&a, path, &e), RC_OK);
	CU_ASSERT_EQUAL(a.count, 0);
	MAKE(&a, {1, 0}, {2, 500});
	CU_ASSERT_EQUAL(epochs_save(&a, path, &e), RC_OK);
	CU_ASSERT_EQUAL(epochs_load(&b, path, &e), RC_OK);
	CU_ASSERT(epochs_equal(&a, &b));
	epochs_append(&a, 3, 900);
	CU_ASSERT_FALSE(epochs_equal(&a, &b));
	CU_ASSERT_EQUAL(epochs_save(&a, path, &e), RC_OK);
	fd = open(path, O_WRONLY);
	CU_ASSERT_EQUAL(pwrite(fd, "7", 1, 0), 1);
	(void)!log_set_level("error");
	CU_ASSERT_EQUAL(epochs_load(&a, path, &e), RC_OK);
	CU_ASSERT(epochs_equal(&a, &b));
	snprintf(cmd, sizeof(cmd), "%s.bak", path);
	unlink(cmd);
	CU_ASSERT_EQUAL(epochs_load(&a, path, &e), RC_BADDATA);
	close(fd);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	CU_ASSERT_EQUAL(system(cmd), 0);
}

static void
an_epoch_without_bytes_is_replaced_by_the_next(void)
{
	MAKE(&a, {1, 0}, {2, 500}, {3, 500});
	CU_ASSERT(a.count == 2 && a.entry[1].epoch == 3);
	epochs_append(&a, 4, 200); /* the log was cut below */
	CU_ASSERT(a.count == 2 && a.entry[1].epoch == 4 && a.entry[1].start == 200);
	CU_ASSERT_TRUE(epochs_cut(&a, 199));
	CU_ASSERT_EQUAL(a.count, 1);
	CU_ASSERT_FALSE(epochs_cut(&a, 199));
}

static void
the_oldest_epoch_goes_when_there_are_too_many(void)
{
	a.count = 0;
	for (int i = 1; i <= EPOCHS_MAX + 1; i++)
		epochs_append(&a, i, i * 10);
	CU_ASSERT_EQUAL(a.count, EPOCHS_MAX);
	CU_ASSERT_EQUAL(a.entry[0].epoch, 2);
	CU_ASSERT_EQUAL(epochs_last(&a), EPOCHS_MAX + 1);
}

static void
logs_meet_where_the_same_epoch_ends(void)
{
	/* never a failover: the shorter one */
	a.count = b.count = 0;
	CU_ASSERT_EQUAL(epochs_meet(&a, 100, &b, 70), 70);
	/* the old master went on alone after the promotion at 500 */
	MAKE(&a, {3, 500});
	CU_ASSERT_EQUAL(epochs_meet(&a, 900, &b, 700), 500);
	/* the slave lagged when another was promoted */
	CU_ASSERT_EQUAL(epochs_meet(&a, 900, &b, 400), 400);
	/* both saw epoch 3, then one of them was master 4 and the other wrote on in 3 */
	MAKE(&a, {3, 500}, {4, 800});
	MAKE(&b, {3, 500});
	CU_ASSERT_EQUAL(epochs_meet(&a, 900, &b, 850), 800);
	CU_ASSERT_EQUAL(epochs_meet(&b, 850, &a, 900), 800);
	/* one number at two places is not the same reign */
	MAKE(&b, {3, 450});
	CU_ASSERT_EQUAL(epochs_meet(&a, 900, &b, 850), 450);
	/* both the same */
	b = a;
	CU_ASSERT_EQUAL(epochs_meet(&a, 900, &b, 850), 850);
	/* an entry behind the log's own end says nothing */
	CU_ASSERT_EQUAL(epochs_meet(&a, 900, &b, 600), 600);
	/* an empty slave */
	b.count = 0;
	CU_ASSERT_EQUAL(epochs_meet(&a, 900, &b, 0), 0);
}

TEST_MAIN("epochs", TEST(the_text_of_the_original_is_read), TEST(a_damaged_text_is_refused),
	  TEST(what_was_saved_is_loaded_and_a_broken_file_gives_way_to_its_old_one),
	  TEST(an_epoch_without_bytes_is_replaced_by_the_next), TEST(the_oldest_epoch_goes_when_there_are_too_many),
	  TEST(logs_meet_where_the_same_epoch_ends))
