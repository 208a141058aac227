/*
 * The console's HTTP server: server and client in one loop of this process.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/sock.h"
#include "test.h"
#include "workers/console/http.h"

#define GIVE_UP_S 10.0

struct exchange {
	struct ev_loop	*loop;
	int		 fd;
	ev_io		 io;
	ev_timer	 give_up;
	char		 text[8192];
	size_t		 len;
};

/* What the pages do. */
static struct {
	bool	ready;		/* what slow_ready says */
	int	asked;		/* how often it was asked */
	int	ready_after;	/* it becomes true when asked so often */
	int	advance_ms;	/* the made clock goes on by that much each time */
} slow;

static bool
slow_ready(void *arg)
{
	(void)arg;
	if (++slow.asked == slow.ready_after)
		slow.ready = true;
	clock_advance_ms(slow.advance_ms);
	return slow.ready;
}

static int
make_slow(void *arg, struct buf *out)
{
	(void)arg;
	buf_put_str(out, slow.ready ? "fresh" : "stale");
	return 200;
}

static int
make_sick(void *arg, struct buf *out)
{
	buf_put_str(out, arg);
	return 503;
}

static const struct http_page pages[] = {
	{"/slow", "application/json", slow_ready, make_slow},
	{"/sick", "text/plain", NULL, make_sick},
};

static void
on_client(struct ev_loop *loop, ev_io *io, int events)
{
	struct exchange *x = io->data;
	ssize_t n = read(x->fd, x->text + x->len, sizeof(x->text) - 1 - x->len);

	(void)events;
	if (n > 0) {
		x->len += (size_t)n;
		return;
	}
	if (n < 0 && errno == EAGAIN)
		return;
	ev_break(loop, EVBREAK_ALL);
}

static void
on_give_up(struct ev_loop *loop, ev_timer *t, int events)
{
	(void)t, (void)events;
	CU_FAIL("no answer");
	ev_break(loop, EVBREAK_ALL);
}

static int
port_of(int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	ensure(getsockname(fd, (struct sockaddr *)&in, &len) == 0);
	return ntohs(in.sin_port);
}

/* A port below 30000 that is free. */
static int
listen_somewhere(void)
{
	struct err e;
	int fd;

	for (int port = 21000 + getpid() % 4000; port < 30000; port++)
		if (sock_listen("127.0.0.1", port, &fd, &e) == RC_OK)
			return fd;
	ensure(!"a free port");
	return -1;
}

static void
client_connect(struct exchange *x, int port, const char *request)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	x->fd = socket(AF_INET, SOCK_STREAM, 0);
	ensure(x->fd >= 0 && connect(x->fd, (struct sockaddr *)&in, sizeof(in)) == 0);
	ensure(send(x->fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request));
	ensure(sock_nonblock(x->fd) == RC_OK);
	ev_io_init(&x->io, on_client, x->fd, EV_READ);
	ev_timer_init(&x->give_up, on_give_up, GIVE_UP_S, 0);
	x->io.data = x;
	ev_io_start(x->loop, &x->io);
	ev_timer_start(x->loop, &x->give_up);
}

static void
client_close(struct exchange *x)
{
	ev_io_stop(x->loop, &x->io);
	ev_timer_stop(x->loop, &x->give_up);
	close(x->fd);
}

/* Sends the request, runs the loop until the server has closed. */
static void
ask(struct exchange *x, const char *request)
{
	int fd = listen_somewhere(), port = port_of(fd);
	struct http *h;
	struct err e;
	char arg[] = "ill";

	*x = (struct exchange){.loop = ev_loop_new(EVBACKEND_EPOLL)};
	CU_ASSERT_EQUAL_FATAL(http_start(x->loop, fd, pages, COUNT_OF(pages), arg, &h, &e), RC_OK);
	client_connect(x, port, request);
	ev_run(x->loop, 0);
	client_close(x);
	http_stop(&h);
	CU_ASSERT_PTR_NULL(h);
	ev_loop_destroy(x->loop);
}

static void
check(const char *request, const char *status, const char *body)
{
	struct exchange x;
	const char *at;

	ask(&x, request);
	CU_ASSERT_PTR_EQUAL(strstr(x.text, status), x.text);
	at = strstr(x.text, "\r\n\r\n");
	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	CU_ASSERT_STRING_EQUAL(at + 4, body);
}

