/*
 * sock: addresses as text and back, listening and connecting.
 */
#include "common/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "common/str.h"

#define LISTEN_BACKLOG 1024 /* clients of a restarting worker wait here */
#define HOST_MAX 256

const char *
addr_ip_text(const struct addr *a, char buf[ADDR_TEXT])
{
	if (inet_ntop(a->v6 ? AF_INET6 : AF_INET, a->ip, buf, ADDR_TEXT) == NULL)
		buf[0] = '\0';
	return buf;
}

const char *
addr_text(const struct addr *a, char buf[ADDR_TEXT])
{
	char ip[ADDR_TEXT];

	addr_ip_text(a, ip);
	snprintf(buf, ADDR_TEXT, a->v6 ? "[%.46s]:%u" : "%.46s:%u", ip, (unsigned)a->port);
	return buf;
}

/* The host part of "host:port", without brackets; false: not of that form. */
static bool
split_port(struct slice text, char host[HOST_MAX], int32_t *port)
{
	const char *colon = text.n > 0 ? memrchr(text.p, ':', text.n) : NULL;
	struct slice h;

	if (colon == NULL)
		return false;
	h = (struct slice){text.p, (size_t)(colon - text.p)};
	if (str_i32((struct slice){colon + 1, text.n - h.n - 1}, port) != RC_OK || *port < 0 || *port > UINT16_MAX)
		return false;
	if (h.n >= 2 && h.p[0] == '[' && h.p[h.n - 1] == ']')
		h = (struct slice){h.p + 1, h.n - 2};
	if (h.n == 0 || h.n >= HOST_MAX)
		return false;
	memcpy(host, h.p, h.n);
	host[h.n] = '\0';
	return true;
}

/* Takes an IPv4 address of the list if there is one. */
static bool
pick_address(const struct addrinfo *list, struct addr *a)
{
	const struct addrinfo *best = NULL;

	for (const struct addrinfo *i = list; i != NULL; i = i->ai_next)
		if (i->ai_family == AF_INET || (i->ai_family == AF_INET6 && best == NULL)) {
			best = i;
			if (i->ai_family == AF_INET)
				break;
		}
	if (best == NULL)
		return false;
	addr_from_sockaddr(a, (const struct sockaddr_storage *)(const void *)best->ai_addr);
	return true;
}

static enum rc
look_up(const char *host, struct addr *a, struct err *e)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
	int failed = getaddrinfo(host, NULL, &hints, &list);
	bool found = failed == 0 && pick_address(list, a);

	if (list != NULL)
		freeaddrinfo(list);
	if (found)
		return RC_OK;
	err_set(e, "cannot find the host \"%s\": %s", host, failed ? gai_strerror(failed) : "no internet address");
	return RC_NOTFOUND;
}

enum rc
addr_parse(const char *text, struct addr *a, struct err *e)
{
	struct addr got = {0};
	char host[HOST_MAX];
	int32_t port;

	if (!split_port(str_trim(slice_of(text)), host, &port)) {
		err_set(e, "\"%s\" is no address of the form host:port", text);
		return RC_INVAL;
	}
	if (inet_pton(AF_INET6, host, got.ip) == 1)
		got.v6 = true;
	else if (inet_pton(AF_INET, host, got.ip) != 1) {
		enum rc rc = look_up(host, &got, e);

		if (rc != RC_OK)
			return rc;
	}
	got.port = (uint16_t)port;
	*a = got;
	return RC_OK;
}

void
addr_from_sockaddr(struct addr *a, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)ss;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)ss;

	*a = (struct addr){0};
	if (ss->ss_family == AF_INET) {
		memcpy(a->ip, &v4->sin_addr, 4);
		a->port = ntohs(v4->sin_port);
		return;
	}
	if (ss->ss_family != AF_INET6)
		return;
	a->port = ntohs(v6->sin6_port);
	a->v6 = !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr); /* a listener for all sees IPv4 peers in this dress */
	if (a->v6)
		memcpy(a->ip, &v6->sin6_addr, 16);
	else
		memcpy(a->ip, v6->sin6_addr.s6_addr + 12, 4);
}

socklen_t
addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (a->v6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(a->port);
		memcpy(&v6->sin6_addr, a->ip, 16);
		return sizeof(*v6);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(a->port);
	memcpy(&v4->sin_addr, a->ip, 4);
	return sizeof(*v4);
}

/* Binds and listens; -1: errno. */
static int
try_listen(const struct addr *a)
{
	int fd = socket(a->v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, &ss);
	int on = 1, off = 0, saved;

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    (!a->v6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0) &&
	    bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

enum rc
sock_listen(const char *ip, int port, int *fd, struct err *e)
{
	bool all = ip == NULL || ip[0] == '\0' || strcmp(ip, "0.0.0.0") == 0;
	struct addr a = {.port = (uint16_t)port, .v6 = all};

	if (port < 0 || port > UINT16_MAX) {
		err_set(e, "%d is no port", port);
		errno = EINVAL;
		return RC_IO;
	}
	if (!all && inet_pton(AF_INET, ip, a.ip) != 1) {
		a.v6 = true;
		if (inet_pton(AF_INET6, ip, a.ip) != 1) {
			err_set(e, "\"%s\" is no address to listen on", ip);
			errno = EINVAL;
			return RC_IO;
		}
	}
	*fd = try_listen(&a);
	if (*fd < 0 && all && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) { /* a host without IPv6 */
		a.v6 = false;
		*fd = try_listen(&a);
	}
	if (*fd >= 0)
		return RC_OK;
	err_set(e, "cannot listen on %s:%d: %s", all ? "0.0.0.0" : ip, port, strerror(errno));
	return RC_IO;
}

enum rc
sock_connect(const struct addr *a, int *fd, struct err *e)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, &ss);
	char text[ADDR_TEXT];
	int saved;

	*fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd >= 0 && (connect(*fd, (struct sockaddr *)&ss, len) == 0 || errno == EINPROGRESS))
		return RC_OK;
	saved = errno;
	err_set(e, "cannot connect to %s: %s", addr_text(a, text), strerror(saved));
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
	return RC_IO;
}

int
sock_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

enum rc
sock_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 ? RC_OK : RC_IO;
}

void
sock_nodelay(int fd)
{
	int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* a Unix socket refuses, which does no harm */
}

/* 0: not for others; 1: IPv6; 2: IPv4. */
static int
usefulness(const struct ifaddrs *i)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)i->ifa_addr;

	if (i->ifa_addr == NULL || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK))
		return 0;
	if (i->ifa_addr->sa_family == AF_INET)
		return 2;
	return i->ifa_addr->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

void
sock_own_ip(char ip[ADDR_TEXT])
{
	struct ifaddrs *list = NULL;
	int best = 0;

	snprintf(ip, ADDR_TEXT, "127.0.0.1");
	if (getifaddrs(&list) != 0)
		return;
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
		int use = usefulness(i);
		struct addr a;

		if (use <= best)
			continue;
		best = use;
		addr_from_sockaddr(&a, (const struct sockaddr_storage *)(const void *)i->ifa_addr);
		addr_ip_text(&a, ip);
	}
	freeifaddrs(list);
}
