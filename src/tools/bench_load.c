/*
 * bench_load: the load itself: connections, slots, one epoll loop.
 *
 * A slot is one request that may be in flight: it has its own prepared frame and opaque number. In a closed loop a slot is
 * used again as soon as it was answered; in an open loop requests are due at fixed times, and a request that finds no free
 * slot waits while its latency already counts.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/message.h"
#include "common/sock.h"
#include "tools/bench.h"

#define OPAQUE_BASE 1000000000
#define READ_ROOM   (1u << 20)

struct slot {
	struct bench_frame frame;
	double		since_us;	/* sent, or intended to be */
	uint64_t	unique;
	unsigned	queue;
	int64_t		offset;		/* pull */
	struct slot	*next_free;
};

struct link {
	int		fd;
	bool		want_write;
	struct buf	out, in;
	size_t		out_at;
	struct slot	*slots, *free_slots;
	unsigned	flying;
};

struct load {
	const struct bench_opts *o;
	const struct bench_target *t;
	struct bench_result *r;
	struct err	*err;
	struct link	*links;
	int		epoll_fd;
	struct bench_pace pace;
	double		now_us, measure_from_us, end_us, next_line_us;
	uint64_t	serial, sent, line_messages;
	unsigned	turn, flying;
	FILE		*ledger;
	bool		stopping;
};

static double
now_us(void)
{
	return (double)clock_mono_us();
}

static int64_t
wall_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void
stamp_send(struct load *l, struct slot *s)
{
	struct bench_frame *f = &s->frame;
	unsigned n = l->o->batch > 1 ? l->o->batch : 1;

	s->unique = l->serial;
	s->queue = (unsigned)(l->sent % l->t->queues);
	bench_put_digits(f->p + f->queue_at, 4, s->queue);
	bench_put_digits(f->p + f->born_at, 13, (uint64_t)clock_wall_ms());
	if (f->due_at != 0)
		bench_put_digits(f->p + f->due_at, 13, l->o->due_at_ms > 0 ? l->o->due_at_ms : (uint64_t)clock_wall_ms() + l->o->delay_ms);
	for (unsigned i = 0; i < n; i++) {
		bench_put_hex16(f->p + f->unique_at + i * f->unique_step, l->serial);
		if (f->key_at != 0)
			bench_put_digits(f->p + f->key_at + i * f->key_step, 11, l->serial);
		l->serial++;
	}
}

static void
stamp_pull(struct slot *s)
{
	bench_put_digits(s->frame.p + s->frame.queue_at, 4, s->queue);
	bench_put_digits(s->frame.p + s->frame.offset_at, 19, (uint64_t)s->offset);
}

static void
use_slot(struct load *l, struct link *k, double since_us)
{
	struct slot *s = k->free_slots;

	k->free_slots = s->next_free;
	if (l->o->mode == BENCH_SEND)
		stamp_send(l, s);
	else
		stamp_pull(s);
	s->since_us = since_us;
	buf_put(&k->out, s->frame.p, s->frame.n);
	k->flying++;
	l->flying++;
	l->sent++;
}

static bool
may_send_more(const struct load *l)
{
	uint64_t per = l->o->batch > 1 ? l->o->batch : 1;

	return !l->stopping && (l->o->count == 0 || l->sent * per < l->o->count);
}

/* Open loop: whatever is due, to the connections by turns. */
static void
send_due(struct load *l)
{
	double intended;

	while (may_send_more(l)) {
		struct link *k = NULL;
		for (unsigned i = 0; i < l->o->connections && k == NULL; i++) {
			struct link *c = &l->links[(l->turn + i) % l->o->connections];
			if (c->free_slots != NULL)
				k = c;
		}
		if (k == NULL || !bench_pace_due(&l->pace, l->now_us, &intended))
			return;
		l->turn++;
		use_slot(l, k, intended);
	}
}

