/*
 * receiver: the slave's side: takes the log from its master, writes and confirms it.
 *
 * Runs in:    the ha process of a node whose role is SLAVE, once its broker has recovered.
 * Owns:       the files of the log from `appended` on, and `appended` itself: always the end of a whole record whose body
 *             has the CRC that it says. What came behind it is in the file, too, up to ha.written.
 * Must not:   confirm what is not written (with haSlaveFsyncBeforeAck: not flushed).
 * If it dies: the node's workers start again; recovery keeps whole records, the rest is asked for again.
 *
 * The connection's life is one enum; it is ended by rx_part() alone, which says why and when to try again. Bytes are
 * written as they come, frames need not be whole. Where the bytes are no record, the log is followed no further: the
 * connection is ended and the rest asked for again from `appended` on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crc.h"
#include "common/fault.h"
#include "common/mem.h"
#include "store/paths.h"
#include "store/record.h"
#include "workers/ha/rx_int.h"

#define READS_A_TURN 4
#define CONNECT_MS   3000
#define SILENT_MS    8000 /* a Java master shows itself every 5 s */

shm_i64 *
rx_appended(const struct receiver *rx)
{
	return &rx->h->w->shm->broker.appended;
}

/* ---- the end of a connection */

void
rx_close_socket(struct receiver *rx)
{
	if (rx->fd < 0)
		return;
	ev_io_stop(rx->h->w->loop, &rx->io);
	close(rx->fd);
	rx->fd = -1;
}

/* What was written behind the last whole record is asked for again. */
static void
forget_rest(struct receiver *rx)
{
	if (rx->opened)
		commitlog_set_end(&rx->log, pos_read(rx_appended(rx)));
	rx->sure = rx->log.end;
}

void
rx_part(struct receiver *rx, int64_t retry_ms, const char *fmt, ...)
{
	bool was_fed = rx->state == RX_FED;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(rx->why, sizeof(rx->why), fmt, ap);
	va_end(ap);
	rx_close_socket(rx);
	forget_rest(rx);
	rx_turn_state(rx, RX_IDLE);
	rx->retry_ms = clock_mono_ms() + retry_ms;
	atomic_store(&rx->h->w->shm->ha.connected, 0);
	if (was_fed)
		worker_event(rx->h->w, "the master at %s is lost at %" PRId64 " of the log: %s", rx->address,
			     pos_read(rx_appended(rx)), rx->why);
	else if (log_allowed(&rx->said, 5))
		log_warn("no log from %s: %s", rx->address, rx->why);
}

void
rx_turn_state(struct receiver *rx, enum rx_state state)
{
	log_trace("receiver: state %d, now %d", (int)rx->state, (int)state);
	rx->state = state;
	rx->since_ms = clock_mono_ms();
	rx->have = 0;
	rx->data_left = 0;
	rx->half_at = rx->half_len = 0;
}

/* ---- reports */

static int64_t
confirmed(const struct receiver *rx)
{
	int64_t to = pos_read(rx_appended(rx));

	return rx->h->conf->haSlaveFsyncBeforeAck ? MIN_OF(to, pos_read(&rx->h->w->shm->flush.flushed)) : to;
}

/* The rest of a report that went out in part must go first. False: not now. */
static bool
put_half(struct receiver *rx)
{
	ssize_t n;

	if (rx->half_at == rx->half_len)
		return true;
	n = send(rx->fd, rx->half + rx->half_at, rx->half_len - rx->half_at, MSG_NOSIGNAL);
	if (n > 0)
		rx->half_at += (size_t)n;
	return rx->half_at == rx->half_len;
}

/* A socket that takes nothing takes a later report, which says more. An error is seen by the next read. */
void
rx_put_report(struct receiver *rx)
{
	int64_t to = confirmed(rx);

	if (!put_half(rx))
		return;
	be64_put(rx->half, (uint64_t)to);
	rx->half_at = 0;
	rx->half_len = REPORT_BYTES;
	if (!put_half(rx) && rx->half_at == 0) {
		rx->half_len = 0;
		return;
	}
	rx->reported = to;
	rx->reported_ms = clock_mono_ms();
}

void
rx_report(struct receiver *rx)
{
	if (rx->state == RX_FED)
		rx_put_report(rx);
}

void
receiver_flushed(struct receiver *rx)
{
	if (rx->state == RX_FED && confirmed(rx) > rx->reported)
		rx_report(rx);
}

/* ---- the log */

