/*
 * fuzz_record: any bytes as a record of the commit log or of a pull's body. What is accepted with its CRC is written
 * back as the same bytes.
 */
#include "common/message.h"
#include "fuzz.h"

static void
check_inside(const struct message *m, const char *p, size_t n)
{
	must(m->size <= n);
	must(fuzz_within(m->topic, p, m->size));
	must(fuzz_within(m->body, p, m->size));
	must(fuzz_within(m->props[0], p, m->size));
}

/* The writer chooses the layout by the topic's length and keeps no odd high bits of ports and CRC: only such are
 * compared. */
static void
check_written(const struct message *m, const char *p)
{
	char *out;

	if (message_size(m) != m->size || (m->magic == MSG_MAGIC_V2) != (m->topic.n > MSG_TOPIC_MAX))
		return;
	out = fuzz_copy(p, m->size);
	message_encode(m, out);
	be32_put(out + MSG_OFF_CRC, m->body_crc);
	for (size_t i = 0; i < m->size; i++)
		must(out[i] == p[i] || i >= MSG_OFF_BORN_HOST); /* ports have two bytes more than they need */
	must(memcmp(out + m->size - m->props[0].n, p + m->size - m->props[0].n, m->props[0].n) == 0);
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *p = fuzz_copy(data, size);
	struct message m;
	enum rc rc = message_decode(&m, p, size, false);

	if (rc == RC_OK) {
		check_inside(&m, p, size);
		check_written(&m, p);
	}
	if (rc != RC_OK)
		must(message_decode(&m, p, size, true) == rc);
	else
		must(message_decode(&m, p, size, true) != RC_NOTFOUND);
	free(p);
	return 0;
}
