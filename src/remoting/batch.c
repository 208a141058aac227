/*
 * batch: reads the body of a batch send.
 *
 *	4 size of the whole entry, 4 magic (ignored), 4 body CRC (ignored), 4 flag, 4 body length, body,
 *	2 properties length, properties
 */
#include "remoting/batch.h"

#define BATCH_FIXED 20 /* up to and with the body's length */
#define BATCH_MIN   (BATCH_FIXED + 2)

enum rc
batch_next(struct slice *rest, struct batch_item *item)
{
	const char *p = rest->p;
	size_t size, body, props;

	if (rest->n == 0)
		return RC_NOTFOUND;
	if (rest->n < BATCH_MIN)
		return RC_BADDATA;
	size = be32_get(p);
	if (size < BATCH_MIN || size > rest->n)
		return RC_BADDATA;
	body = be32_get(p + 16);
	if (body > size - BATCH_MIN)
		return RC_BADDATA;
	props = be16_get(p + BATCH_FIXED + body);
	if (props != size - BATCH_MIN - body)
		return RC_BADDATA;
	item->flag = (int32_t)be32_get(p + 12);
	item->body = (struct slice){p + BATCH_FIXED, body};
	item->props = (struct slice){p + BATCH_FIXED + body + 2, props};
	rest->p += size;
	rest->n -= size;
	return RC_OK;
}
