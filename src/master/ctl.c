/*
 * ctl: a Unix socket in the spec's directory by which an operator asks the running supervisor for something.
 *
 * The request is one line, `switch NODE` or `switch-unclean NODE`. The answers are lines, too: "  text" is news of what
 * goes on,
 * "+ text" the good end, "- text" the bad one. Who may open the socket is decided by the directory, which is its
 * owner's alone.
 *
 * A client that says nothing, too much or goes away harms nobody: it holds one of a few places until its time is over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "master/takeover.h"

#define CLIENTS_MAX 8
#define REQUEST_MAX 200
#define REQUEST_S   5.0

struct ctl_client {
	struct ctl	*ctl;
	int		 fd;	/* -1: gone, but somebody still has news for it */
	bool		 asked;
	char		 line[REQUEST_MAX + 1];
	size_t		 len;
	ev_io		 io;
	ev_timer	 limit;
};

struct ctl {
	struct master	*m;
	char		*path;
	int		 fd;
	struct ctl_client *clients[CLIENTS_MAX];	/* NULL: a free place */
	ev_io		 io;
};

static char *
ctl_path(const struct plan *p)
{
	return xasprintf("%s/supervisor%s%s.sock", p->spec.dir, p->host != NULL ? "-" : "",
			 p->host != NULL ? p->host : "");
}

static enum rc
ctl_address(const char *path, struct sockaddr_un *sun, struct err *e)
{
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(sun->sun_path)) {
		err_set(e,
			"%s is too long for the name of a socket (%zu bytes at most): --switch needs a shorter `dir`",
			path, sizeof(sun->sun_path) - 1);
		return RC_LIMIT;
	}
	strcpy(sun->sun_path, path);
	return RC_OK;
}

/* ---- a client, as the supervisor sees it */

static void
hang_up(struct ctl_client *c)
{
	if (c->fd < 0)
		return;
	ev_io_stop(c->ctl->m->loop, &c->io);
	ev_timer_stop(c->ctl->m->loop, &c->limit);
	close(c->fd);
	c->fd = -1;
}

static struct ctl_client **
place_of(struct ctl *ctl, const struct ctl_client *c)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (ctl->clients[i] == c)
			return &ctl->clients[i];
	return NULL;
}

static void
free_client(struct ctl_client *c)
{
	struct ctl_client **place = place_of(c->ctl, c);

	ensure(place != NULL);
	*place = NULL;
	free(c);
}

static void
put_line(struct ctl_client *c, const char *mark, const char *line)
{
	char text[600];
	int n = snprintf(text, sizeof(text), "%s %s\n", mark, line);

	if (c->fd < 0)
		return;
	n = MIN_OF(n, (int)sizeof(text) - 1);
	text[n - 1] = '\n';
	if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		hang_up(c); /* it does not read: what happens is in the log */
}

void
ctl_tell(struct ctl_client *c, const char *line)
{
	put_line(c, " ", line);
}

void
ctl_end(struct ctl_client **c, bool ok, const char *line)
{
	put_line(*c, ok ? "+" : "-", line);
	hang_up(*c);
	free_client(*c);
	*c = NULL;
}

static void
request(struct ctl_client *c)
{
	static const char clean[] = "switch ", unclean[] = "switch-unclean ";

	c->asked = true;
	ev_timer_stop(c->ctl->m->loop, &c->limit);
	if (strncmp(c->line, clean, sizeof(clean) - 1) == 0)
		takeover_switch(c->ctl->m, c->line + sizeof(clean) - 1, false, &c);
	else if (strncmp(c->line, unclean, sizeof(unclean) - 1) == 0)
		takeover_switch(c->ctl->m, c->line + sizeof(unclean) - 1, true, &c);
	else
		ctl_end(&c, false, "no such request");
}

