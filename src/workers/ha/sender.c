/*
 * sender: the connections to our replication port: slaves that are fed, and others that get an answer.
 *
 * Runs in:    the ha process.
 * Must not:   count anybody as a copy before its first report, or believe a report beyond what was sent to it.
 * If it dies: slaves connect again and go on where they are.
 *
 * Data goes out in frames that never cross the end of a segment: small ones by one call from the mapped file, head and
 * data together; large ones by sendfile.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "workers/ha/ha_int.h"
#include "workers/ha/meet.h"

#define FRAME_OURS  (1 << 20)
#define PUSH_STEP   (1 << 20)  /* bytes for one slave in one turn */
#define GATHER_MAX  (64 << 10) /* a frame up to this goes with its head in one call */
#define READ_STEP   4096
#define LEAVING_MS  3000 /* who does not take its answer by then is closed */
#define FLOW_SLICES 10   /* of a second's bytes are never more than one of these saved up */

/* ---- the end of a connection */

static void
unlink_peer(struct peer *p)
{
	struct peer **at = &p->h->peers;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->h->peer_count--;
}

static void
drop(struct peer *p)
{
	unlink_peer(p);
	ev_io_stop(p->h->w->loop, &p->in);
	ev_io_stop(p->h->w->loop, &p->out);
	close(p->fd);
	buf_free(&p->got);
	buf_free(&p->put);
	free(p);
}

static const char *
who(const struct peer *p)
{
	return p->name[0] != '\0' ? p->name
	       : p->ours          ? "a node of this system"
	       : p->acked >= 0    ? "a slave of the original"
				  : "somebody";
}