/* Nothing is whole before it is all there: a record, or the blank rest of a file behind its filler. */
static enum rc
look_at_record(struct receiver *rx, int64_t at, int64_t *end, int64_t *store_ms)
{
	size_t n;
	const char *p = commitlog_read(&rx->log, at, &n);
	struct record r;
	int64_t file_end = segs_start(&rx->log.segs, at) + rx->log.segs.file_bytes;
	uint32_t size;

	if (p == NULL || at + RECORD_FILLER_BYTES > rx->sure)
		return RC_AGAIN;
	n = MIN_OF(n, (size_t)(rx->sure - at));
	size = be32_get(p);
	if ((int64_t)size > file_end - at || size < RECORD_FILLER_BYTES)
		return RC_BADDATA;
	if (size > n)
		return RC_AGAIN;
	switch (record_view(&r, p, n, at, true)) {
	case RC_OK:
		*end = at + (int64_t)r.size;
		*store_ms = r.store_ms;
		return RC_OK;
	case RC_NOTFOUND:
		*end = file_end;
		return rx->sure >= file_end ? RC_OK : RC_AGAIN;
	default:
		return RC_BADDATA;
	}
}

/* Publishes the whole records among what is written. False: what comes next is none; the connection is gone. */
static bool
publish_records(struct receiver *rx)
{
	struct node_shm *shm = rx->h->w->shm;
	int64_t at = pos_read(rx_appended(rx)), before = at, store_ms = pos_read(&shm->broker.appended_store_ms);
	enum rc rc;

	pos_publish(&shm->ha.written, rx->log.end);
	while ((rc = look_at_record(rx, at, &at, &store_ms)) == RC_OK)
		;
	(void)fault_hit(FAULT_HA_BEFORE_PUBLISH);
	if (at > before) {
		pos_publish(&shm->broker.appended, at);
		pos_publish(&shm->broker.appended_store_ms, store_ms);
	}
	if (rc != RC_BADDATA)
		return true;
	rx_part(rx, RETRY_SLOW_MS,
		"what it sends for %" PRId64
		" of the log is no record of that place, or its body has another CRC than it "
		"says: damaged on the way, or there. It is asked for again",
		at);
	return false;
}

static void
wake_others(struct receiver *rx)
{
	worker_wake(rx->h->w, WORKER_BROKER);
	worker_wake(rx->h->w, WORKER_FLUSH);
}

/* The bytes of one read have been taken. Confirmed first: the master's senders wait for it. */
static bool
read_done(struct receiver *rx)
{
	int64_t before = pos_read(rx_appended(rx));

	if (!publish_records(rx))
		return false;
	if (confirmed(rx) > rx->reported)
		rx_report(rx);
	if (pos_read(rx_appended(rx)) > before)
		wake_others(rx);
	return true;
}

static void
stop_for_space(struct receiver *rx, enum rc rc, const struct err *e)
{
	if (!rx->full)
		worker_event(rx->h->w, "the copy of the log stands still at %" PRId64 ": %s%s",
			     pos_read(rx_appended(rx)), e->text,
			     rc == RC_FULL ? "; it goes on by itself when there is space" : "");
	rx->full = true;
	rx_part(rx, RETRY_SLOW_MS, "%s", e->text);
}

/* The segment that the next bytes will stand in can be had. */
bool
rx_has_space(struct receiver *rx)
{
	struct err e;
	enum rc rc = rx->log.segs.count > 0 ? commitlog_copy(&rx->log, NULL, 0, &e) : RC_OK;

	if (rc != RC_OK) {
		stop_for_space(rx, rc, &e);
		return false;
	}
	if (rx->full)
		worker_event(rx->h->w, "there is space again: the copy of the log goes on at %" PRId64,
			     pos_read(rx_appended(rx)));
	rx->full = false;
	return true;
}

static void
open_log(struct receiver *rx)
{
	struct node_shm *shm = rx->h->w->shm;
	char dir[PATH_MAX];
	struct err e;

	paths_log(rx->h->conf, dir, sizeof(dir));
	if (commitlog_open(&rx->log, dir, rx->h->segment_bytes, &e) != RC_OK)
		worker_die(rx->h->w, "%s", e.text);
	rx->log.fill_wanted = rx->h->conf->flushDiskType == FLUSH_SYNC;
	rx->opened = true;
	commitlog_set_end(&rx->log, pos_read(rx_appended(rx)));
	rx->sure = rx->log.end;
	pos_publish(&shm->ha.written, rx->log.end);
	pos_publish(&shm->ha.replicated, MIN_OF(pos_read(&shm->ha.replicated), rx->log.end));
}

