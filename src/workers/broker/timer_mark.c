/*
 * timer_mark: which timer messages have been delivered. See timer_mark.h.
 *
 * Runs in:    the broker process.
 * Owns:       config/timercheck.
 * Must not:   write a place whose copies are not on the disk yet.
 * If it dies: the file is behind; the log's tail says the rest at the next start.
 */
#include "workers/broker/timer_mark.h"

#include "common/clock.h"
#include "common/crc.h"
#include "workers/broker/append.h"
#include "workers/broker/cfgfile.h"
#include "workers/broker/timer_heap.h"
#include "workers/broker/topics.h"

#define OFFSET_BITS 54           /* of a queue offset in a copy's mark */
#define MARK_LEVEL  INT64_C(128) /* above it: no delay level has this number */
#define PERIOD_MS   5000
#define RENEW_BYTES (64 << 20) /* the file is renewed when the log has grown by this: it bounds the walk at the start  \
				*/
#define SCAN_MISSING                                                                                                   \
	(256 << 20) /* without a file a log of this size is walked as a whole: it died before the first was written */

/* config/timercheck: one page, big-endian. The original's part, ours, checksum. */
#define FILE_BYTES   4096
#define OFF_READ_MS  0
#define OFF_LOG_POS  8
#define OFF_QUEUE    16
#define OFF_MASTER   24
#define OFF_STATE    32
#define OFF_STAMP    40
#define OFF_COUNTER  48
#define OFF_MAGIC    TIMER_CHECK_BODY
#define OFF_OURS     64 /* five numbers */
#define OFF_EXCEPTED 104
#define OFF_EXCEPT   112
#define OFF_CRC      (FILE_BYTES - 8)
#define MAGIC        UINT64_C(0x524d5154494d4552) /* "RMQTIMER" */

_Static_assert(OFF_EXCEPT + TIMER_ASIDE_MAX * 8 <= OFF_CRC, "the exceptions fit into the page");

struct timer_mark {
	struct broker *b;
	struct cfgfile *file;
	struct timer_place saved, next; /* what the file says; what it will, when the log is flushed up to there */
	bool waiting;                   /* `next` waits */
	bool ours;                      /* the place is one of this broker's making */
	bool original;                  /* the place is one of the original: by TIMER_OUT_MS */
	bool scanned, settled, kept;
	int64_t scan_at, scan_began_ms, asked_ms;
	int64_t *found; /* places of copies in the log's tail, in order after the walk */
	size_t found_count, found_cap;
	struct data_version version;
};

int64_t
timer_mark_of(int64_t queue_offset)
{
	return ~(MARK_LEVEL << OFFSET_BITS | queue_offset);
}

bool
timer_mark_read(int64_t prepared_offset, int64_t *queue_offset)
{
	int64_t v = ~prepared_offset;

	if (prepared_offset >= 0 || v >> OFFSET_BITS != MARK_LEVEL)
		return false;
	*queue_offset = v & ((INT64_C(1) << OFFSET_BITS) - 1);
	return true;
}

/* ---- file */

static void
put64(char *page, size_t at, int64_t v)
{
	be64_put(page + at, (uint64_t)v);
}

static int64_t
get64(const char *page, size_t at)
{
	return (int64_t)be64_get(page + at);
}

static void
fill_ours(const struct timer_mark *m, char page[FILE_BYTES])
{
	const struct timer_place *p = &m->saved;
	const int64_t ours[] = {p->log_end, p->read_to, p->low, p->done_ms, p->done_at};

	put64(page, OFF_MAGIC, (int64_t)MAGIC);
	for (size_t i = 0; i < COUNT_OF(ours); i++)
		put64(page, OFF_OURS + 8 * i, ours[i]);
	put64(page, OFF_EXCEPTED, p->excepted);
	for (unsigned i = 0; i < p->excepted; i++)
		put64(page, OFF_EXCEPT + 8 * (size_t)i, p->except[i]);
	put64(page, OFF_CRC, crc32_of(page, OFF_CRC));
}

/* A place of the original, which a slave keeps for its master, stays one of the original. */
static void
fill_page(const struct timer_mark *m, char page[FILE_BYTES])
{
	int64_t queue = m->original || m->saved.left ? m->saved.read_to : m->saved.low;

	memset(page, 0, FILE_BYTES);
	put64(page, OFF_READ_MS, m->saved.left ? m->saved.read_ms : m->saved.done_ms);
	put64(page, OFF_QUEUE, queue);
	put64(page, OFF_MASTER, queue);
	put64(page, OFF_STATE, m->version.state_version);
	put64(page, OFF_STAMP, m->version.timestamp);
	put64(page, OFF_COUNTER, m->version.counter);
	if (!m->original)
		fill_ours(m, page);
}

void
timer_mark_put_body(const struct timer_mark *m, struct buf *out)
{
	char page[FILE_BYTES];

	fill_page(m, page);
	buf_put(out, page, TIMER_CHECK_BODY);
}

