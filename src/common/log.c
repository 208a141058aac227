/*
 * log: builds a line in a buffer of its own and writes it with one call.
 */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

#define LOG_LINE_MAX 2048 /* longer text is cut */

enum log_level log_level_now = LOG_LV_INFO;

static const char *const level_names[] = {"ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
static const int level_syslog[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG};

static char log_role[64] = "rmq";
static int log_fd = STDERR_FILENO;
static char *log_path;	/* NULL: no file */
static char *log_ident; /* not NULL: syslog. It keeps the pointer, so the text stays ours */

void
log_set_role(const char *role)
{
	snprintf(log_role, sizeof(log_role), "%s", role);
}

enum rc
log_set_level(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(level_names); i++) {
		if (strcasecmp(name, level_names[i]) != 0)
			continue;
		log_level_now = (enum log_level)i;
		return RC_OK;
	}
	return RC_INVAL;
}

/* Leaves the present destination. */
static void
leave_destination(void)
{
	if (log_path != NULL)
		close(log_fd);
	if (log_ident != NULL)
		closelog();
	free(log_path);
	free(log_ident);
	log_path = log_ident = NULL;
	log_fd = STDERR_FILENO;
}

void
log_to_stderr(void)
{
	leave_destination();
}

void
log_to_syslog(const char *ident)
{
	char *copy = xstrdup(ident);

	leave_destination();
	log_ident = copy;
	openlog(log_ident, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

static int
open_file(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

enum rc
log_to_file(const char *path)
{
	char *copy;
	int fd = open_file(path);

	if (fd < 0)
		return RC_IO;
	copy = xstrdup(path);
	leave_destination();
	log_path = copy;
	log_fd = fd;
	return RC_OK;
}

void
log_reopen(void)
{
	int fd;

	if (log_path == NULL)
		return;
	fd = open_file(log_path);
	if (fd < 0) {
		log_error("cannot open %s again: %s; the log goes on in the old file", log_path, strerror(errno));
		return;
	}
	close(log_fd);
	log_fd = fd;
}

/* "2026-11-20 10:15:03.123 LEVEL role[pid]: " */
static size_t
put_head(char *line, size_t size, enum log_level level)
{
	int64_t now = clock_wall_ms();
	time_t seconds = (time_t)(now / 1000);
	struct tm tm;
	size_t n;

	localtime_r(&seconds, &tm);
	n = strftime(line, size, "%Y-%m-%d %H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, size - n, ".%03d %s %s[%d]: ", (int)(now % 1000), level_names[level], log_role,
	    (int)getpid());
	return MIN_OF(n, size - 1);
}

/* A peer's text must not be able to begin a line of its own, or to move the cursor of who reads. */
static void
tame(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p != '\0'; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = ' ';
}

static void
write_line(char *line, size_t n)
{
	ssize_t done;

	line[n++] = '\n';
	do
		done = write(log_fd, line, n);
	while (done < 0 && errno == EINTR);
}

void
log_line(enum log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_MAX + 1];
	int saved = errno;
	va_list ap;
	size_t head;

	if (level > log_level_now)
		return;
	head = log_ident != NULL ? 0 : put_head(line, LOG_LINE_MAX, level);
	va_start(ap, fmt);
	vsnprintf(line + head, LOG_LINE_MAX - head, fmt, ap);
	va_end(ap);
	tame(line + head);
	if (log_ident != NULL)
		syslog(level_syslog[level], "%s: %s", log_role, line);
	else
		write_line(line, strlen(line));
	errno = saved;
}

bool
log_allowed(struct log_limit *l, unsigned burst)
{
	int64_t minute = clock_mono_ms() / 60000;

	if (minute != l->minute) {
		if (l->left_out > 0)
			log_warn("%u lines like this left out", l->left_out);
		l->minute = minute;
		l->said = l->left_out = 0;
	}
	if (l->said >= burst) {
		l->left_out++;
		return false;
	}
	l->said++;
	return true;
}