/* A file may be there already, with the beginning of a first record that never became whole. */
static bool
drop_files(struct receiver *rx)
{
	struct segs *segs = &rx->log.segs;
	struct err e;

	if (segs->count == 0)
		return true;
	while (segs->count > 0) {
		if (segs_unlink(segs, segs->from[segs->count - 1], &e) != RC_OK) {
			rx_part(rx, RETRY_SLOW_MS, "%s", e.text);
			return false;
		}
		segs_drop_last(segs);
	}
	commitlog_close(&rx->log);
	rx->opened = false;
	open_log(rx);
	return true;
}

/* Where an empty slave begins. */
bool
rx_begin_log(struct receiver *rx, int64_t at)
{
	if (at % rx->h->segment_bytes != 0) {
		rx_part(rx, RETRY_SLOW_MS,
			"it begins at %" PRId64 ", which is no multiple of our mappedFileSizeCommitLog, %" PRId64
			": that must be the same on both sides",
			at, rx->h->segment_bytes);
		return false;
	}
	if (!drop_files(rx))
		return false;
	commitlog_set_end(&rx->log, at);
	rx->log.min = rx->sure = at;
	pos_publish(rx_appended(rx), at);
	return true;
}

bool
rx_is_empty(const struct receiver *rx)
{
	return pos_read(rx_appended(rx)) == 0 && rx->log.end == 0;
}

/* ---- frames */

void
rx_note_master(struct receiver *rx, const struct head *head)
{
	struct shm_line_ha *s = &rx->h->w->shm->ha;
	int64_t to = pos_read(rx_appended(rx));

	pos_publish(&s->master_max, rx->ours ? head->max : head->at + head->bytes);
	if (rx->ours && MIN_OF(head->replicated, to) > pos_read(&s->replicated))
		pos_publish(&s->replicated, MIN_OF(head->replicated, to));
	if (atomic_load_explicit(&s->connected, memory_order_relaxed) == 0)
		atomic_store(&s->connected, 1);
}

/* All of the frame is here. False: it is damaged; the connection is gone. */
static bool
frame_done(struct receiver *rx)
{
	if (rx->ours && rx->crc != rx->head.crc) {
		rx_part(rx, RETRY_SLOW_MS,
			"its frame of %d bytes for %" PRId64
			" of the log was damaged on the way (CRC %08x, not %08x): it "
			"is asked for again",
			(int)rx->head.bytes, rx->head.at, rx->crc, rx->head.crc);
		return false;
	}
	rx->sure = rx->log.end;
	rx_note_master(rx, &rx->head);
	return true;
}

/* False: the connection is gone. */
static bool
take_head(struct receiver *rx, const char *p)
{
	struct head head;

	if (head_take(&head, p, rx->ours, rx->h->segment_bytes) != RC_OK) {
		rx_part(rx, RETRY_SLOW_MS,
			"what it sends is damaged, or no frame of log files of %" PRId64
			" bytes (mappedFileSizeCommitLog must be the same on "
			"both sides)",
			rx->h->segment_bytes);
		return false;
	}
	if (rx_is_empty(rx) && head.at > 0 && !rx_begin_log(rx, head.at))
		return false;
	if (head.at != rx->log.end) {
		rx_part(rx, RETRY_SLOW_MS, "it sends from %" PRId64 " of the log on, ours ends at %" PRId64, head.at,
			rx->log.end);
		return false;
	}
	rx->head = head;
	rx->data_left = head.bytes;
	rx->crc = 0;
	return head.bytes > 0 || frame_done(rx);
}

static bool
take_data(struct receiver *rx, const char *p, size_t n)
{
	struct err e;
	enum rc rc = commitlog_copy(&rx->log, p, n, &e);

	rx->data_left -= (int64_t)n;
	if (rc == RC_OK) {
		if (rx->ours)
			rx->crc = crc32_more(rx->crc, p, n);
		else
			rx->sure = rx->log.end;
		return rx->data_left > 0 || frame_done(rx);
	}
	if (publish_records(rx)) /* what came before counts */
		stop_for_space(rx, rc, &e);
	return false;
}

/* Takes all that is in the buffer but the beginning of a head. */
bool
rx_take_frames(struct receiver *rx)
{
	size_t head = rx->ours ? HEAD_OURS_BYTES : HEAD_PLAIN_BYTES, at = 0;

	for (;;) {
		size_t there = rx->have - at, n = (size_t)MIN_OF((int64_t)there, rx->data_left);

		if (n > 0) {
			if (!take_data(rx, rx->in + at, n))
				return false;
			at += n;
		} else if (there >= head) {
			if (!take_head(rx, rx->in + at))
				return false;
			at += head;
		} else {
			break;
		}
	}
	rx->have -= at;
	memmove(rx->in, rx->in + at, rx->have);
	return true;
}

