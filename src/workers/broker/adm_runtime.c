/*
 * adm_runtime: the broker's figures (28), by the original's names; mqadmin and the dashboard read many of them.
 *
 * Runs in:    the broker process.
 */
#include "common/clock.h"
#include "workers/broker/admin.h"
#include "workers/broker/brstats.h"
#include "workers/broker/daily.h"
#include "workers/broker/delay.h"
#include "workers/broker/reread.h"
#include "workers/broker/timer.h"

#define GIB ((double)(1 << 30))

static void
put_text(struct buf *out, const char *key, const char *value)
{
	admin_comma(out);
	buf_put_json(out, slice_of(key));
	buf_put_char(out, ':');
	buf_put_json(out, slice_of(value));
}

static void
put_number(struct buf *out, const char *key, int64_t value)
{
	admin_comma(out);
	buf_printf(out, "\"%s\":\"%lld\"", key, (long long)value);
}

static void put_format(struct buf *out, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void
put_format(struct buf *out, const char *key, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	put_text(out, key, text);
}

static uint64_t
count(const shm_u64 *c)
{
	return atomic_load_explicit((shm_u64 *)(uintptr_t)c, memory_order_relaxed);
}

static void
put_identity(struct broker *b, struct buf *out)
{
	int64_t s = (clock_wall_ms() - b->boot_ms) / 1000;

	put_text(out, "brokerVersionDesc", REMOTING_VERSION_TEXT);
	put_number(out, "brokerVersion", REMOTING_VERSION);
	put_text(out, "brokerActive", b->stopping ? "false" : "true");
	put_number(out, "bootTimestamp", b->boot_ms);
	put_number(out, "startAcceptSendRequestTimeStamp", b->accept_ms);
	put_format(out, "runtime", "[ %lld days, %lld hours, %lld minutes, %lld seconds ]", (long long)(s / 86400),
	    (long long)(s / 3600 % 24), (long long)(s / 60 % 60), (long long)(s % 60));
}

/* There are no thread pools: nothing ever waits in one. */
static void
put_pools(struct broker *b, struct buf *out)
{
	const struct broker_conf *k = b->conf;
	const struct { const char *name; int64_t capacity; } pools[] = {{"send", k->sendThreadPoolQueueCapacity},
	    {"pull", k->pullThreadPoolQueueCapacity}, {"litePull", k->litePullThreadPoolQueueCapacity},
	    {"query", k->queryThreadPoolQueueCapacity}, {"ack", k->ackThreadPoolQueueCapacity}};
	char key[64];

	for (size_t i = 0; i < COUNT_OF(pools); i++) {
		snprintf(key, sizeof key, "%sThreadPoolQueueSize", pools[i].name);
		put_number(out, key, 0);
		snprintf(key, sizeof key, "%sThreadPoolQueueCapacity", pools[i].name);
		put_number(out, key, pools[i].capacity);
		snprintf(key, sizeof key, "%sThreadPoolQueueHeadWaitTimeMills", pools[i].name);
		put_number(out, key, 0);
	}
	put_number(out, "EndTransactionQueueSize", 0);
	put_number(out, "EndTransactionThreadPoolQueueCapacity", k->endTransactionPoolQueueCapacity);
	put_number(out, "pageCacheLockTimeMills", 0);
	put_number(out, "remainTransientStoreBufferNumbs", INT32_MAX);
	put_number(out, "dispatchMaxBuffer", 0);
}

static void
put_days(struct broker *b, struct buf *out)
{
	struct daily_totals put = daily_put(b->daily), get = daily_get(b->daily);

	put_number(out, "msgPutTotalYesterdayMorning", (int64_t)put.yesterday);
	put_number(out, "msgPutTotalTodayMorning", (int64_t)put.today);
	put_number(out, "msgPutTotalTodayNow", (int64_t)put.now);
	put_number(out, "msgGetTotalYesterdayMorning", (int64_t)get.yesterday);
	put_number(out, "msgGetTotalTodayMorning", (int64_t)get.today);
	put_number(out, "msgGetTotalTodayNow", (int64_t)get.now);
}

static void
put_rates(struct broker *b, struct buf *out)
{
	static const char *const of_gets[] = {"getTransferredTps", "getFoundTps", "getTotalTps"};
	struct buf put = {0}, get = {0};

	brstats_put_tps_text(b->stats, true, &put);
	brstats_put_tps_text(b->stats, false, &get);
	buf_put_char(&put, '\0');
	buf_put_char(&get, '\0');
	put_text(out, "putTps", put.p);
	for (size_t i = 0; i < COUNT_OF(of_gets); i++)
		put_text(out, of_gets[i], get.p);
	put_text(out, "getMissTps", "0.0 0.0 0.0");
	buf_free(&put);
	buf_free(&get);
}

static void
put_puts(struct broker *b, struct buf *out)
{
	const struct shm_counters *k = &b->w->shm->counters;
	uint64_t msgs = count(&k->put_msgs), bytes = count(&k->put_bytes);
	struct buf average = {0};

	admin_put_double(&average, msgs > 0 ? (double)bytes / (double)msgs : 0);
	buf_put_char(&average, '\0');
	put_text(out, "putMessageAverageSize", average.p);
	buf_free(&average);
	put_number(out, "putMessageSizeTotal", (int64_t)bytes);
	put_number(out, "putMessageTimesTotal", (int64_t)msgs);
	put_number(out, "putMessageFailedTimes", (int64_t)count(&k->put_failed));
	put_number(out, "putMessageEntireTimeMax", (int64_t)count(&k->put_us_max) / 1000);
	put_number(out, "getMessageEntireTimeMax", (int64_t)count(&k->get_us_max) / 1000);
	put_text(out, "putMessageDistributeTime", "null");
	put_text(out, "putLatency99", "0.00");
	put_text(out, "putLatency999", "0.00");
}

static void
put_store(struct broker *b, struct buf *out)
{
	struct store_facts f;
	char key[600];

	store_facts(b->store, &f);
	put_number(out, "commitLogMinOffset", f.log_min);
	put_number(out, "commitLogMaxOffset", f.log_max);
	put_number(out, "dispatchBehindBytes", f.log_max - f.dispatched);
	put_number(out, "earliestMessageTimeStamp", f.earliest_store_ms);
	put_format(out, "remainHowManyDataToFlush", "%lld B", (long long)(f.log_max - f.flushed));
	put_format(out, "commitLogDiskRatio", "%.2f", f.log_disk_ratio);
	snprintf(key, sizeof key, "commitLogDiskRatio_%s", b->conf->storePathCommitLog);
	put_format(out, key, "%.2f", f.log_disk_ratio);
	put_format(out, "consumeQueueDiskRatio", "%.2f", f.queue_disk_ratio);
	put_format(out, "commitLogDirCapacity", "Total : %.1f GiB, Free : %.1f GiB.", (double)f.disk_total / GIB, (double)f.disk_free / GIB);
}

/* How far each level in use is delivered, and how far its queue goes. */
static void
put_delays(struct broker *b, struct buf *out)
{
	struct delay_state s;
	char key[48];

	for (int level = 1; level <= delay_levels(b->delay); level++) {
		delay_state(b->delay, level, &s);
		if (s.queue_max == 0)
			continue;
		snprintf(key, sizeof key, "scheduleMessageOffset_%d", level);
		put_format(out, key, "%lld,%lld", (long long)s.delivered_to, (long long)s.queue_max);
	}
}

static void
put_timer(struct broker *b, struct buf *out)
{
	struct timer_state s;

	timer_state(b->timer, &s);
	put_number(out, "timerReadBehind", s.lag_ms / 1000);
	put_number(out, "timerOffsetBehind", s.unread);
	put_number(out, "timerCongestNum", (int64_t)s.waiting);
	put_format(out, "timerEnqueueTps", "%.1f", s.read_tps);
	put_format(out, "timerDequeueTps", "%.1f", s.delivered_tps);
}

void
adm_runtime_info(struct broker *b, struct conn *c, struct command *cmd)
{
	struct request_id id;
	struct buf body = {0};

	request_id_of(&id, cmd);
	reread_begin(b);
	buf_put_str(&body, "{\"table\":{");
	put_identity(b, &body);
	put_pools(b, &body);
	put_days(b, &body);
	put_rates(b, &body);
	put_puts(b, &body);
	put_store(b, &body);
	put_delays(b, &body);
	put_timer(b, &body);
	buf_put_str(&body, "}}");
	if (reread_needed(b, c, cmd, adm_runtime_info))
		buf_free(&body);
	else
		answer_buf(c, &id, &body);
}
