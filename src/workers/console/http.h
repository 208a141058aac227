/*
 * http: a small HTTP server for read-only pages, by libmicrohttpd, driven by our loop: no threads.
 *
 * GET and HEAD only. A page may ask for a moment before it is answered: the request sleeps, the loop goes on.
 */
#ifndef CONSOLE_HTTP_H
#define CONSOLE_HTTP_H

#include <ev.h>

#include "common/buf.h"

struct http_page {
	const char	*path;
	const char	*type;		/* Content-Type */
	/* Asked when a request comes, then every 100 ms for 1.5 s at most; the page is made when it says true or the time is over. */
	bool		(*ready)(void *arg);
	/* Makes the page; the result is the HTTP status. */
	int		(*make)(void *arg, struct buf *out);
};

struct http;

/* Serves pages on the listening socket, which is http's from now on. pages and arg stay the caller's. RC_IO: sentence in e. */
enum rc	http_start(struct ev_loop *loop, int listen_fd, const struct http_page *pages, size_t count, void *arg,
	    struct http **out, struct err *e) MUST_CHECK;
void	http_stop(struct http **h);

#endif