static void
client_readable(struct ev_loop *loop, ev_io *io, int events)
{
	struct ctl_client *c = io->data;
	ssize_t n = recv(c->fd, c->line + c->len, REQUEST_MAX - c->len, MSG_DONTWAIT);
	char *end;

	(void)loop, (void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (c->asked) { /* gone, or talking on: nothing more is wanted of it, and what it asked for goes on */
		if (n <= 0)
			hang_up(c);
		return;
	}
	if (n <= 0) {
		ctl_end(&c, false, "closed");
		return;
	}
	c->len += (size_t)n;
	c->line[c->len] = '\0';
	end = memchr(c->line, '\n', c->len);
	if (end != NULL) {
		*end = '\0';
		c->len = 0;
		request(c);
	} else if (c->len == REQUEST_MAX) {
		ctl_end(&c, false, "the request is too long");
	}
}

static void
client_is_slow(struct ev_loop *loop, ev_timer *t, int events)
{
	struct ctl_client *c = t->data;

	(void)loop, (void)events;
	ctl_end(&c, false, "no request came");
}

static void
accept_one(struct ev_loop *loop, ev_io *io, int events)
{
	struct ctl *ctl = io->data;
	int fd = accept4(ctl->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ctl_client **place = place_of(ctl, NULL), *c;

	(void)events;
	if (fd < 0)
		return;
	if (place == NULL) {
		close(fd);
		return;
	}
	*place = c = xcalloc(1, sizeof(*c));
	c->ctl = ctl;
	c->fd = fd;
	ev_io_init(&c->io, client_readable, fd, EV_READ);
	ev_timer_init(&c->limit, client_is_slow, REQUEST_S, 0.0);
	c->io.data = c->limit.data = c;
	ev_io_start(loop, &c->io);
	ev_timer_start(loop, &c->limit);
}

static enum rc
listen_at(struct ctl *ctl, struct err *e)
{
	struct sockaddr_un sun;
	enum rc rc = ctl_address(ctl->path, &sun, e);

	if (rc != RC_OK)
		return rc;
	unlink(ctl->path); /* we hold the lock of the directory: it is nobody's */
	ctl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ctl->fd >= 0 && bind(ctl->fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 &&
	    listen(ctl->fd, SOMAXCONN) == 0)
		return RC_OK;
	err_set(e, "%s: %s", ctl->path, strerror(errno));
	return RC_IO;
}

void
ctl_start(struct master *m)
{
	struct ctl *ctl = xcalloc(1, sizeof(*ctl));
	struct err e;

	m->ctl = ctl;
	ctl->m = m;
	ctl->fd = -1;
	ctl->path = ctl_path(&m->plan);
	if (listen_at(ctl, &e) != RC_OK) {
		log_warn("--switch will not work: %s", e.text);
		return;
	}
	ev_io_init(&ctl->io, accept_one, ctl->fd, EV_READ);
	ctl->io.data = ctl;
	ev_io_start(m->loop, &ctl->io);
}

void
ctl_close(struct master *m)
{
	struct ctl *ctl = m->ctl;

	if (ctl == NULL)
		return;
	if (ctl->fd >= 0)
		close(ctl->fd);
	ctl->fd = -1;
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		if (ctl->clients[i] == NULL || ctl->clients[i]->fd < 0)
			continue;
		close(ctl->clients[i]->fd);
		ctl->clients[i]->fd = -1;
	}
}

void
ctl_stop(struct master *m)
{
	if (m->ctl == NULL)
		return;
	if (m->ctl->fd >= 0)
		unlink(m->ctl->path);
	ctl_close(m);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		free(m->ctl->clients[i]);
	free(m->ctl->path);
	free(m->ctl);
	m->ctl = NULL;
}

/* ---- the other side */

static int
cannot(const char *what, const char *why)
{
	fprintf(stderr, "rmqsupervisor: %s: %s\n", what, why);
	return EXIT_FAILURE;
}

/* Prints the lines as they come; the exit status is what the last one says. */
static int
print_answers(FILE *in)
{
	char line[700];

	while (fgets(line, sizeof(line), in) != NULL) {
		if (line[0] == ' ')
			fputs(line + 2, stdout);
		else
			fputs(line + 2, line[0] == '+' ? stdout : stderr);
		fflush(stdout);
		if (line[0] != ' ')
			return line[0] == '+' ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	return cannot("the supervisor", "it went away before the end; its log tells what came of it");
}

int
ctl_switch(const struct plan *p, const char *node, bool unclean)
{
	struct sockaddr_un sun;
	char *path = ctl_path(p);
	struct err e;
	int fd, status;
	FILE *f;

	if (ctl_address(path, &sun, &e) != RC_OK) {
		free(path);
		return cannot("--switch", e.text);
	}
	free(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
		int saved = errno;

		if (fd >= 0)
			close(fd);
		return cannot("no supervisor answers here", strerror(saved));
	}
	f = fdopen(fd, "r+");
	ensure(f != NULL);
	fprintf(f, "%s %s\n", unclean ? "switch-unclean" : "switch", node);
	fflush(f);
	status = print_answers(f);
	fclose(f);
	return status;
}
