/*
 * ipc: typed messages between the processes of one host.
 *
 * Channels are SOCK_SEQPACKET socketpairs made by the master before the fork and kept by it, so a restarted worker goes on
 * with the same channel. Nothing per message of a client goes this way. A wrong length or type is our own bug.
 */
#ifndef COMMON_IPC_H
#define COMMON_IPC_H

#include "common/base.h"

#define IPC_MAX 8192 /* bytes of one message */

enum ipc_type {
	IPC_NONE,
#define IPC(NAME, fields) IPC_##NAME,
#include "common/ipc_types.tbl"
#undef IPC
	IPC_TYPES
};
const char	*ipc_name(enum ipc_type t);

struct ipc_msg {
	enum ipc_type	 type;
	size_t		 len, at;
	char		 data[IPC_MAX];
};

/* Sends one message; the arguments follow the type's fields: i int32_t, l int64_t, s const char *.
 * RC_AGAIN: the receiver is behind (message not sent). RC_LIMIT: over IPC_MAX bytes. RC_CLOSED, RC_IO. */
enum rc	ipc_send(int fd, enum ipc_type type, ...);
/* RC_AGAIN: none there. RC_CLOSED: the other end is gone. RC_BADDATA: not a whole message of a known type; it is dropped. */
enum rc	ipc_recv(int fd, struct ipc_msg *m) MUST_CHECK;
int32_t		 ipc_i32(struct ipc_msg *m);
int64_t		 ipc_i64(struct ipc_msg *m);
const char	*ipc_str(struct ipc_msg *m);	/* points into m */
/* All fields have been read: ensure()s it. */
void	ipc_end(struct ipc_msg *m);

#endif