/* The one way to end a connection: says why, and counts anew. */
static void lose(struct peer *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
lose(struct peer *p, const char *fmt, ...)
{
	struct ha *h = p->h;
	char why[HELLO_TEXT_MAX + 100];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (p->acked >= 0)
		worker_event(h->w, "slave %s at %s is gone at %" PRId64 " of the log: %s", who(p), p->address, p->acked,
			     why);
	else if (log_allowed(&h->refused, 3))
		log_warn("%s at %s was refused: %s", who(p), p->address, why);
	drop(p);
	sender_count(h);
}

/* ---- counting copies */

static int64_t
silent_ms(const struct ha *h)
{
	return MAX_OF(h->conf->slaveTimeout, HA_SILENT_MS);
}

static size_t
collect(const struct ha *h, struct quorum_slave *s)
{
	int64_t now = clock_mono_ms();
	size_t n = 0;

	for (const struct peer *p = h->peers; p != NULL; p = p->next)
		s[n++] = (struct quorum_slave){.id = p->id,
					       .acked = p->acked,
					       .empty = !p->ours && p->acked == 0 &&
							pos_read(&h->w->shm->broker.appended) > 0,
					       .silent = p->ours && now - p->heard_ms > silent_ms(h),
					       .in_sync = p->in_sync};
	return n;
}

static bool
publish(struct ha *h, const struct quorum *q)
{
	struct shm_line_ha *s = &h->w->shm->ha;
	bool changed =
	    q->in_sync != h->quorum.in_sync || q->needed != h->quorum.needed || q->slaves != h->quorum.slaves;

	h->quorum = *q;
	atomic_store_explicit(&s->slaves, q->slaves, memory_order_relaxed);
	atomic_store_explicit(&s->needed, q->needed, memory_order_relaxed);
	atomic_store_explicit(&s->slaves_in_sync, q->in_sync, memory_order_relaxed);
	if (q->replicated <= pos_read(&s->replicated))
		return changed;
	pos_publish(&s->replicated, q->replicated);
	return true;
}

void
sender_count(struct ha *h)
{
	struct quorum_rule rule = quorum_rule_of(h->conf, h->role);
	struct quorum_slave s[HA_PEERS_MAX];
	struct quorum q;
	size_t i = 0;

	if (h->role == ROLE_SLAVE)
		return;
	q = quorum_count(&rule, pos_read(&h->w->shm->broker.appended), s, collect(h, s));
	for (struct peer *p = h->peers; p != NULL; p = p->next, i++) {
		if (s[i].in_sync != p->in_sync)
			worker_event(h->w, "slave %s at %s is %s", who(p), p->address,
				     s[i].in_sync ? "in sync" : "not in sync any more, it lags or is silent");
		p->in_sync = s[i].in_sync;
	}
	if (publish(h, &q) && h->role == ROLE_SYNC_MASTER)
		worker_wake(h->w, WORKER_BROKER);
}

/* ---- out */

static void
want_out(struct peer *p, bool wanted)
{
	if (wanted)
		ev_io_start(p->h->w->loop, &p->out);
	else
		ev_io_stop(p->h->w->loop, &p->out);
}

static bool
has_output(const struct peer *p)
{
	return p->put.len > 0 || p->data_left > 0;
}

static void
put_head(struct peer *p, struct slice data)
{
	const struct node_shm *shm = p->h->w->shm;
	struct head head = {.at = p->at,
			    .bytes = (int32_t)data.n,
			    .epoch = p->h->epoch,
			    .replicated = pos_read(&shm->ha.replicated),
			    .max = pos_read(&shm->broker.appended)};
	char *out = buf_room(&p->put, HEAD_OURS_BYTES);

	ensure(out != NULL);
	p->put.len += head_put(out, &head, p->ours, data);
}

static int64_t
frame_max(const struct ha *h, bool ours)
{
	int64_t n = ours ? FRAME_OURS : MAX_OF(h->conf->haTransferBatchSize, 1024);

	return h->conf->haFlowControlEnable ? MIN_OF(n, h->flow_left) : n;
}

/* How many bytes the next frame has: up to the end of the file, what was appended, and what may be sent now. */
static int64_t
frame_bytes(const struct peer *p)
{
	const struct ha *h = p->h;
	int64_t end = segs_start(&h->log.segs, p->at) + h->segment_bytes;
	int64_t n = MIN_OF(pos_read(&h->w->shm->broker.appended), end) - p->at;

	return p->state == PEER_FED && !p->below ? MIN_OF(n, frame_max(h, p->ours)) : 0;
}

/* Begins a frame with what was appended since the last one. RC_AGAIN: there is nothing to send now. RC_CLOSED: p is
 * gone. */
static enum rc
begin_frame(struct peer *p)
{
	int64_t n = frame_bytes(p);
	const struct halog_slot *s;
	struct err e;

	if (n <= 0)
		return RC_AGAIN;
	s = halog_at(&p->h->log, p->at, &e);
	if (s == NULL) {
		lose(p, "what it needs next has been removed: %s", e.text);
		return RC_CLOSED;
	}
	put_head(p, (struct slice){s->map + (p->at - s->from), (size_t)n});
	p->data_at = p->at;
	p->data_left = n;
	p->at += n;
	p->h->flow_left -= n;
	return RC_OK;
}

static void
sent(struct peer *p, size_t n)
{
	size_t head = MIN_OF(n, p->put.len);

	buf_consume(&p->put, head);
	n -= head;
	p->data_at += (int64_t)n;
	p->data_left -= (int64_t)n;
	p->bytes += n;
}

static ssize_t
gather(struct peer *p, const struct halog_slot *s)
{
	struct iovec v[2] = {{p->put.p, p->put.len}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 1};

	if (s != NULL)
		v[m.msg_iovlen++] =
		    (struct iovec){(void *)(uintptr_t)(s->map + (p->data_at - s->from)), (size_t)p->data_left};
	return sendmsg(p->fd, &m, MSG_NOSIGNAL);
}

static ssize_t
by_file(struct peer *p, const struct halog_slot *s)
{
	off_t at = (off_t)(p->data_at - s->from);

	if (p->put.len > 0)
		return send(p->fd, p->put.p, p->put.len, MSG_NOSIGNAL | MSG_MORE);
	return sendfile(p->fd, s->fd, &at, (size_t)p->data_left);
}

/* Hands some of what is to go out to the socket: bytes, 0 for not now, -1 when the connection is gone. */
static ssize_t
put_some(struct peer *p)
{
	const struct halog_slot *s = NULL;
	struct err e;
	ssize_t n;

	if (p->data_left > 0 && (s = halog_at(&p->h->log, p->data_at, &e)) == NULL) {
		lose(p, "what it needs next has been removed: %s", e.text);
		return -1;
	}
	n = p->data_left > GATHER_MAX ? by_file(p, s) : gather(p, s);
	if (n > 0) {
		sent(p, (size_t)n);
		return n;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	lose(p, "%s", n < 0 ? strerror(errno) : "its log file is shorter than it should be");
	return -1;
}

/* Sends one turn's share. False: the connection is gone. */
static bool
push(struct peer *p)
{
	int64_t budget = PUSH_STEP;
	enum rc rc = RC_OK;
	ssize_t n = 1;

	while (budget > 0 && n > 0 && (has_output(p) || (rc = begin_frame(p)) == RC_OK)) {
		n = put_some(p);
		if (n < 0)
			return false;
		budget -= n;
		p->sent_ms = n > 0 ? clock_mono_ms() : p->sent_ms;
	}
	if (rc == RC_CLOSED)
		return false;
	want_out(p, has_output(p) || budget <= 0);
	if (p->state != PEER_LEAVING || has_output(p))
		return true;
	drop(p);
	return false;
}

static void
writable(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop, (void)events;
	(void)push(io->data);
}

void
sender_push_all(struct ha *h)
{
	for (struct peer *p = h->peers, *next; p != NULL; p = next) {
		next = p->next;
		if (p->state == PEER_FED && !ev_is_active(&p->out))
			(void)push(p);
	}
	if (h->role == ROLE_SYNC_MASTER && h->quorum.needed <= 1)
		sender_count(h); /* our own copy is enough now: no acknowledgement will come that says so */
}

/* ---- first words */

static void
begin_feeding(struct peer *p, int64_t from)
{
	p->state = PEER_FED;
	p->from = p->at = from;
}

static void
welcome(struct peer *p, const char *how)
{
	worker_event(p->h->w, "slave %s at %s is fed from %" PRId64 " of the log%s", who(p), p->address, p->from, how);
	sender_count(p->h);
}

/* As the original: an empty slave begins at the last file, another goes on where it is. */
static bool
first_report(struct peer *p, int64_t report)
{
	const struct node_shm *shm = p->h->w->shm;
	int64_t max = pos_read(&shm->broker.appended), min = pos_read(&shm->clean.min);

	if (p->h->role == ROLE_SLAVE) {
		lose(p, "this node is a slave itself; the master is elsewhere");
		return false;
	}
	if (report < 0 || report > max) {
		lose(p,
		     "it reports a log that ends at %" PRId64 ", ours ends at %" PRId64
		     ": it is no slave of this master, or is ahead "
		     "of it. Empty its store to have it begin anew",
		     report, max);
		return false;
	}
	begin_feeding(p, report == 0 ? MAX_OF(segs_start(&p->h->log.segs, max), min) : report);
	p->acked = report;
	p->below = p->from < min;
	welcome(p, p->below ? ", which was removed as expired: it gets nothing. Empty its store" : "");
	return push(p);
}

static bool
crc_of(void *arg, int64_t from, int64_t to, uint32_t *crc)
{
	return halog_crc(arg, from, to, crc);
}

static void
note_name(struct peer *p, const struct hello *o)
{
	p->ours = true;
	p->id = o->broker_id;
	snprintf(p->name, sizeof(p->name), "%s-%" PRId64, o->name, o->broker_id);
}

static bool
answer_hello(struct peer *p, const struct hello *o)
{
	struct ha *h = p->h;
	struct meet_master m = {.self = &h->self, .crc = crc_of, .arg = &h->log};
	static struct hello answer; /* 16 KB */
	struct err e;

	note_name(p, o);
	if (ha_fill_self(h, &e) != RC_OK) {
		lose(p, "%s", e.text);
		return false;
	}
	m.serves = ha_serves(h);
	meet_decide(&m, o, &answer);
	hello_put(&p->put, &answer);
	p->state = PEER_LEAVING;
	if (answer.verdict == VERDICT_GO)
		begin_feeding(p, answer.start);
	else if (answer.verdict != VERDICT_NONE && answer.verdict != VERDICT_LATER && log_allowed(&h->refused, 3))
		log_warn("%s at %s is answered \"%s\": %s", p->name, p->address, verdict_name(answer.verdict),
			 answer.text);
	if (answer.verdict == VERDICT_STALE)
		ha_fence(h, MAX_OF(o->epoch, (int64_t)epochs_last(&o->epochs)), p->name);
	return push(p);
}

static bool
take_hello(struct peer *p)
{
	size_t used = 0;
	struct err e;
	enum rc rc = hello_take(&p->h->other, p->got.p, p->got.len, &used, &e);

	if (rc == RC_AGAIN)
		return true;
	if (rc != RC_OK) {
		lose(p, "%s", e.text);
		return false;
	}
	buf_consume(&p->got, used);
	return answer_hello(p, &p->h->other);
}

/* ---- in */

/* A report is a promise to keep what was sent: beyond that it is a lie, or another protocol. */
static bool
take_report(struct peer *p, int64_t report)
{
	if (report < 0 || report > p->at) {
		lose(p, "it confirms %" PRId64 ", but was sent no more than %" PRId64, report, p->at);
		return false;
	}
	if (p->acked < 0 && p->ours) {
		p->acked = report;
		welcome(p, "");
	}
	p->acked = MAX_OF(p->acked, report);
	return true;
}

/* Only the last whole report counts. */
static bool
take_reports(struct peer *p)
{
	size_t whole = p->got.len - p->got.len % REPORT_BYTES;
	int64_t report;

	if (whole == 0)
		return true;
	report = (int64_t)be64_get(p->got.p + whole - REPORT_BYTES);
	buf_consume(&p->got, whole);
	if (!take_report(p, report))
		return false;
	sender_count(p->h);
	return true;
}

static bool
take_first(struct peer *p)
{
	int64_t report;

	if (hello_begins(p->got.p, p->got.len))
		return take_hello(p);
	if (p->got.len < REPORT_BYTES)
		return true;
	report = (int64_t)be64_get(p->got.p);
	buf_consume(&p->got, REPORT_BYTES);
	return first_report(p, report) && take_reports(p);
}

static void
readable(struct ev_loop *loop, ev_io *io, int events)
{
	struct peer *p = io->data;
	char *to = buf_room(&p->got, READ_STEP);
	ssize_t n;

	(void)loop, (void)events;
	if (to == NULL) {
		lose(p, "it says more than any hello can be");
		return;
	}
	n = read(p->fd, to, READ_STEP);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(p, "%s", n < 0 ? strerror(errno) : "it closed the connection");
		return;
	}
	p->got.len += (size_t)n;
	p->heard_ms = clock_mono_ms();
	if (p->state == PEER_NEW)
		(void)take_first(p);
	else if (p->state == PEER_FED)
		(void)take_reports(p);
}

void
sender_take(struct ha *h, int fd, const struct addr *from)
{
	struct peer *p;

	if (h->peer_count == HA_PEERS_MAX) {
		if (log_allowed(&h->refused, 3))
			log_warn("a connection to the replication port was refused: there are %d already",
				 HA_PEERS_MAX);
		close(fd);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	*p = (struct peer){.next = h->peers, .h = h, .fd = fd, .id = -1, .acked = -1, .got.limit = 2 * HELLO_MAX};
	p->since_ms = p->heard_ms = p->sent_ms = clock_mono_ms();
	h->peers = p;
	h->peer_count++;
	addr_text(from, p->address);
	sock_nodelay(fd);
	ev_io_init(&p->in, readable, fd, EV_READ);
	ev_io_init(&p->out, writable, fd, EV_WRITE);
	p->in.data = p->out.data = p;
	ev_io_start(h->w->loop, &p->in);
}

/* ---- by the clock */

static void
refill(struct ha *h, int64_t now_ms)
{
	int64_t rate = MAX_OF(h->conf->maxHaTransferByteInSecond, 1024);

	h->flow_left = MIN_OF(h->flow_left + rate * MIN_OF(now_ms - h->flow_ms, 1000) / 1000, rate / FLOW_SLICES);
	h->flow_ms = now_ms;
}

/* False: it is gone. */
static bool
check_time(struct peer *p, int64_t now_ms)
{
	int64_t idle = now_ms - p->heard_ms;

	if (idle > MAX_OF(p->h->conf->haHousekeepingInterval, 1000)) {
		lose(p, "nothing was heard from it for %" PRId64 " ms", idle);
		return false;
	}
	if (p->state == PEER_LEAVING && now_ms - p->since_ms > LEAVING_MS) {
		lose(p, "it does not take its answer");
		return false;
	}
	return true;
}

static void
beat(struct peer *p, int64_t now_ms)
{
	if (p->state == PEER_FED && !has_output(p) && now_ms - p->sent_ms >= ha_beat_ms(p->h, p->ours))
		put_head(p, SLICE_NONE);
}

void
sender_tick(struct ha *h, int64_t now_ms)
{
	refill(h, now_ms);
	for (struct peer *p = h->peers, *next; p != NULL; p = next) {
		next = p->next;
		if (!check_time(p, now_ms))
			continue;
		beat(p, now_ms);
		(void)push(p);
	}
	sender_count(h);
}

void
sender_second(struct ha *h)
{
	for (struct peer *p = h->peers; p != NULL; p = p->next) {
		p->bytes_per_second = p->bytes - p->bytes_before;
		p->bytes_before = p->bytes;
	}
}

void
sender_close_all(struct ha *h)
{
	while (h->peers != NULL)
		drop(h->peers);
}
