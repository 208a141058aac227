/*
 * fuzz_yaml: any bytes as cluster.yaml.
 */
#include <unistd.h>
#include <sys/mman.h>

#include "fuzz.h"
#include "master/plan.h"

/* plan_load reads a path; this one is memory. */
static void
load(const char *text, size_t n)
{
	int fd = memfd_create("fuzz", 0);
	char path[64];
	struct plan plan;
	struct err e = {""};
	enum rc rc;

	must(fd >= 0 && write(fd, text, n) == (ssize_t)n);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = plan_load(&plan, path, NULL, &e);
	must(rc == RC_OK || e.text[0] != '\0');
	if (rc == RC_OK)
		plan_free(&plan);
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* an included file is the machine's, not the input's */
	if (size > 65536 || memmem(data, size, "include", 7) != NULL)
		return 0;
	load((const char *)data, size);
	return 0;
}
