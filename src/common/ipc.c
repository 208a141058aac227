/*
 * ipc: typed messages between the processes of one host.
 *
 * A message is its type (u32), then its fields in the order of ipc_types.tbl, in the machine's own byte order: i 4 bytes,
 * l 8 bytes, s a u32 length, the bytes and a NUL. ipc_recv checks a whole message against its type, so that the getters
 * can only fail by a mistake of the code that reads.
 */
#include "common/ipc.h"

#include <errno.h>
#include <sys/socket.h>

static const struct {
	const char *name, *fields;
} types[IPC_TYPES] = {
    [IPC_NONE] = {"NONE", ""},
#define IPC(NAME, f) [IPC_##NAME] = {#NAME, f},
#include "common/ipc_types.tbl"
#undef IPC
};

const char *
ipc_name(enum ipc_type t)
{
	return (unsigned)t < IPC_TYPES ? types[t].name : "unknown";
}

static bool
put(struct ipc_msg *m, const void *p, size_t n)
{
	if (n > sizeof(m->data) - m->len)
		return false;
	memcpy(m->data + m->len, p, n);
	m->len += n;
	return true;
}

static bool
put_str(struct ipc_msg *m, const char *s)
{
	size_t n = strlen(s);
	uint32_t n32 = (uint32_t)n;

	return n < sizeof(m->data) && put(m, &n32, sizeof(n32)) && put(m, s, n + 1);
}

static bool
put_field(struct ipc_msg *m, char kind, va_list *ap)
{
	int32_t i;
	int64_t l;

	switch (kind) {
	case 'i':
		i = va_arg(*ap, int32_t);
		return put(m, &i, sizeof(i));
	case 'l':
		l = va_arg(*ap, int64_t);
		return put(m, &l, sizeof(l));
	default:
		return put_str(m, va_arg(*ap, const char *));
	}
}

static enum rc
send_result(ssize_t n)
{
	if (n >= 0)
		return RC_OK;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
		return RC_AGAIN;
	return errno == EPIPE || errno == ECONNRESET ? RC_CLOSED : RC_IO;
}

enum rc
ipc_send(int fd, enum ipc_type type, ...)
{
	struct ipc_msg m;
	uint32_t t = (uint32_t)type;
	bool fits;
	va_list ap;
	ssize_t n;

	ensure(type > IPC_NONE && type < IPC_TYPES);
	m.len = 0;
	fits = put(&m, &t, sizeof(t));
	va_start(ap, type);
	for (const char *f = types[type].fields; *f != '\0' && fits; f++)
		fits = put_field(&m, *f, &ap);
	va_end(ap);
	if (!fits)
		return RC_LIMIT;
	do
		n = send(fd, m.data, m.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return send_result(n);
}

/* Where the field at `at` ends, or 0 if it does not fit into the message. */
static size_t
field_end(const struct ipc_msg *m, size_t at, char kind)
{
	size_t left = m->len - at, n = kind == 'i' ? 4 : kind == 'l' ? 8 : 5;
	uint32_t len;

	if (left < n)
		return 0;
	if (kind != 's')
		return at + n;
	memcpy(&len, m->data + at, sizeof(len));
	if (len > left - n || m->data[at + 4 + len] != '\0')
		return 0;
	return at + n + len;
}

static bool
has_its_fields(const struct ipc_msg *m)
{
	size_t at = sizeof(uint32_t);

	for (const char *f = types[m->type].fields; *f != '\0'; f++)
		if ((at = field_end(m, at, *f)) == 0)
			return false;
	return at == m->len;
}

static enum rc
check(struct ipc_msg *m, size_t received)
{
	uint32_t t;

	if (received < sizeof(t) || received > sizeof(m->data))
		return RC_BADDATA;
	memcpy(&t, m->data, sizeof(t));
	if (t == IPC_NONE || t >= IPC_TYPES)
		return RC_BADDATA;
	m->type = (enum ipc_type)t;
	m->len = received;
	m->at = sizeof(t);
	return has_its_fields(m) ? RC_OK : RC_BADDATA;
}

enum rc
ipc_recv(int fd, struct ipc_msg *m)
{
	ssize_t n;

	do
		n = recv(fd, m->data, sizeof(m->data), MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return check(m, (size_t)n);
	if (n == 0 || errno == ECONNRESET)
		return RC_CLOSED;
	return errno == EAGAIN || errno == EWOULDBLOCK ? RC_AGAIN : RC_IO;
}

static const char *
take(struct ipc_msg *m, char kind)
{
	const char *p = m->data + m->at;
	size_t end = field_end(m, m->at, kind);

	ensure(end != 0);
	m->at = end;
	return p;
}

int32_t
ipc_i32(struct ipc_msg *m)
{
	int32_t v;

	memcpy(&v, take(m, 'i'), sizeof(v));
	return v;
}

int64_t
ipc_i64(struct ipc_msg *m)
{
	int64_t v;

	memcpy(&v, take(m, 'l'), sizeof(v));
	return v;
}

const char *
ipc_str(struct ipc_msg *m)
{
	return take(m, 's') + sizeof(uint32_t);
}

void
ipc_end(struct ipc_msg *m)
{
	ensure(m->at == m->len);
}
