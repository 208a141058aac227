/*
 * fuzz_header_bin: any bytes as a header of the ROCKETMQ codec.
 */
#include "check_command.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < HEADER_MAX)
		fuzz_header(CODEC_ROCKETMQ, data, size);
	return 0;
}
