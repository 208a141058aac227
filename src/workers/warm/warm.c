/*
 * warm: reads ranges of the log and of queue and index files, so that the broker finds them in the page cache and its loop
 * never waits for the disk.
 *
 * Runs in:    the warm process, one per broker node.
 * Owns:       shm warm.*.       Reads: files of the log.
 * Must not:   write anything, or hold back one request behind more than one bounded read of another.
 * If it dies: started again alone; connections that waited for a range are answered when the broker asks again.
 *
 * Requests are served in the order in which they came, one bounded read a turn. The kernel is told of each range when it
 * comes, so that the disk works on several at a time.
 */
#include "workers/warm/warm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "store/paths.h"
#include "store/segs.h"

#define WARM_MAX  (1 << 20) /* bytes of one request that are read: what lies beyond is asked for again */
#define WARM_STEP (256 << 10)
#define WARM_FDS  4

struct request {
	int64_t	id, at, left;
	bool	of_file;	/* of a queue or index file; else of the log */
	int	fd;		/* of that file; -1 if it could not be opened */
	int	err;		/* why not */
};

struct open_segment {
	int	fd;	/* -1: free */
	int64_t	from;
	uint64_t used;	/* turn of the last use */
};

struct warm {
	struct worker	*w;
	struct segs	 log;	/* names only */
	ev_idle		 busy;
	ev_timer	 retry;	/* the broker's channel was full */
	struct request	*queue;
	size_t		 first, count, cap;
	struct open_segment open[WARM_FDS];
	uint64_t	 turn;
	char		*scratch;
	int		 answer_err; /* of the request at the head, when its answer waits for the channel */
};

/* ---- files */

static struct open_segment *
slot_for(struct warm *m, int64_t from)
{
	struct open_segment *oldest = &m->open[0];

	for (int i = 0; i < WARM_FDS; i++) {
		struct open_segment *s = &m->open[i];

		if (s->fd >= 0 && s->from == from)
			return s;
		if (s->fd < 0 || (oldest->fd >= 0 && s->used < oldest->used))
			oldest = s;
	}
	if (oldest->fd >= 0)
		close(oldest->fd);
	oldest->fd = -1;
	return oldest;
}

/* -1: errno says why. */
static int
segment_fd(struct warm *m, int64_t from)
{
	struct open_segment *s = slot_for(m, from);
	struct err e;

	s->used = ++m->turn;
	if (s->fd < 0 && segs_open(&m->log, from, SEG_READ, &s->fd, &e) != RC_OK) {
		log_debug("%s", e.text);
		return -1;
	}
	s->from = from;
	return s->fd;
}

/* Expired segments must not be kept on the disk by an open descriptor. */
static void
close_expired(struct warm *m)
{
	int64_t min = pos_read(&m->w->shm->clean.min);

	for (int i = 0; i < WARM_FDS; i++) {
		struct open_segment *s = &m->open[i];

		if (s->fd >= 0 && s->from + m->log.file_bytes <= min) {
			close(s->fd);
			s->fd = -1;
		}
	}
}

/* Tells the kernel what will be read. Ranges end at the segment's end. */
static int64_t
bytes_in_segment(const struct warm *m, int64_t at, int64_t n)
{
	return MIN_OF(n, segs_start(&m->log, at) + m->log.file_bytes - at);
}

static void
announce(struct warm *m, int64_t at, int64_t n)
{
	int64_t from = segs_start(&m->log, at);
	int fd = segment_fd(m, from);

	if (fd >= 0)
		(void)posix_fadvise(fd, (off_t)(at - from), (off_t)bytes_in_segment(m, at, n), POSIX_FADV_WILLNEED);
}

/* One bounded read. 0 or errno. */
static int
read_some(struct warm *m, struct request *r)
{
	int64_t from = r->of_file ? 0 : segs_start(&m->log, r->at), n = r->left;
	int fd = r->of_file ? r->fd : segment_fd(m, from);
	ssize_t got;

	if (fd < 0)
		return r->of_file ? r->err : errno;
	if (!r->of_file)
		n = bytes_in_segment(m, r->at, n);
	got = pread(fd, m->scratch, (size_t)MIN_OF(n, (int64_t)WARM_STEP), (off_t)(r->at - from));
	if (got < 0)
		return errno;
	if (got == 0)
		return EIO; /* files have their full size: this one was cut */
	r->at += got;
	r->left -= got;
	count_add(&m->w->shm->warm.warmed_bytes, (uint64_t)got);
	return 0;
}

/* ---- the queue */

