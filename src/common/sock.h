/*
 * sock: sockets and addresses.
 */
#ifndef COMMON_SOCK_H
#define COMMON_SOCK_H

#include <sys/socket.h>
#include <sys/un.h>

#include "common/base.h"

/* An internet address in the form that records and ids use. */
struct addr {
	uint8_t	ip[16];   /* network order; 4 bytes used unless v6 */
	uint16_t port;
	bool	v6;
};

#define ADDR_TEXT 64
/* "1.2.3.4:10911"; "[::1]:10911" for IPv6. Returns buf. */
const char	*addr_text(const struct addr *a, char buf[ADDR_TEXT]);
/* Without the port. */
const char	*addr_ip_text(const struct addr *a, char buf[ADDR_TEXT]);
/* Reads "host:port" ("[v6]:port"); names are looked up. RC_INVAL: no such form; RC_NOTFOUND: no such host. */
enum rc	addr_parse(const char *text, struct addr *a, struct err *e) MUST_CHECK;
void	addr_from_sockaddr(struct addr *a, const struct sockaddr_storage *ss);
socklen_t	addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ss);

/* A listening, non-blocking, close-on-exec socket. ip may be NULL or "0.0.0.0" for all. RC_IO: errno, sentence in e. */
enum rc	sock_listen(const char *ip, int port, int *fd, struct err *e) MUST_CHECK;
/* Starts a non-blocking connect; it is done when the socket is writable and sock_error is 0. */
enum rc	sock_connect(const struct addr *a, int *fd, struct err *e) MUST_CHECK;
int	sock_error(int fd); /* SO_ERROR */
enum rc	sock_nonblock(int fd) MUST_CHECK;
void	sock_nodelay(int fd);
/* The address that others reach this host by: the first that is up and not loopback, IPv4 first; 127.0.0.1 if none. */
void	sock_own_ip(char ip[ADDR_TEXT]);

#endif
