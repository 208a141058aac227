/*
 * bench_echo: a server that answers each request with a canned success. What rmqbench reaches against it is the ceiling of
 * generator, kernel and machine: no figure of a broker can be above it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sock.h"
#include "remoting/command.h"
#include "tools/bench.h"

struct peer {
	int		fd;
	struct buf	in, out;
};

static void
put_answer(struct buf *out, int32_t opaque)
{
	char head[] = "{\"code\":0,\"extFields\":{\"msgId\":\"7F00000100002A9F0000000000000000\",\"queueId\":\"0\",\"queueOffset\":\"0\","
		      "\"transactionId\":\"7F000001000000000000000000000000\",\"MSG_REGION\":\"DefaultRegion\",\"TRACE_ON\":\"true\"},"
		      "\"flag\":1,\"language\":\"JAVA\",\"opaque\":0000000000,\"version\":479}";
	char *at = strstr(head, "0000000000,");

	bench_put_digits(at, 10, (uint32_t)opaque);
	buf_put_be32(out, (uint32_t)(4 + sizeof(head) - 1));
	buf_put_be32(out, sizeof(head) - 1);
	buf_put(out, head, sizeof(head) - 1);
}

static bool
serve(struct peer *p)
{
	struct bench_answer a;
	size_t at = 0;
	char *room = buf_room(&p->in, 1u << 18);
	ssize_t n = room ? recv(p->fd, room, 1u << 18, 0) : -1;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	p->in.len += (size_t)n;
	while (bench_answer_scan(p->in.p + at, p->in.len - at, &a) == RC_OK) {
		put_answer(&p->out, a.opaque);
		at += a.total;
	}
	buf_consume(&p->in, at);
	for (at = 0; at < p->out.len;) {
		n = send(p->fd, p->out.p + at, p->out.len - at, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	p->out.len = 0;
	return true;
}

static void
drop(struct peer *p)
{
	close(p->fd);
	buf_free(&p->in);
	buf_free(&p->out);
	free(p);
}

int
bench_echo(int port)
{
	struct epoll_event ev = {.events = EPOLLIN}, events[64];
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), listener;
	struct err e;

	if (sock_listen("127.0.0.1", port, &listener, &e) != RC_OK) {
		fprintf(stderr, "rmqbench: %s\n", e.text);
		return 1;
	}
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &ev);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, COUNT_OF(events), -1);
		for (int i = 0; i < n; i++) {
			struct peer *p = events[i].data.ptr;
			if (p != NULL) {
				if (!serve(p))
					drop(p);
				continue;
			}
			p = xcalloc(1, sizeof(*p));
			p->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			sock_nodelay(p->fd);
			ev = (struct epoll_event){.events = EPOLLIN, .data.ptr = p};
			epoll_ctl(epoll_fd, EPOLL_CTL_ADD, p->fd, &ev);
		}
	}
}