/* False: wait for the socket, or the connection is gone. */
static bool
read_once(struct receiver *rx)
{
	ssize_t n = read(rx->fd, rx->in + rx->have, RX_READ_BYTES - rx->have);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		rx_part(rx, RETRY_MS, "%s", n < 0 ? strerror(errno) : "it closed the connection");
		return false;
	}
	rx->have += (size_t)n;
	rx->bytes += (uint64_t)n;
	rx->heard_ms = clock_mono_ms();
	pos_publish(&rx->h->w->shm->ha.master_seen_ms, rx->heard_ms);
	if (rx->state == RX_GREETING ? !rx_take_greeting(rx) : !rx_take_frames(rx))
		return false;
	return rx->state != RX_FED || read_done(rx);
}

static void
readable(struct ev_loop *loop, ev_io *io, int events)
{
	struct receiver *rx = io->data;

	(void)loop, (void)events;
	if (rx->state == RX_CONNECTING) {
		rx_connected(rx);
		return;
	}
	for (int i = 0; i < READS_A_TURN && read_once(rx); i++)
		;
}

/* ---- by the clock */

static void
tick_idle(struct receiver *rx, int64_t now)
{
	if (!ha_broker_runs(rx->h))
		return;
	if (!rx->opened)
		open_log(rx);
	if (now >= rx->retry_ms)
		rx_begin_connect(rx);
}

static void
tick_fed(struct receiver *rx, int64_t now)
{
	int64_t idle = now - rx->heard_ms;

	if (idle > MAX_OF(rx->h->conf->haHousekeepingInterval, 1000)) {
		rx_part(rx, RETRY_MS, "nothing was heard from it for %" PRId64 " ms", idle);
		return;
	}
	if (now - rx->reported_ms >= ha_beat_ms(rx->h, rx->ours))
		rx_report(rx);
}

void
receiver_tick(struct receiver *rx, int64_t now)
{
	switch (rx->state) {
	case RX_IDLE:
		tick_idle(rx, now);
		break;
	case RX_CONNECTING:
		if (now - rx->since_ms > CONNECT_MS)
			rx_part(rx, RETRY_MS, "no connection within %d ms", CONNECT_MS);
		break;
	case RX_GREETING:
		if (!rx->asked_plain && now - rx->since_ms > HELLO_MS)
			rx_ask_plain(rx);
		else if (now - rx->since_ms > SILENT_MS)
			rx_part(rx, RETRY_MS, "no answer within %d ms", SILENT_MS);
		break;
	case RX_FED:
		tick_fed(rx, now);
		break;
	case RX_CUTTING:
		break;
	}
}

void
receiver_second(struct receiver *rx)
{
	rx->bytes_per_second = rx->bytes - rx->bytes_before;
	rx->bytes_before = rx->bytes;
	if (rx->opened)
		commitlog_forget(&rx->log, pos_read(&rx->h->w->shm->clean.min));
}

void
receiver_put_json(const struct receiver *rx, struct buf *out)
{
	static const char *const states[] = {"waiting", "connecting", "greeting", "fed", "cutting"};

	buf_printf(out, "{\"state\":\"%s\",\"address\":", states[rx->state]);
	buf_put_json(out, slice_of(rx->address));
	buf_printf(out,
		   ",\"ours\":%s,\"written\":%" PRId64 ",\"reported\":%" PRId64 ",\"bytesPerSecond\":%" PRIu64
		   ",\"why\":",
		   rx->ours ? "true" : "false", rx->opened ? rx->log.end : 0, rx->reported, rx->bytes_per_second);
	buf_put_json(out, slice_of(rx->state == RX_FED ? "" : rx->why));
	buf_put_char(out, '}');
}

struct receiver *
receiver_new(struct ha *h)
{
	struct receiver *rx = xcalloc(1, sizeof(*rx));

	rx->h = h;
	rx->fd = -1;
	rx->log.fd = -1;
	rx->in = xmalloc(RX_READ_BYTES);
	ev_io_init(&rx->io, readable, -1, EV_READ);
	rx->io.data = rx;
	return rx;
}

void
receiver_free(struct receiver **rxp)
{
	struct receiver *rx = *rxp;

	*rxp = NULL;
	if (rx == NULL)
		return;
	rx_close_socket(rx);
	if (rx->opened)
		commitlog_close(&rx->log);
	free(rx->in);
	free(rx);
}