static void
put_file(void *arg, struct buf *out)
{
	struct timer_mark *m = arg;
	char page[FILE_BYTES];

	data_version_next(&m->version);
	fill_page(m, page);
	buf_put(out, page, FILE_BYTES);
}

struct timer_mark *
timer_mark_new(struct broker *b)
{
	static const int32_t at_once_ms = 1; /* when to write is decided here */
	struct timer_mark *m = xcalloc(1, sizeof *m);

	m->b = b;
	m->file = cfgfile_new(b, "timercheck", &at_once_ms, put_file, m);
	m->version.timestamp = clock_wall_ms();
	return m;
}

void
timer_mark_free(struct timer_mark **mp)
{
	if (*mp == NULL)
		return;
	cfgfile_free(&(*mp)->file);
	free((*mp)->found);
	free(*mp);
	*mp = NULL;
}

const struct timer_place *
timer_mark_place(const struct timer_mark *m)
{
	return &m->saved;
}

static int64_t
log_end(const struct timer_mark *m)
{
	return pos_read(&m->b->w->shm->broker.appended);
}

static bool
is_ours(const char *page, size_t n)
{
	return n == FILE_BYTES && (uint64_t)get64(page, OFF_MAGIC) == MAGIC &&
	       get64(page, OFF_CRC) == (int64_t)crc32_of(page, OFF_CRC) && get64(page, OFF_EXCEPTED) >= 0 &&
	       get64(page, OFF_EXCEPTED) <= TIMER_ASIDE_MAX;
}

/*
 * The log ends before the place that the file names: it lost its tail, with copies in it. What was due when the last
 * record that is left was stored has been delivered before, the rest is delivered (again).
 */
static void
go_back(struct timer_mark *m)
{
	log_warn("%s is for a log of %lld bytes, this one has %lld: timer messages that were delivered in between are "
		 "delivered again",
		 cfgfile_path(m->file), (long long)m->saved.log_end, (long long)log_end(m));
	m->saved.done_ms = MIN_OF(m->saved.done_ms, pos_read(&m->b->w->shm->broker.dispatched_store_ms) - 1);
	m->saved.done_at = INT64_MAX;
	m->saved.low = 0;
}

/* Where the walk begins, by the log as it is now. */
static void
set_scan(struct timer_mark *m)
{
	m->scan_began_ms = clock_mono_ms();
	if (m->saved.log_end <= log_end(m)) {
		m->scan_at = MAX_OF(m->saved.log_end, pos_read(&m->b->w->shm->clean.min));
		return;
	}
	go_back(m);
	m->scan_at = log_end(m);
}

static void
read_ours(struct timer_mark *m, const char *page)
{
	struct timer_place *p = &m->saved;

	p->log_end = get64(page, OFF_OURS);
	p->read_to = get64(page, OFF_OURS + 8);
	p->low = MAX_OF(get64(page, OFF_OURS + 16), 0);
	p->done_ms = get64(page, OFF_OURS + 24);
	p->done_at = get64(page, OFF_OURS + 32);
	p->excepted = (unsigned)get64(page, OFF_EXCEPTED);
	for (unsigned i = 0; i < p->excepted; i++)
		p->except[i] = get64(page, OFF_EXCEPT + 8 * (size_t)i);
	m->ours = true;
}

/* It keeps no lowest place: its queue is read from the first message that is left. */
static void
read_originals(struct timer_mark *m, const char *page)
{
	m->original = true;
	m->saved.done_ms = get64(page, OFF_READ_MS);
	m->saved.read_to = get64(page, OFF_QUEUE);
	m->saved.low = 0;
}

static void
begin_as_original(struct timer_mark *m)
{
	m->scan_at = log_end(m);
	log_info(
	    "%s is of another broker: timer messages that it had read and that were due at %lld count as delivered",
	    cfgfile_path(m->file), (long long)m->saved.done_ms);
}

static void
begin_without(struct timer_mark *m)
{
	int64_t end = log_end(m), min = pos_read(&m->b->w->shm->clean.min);

	m->scan_at = end - min <= SCAN_MISSING ? min : end;
}

/* False: it is no such page. */
static bool
read_page(struct timer_mark *m, struct slice page)
{
	if (page.n < TIMER_CHECK_BODY)
		return false;
	m->version =
	    (struct data_version){get64(page.p, OFF_COUNTER), get64(page.p, OFF_STAMP), get64(page.p, OFF_STATE)};
	m->ours = m->original = false;
	if (is_ours(page.p, page.n))
		read_ours(m, page.p);
	else
		read_originals(m, page.p);
	return true;
}

void
timer_mark_begin(struct timer_mark *m)
{
	m->scan_began_ms = clock_mono_ms();
	if (m->ours)
		set_scan(m);
	else if (m->original)
		begin_as_original(m);
	else
		begin_without(m);
}