static void
send_closed(struct load *l, struct link *k)
{
	while (k->free_slots != NULL && may_send_more(l))
		use_slot(l, k, l->now_us);
}

static enum rc
lost(struct load *l, const char *what, int error)
{
	err_set(l->err, "%s %s: %s", what, l->t->broker, error ? strerror(error) : "closed by the server");
	return error ? RC_IO : RC_CLOSED;
}

static enum rc
flush_link(struct load *l, struct link *k)
{
	while (k->out_at < k->out.len) {
		ssize_t n = send(k->fd, k->out.p + k->out_at, k->out.len - k->out_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return lost(l, "cannot send to", errno);
		if (n < 0)
			break;
		k->out_at += (size_t)n;
	}
	if (k->out_at == k->out.len) {
		k->out.len = k->out_at = 0;
	}
	if ((k->out.len > 0) != k->want_write) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = k};
		k->want_write = k->out.len > 0;
		if (k->want_write)
			ev.events |= EPOLLOUT;
		epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, k->fd, &ev);
	}
	return RC_OK;
}

/* ---- answers */

static void
count_failure(struct load *l, const struct bench_answer *a)
{
	if (l->r->errors++ == 0) {
		l->r->error_code = a->code;
		snprintf(l->r->error_text, sizeof(l->r->error_text), "%.*s", (int)MIN_OF(a->header.n, sizeof(l->r->error_text) - 1), a->header.p);
	}
}

static bool
is_measured(const struct load *l)
{
	return l->now_us >= l->measure_from_us && l->now_us <= l->end_us;
}

static unsigned
records_in(struct slice body)
{
	unsigned n = 0;

	while (body.n >= MSG_SIZE_MIN) {
		uint32_t size = be32_get(body.p);
		if (size < MSG_SIZE_MIN || size > body.n)
			break;
		body.p += size;
		body.n -= size;
		n++;
	}
	return n;
}

static void
note_acknowledged(struct load *l, const struct slot *s, const struct bench_answer *a)
{
	int64_t offset = bench_answer_i64(a, "queueOffset", -1);
	unsigned n = l->o->batch > 1 ? l->o->batch : 1;

	for (unsigned i = 0; i < n; i++)
		fprintf(l->ledger, "%u %lld %016llX\n", s->queue, (long long)offset + i, (unsigned long long)s->unique + i);
}

static void
answer_send(struct load *l, struct slot *s, const struct bench_answer *a, uint64_t *messages)
{
	if (a->code != 0) {
		count_failure(l, a);
		return;
	}
	*messages = l->o->batch > 1 ? l->o->batch : 1;
	if (l->ledger != NULL)
		note_acknowledged(l, s, a);
}

/* Found: go on behind it. At the end of the queue: from the start again (--loop), or once more from there. */
static void
answer_pull(struct load *l, struct slot *s, const struct bench_answer *a, uint64_t *messages)
{
	enum { FOUND = 0, NOT_FOUND = 19, RETRY = 20, MOVED = 21 };
	int64_t next = bench_answer_i64(a, "nextBeginOffset", s->offset);

	if (a->code == FOUND && l->o->mode == BENCH_DUE && is_measured(l))
		*messages = bench_due_note(l->r, a->body, l->o->delay_ms, wall_us());
	else if (a->code == FOUND)
		*messages = records_in(a->body);
	else if (a->code != NOT_FOUND && a->code != RETRY && a->code != MOVED) {
		count_failure(l, a);
		return;
	}
	if (a->code == NOT_FOUND && l->o->loop)
		next = bench_answer_i64(a, "minOffset", 0);
	s->offset = next;
}