#define TAIL " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

static void
a_page_is_answered_with_its_status_and_type(void)
{
	struct exchange x;

	slow.ready = true;
	check("GET /slow" TAIL, "HTTP/1.1 200 ", "fresh");
	check("GET /sick" TAIL, "HTTP/1.1 503 ", "ill");
	check("GET /slow?x=1" TAIL, "HTTP/1.1 200 ", "fresh");
	ask(&x, "GET /slow" TAIL);
	CU_ASSERT_PTR_NOT_NULL(strstr(x.text, "Content-Type: application/json\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(x.text, "Cache-Control: no-store\r\n"));
}

static void
head_is_answered_without_a_body(void)
{
	struct exchange x;

	slow.ready = true;
	check("HEAD /slow" TAIL, "HTTP/1.1 200 ", "");
	ask(&x, "HEAD /slow" TAIL);
	CU_ASSERT_PTR_NOT_NULL(strstr(x.text, "Content-Length: 5\r\n"));
}

static void
unknown_pages_and_methods_are_refused(void)
{
	struct exchange x;

	check("GET /" TAIL, "HTTP/1.1 404 ", "no such page\n");
	check("GET /status/x" TAIL, "HTTP/1.1 404 ", "no such page\n");
	check("DELETE /slow" TAIL, "HTTP/1.1 405 ", "only GET and HEAD are answered here\n");
	ask(&x, "POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
	CU_ASSERT_PTR_EQUAL(strstr(x.text, "HTTP/1.1 405 "), x.text);
	CU_ASSERT_PTR_NOT_NULL(strstr(x.text, "Allow: GET, HEAD\r\n"));
}

static void
a_request_with_a_body_is_cut_off(void)
{
	struct exchange x;

	slow.ready = true;
	ask(&x, "GET /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
	CU_ASSERT_EQUAL(x.len, 0);
}

static void
a_head_that_is_too_large_is_refused(void)
{
	static char request[40000];
	struct exchange x;
	size_t n = (size_t)snprintf(request, sizeof(request), "GET /slow HTTP/1.1\r\nHost: h\r\nX: ");

	memset(request + n, 'x', sizeof(request) - n - 1);
	ask(&x, request);
	CU_ASSERT_PTR_NULL(strstr(x.text, " 200 "));
}

static void
a_request_waits_until_its_page_is_ready(void)
{
	memset(&slow, 0, sizeof(slow));
	slow.ready_after = 3;
	check("GET /slow" TAIL, "HTTP/1.1 200 ", "fresh");
	CU_ASSERT_EQUAL(slow.asked, 3);
}

static void
a_request_does_not_wait_for_ever(void)
{
	clock_set_made(1795000000000);
	memset(&slow, 0, sizeof(slow));
	slow.advance_ms = 800;
	check("GET /slow" TAIL, "HTTP/1.1 200 ", "stale");
	CU_ASSERT_EQUAL(slow.asked, 3); /* at 0, 800 and 1600 ms */
	clock_set_made(-1);
}

static void
the_server_stops_while_a_request_waits(void)
{
	struct exchange x = {.loop = ev_loop_new(EVBACKEND_EPOLL)};
	int fd = listen_somewhere(), port = port_of(fd);
	struct http *h;
	struct err e;

	memset(&slow, 0, sizeof(slow));
	CU_ASSERT_EQUAL_FATAL(http_start(x.loop, fd, pages, COUNT_OF(pages), NULL, &h, &e), RC_OK);
	client_connect(&x, port, "GET /slow" TAIL);
	while (slow.asked == 0)
		ev_run(x.loop, EVRUN_ONCE);
	http_stop(&h);
	CU_ASSERT_PTR_NULL(strstr(x.text, " 200 "));
	client_close(&x);
	ev_loop_destroy(x.loop);
}

TEST_MAIN("console/http", TEST(a_page_is_answered_with_its_status_and_type), TEST(head_is_answered_without_a_body),
    TEST(unknown_pages_and_methods_are_refused), TEST(a_request_with_a_body_is_cut_off),
    TEST(a_head_that_is_too_large_is_refused), TEST(a_request_waits_until_its_page_is_ready),
    TEST(a_request_does_not_wait_for_ever), TEST(the_server_stops_while_a_request_waits))