enum rc
timer_mark_load(struct timer_mark *m, struct err *e)
{
	struct buf page = {0};
	enum rc rc = file_read(cfgfile_path(m->file), FILE_BYTES * 2, &page, e);

	if (rc == RC_OK)
		(void)read_page(m, buf_slice(&page));
	buf_free(&page);
	timer_mark_begin(m);
	return rc == RC_NOTFOUND ? RC_OK : rc;
}

/* ---- a slave: the master delivers, and says how far */

void
timer_mark_put_page(const struct timer_mark *m, struct buf *out)
{
	char page[FILE_BYTES];

	fill_page(m, page);
	buf_put(out, page, FILE_BYTES);
}

bool
timer_mark_follow(struct timer_mark *m, struct slice page)
{
	struct timer_place before = m->saved;

	if (!read_page(m, page))
		return false;
	if (memcmp(&before, &m->saved, sizeof(before)) != 0)
		cfgfile_changed(m->file);
	return true;
}

/* ---- the log's tail */

static void
note_copy(void *arg, const struct message *copy)
{
	struct timer_mark *m = arg;
	int64_t at;

	if (!timer_mark_read(copy->prepared_offset, &at))
		return;
	if (m->found_count == m->found_cap) {
		m->found_cap = m->found_cap == 0 ? 1024 : m->found_cap * 2;
		m->found = xrealloc(m->found, m->found_cap * sizeof(m->found[0]));
	}
	m->found[m->found_count++] = at;
}

static int
by_place(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void
end_scan(struct timer_mark *m)
{
	m->scanned = true;
	if (m->found_count == 0)
		return;
	qsort(m->found, m->found_count, sizeof(m->found[0]), by_place);
	log_info("the log has %zu timer messages that were delivered after %s was written; looking took %lld ms",
		 m->found_count, cfgfile_path(m->file), (long long)(clock_mono_ms() - m->scan_began_ms));
}

bool
timer_mark_scan(struct timer_mark *m, unsigned max)
{
	if (!m->scanned && !append_walk_tail(m->b, &m->scan_at, max, "timer", note_copy, m))
		end_scan(m);
	return !m->scanned;
}

static bool
is_excepted(const struct timer_place *p, int64_t at)
{
	for (unsigned i = 0; i < p->excepted; i++)
		if (p->except[i] == at)
			return true;
	return false;
}

static bool
place_has(const struct timer_mark *m, int64_t at, int64_t due_ms, int64_t out_ms)
{
	const struct timer_place *p = &m->saved;

	if (at >= p->read_to)
		return false;
	if (m->original)
		return out_ms < p->done_ms;
	return !timer_before(p->done_ms, p->done_at, due_ms, at) && !is_excepted(p, at);
}

bool
timer_mark_delivered(const struct timer_mark *m, int64_t at, int64_t due_ms, int64_t out_ms)
{
	if (m->settled)
		return false;
	return place_has(m, at, due_ms, out_ms) ||
	       (m->found_count > 0 && bsearch(&at, m->found, m->found_count, sizeof(at), by_place) != NULL);
}

void
timer_mark_settle(struct timer_mark *m)
{
	m->settled = true;
	m->original = false;
	free(m->found);
	m->found = NULL;
	m->found_count = m->found_cap = 0;
}

/* ---- saving */

static bool
same_place(const struct timer_place *a, const struct timer_place *b)
{
	return a->read_to == b->read_to && a->low == b->low && a->done_ms == b->done_ms && a->done_at == b->done_at &&
	       a->excepted == b->excepted && memcmp(a->except, b->except, a->excepted * sizeof(a->except[0])) == 0;
}

static void
write_flushed(struct timer_mark *m)
{
	if (!m->waiting || store_flushed_position(m->b->store) < m->next.log_end)
		return;
	m->saved = m->next;
	m->waiting = false;
	m->kept = true;
	cfgfile_changed(m->file);
}

bool
timer_mark_second(struct timer_mark *m)
{
	write_flushed(m);
	return m->settled && !m->waiting && (!m->kept || clock_mono_ms() - m->asked_ms >= PERIOD_MS);
}

void
timer_mark_take(struct timer_mark *m, const struct timer_place *p)
{
	if (m->kept && same_place(p, &m->saved) && log_end(m) - m->saved.log_end < RENEW_BYTES)
		return;
	m->next = *p;
	m->next.log_end = log_end(m);
	m->waiting = true;
	m->asked_ms = clock_mono_ms();
	write_flushed(m);
}

bool
timer_mark_on_disk(struct timer_mark *m)
{
	struct err e;

	return m->kept && cfgfile_save_changes(m->file, &e) == RC_OK;
}

enum rc
timer_mark_save(struct timer_mark *m, const struct timer_place *p, struct err *e)
{
	if (!m->settled)
		return RC_OK; /* the file still says where to begin */
	m->saved = *p;
	m->saved.log_end = log_end(m);
	m->waiting = false;
	return cfgfile_save(m->file, e);
}
