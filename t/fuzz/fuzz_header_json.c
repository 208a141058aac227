/*
 * fuzz_header_json: any bytes as a JSON header.
 */
#include "check_command.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < HEADER_MAX)
		fuzz_header(CODEC_JSON, data, size);
	return 0;
}
