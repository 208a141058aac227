/*
 * shim: the calls that are stood before. Each asks the rules, does the real one, and tells the trace.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 65536

/* The library's own function of that name, found once. */
#define REAL(result, name, ...)                                                                                        \
	static result (*real_##name##_)(__VA_ARGS__);                                                                  \
	if (real_##name##_ == NULL)                                                                                    \
	*(void **)&real_##name##_ = dlsym(RTLD_NEXT, #name)
#define CALL(name, ...) real_##name##_(__VA_ARGS__)

struct file {
	char *path; /* below the root, as it was opened; NULL: not one of ours */
	uint64_t ino;
	int port; /* a TCP connection: of its peer; -1 none, 0 not asked */
};

static struct file files[FILES_MAX];

ssize_t
real_write(int fd, const void *p, size_t n)
{
	return syscall(SYS_write, fd, p, n);
}

int
real_open(const char *path, int flags, mode_t mode)
{
	REAL(int, open, const char *, int, ...);
	return CALL(open, path, flags, mode);
}

int
real_close(int fd)
{
	REAL(int, close, int);
	return CALL(close, fd);
}

/* ---- names */

static const char *
root(void)
{
	static char path[PATH_MAX];
	static bool asked;

	if (!asked && getenv("RMQ_SHIM_ROOT") != NULL && realpath(getenv("RMQ_SHIM_ROOT"), path) == NULL)
		abort();
	asked = true;
	return path[0] != '\0' ? path : NULL;
}

/* While the environment is still as it was given. */
__attribute__((constructor)) static void
begin(void)
{
	(void)root();
	(void)trace_on();
	(void)rules_clock_ms();
}

/* The part of an absolute path that is below the root, or NULL. */
static const char *
below(const char *path)
{
	size_t n = root() != NULL ? strlen(root()) : 0;

	return n > 0 && strncmp(path, root(), n) == 0 && path[n] == '/' ? path + n + 1
	       : n > 0 && strcmp(path, root()) == 0                     ? "."
									: NULL;
}

/* As above for any path: out holds it. */
static const char *
name_at(int dir, const char *path, char out[PATH_MAX])
{
	char link[64], base[PATH_MAX];
	ssize_t n;

	if (root() == NULL)
		return NULL;
	if (path[0] == '/')
		return below(path);
	snprintf(link, sizeof(link), dir == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dir);
	n = readlink(link, base, sizeof(base) - 1);
	base[n > 0 ? n : 0] = '\0';
	if ((size_t)snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
		abort();
	return below(out);
}

static struct file *
file_of(int fd)
{
	return fd >= 0 && fd < FILES_MAX && files[fd].path != NULL ? &files[fd] : NULL;
}

static void
forget(int fd)
{
	if (fd < 0 || fd >= FILES_MAX)
		return;
	free(files[fd].path);
	files[fd] = (struct file){0};
}

static void
remember(int fd, const char *name)
{
	struct stat st;

	forget(fd);
	if (fd < 0 || fd >= FILES_MAX || name == NULL || fstat(fd, &st) != 0)
		return;
	files[fd] = (struct file){.path = strdup(name), .ino = (uint64_t)st.st_ino};
}

/* errno of what a rule says, 0 to go on. */
static int
refused(enum shim_op op, const char *name)
{
	struct shim_verdict v = rules_ask(op, name);

	return v.what == SHIM_FAIL ? v.error : 0;
}

static int
fails(int error)
{
	errno = error;
	return -1;
}

/* ---- opening */

static void
tell_opened(int fd, const char *name, int flags, bool made)
{
	const struct file *f = file_of(fd);

	if (f == NULL)
		return;
	if (made)
		trace_put(TRACE_CREATE, f->ino, 0, name, strlen(name), NULL, 0);
	else if (flags & O_TRUNC)
		trace_put(TRACE_SIZE, f->ino, 0, NULL, 0, NULL, 0);
}

static int
open_any(int dir, const char *path, int flags, mode_t mode)
{
	char buf[PATH_MAX];
	const char *name = name_at(dir, path, buf);
	bool writes = (flags & O_ACCMODE) != O_RDONLY, made;
	int fd, error = 0;
	REAL(int, openat, int, const char *, int, ...);

	if (name == NULL) {
		fd = CALL(openat, dir, path, flags, mode);
		forget(fd);
		return fd;
	}
	trace_maps();
	made = (flags & O_CREAT) && faccessat(dir, path, F_OK, 0) != 0;
	if (made || writes)
		error = refused(made ? OP_CREATE : OP_OPEN, name);
	if (error != 0)
		return fails(error);
	fd = CALL(openat, dir, path, flags, mode);
	remember(fd, name);
	tell_opened(fd, name, flags, made);
	return fd;
}

static mode_t
mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

int
open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return open_any(AT_FDCWD, path, flags, mode);
}

int
openat(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return open_any(dir, path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int openat64(int dir, const char *path, int flags, ...) __attribute__((alias("openat")));

int
close(int fd)
{
	if (trace_owns(fd))
		return fails(EBADF);
	forget(fd);
	return real_close(fd);
}

/* ---- writing */

/* How many of n bytes may be written; -1: none, errno is set. */
static ssize_t
allowed(const struct file *f, size_t n)
{
	struct shim_verdict v = rules_ask(OP_WRITE, f->path);

	if (v.what == SHIM_FAIL)
		return fails(v.error);
	return (ssize_t)(v.what == SHIM_SHORT && n > 1 ? n / 2 : n);
}

static ssize_t
write_at(struct file *f, int fd, const void *p, size_t n, off_t at)
{
	ssize_t most = allowed(f, n), r;

	if (most < 0)
		return -1;
	trace_maps();
	r = syscall(SYS_pwrite64, fd, p, (size_t)most, at);
	if (r > 0)
		trace_put(TRACE_WRITE, f->ino, at, p, (size_t)r, NULL, 0);
	return r;
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	struct file *f = file_of(fd);

	return f != NULL ? write_at(f, fd, p, n, at) : syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at) __attribute__((alias("pwrite")));

static int
peer_port(int fd)
{
	struct sockaddr_in a = {0};
	socklen_t n = sizeof(a);

	if (fd < 0 || fd >= FILES_MAX)
		return -1;
	if (files[fd].port == 0)
		files[fd].port =
		    getpeername(fd, (struct sockaddr *)&a, &n) == 0 && a.sin_family == AF_INET ? ntohs(a.sin_port) : -1;
	return files[fd].port;
}

/* What was told to another process or to a client: all that this one has mapped and changed came before. */
static void
tell_sent(int fd, const void *p, ssize_t n)
{
	if (n > 0 && trace_on() && peer_port(fd) > 0)
		trace_put(TRACE_SENT, 0, peer_port(fd), p, (size_t)n, NULL, 0);
}

ssize_t
write(int fd, const void *p, size_t n)
{
	struct file *f = file_of(fd);
	ssize_t r;

	if (f != NULL) {
		off_t at = lseek(fd, 0, SEEK_CUR);

		r = write_at(f, fd, p, n, at);
		if (r > 0)
			(void)lseek(fd, at + r, SEEK_SET);
		return r;
	}
	trace_maps();
	r = real_write(fd, p, n);
	tell_sent(fd, p, r);
	return r;
}

ssize_t
send(int fd, const void *p, size_t n, int flags)
{
	ssize_t r;
	REAL(ssize_t, send, int, const void *, size_t, int);

	trace_maps();
	r = CALL(send, fd, p, n, flags);
	tell_sent(fd, p, r);
	return r;
}

ssize_t
sendmsg(int fd, const struct msghdr *m, int flags)
{
	ssize_t r, left;
	REAL(ssize_t, sendmsg, int, const struct msghdr *, int);

	trace_maps();
	r = left = CALL(sendmsg, fd, m, flags);
	for (size_t i = 0; i < m->msg_iovlen && left > 0; i++) {
		ssize_t n = (ssize_t)m->msg_iov[i].iov_len < left ? (ssize_t)m->msg_iov[i].iov_len : left;

		tell_sent(fd, m->msg_iov[i].iov_base, n);
		left -= n;
	}
	return r;
}

/* ---- size */

int
ftruncate(int fd, off_t size)
{
	struct file *f = file_of(fd);
	int error = f != NULL ? refused(OP_TRUNCATE, f->path) : 0, r;

	if (error != 0)
		return fails(error);
	r = (int)syscall(SYS_ftruncate, fd, size);
	if (f != NULL && r == 0)
		trace_put(TRACE_SIZE, f->ino, size, NULL, 0, NULL, 0);
	return r;
}

int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));

int
fallocate(int fd, int mode, off_t at, off_t n)
{
	struct file *f = file_of(fd);
	int error = f != NULL ? refused(OP_FALLOCATE, f->path) : 0, r;

	if (error != 0)
		return fails(error);
	r = (int)syscall(SYS_fallocate, fd, mode, at, n);
	if (f != NULL && r == 0 && mode == 0)
		trace_put(TRACE_RESERVE, f->ino, at + n, NULL, 0, NULL, 0);
	return r;
}

int fallocate64(int fd, int mode, off_t at, off_t n) __attribute__((alias("fallocate")));

/* ---- syncing */

static int64_t
begin_sync(const struct file *f)
{
	static int64_t number;

	trace_maps();
	trace_put(TRACE_SYNC_BEGIN, f->ino, ++number, NULL, 0, NULL, 0);
	return number;
}

static int
sync_file(int fd, long how)
{
	struct file *f = file_of(fd);
	int64_t number;
	int error, r;

	if (f == NULL)
		return (int)syscall(how, fd);
	number = begin_sync(f);
	error = refused(OP_SYNC, f->path);
	if (error != 0)
		return fails(error);
	r = (int)syscall(how, fd);
	if (r == 0)
		trace_put(TRACE_SYNC_END, f->ino, number, NULL, 0, NULL, 0);
	return r;
}

int
fsync(int fd)
{
	return sync_file(fd, SYS_fsync);
}

int
fdatasync(int fd)
{
	return sync_file(fd, SYS_fdatasync);
}

int
sync_file_range(int fd, off_t at, off_t n, unsigned flags)
{
	struct file *f = file_of(fd);
	int error = f != NULL ? refused(OP_RANGE, f->path) : 0;

	return error != 0 ? fails(error) : (int)syscall(SYS_sync_file_range, fd, at, n, flags);
}

/* ---- aio: each context has at most one sync under way (bgsync) */

#define AIO_MAX 64

static struct aio {
	long context;
	int64_t number;
	uint64_t ino; /* 0: nothing is under way */
	int error;
} aios[AIO_MAX];

static struct aio *
aio_of(long context)
{
	for (int i = 0; i < AIO_MAX; i++)
		if (aios[i].context == context || aios[i].context == 0) {
			aios[i].context = context;
			return &aios[i];
		}
	abort();
}

static void
note_submit(struct aio *aio, const struct iocb *cb)
{
	struct file *f = file_of((int)cb->aio_fildes);

	aio->ino = 0;
	if (f == NULL || (cb->aio_lio_opcode != IOCB_CMD_FSYNC && cb->aio_lio_opcode != IOCB_CMD_FDSYNC))
		return;
	aio->number = begin_sync(f);
	aio->error = refused(OP_SYNC, f->path);
	aio->ino = f->ino;
}

static void
note_event(struct aio *aio, struct io_event *event)
{
	if (aio->ino == 0)
		return;
	if (aio->error != 0)
		event->res = -aio->error;
	else if (event->res == 0)
		trace_put(TRACE_SYNC_END, aio->ino, aio->number, NULL, 0, NULL, 0);
	aio->ino = 0;
}

long
syscall(long number, ...)
{
	long a[6], r;
	va_list ap;
	REAL(long, syscall, long, ...);

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_io_submit && a[1] == 1)
		note_submit(aio_of(a[0]), ((struct iocb **)a[2])[0]);
	r = CALL(syscall, number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_io_getevents && r == 1)
		note_event(aio_of(a[0]), (struct io_event *)a[3]);
	return r;
}

/* ---- maps */

void *
mmap(void *where, size_t n, int prot, int flags, int fd, off_t at)
{
	struct file *f = file_of(fd);
	bool shared = f != NULL && (prot & PROT_WRITE) && (flags & MAP_SHARED);
	int error = shared ? refused(OP_MAP, f->path) : 0;
	void *p;

	if (error != 0) {
		errno = error;
		return MAP_FAILED;
	}
	p = (void *)syscall(SYS_mmap, where, n, prot, flags, fd, at);
	if (shared && p != MAP_FAILED)
		trace_map(p, n, f->ino);
	return p;
}

void *mmap64(void *where, size_t n, int prot, int flags, int fd, off_t at) __attribute__((alias("mmap")));

int
munmap(void *p, size_t n)
{
	trace_unmap(p);
	return (int)syscall(SYS_munmap, p, n);
}

int
msync(void *p, size_t n, int flags)
{
	int error = root() != NULL ? refused(OP_SYNC, "index/map") : 0;

	trace_maps();
	return error != 0 ? fails(error) : (int)syscall(SYS_msync, p, n, flags);
}

ssize_t
pread(int fd, void *p, size_t n, off_t at)
{
	struct file *f = file_of(fd);
	int error = f != NULL ? refused(OP_READ, f->path) : 0;

	return error != 0 ? fails(error) : syscall(SYS_pread64, fd, p, n, at);
}

ssize_t pread64(int fd, void *p, size_t n, off_t at) __attribute__((alias("pread")));

/* ---- names on the disk */

int
rename(const char *from, const char *to)
{
	char buf[PATH_MAX], buf2[PATH_MAX];
	const char *name = name_at(AT_FDCWD, from, buf), *other = name_at(AT_FDCWD, to, buf2);
	int error = other != NULL ? refused(OP_RENAME, other) : 0, r;

	if (error != 0)
		return fails(error);
	trace_maps();
	r = (int)syscall(SYS_rename, from, to);
	if (r == 0 && name != NULL && other != NULL)
		trace_put(TRACE_RENAME, 0, 0, name, strlen(name), other, strlen(other));
	return r;
}

int
link(const char *from, const char *to)
{
	char buf[PATH_MAX], buf2[PATH_MAX];
	const char *name = name_at(AT_FDCWD, from, buf), *other = name_at(AT_FDCWD, to, buf2);
	int error = other != NULL ? refused(OP_LINK, other) : 0, r;

	if (error != 0)
		return fails(error);
	r = (int)syscall(SYS_link, from, to);
	if (r == 0 && name != NULL && other != NULL)
		trace_put(TRACE_LINK, 0, 0, name, strlen(name), other, strlen(other));
	return r;
}

int
unlinkat(int dir, const char *path, int flags)
{
	char buf[PATH_MAX];
	const char *name = name_at(dir, path, buf);
	int error = name != NULL ? refused(OP_UNLINK, name) : 0, r;

	if (error != 0)
		return fails(error);
	trace_maps();
	r = (int)syscall(SYS_unlinkat, dir, path, flags);
	if (r == 0 && name != NULL)
		trace_put(flags & AT_REMOVEDIR ? TRACE_RMDIR : TRACE_UNLINK, 0, 0, name, strlen(name), NULL, 0);
	return r;
}

int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int
rmdir(const char *path)
{
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int
remove(const char *path)
{
	int r = unlink(path);

	return r != 0 && errno == EISDIR ? rmdir(path) : r;
}

int
mkdir(const char *path, mode_t mode)
{
	char buf[PATH_MAX];
	const char *name = name_at(AT_FDCWD, path, buf);
	int error = name != NULL ? refused(OP_MKDIR, name) : 0, r;
	struct stat st;

	if (error != 0)
		return fails(error);
	r = (int)syscall(SYS_mkdir, path, mode);
	if (r == 0 && name != NULL && stat(path, &st) == 0)
		trace_put(TRACE_MKDIR, (uint64_t)st.st_ino, 0, name, strlen(name), NULL, 0);
	return r;
}

/* ---- the wall clock */

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int64_t ms;
	int r;
	REAL(int, clock_gettime, clockid_t, struct timespec *);

	r = CALL(clock_gettime, id, t);
	if (r != 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
		return r;
	ms = rules_clock_ms();
	t->tv_sec += (time_t)(ms / 1000);
	t->tv_nsec += (long)(ms % 1000) * 1000000;
	if (t->tv_nsec < 0 || t->tv_nsec >= 1000000000) {
		t->tv_sec += t->tv_nsec < 0 ? -1 : 1;
		t->tv_nsec += t->tv_nsec < 0 ? 1000000000 : -1000000000;
	}
	return r;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec t;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &t);
	*tv = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
	return 0;
}

time_t
time(time_t *out)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (out != NULL)
		*out = t.tv_sec;
	return t.tv_sec;
}
