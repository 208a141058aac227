/*
 * ask: requests of a command-line tool over a blocking socket with a time limit.
 */
#include "tools/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"

static enum rc
wait_for(int fd, short events, int64_t deadline_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int64_t left;
	int n;

	do {
		left = deadline_ms - clock_mono_ms();
		n = poll(&p, 1, left > 0 ? (int)left : 0);
	} while (n < 0 && errno == EINTR);
	return n > 0 ? RC_OK : n == 0 ? RC_AGAIN : RC_IO;
}

static enum rc
open_one(struct ask *a, const char *address, struct err *e)
{
	struct addr addr;
	enum rc rc = addr_parse(address, &addr, e);

	if (rc != RC_OK)
		return rc;
	rc = sock_connect(&addr, &a->fd, e);
	if (rc != RC_OK)
		return rc;
	if (wait_for(a->fd, POLLOUT, clock_mono_ms() + a->timeout_ms) != RC_OK || (errno = sock_error(a->fd)) != 0) {
		err_set(e, "cannot connect to %s: %s", address, errno ? strerror(errno) : "no answer in time");
		close(a->fd);
		return RC_IO;
	}
	sock_nodelay(a->fd);
	a->address = xstrdup(address);
	return RC_OK;
}

enum rc
ask_open(struct ask *a, const char *addresses, int64_t timeout_ms, struct err *e)
{
	char *list = xstrdup(addresses), *rest = list, *one;
	enum rc rc = RC_INVAL;

	memset(a, 0, sizeof(*a));
	a->fd = -1;
	a->timeout_ms = timeout_ms;
	err_set(e, "no address was given");
	while (rc != RC_OK && (one = strsep(&rest, ";")) != NULL)
		if (*one != '\0')
			rc = open_one(a, one, e);
	free(list);
	if (rc != RC_OK)
		a->fd = -1;
	return rc;
}

void
ask_close(struct ask *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	free(a->address);
	free(a->frame);
	buf_free(&a->out);
	a->address = a->frame = NULL;
}

void
ask_begin(struct ask *a, int code)
{
	buf_reset(&a->out, 1 << 16);
	frame_begin_request(&a->f, &a->out, CODEC_JSON, code, ++a->opaque, false);
}

static enum rc
send_all(struct ask *a, int64_t deadline, struct err *e)
{
	size_t at = 0;

	while (at < a->out.len) {
		ssize_t n = send(a->fd, a->out.p + at, a->out.len - at, MSG_NOSIGNAL);
		if (n > 0)
			at += (size_t)n;
		else if (errno == EAGAIN && wait_for(a->fd, POLLOUT, deadline) == RC_OK)
			continue;
		else if (errno != EINTR) {
			err_set(e, "cannot send to %s: %s", a->address, strerror(errno));
			return RC_IO;
		}
	}
	return RC_OK;
}

static enum rc
read_exactly(struct ask *a, char *p, size_t n, int64_t deadline, struct err *e)
{
	while (n > 0) {
		ssize_t got = recv(a->fd, p, n, 0);
		if (got > 0) {
			p += got;
			n -= (size_t)got;
		} else if (got == 0) {
			err_set(e, "%s closed the connection", a->address);
			return RC_CLOSED;
		} else if (errno == EAGAIN) {
			if (wait_for(a->fd, POLLIN, deadline) == RC_AGAIN) {
				err_set(e, "%s did not answer within %lld ms", a->address, (long long)a->timeout_ms);
				return RC_AGAIN;
			}
		} else if (errno != EINTR) {
			err_set(e, "cannot read from %s: %s", a->address, strerror(errno));
			return RC_IO;
		}
	}
	return RC_OK;
}

static enum rc
read_frame(struct ask *a, int64_t deadline, struct err *e)
{
	char prefix[FRAME_PREFIX];
	size_t total;
	enum rc rc = read_exactly(a, prefix, sizeof(prefix), deadline, e);

	if (rc == RC_OK)
		rc = frame_length(prefix, sizeof(prefix), &total, e);
	if (rc != RC_OK)
		return rc;
	free(a->frame);
	a->frame = xmalloc(total + 1);
	memcpy(a->frame, prefix, sizeof(prefix));
	rc = read_exactly(a, a->frame + sizeof(prefix), total - sizeof(prefix), deadline, e);
	return rc == RC_OK ? command_decode(&a->answer, a->frame, total, e) : rc;
}

enum rc
ask_end(struct ask *a, struct slice body, struct err *e)
{
	int64_t deadline = clock_mono_ms() + a->timeout_ms;
	enum rc rc;

	frame_end(&a->f, body.n);
	buf_put_slice(&a->out, body);
	if (a->out.failed) {
		err_set(e, "the request is too large");
		return RC_LIMIT;
	}
	rc = send_all(a, deadline, e);
	while (rc == RC_OK) {
		rc = read_frame(a, deadline, e);
		if (rc == RC_OK && command_is_response(&a->answer) && a->answer.opaque == a->opaque)
			return RC_OK;
	}
	return rc;
}

enum rc
ask_need(struct ask *a, struct slice body, struct err *e)
{
	enum rc rc = ask_end(a, body, e);

	if (rc == RC_OK && a->answer.code != RES_SUCCESS) {
		err_set(e, "%s answered %d %s: %.*s", a->address, a->answer.code, response_name(a->answer.code),
		    (int)MIN_OF(a->answer.remark.n, 300), a->answer.remark.n ? a->answer.remark.p : "");
		return RC_INVAL;
	}
	return rc;
}
