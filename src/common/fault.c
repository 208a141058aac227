/*
 * fault: reads RMQ_FAULTS at the first pass through any point of this process.
 */
#include "common/fault.h"

#ifdef ENABLE_DEV

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/str.h"

#define ERRNO_MAX 133 /* the highest errno of Linux */

struct fault {
	bool	 armed;
	int	 error;	/* 0: kill */
	int32_t	 at;	/* which pass; 0: each */
	int32_t	 passed;
};

static struct fault faults[FAULT_POINTS];
static bool faults_read;

static const char *const fault_names[] = {
#define FAULT(NAME, text, where) text,
#include "common/faults.tbl"
#undef FAULT
};

static struct fault *
find_point(struct slice name)
{
	for (size_t i = 0; i < FAULT_POINTS; i++)
		if (slice_is(name, fault_names[i]))
			return &faults[i];
	return NULL;
}

static int
find_errno(struct slice name)
{
	for (int e = 1; e <= ERRNO_MAX; e++) {
		const char *text = strerrorname_np(e);

		if (text != NULL && slice_is(name, text))
			return e;
	}
	return 0;
}

/* "name=kill@3" or "name=EIO" */
static bool
arm(struct slice entry)
{
	struct slice name, what;
	struct fault *f;

	if (!str_next(&entry, '=', &name) || !str_next(&entry, '@', &what))
		return false;
	f = find_point(str_trim(name));
	if (f == NULL || (entry.n > 0 && str_i32(entry, &f->at) != RC_OK))
		return false;
	f->error = find_errno(what);
	f->armed = f->error != 0 || slice_is(what, "kill");
	return f->armed;
}

static void
read_faults(void)
{
	struct slice rest = slice_of(getenv("RMQ_FAULTS")), entry;

	faults_read = true;
	while (str_next(&rest, ',', &entry))
		if (!arm(str_trim(entry)))
			log_error("RMQ_FAULTS: \"%.*s\" is no row of faults.tbl with =kill or =ERRNO, and maybe @COUNT",
			    (int)entry.n, entry.p);
}

int
fault_hit(enum fault_point p)
{
	struct fault *f = &faults[p];

	if (!faults_read)
		read_faults();
	if (LIKELY(!f->armed))
		return 0;
	f->passed++;
	if (f->at != 0 && f->at != f->passed)
		return 0;
	if (f->error == 0)
		for (;;)
			kill(getpid(), SIGKILL);
	return f->error;
}

#endif
