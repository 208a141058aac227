/*
 * fuzz_ha: any bytes as the first of a replication connection, as frame heads, and as a list of epochs. What is taken
 * for a hello is written back and read as the same; the master's decision about it always is one that the slave knows.
 */
#include "fuzz.h"
#include "workers/ha/hello.h"
#include "workers/ha/meet.h"

static struct hello h, again, self, answer;

static bool
no_crc(void *arg, int64_t from, int64_t to, uint32_t *crc)
{
	(void)arg;
	must(from >= self.min && from < to);
	*crc = 0;
	return true;
}

static void
check_decision(void)
{
	struct meet_master m = {.self = &self, .serves = true, .crc = no_crc};

	self = (struct hello){
	    .epoch = h.epoch, .role = ROLE_ASYNC_MASTER, .min = 1000, .max = 5000, .segment_bytes = h.segment_bytes};
	memcpy(self.cluster, h.cluster, sizeof(self.cluster));
	memcpy(self.name, h.name, sizeof(self.name));
	epochs_append(&self.epochs, 1, 0);
	epochs_append(&self.epochs, 3, 2000);
	meet_decide(&m, &h, &answer);
	must((unsigned)answer.verdict < VERDICTS && answer.start >= 0);
	must(answer.verdict != VERDICT_CUT || answer.start < h.max);
	must(answer.verdict != VERDICT_GO || h.max == 0 || answer.start == h.max);
}

static void
check_hello(const char *p, size_t size)
{
	struct buf out = {0};
	size_t used = 0;
	struct err e;

	if (hello_take(&h, p, size, &used, &e) != RC_OK)
		return;
	must(used <= size);
	hello_put(&out, &h);
	must(hello_take(&again, out.p, out.len, &used, &e) == RC_OK && used == out.len);
	must(epochs_equal(&h.epochs, &again.epochs) && h.max == again.max && strcmp(h.text, again.text) == 0);
	buf_free(&out);
	check_decision();
}

static void
check_head(const char *p, size_t size)
{
	char out[HEAD_OURS_BYTES];
	struct head head;

	if (size < HEAD_OURS_BYTES || head_take(&head, p, true, 1 << 20) != RC_OK)
		return;
	must(head.at % (1 << 20) + head.bytes <= 1 << 20);
	must(head_put(out, &head, true, SLICE_NONE) == HEAD_OURS_BYTES && memcmp(out, p, HEAD_OURS_BYTES - 8) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct epochs l;
	char *p;

	if (size == 0)
		return 0;
	p = fuzz_copy(data, size);
	check_hello(p, size);
	check_head(p, size);
	if (epochs_parse(&l, (struct slice){p, size}) == RC_OK)
		must(epochs_meet(&l, 100, &l, 70) == 70);
	free(p);
	return 0;
}