static void
add_request(struct warm *m, const struct request *r)
{
	if (m->first + m->count == m->cap && m->first > 0) {
		memmove(m->queue, m->queue + m->first, m->count * sizeof(*m->queue));
		m->first = 0;
	}
	if (m->count == m->cap) {
		m->cap = m->cap == 0 ? 64 : m->cap * 2;
		m->queue = xrealloc(m->queue, m->cap * sizeof(*m->queue));
	}
	m->queue[m->first + m->count++] = *r;
}

static void
pop_request(struct warm *m)
{
	if (m->queue[m->first].of_file && m->queue[m->first].fd >= 0)
		close(m->queue[m->first].fd);
	m->first++;
	m->count--;
	if (m->count == 0) {
		m->first = 0;
		ev_idle_stop(m->w->loop, &m->busy);
		close_expired(m);
	}
}

/* A full channel: the broker is behind, so the loop need not hurry. */
static void
answer(struct warm *m, int err)
{
	enum rc rc = ipc_send(m->w->peer_fds[WORKER_BROKER], IPC_WARM_BROKER_DONE, m->queue[m->first].id, (int32_t)err);

	if (rc == RC_AGAIN) {
		m->answer_err = err;
		ev_idle_stop(m->w->loop, &m->busy);
		ev_timer_set(&m->retry, 0.01, 0.0);
		ev_timer_start(m->w->loop, &m->retry);
		return;
	}
	pop_request(m);
}

static void
answer_again(struct ev_loop *loop, ev_timer *t, int events)
{
	struct warm *m = t->data;

	(void)events;
	ev_idle_start(loop, &m->busy);
	answer(m, m->answer_err);
}

static void
work(struct ev_loop *loop, ev_idle *idle, int events)
{
	struct warm *m = idle->data;
	struct request *r = &m->queue[m->first];
	int64_t begin = clock_mono_us();
	int err = 0;

	(void)loop, (void)events;
	if (r->left > 0)
		err = read_some(m, r);
	count_add(&m->w->shm->warm.read_us, (uint64_t)(clock_mono_us() - begin));
	if (err != 0 || r->left == 0)
		answer(m, err);
}

/* ---- the worker's life */

static void
open_file(struct request *r, const char *path)
{
	r->of_file = true;
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	r->err = errno;
}

static void
on_peer(struct worker *w, enum role from, struct ipc_msg *msg)
{
	struct warm *m = w->state;
	struct request r = {.fd = -1};

	ensure(from == WORKER_BROKER && (msg->type == IPC_BROKER_WARM_RANGE || msg->type == IPC_BROKER_WARM_FILE));
	r.id = ipc_i64(msg);
	if (msg->type == IPC_BROKER_WARM_FILE)
		open_file(&r, ipc_str(msg));
	r.at = ipc_i64(msg);
	r.left = ipc_i64(msg);
	ipc_end(msg);
	ensure(r.at >= 0 && r.left >= 0);
	r.left = MIN_OF(r.left, (int64_t)WARM_MAX);
	count_add(&w->shm->warm.asked, 1);
	if (!r.of_file)
		announce(m, r.at, r.left);
	else if (r.fd >= 0)
		(void)posix_fadvise(r.fd, (off_t)r.at, (off_t)r.left, POSIX_FADV_WILLNEED);
	add_request(m, &r);
	if (!ev_is_active(&m->retry))
		ev_idle_start(w->loop, &m->busy);
}

static void
warm_init(struct warm *m, struct worker *w)
{
	char path[PATH_MAX];

	*m = (struct warm){.w = w, .scratch = xmalloc(WARM_STEP)};
	for (int i = 0; i < WARM_FDS; i++)
		m->open[i].fd = -1;
	paths_log(&w->node->conf, path, sizeof(path));
	segs_init(&m->log, path, w->node->conf.mappedFileSizeCommitLog, "mappedFileSizeCommitLog");
	ev_idle_init(&m->busy, work);
	ev_timer_init(&m->retry, answer_again, 0.0, 0.0);
	m->busy.data = m->retry.data = m;
}

static void
warm_free(struct warm *m)
{
	for (int i = 0; i < WARM_FDS; i++)
		if (m->open[i].fd >= 0)
			close(m->open[i].fd);
	while (m->count > 0)
		pop_request(m);
	segs_free(&m->log);
	free(m->queue);
	free(m->scratch);
}

int
warm_run(struct worker *w)
{
	struct warm m;
	int status;

	worker_init(w);
	warm_init(&m, w);
	w->state = &m;
	w->on_peer = on_peer;
	worker_ready(w);
	status = worker_loop(w);
	warm_free(&m);
	return status;
}
