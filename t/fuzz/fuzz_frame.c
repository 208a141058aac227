/*
 * fuzz_frame: any bytes as what a peer sends: frames one after another.
 */
#include "check_command.h"

/* One frame in memory of its own. */
static void
handle(const char *p, size_t total)
{
	struct command *c = xmalloc(sizeof(*c));
	char *frame = fuzz_copy(p, total);
	struct err e = {""};

	if (command_decode(c, frame, total, &e) == RC_OK) {
		check_inside(c, frame, total);
		check_getters(c);
	} else {
		must(e.text[0] != '\0');
	}
	free(frame);
	free(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *p = fuzz_copy(data, size);
	size_t at = 0, total = 0;
	struct err e = {""};
	enum rc rc;

	for (;;) {
		rc = frame_length(p + at, size - at, &total, &e);
		if (rc != RC_OK)
			break;
		must(total >= FRAME_PREFIX && total <= FRAME_MAX);
		if (total > size - at)
			break;
		handle(p + at, total);
		at += total;
	}
	must(rc == RC_OK || rc == RC_AGAIN || e.text[0] != '\0');
	free(p);
	return 0;
}
