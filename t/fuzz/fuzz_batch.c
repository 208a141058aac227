/*
 * fuzz_batch: any bytes as the body of a batch send.
 */
#include "fuzz.h"
#include "remoting/batch.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *p = fuzz_copy(data, size);
	struct slice rest = {p, size};
	struct batch_item it;
	size_t left = size;

	while (batch_next(&rest, &it) == RC_OK) {
		must(fuzz_within(it.body, p, size) && fuzz_within(it.props, p, size));
		must(rest.n < left && left - rest.n == 22 + it.body.n + it.props.n);
		left = rest.n;
	}
	free(p);
	return 0;
}