static enum rc
take_answer(struct load *l, struct link *k, const struct bench_answer *a)
{
	unsigned at = (unsigned)(a->opaque - OPAQUE_BASE);
	uint64_t messages = 0;
	struct slot *s;

	if (at >= l->o->inflight)
		return RC_OK; /* a request of the server's own */
	s = &k->slots[at];
	if (l->o->mode == BENCH_SEND)
		answer_send(l, s, a, &messages);
	else
		answer_pull(l, s, a, &messages);
	s->next_free = k->free_slots;
	k->free_slots = s;
	k->flying--;
	l->flying--;
	l->line_messages += messages;
	if (is_measured(l)) {
		l->r->messages += messages;
		l->r->bytes += l->o->mode == BENCH_SEND ? messages * l->o->size : a->body.n;
		l->r->requests++;
		if (l->o->mode != BENCH_DUE)
			hist_add(&l->r->latency, (uint64_t)fmax(0, l->now_us - s->since_us));
	}
	return RC_OK;
}

static enum rc
take_answers(struct load *l, struct link *k)
{
	struct bench_answer a;
	size_t at = 0;
	enum rc rc;

	l->now_us = now_us();
	while ((rc = bench_answer_scan(k->in.p + at, k->in.len - at, &a)) == RC_OK) {
		rc = take_answer(l, k, &a);
		if (rc != RC_OK)
			return rc;
		at += a.total;
	}
	if (rc == RC_BADDATA) {
		err_set(l->err, "%s sent what is no answer", l->t->broker);
		return rc;
	}
	buf_consume(&k->in, at);
	return RC_OK;
}

static enum rc
read_link(struct load *l, struct link *k)
{
	char *room = buf_room(&k->in, READ_ROOM);
	ssize_t n;

	ensure(room != NULL);
	n = recv(k->fd, room, READ_ROOM, 0);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		return lost(l, "cannot read from", n == 0 ? 0 : errno);
	if (n < 0)
		return RC_OK;
	k->in.len += (size_t)n;
	return take_answers(l, k);
}

/* ---- life */

static enum rc
open_link(struct load *l, struct link *k, unsigned index)
{
	struct addr a;
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = k};
	struct sockaddr_storage ss;
	socklen_t n;
	enum rc rc = addr_parse(l->t->broker, &a, l->err);

	if (rc != RC_OK)
		return rc;
	n = addr_to_sockaddr(&a, &ss);
	k->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (k->fd < 0 || connect(k->fd, (struct sockaddr *)&ss, n) != 0)
		return lost(l, "cannot connect to", errno);
	sock_nodelay(k->fd);
	if (sock_nonblock(k->fd) != RC_OK)
		return lost(l, "cannot use", errno);
	k->out.limit = k->in.limit = 1u << 30;
	k->slots = xcalloc(l->o->inflight, sizeof(*k->slots));
	for (unsigned i = l->o->inflight; i-- > 0;) {
		struct slot *s = &k->slots[i];
		if (l->o->mode == BENCH_SEND)
			bench_frame_send(&s->frame, l->o, l->t, (int32_t)(OPAQUE_BASE + i));
		else
			bench_frame_pull(&s->frame, l->o, l->t, (int32_t)(OPAQUE_BASE + i));
		s->queue = (index + i * l->o->connections) % l->t->queues;
		s->next_free = k->free_slots;
		k->free_slots = s;
	}
	epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, k->fd, &ev);
	return RC_OK;
}

static void
close_links(struct load *l)
{
	for (unsigned c = 0; c < l->o->connections; c++) {
		struct link *k = &l->links[c];
		for (unsigned i = 0; k->slots != NULL && i < l->o->inflight; i++)
			free(k->slots[i].frame.p);
		free(k->slots);
		buf_free(&k->out);
		buf_free(&k->in);
		if (k->fd > 0)
			close(k->fd);
	}
	free(l->links);
	close(l->epoll_fd);
}

static void
progress(struct load *l)
{
	if (l->now_us < l->next_line_us)
		return;
	l->next_line_us = l->now_us + 1e6;
	if (!l->o->quiet && isatty(STDERR_FILENO))
		fprintf(stderr, "\r%12llu msg/s  %6u in flight  %llu errors ", (unsigned long long)l->line_messages, l->flying,
		    (unsigned long long)l->r->errors);
	l->line_messages = 0;
}

