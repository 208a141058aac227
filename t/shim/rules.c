/*
 * rules: which operations fail.
 *
 * One rule a line, "#" begins a comment:
 *
 *     OPS PATH WHAT [from=N] [times=N] [every=N]
 *     clock +3600000
 *
 * OPS: names of ops_names joined by "+", or "*" for all that change the disk. PATH: a piece of the path below
 * RMQ_SHIM_ROOT, or
 * "*". WHAT: the name of an errno, "short" (a write takes half of its bytes) or "delay=MILLISECONDS". from: the first
 * passing operation that is met (1), times: how many are (all), every: each Nth. Each process counts for itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shim.h"

#define RULES_MAX     32
#define RULES_BYTES   8192
#define ERRNO_MAX     133
#define CLOCK_LOOK_NS 2000000 /* the clock is asked often: the file is looked at again after so long */

struct rule {
	unsigned ops; /* bits */
	char path[128];
	int error, delay_ms;
	bool is_short;
	long from, times, every;
	long passed, met;
};

static const char *const ops_names[SHIM_OPS] = {
    [OP_WRITE] = "write",       [OP_SYNC] = "sync",           [OP_RANGE] = "range",
    [OP_TRUNCATE] = "truncate", [OP_FALLOCATE] = "fallocate", [OP_RENAME] = "rename",
    [OP_UNLINK] = "unlink",     [OP_CREATE] = "create",       [OP_OPEN] = "open",
    [OP_LINK] = "link",         [OP_MKDIR] = "mkdir",         [OP_MAP] = "map",
    [OP_READ] = "read"};

static struct rule rules[RULES_MAX];
static int rule_count;
static int64_t clock_ms;
static struct timespec read_mtime;
static ino_t read_ino;

/* ---- reading */

static unsigned
ops_of(char *text)
{
	unsigned bits = 0;

	if (strcmp(text, "*") == 0)
		return ~(1u << OP_READ);
	for (char *save, *name = strtok_r(text, "+", &save); name != NULL; name = strtok_r(NULL, "+", &save)) {
		int op = 0;

		while (op < SHIM_OPS && strcmp(name, ops_names[op]) != 0)
			op++;
		if (op == SHIM_OPS)
			return 0;
		bits |= 1u << op;
	}
	return bits;
}

static int
errno_of(const char *name)
{
	for (int e = 1; e <= ERRNO_MAX; e++)
		if (strerrorname_np(e) != NULL && strcmp(strerrorname_np(e), name) == 0)
			return e;
	return 0;
}

static bool
read_what(struct rule *r, const char *what)
{
	r->is_short = strcmp(what, "short") == 0;
	if (strncmp(what, "delay=", 6) == 0)
		r->delay_ms = atoi(what + 6);
	else if (!r->is_short)
		r->error = errno_of(what);
	return r->is_short || r->delay_ms > 0 || r->error > 0;
}

static bool
read_option(struct rule *r, const char *text)
{
	return sscanf(text, "from=%ld", &r->from) == 1 || sscanf(text, "times=%ld", &r->times) == 1 ||
	       sscanf(text, "every=%ld", &r->every) == 1;
}

static bool
read_rule(struct rule *r, char *line)
{
	char *save, *ops = strtok_r(line, " ", &save), *path = strtok_r(NULL, " ", &save),
		    *what = strtok_r(NULL, " ", &save);

	*r = (struct rule){.from = 1, .times = -1, .every = 1};
	if (what == NULL)
		return false;
	r->ops = ops_of(ops);
	snprintf(r->path, sizeof(r->path), "%s", strcmp(path, "*") == 0 ? "" : path);
	if (r->ops == 0 || !read_what(r, what))
		return false;
	for (char *more = strtok_r(NULL, " ", &save); more != NULL; more = strtok_r(NULL, " ", &save))
		if (!read_option(r, more))
			return false;
	return true;
}

static void
read_line(char *line)
{
	long long ms;

	if (line[0] == '#')
		return;
	if (sscanf(line, "clock %lld", &ms) == 1)
		clock_ms = ms;
	else if (rule_count < RULES_MAX && read_rule(&rules[rule_count], line))
		rule_count++;
	else
		abort(); /* a rule that does nothing would make a test that cannot fail */
}

static void
read_rules(const char *path)
{
	char text[RULES_BYTES];
	int fd = real_open(path, O_RDONLY | O_CLOEXEC, 0);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

	(void)real_close(fd);
	rule_count = 0;
	clock_ms = 0;
	text[n > 0 ? n : 0] = '\0';
	for (char *save, *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		read_line(line);
}

static const char *
rules_path(void)
{
	static const char *path;
	static bool asked;

	if (!asked && getenv("RMQ_SHIM_RULES") != NULL)
		path = strdup(getenv("RMQ_SHIM_RULES")); /* a process that sets its title writes over the environment */
	asked = true;
	return path;
}

static bool
look_again(void)
{
	const char *path = rules_path();
	struct stat st;

	if (path == NULL)
		return false;
	if (stat(path, &st) != 0) {
		rule_count = 0;
		clock_ms = 0;
		read_ino = 0;
	} else if (st.st_ino != read_ino || memcmp(&st.st_mtim, &read_mtime, sizeof(read_mtime)) != 0) {
		read_rules(path);
		read_ino = st.st_ino;
		read_mtime = st.st_mtim;
	}
	return rule_count > 0;
}

/* ---- asking */

static void
say(const struct rule *r, enum shim_op op, const char *path)
{
	char line[512], name[512];
	int fd, n;

	n = snprintf(line, sizeof(line), "%d %s %s %s\n", (int)getpid(), ops_names[op], path,
		     r->delay_ms > 0 ? "delay"
		     : r->is_short   ? "short"
				     : strerrorname_np(r->error));
	snprintf(name, sizeof(name), "%s.log", rules_path());
	fd = real_open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0 || real_write(fd, line, (size_t)n) != n)
		abort();
	(void)real_close(fd);
}

static bool
meets(struct rule *r, enum shim_op op, const char *path)
{
	if ((r->ops >> op & 1) == 0 || strstr(path, r->path) == NULL)
		return false;
	r->passed++;
	if (r->passed < r->from || (r->times >= 0 && r->met >= r->times) || (r->passed - r->from) % r->every != 0)
		return false;
	r->met++;
	return true;
}

static void
wait_ms(int ms)
{
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		continue;
}

struct shim_verdict
rules_ask(enum shim_op op, const char *path)
{
	struct shim_verdict v = {SHIM_PASS, 0};
	int kept = errno;

	if (look_again())
		for (int i = 0; i < rule_count && v.what == SHIM_PASS; i++) {
			struct rule *r = &rules[i];

			if (!meets(r, op, path))
				continue;
			say(r, op, path);
			if (r->delay_ms > 0)
				wait_ms(r->delay_ms);
			else
				v = (struct shim_verdict){r->is_short ? SHIM_SHORT : SHIM_FAIL, r->error};
		}
	errno = kept;
	return v;
}

int64_t
rules_clock_ms(void)
{
	static int64_t looked_ns;
	struct timespec t;
	int64_t now;

	if (rules_path() == NULL)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	if (now - looked_ns > CLOCK_LOOK_NS) {
		(void)look_again();
		looked_ns = now;
	}
	return clock_ms;
}
