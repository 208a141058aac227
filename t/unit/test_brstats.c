/*
 * Statistics are sampled as the original samples them, and shown in its form.
 */
#include "t/unit/test.h"

#include "common/clock.h"
#include "workers/broker/brstats.h"

static struct broker_conf conf;
static struct node_shm *shm;
static struct worker w;
static struct broker b;

static struct brstats *
made(void)
{
	clock_set_made(1700000000000);
	conf.brokerClusterName = (char *)(uintptr_t)"C1";
	shm = aligned_alloc(SHM_LINE, (sizeof(*shm) + SHM_LINE - 1) / SHM_LINE * SHM_LINE);
	memset(shm, 0, sizeof(*shm));
	w.shm = shm;
	b.w = &w;
	b.conf = &conf;
	return brstats_new(&b);
}

static void
done(struct brstats **s)
{
	brstats_free(s);
	free(shm);
	clock_set_made(-1);
}

static void
seconds(struct brstats *s, int n)
{
	while (n-- > 0) {
		clock_advance_ms(1000);
		brstats_second(s);
	}
}

static void
minute_rate_is_of_ten_seconds_after_the_first_sample(void)
{
	struct brstats *s = made();

	brstats_put(s, SLICE_LIT("T"), 10, 30, 3000);
	CU_ASSERT_DOUBLE_EQUAL(brstats_topic_put_tps(s, SLICE_LIT("T")), 0.0, 0.001);
	seconds(s, 10);
	CU_ASSERT_DOUBLE_EQUAL(brstats_topic_put_tps(s, SLICE_LIT("T")), 3.0, 0.001);
	seconds(s, 60);
	CU_ASSERT_DOUBLE_EQUAL(brstats_topic_put_tps(s, SLICE_LIT("T")), 0.0, 0.001);
	done(&s);
}

static void
item_is_shown_in_the_original_form(void)
{
	struct brstats *s = made();
	struct buf out = {0};
	char *text;

	brstats_put(s, SLICE_LIT("T"), 2, 4, 400);
	seconds(s, 10);
	CU_ASSERT_EQUAL(brstats_put_json(s, SLICE_LIT("TOPIC_PUT_NUMS"), SLICE_LIT("T"), &out), RC_OK);
	text = buf_steal(&out);
	CU_ASSERT_STRING_EQUAL(text, "{\"statsDay\":{\"avgpt\":0.0,\"sum\":0,\"tps\":0.0},\"statsHour\":{\"avgpt\":0.0,\"sum\":0,"
				     "\"tps\":0.0},\"statsMinute\":{\"avgpt\":2.0,\"sum\":4,\"tps\":0.4}}");
	free(text);
	CU_ASSERT_EQUAL(brstats_put_json(s, SLICE_LIT("TOPIC_PUT_SIZE"), SLICE_LIT("T"), &out), RC_OK);
	text = buf_steal(&out);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"statsMinute\":{\"avgpt\":200.0,\"sum\":400,\"tps\":40.0}"));
	free(text);
	CU_ASSERT_EQUAL(brstats_put_json(s, SLICE_LIT("TOPIC_PUT_NUMS"), SLICE_LIT("U"), &out), RC_NOTFOUND);
	CU_ASSERT_EQUAL(brstats_put_json(s, SLICE_LIT("NO_SUCH"), SLICE_LIT("T"), &out), RC_NOTFOUND);
	CU_ASSERT_EQUAL(brstats_put_json(s, SLICE_LIT("BROKER_PUT_NUMS"), SLICE_LIT("C1"), &out), RC_OK);
	buf_free(&out);
	done(&s);
}

static void
group_goes_with_its_topic_or_by_itself(void)
{
	struct brstats *s = made();
	struct buf out = {0};

	brstats_get(s, SLICE_LIT("T"), SLICE_LIT("G"), 5, 50);
	brstats_get(s, SLICE_LIT("T2"), SLICE_LIT("G"), 5, 50);
	brstats_get(s, SLICE_LIT("T2"), SLICE_LIT("G2"), 5, 50);
	seconds(s, 10);
	CU_ASSERT_DOUBLE_EQUAL(brstats_group_get_tps(s, SLICE_LIT("T"), SLICE_LIT("G")), 0.5, 0.001);
	brstats_remove_topic(s, SLICE_LIT("T"));
	CU_ASSERT_EQUAL(brstats_put_json(s, SLICE_LIT("GROUP_GET_NUMS"), SLICE_LIT("T@G"), &out), RC_NOTFOUND);
	brstats_remove_group(s, SLICE_LIT("G"));
	CU_ASSERT_EQUAL(brstats_put_json(s, SLICE_LIT("GROUP_GET_NUMS"), SLICE_LIT("T2@G"), &out), RC_NOTFOUND);
	CU_ASSERT_EQUAL(brstats_put_json(s, SLICE_LIT("GROUP_GET_NUMS"), SLICE_LIT("T2@G2"), &out), RC_OK);
	buf_free(&out);
	done(&s);
}

static void
node_rates_appear_when_there_are_enough_samples(void)
{
	struct brstats *s = made();
	struct buf out = {0};

	seconds(s, 10);
	brstats_put_tps_text(s, true, &out);
	CU_ASSERT(slice_is(buf_slice(&out), "  "));
	atomic_store(&shm->counters.put_msgs, 50);
	seconds(s, 1);
	buf_reset(&out, 1024);
	brstats_put_tps_text(s, true, &out);
	CU_ASSERT(slice_is(buf_slice(&out), "5.0  "));
	seconds(s, 600);
	buf_reset(&out, 1024);
	brstats_put_tps_text(s, true, &out);
	CU_ASSERT(slice_starts(buf_slice(&out), "0.0 0.0 0."));
	buf_free(&out);
	done(&s);
}

static void
day_ring_keeps_a_day(void)
{
	struct brstats *s = made();
	struct buf out = {0};
	char *text;

	for (int hour = 0; hour < 30; hour++) {
		brstats_put(s, SLICE_LIT("T"), 1, 1, 1);
		seconds(s, 3600);
	}
	CU_ASSERT_EQUAL(brstats_put_json(s, SLICE_LIT("TOPIC_PUT_NUMS"), SLICE_LIT("T"), &out), RC_OK);
	text = buf_steal(&out);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "\"statsDay\":{\"avgpt\":1.0,\"sum\":24,"));
	free(text);
	done(&s);
}

TEST_MAIN("broker/brstats", TEST(minute_rate_is_of_ten_seconds_after_the_first_sample), TEST(item_is_shown_in_the_original_form),
    TEST(group_goes_with_its_topic_or_by_itself), TEST(node_rates_appear_when_there_are_enough_samples), TEST(day_ring_keeps_a_day))