static int
wait_ms(const struct load *l)
{
	double left;

	if (l->o->rate <= 0 || !may_send_more(l))
		return 100;
	left = l->pace.next_us - l->now_us;
	return left <= 1000 ? 0 : (int)(left / 1000);
}

static enum rc
one_turn(struct load *l)
{
	struct epoll_event events[256];
	int n = epoll_wait(l->epoll_fd, events, COUNT_OF(events), wait_ms(l));
	enum rc rc = RC_OK;

	l->now_us = now_us();
	for (int i = 0; i < n && rc == RC_OK; i++) {
		struct link *k = events[i].data.ptr;
		if (events[i].events & ~(uint32_t)EPOLLOUT)
			rc = read_link(l, k);
		if (rc == RC_OK && l->o->rate <= 0)
			send_closed(l, k);
		if (rc == RC_OK && (l->o->rate <= 0 || k->want_write))
			rc = flush_link(l, k);
	}
	if (l->o->rate > 0 && rc == RC_OK) {
		send_due(l);
		for (unsigned c = 0; c < l->o->connections && rc == RC_OK; c++)
			if (l->links[c].out.len > 0 && !l->links[c].want_write)
				rc = flush_link(l, &l->links[c]);
	}
	return rc;
}

static bool
finished(struct load *l)
{
	if (l->now_us >= l->end_us)
		l->stopping = true;
	if (l->o->mode != BENCH_SEND)
		return l->stopping || (l->o->count > 0 && l->r->messages >= l->o->count);
	if (!may_send_more(l))
		return l->flying == 0 || l->now_us > l->end_us + 10e6;
	return false;
}

static enum rc
run_loop(struct load *l)
{
	double start = now_us();
	enum rc rc = RC_OK;

	l->now_us = start;
	l->measure_from_us = start + l->o->warmup * 1e6;
	l->end_us = l->measure_from_us + (l->o->count > 0 && l->o->seconds <= 0 ? 1e12 : l->o->seconds * 1e6);
	l->next_line_us = start + 1e6;
	if (l->o->rate > 0)
		bench_pace_start(&l->pace, l->o->rate / MAX_OF(1u, l->o->batch), start);
	for (unsigned c = 0; c < l->o->connections && l->o->rate <= 0 && rc == RC_OK; c++) {
		send_closed(l, &l->links[c]);
		rc = flush_link(l, &l->links[c]);
	}
	while (rc == RC_OK && !finished(l)) {
		rc = one_turn(l);
		progress(l);
	}
	l->r->seconds = (fmin(l->now_us, l->end_us) - l->measure_from_us) / 1e6;
	return rc;
}

enum rc
bench_run(const struct bench_opts *o, const struct bench_target *t, struct bench_result *r, struct err *e)
{
	struct load l = {.o = o, .t = t, .r = r, .err = e, .serial = (uint64_t)clock_wall_ms() << 20};
	enum rc rc = RC_OK;

	l.links = xcalloc(o->connections, sizeof(*l.links));
	l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (o->ledger != NULL && (l.ledger = fopen(o->ledger, "a")) == NULL) {
		err_set(e, "cannot open %s: %s", o->ledger, strerror(errno));
		rc = RC_IO;
	}
	for (unsigned c = 0; c < o->connections && rc == RC_OK; c++)
		rc = open_link(&l, &l.links[c], c);
	if (rc == RC_OK)
		rc = run_loop(&l);
	if (l.ledger != NULL && fclose(l.ledger) != 0 && rc == RC_OK) {
		err_set(e, "cannot write %s: %s", o->ledger, strerror(errno));
		rc = RC_IO;
	}
	if (!o->quiet && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	close_links(&l);
	return rc;
}
