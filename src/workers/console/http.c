/*
 * http: libmicrohttpd under libev.
 *
 * The library is started without threads; it keeps its sockets in an epoll set of its own, whose descriptor our loop watches.
 * Whenever that becomes readable, or a timeout of the library's is due, MHD_run does what there is to do.
 *
 * A request that waits for its page is suspended, so that the library does not look at its connection, and hangs on a list;
 * a timer looks at the list and resumes it. The library then asks for the answer once more.
 */
#include "workers/console/http.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define CONNECTIONS_MAX	64
#define MEMORY_MAX	(16u << 10)	/* of one connection: bounds line and headers of a request */
#define IDLE_S		15u
#define WAIT_MS		1500		/* longest wait for a page */
#define WAIT_STEP_S	0.1

struct request {
	struct http	*h;
	struct MHD_Connection *conn;
	int64_t		 deadline_ms;	/* 0: has not waited */
	bool		 suspended;
	struct request	*next, *prev;	/* while suspended */
};

struct http {
	struct ev_loop	*loop;
	struct MHD_Daemon *daemon;
	const struct http_page *pages;
	size_t		 page_count;
	void		*arg;
	ev_io		 io;
	ev_timer	 due, look;
	struct request	*waiting;
};

static void
list_add(struct http *h, struct request *r)
{
	r->suspended = true;
	r->prev = NULL;
	r->next = h->waiting;
	if (r->next != NULL)
		r->next->prev = r;
	h->waiting = r;
}

static void
list_remove(struct http *h, struct request *r)
{
	if (!r->suspended)
		return;
	r->suspended = false;
	if (r->next != NULL)
		r->next->prev = r->prev;
	if (r->prev != NULL)
		r->prev->next = r->next;
	else
		h->waiting = r->next;
}

/* Takes the text. */
static enum MHD_Result
answer(struct MHD_Connection *conn, int status, const char *type, struct buf *text)
{
	size_t n = text->len;
	char *p = buf_steal(text);
	struct MHD_Response *res;
	enum MHD_Result done;

	if (p == NULL)
		return MHD_NO;
	res = MHD_create_response_from_buffer(n, p, MHD_RESPMEM_MUST_FREE);
	if (res == NULL) {
		free(p);
		return MHD_NO;
	}
	MHD_add_response_header(res, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(res, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(res, "X-Content-Type-Options", "nosniff");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(res, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	done = MHD_queue_response(conn, (unsigned)status, res);
	MHD_destroy_response(res);
	return done;
}

static enum MHD_Result
answer_text(struct MHD_Connection *conn, int status, const char *sentence)
{
	struct buf text = {0};

	buf_put_str(&text, sentence);
	return answer(conn, status, "text/plain; charset=utf-8", &text);
}

static const struct http_page *
find_page(const struct http *h, const char *url)
{
	for (size_t i = 0; i < h->page_count; i++)
		if (strcmp(h->pages[i].path, url) == 0)
			return &h->pages[i];
	return NULL;
}

static enum MHD_Result
answer_page(struct http *h, struct request *r, const struct http_page *page)
{
	struct buf text = {0};
	int status = page->make(h->arg, &text);

	if (!text.failed)
		return answer(r->conn, status, page->type, &text);
	buf_free(&text);
	return answer_text(r->conn, MHD_HTTP_INTERNAL_SERVER_ERROR, "the page is too large\n");
}

/* True: the request sleeps now. */
static bool
must_wait(struct http *h, struct request *r, const struct http_page *page)
{
	int64_t now_ms = clock_mono_ms();

	if (r->deadline_ms == 0)
		r->deadline_ms = now_ms + WAIT_MS;
	if (page->ready == NULL || page->ready(h->arg) || now_ms >= r->deadline_ms)
		return false;
	list_add(h, r);
	MHD_suspend_connection(r->conn);
	ev_timer_again(h->loop, &h->look);
	return true;
}

/* The library calls this once for the head of a request, and again when its body, if any, has come or it was resumed. */
static enum MHD_Result
on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
    const char *upload, size_t *upload_size, void **context)
{
	struct http *h = cls;
	const struct http_page *page = find_page(h, url);
	struct request *r = *context;

	(void)version, (void)upload;
	if (r == NULL) {
		if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
			return answer_text(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
		*context = r = xcalloc(1, sizeof(*r));
		r->h = h;
		r->conn = conn;
		return MHD_YES;
	}
	if (*upload_size != 0)
		return MHD_NO; /* a body is not wanted: the connection is closed */
	if (page == NULL)
		return answer_text(conn, MHD_HTTP_NOT_FOUND, "no such page\n");
	if (must_wait(h, r, page))
		return MHD_YES;
	return answer_page(h, r, page);
}

static void
on_completed(void *cls, struct MHD_Connection *conn, void **context, enum MHD_RequestTerminationCode how)
{
	struct request *r = *context;

	(void)cls, (void)conn, (void)how;
	if (r == NULL)
		return;
	list_remove(r->h, r);
	free(r);
	*context = NULL;
}

static void
on_library_log(void *cls, const char *fmt, va_list ap)
{
	char text[256];

	(void)cls;
	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("http: %s", text);
}

static void
run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(h->daemon);
	if (MHD_get_timeout(h->daemon, &ms) == MHD_YES) {
		h->due.repeat = ms > 0 ? (double)ms / 1000 : 0.001;
		ev_timer_again(h->loop, &h->due);
	} else {
		ev_timer_stop(h->loop, &h->due);
	}
}

static void
on_readable(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop, (void)events;
	run(io->data);
}

static void
on_due(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)loop, (void)events;
	run(t->data);
}

/* Wakes every request that waits; the ones whose page is still not ready go back to sleep. */
static void
resume_all(struct http *h)
{
	struct request *r, *next;

	for (r = h->waiting; r != NULL; r = next) {
		next = r->next;
		list_remove(h, r);
		MHD_resume_connection(r->conn);
	}
}

static void
on_look(struct ev_loop *loop, ev_timer *t, int events)
{
	struct http *h = t->data;

	(void)events;
	ev_timer_stop(loop, t);
	resume_all(h);
	run(h);
}

static void
watch(struct http *h, int fd)
{
	ev_io_init(&h->io, on_readable, fd, EV_READ);
	ev_init(&h->due, on_due);
	ev_timer_init(&h->look, on_look, 0, WAIT_STEP_S);
	h->io.data = h->due.data = h->look.data = h;
	ev_io_start(h->loop, &h->io);
	run(h);
}

enum rc
http_start(struct ev_loop *loop, int listen_fd, const struct http_page *pages, size_t count, void *arg, struct http **out,
    struct err *e)
{
	struct http *h = xcalloc(1, sizeof(*h));
	const union MHD_DaemonInfo *info;

	*h = (struct http){.loop = loop, .pages = pages, .page_count = count, .arg = arg};
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
	    MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
	    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	info = h->daemon != NULL ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (info == NULL) {
		err_set(e, "libmicrohttpd could not be started on socket %d", listen_fd);
		if (h->daemon != NULL)
			MHD_stop_daemon(h->daemon);
		free(h);
		return RC_IO;
	}
	watch(h, info->epoll_fd);
	*out = h;
	return RC_OK;
}

void
http_stop(struct http **hp)
{
	struct http *h = *hp;

	*hp = NULL;
	if (h == NULL)
		return;
	resume_all(h); /* the library must not be stopped while one sleeps */
	ev_io_stop(h->loop, &h->io);
	ev_timer_stop(h->loop, &h->due);
	ev_timer_stop(h->loop, &h->look);
	MHD_stop_daemon(h->daemon);
	free(h);
}
