/*
 * record: one record of the commit log as dispatch and recovery see it: the few fields that they need, read in place.
 *
 * message_decode (common/message.h) reads everything and checks the body; record_view reads what consume queue and index
 * are made from and touches the body's bytes only if it is told to check them.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "common/base.h"

#define RECORD_FILLER_BYTES 8 /* size and magic: so much always stays free at the end of a segment */

/* Slices point into the record. */
struct record {
	int64_t		at;		/* where it was read */
	uint32_t	size;
	int32_t		queue_id, sysflag;
	int64_t		queue_offset, physical, store_ms;
	struct slice	topic, props;
	/* from the properties; SLICE_NONE if missing */
	struct slice	tags, keys, uniq_key, delay;
};

/*
 * Reads the record at p, the byte `at` of the log; n bytes are there (at most up to the segment's end).
 * RC_NOTFOUND: the filler, r->size has the bytes up to the segment's end. RC_BADDATA: no whole record begins here, or one
 * whose own physical offset is another (a stale one). check_crc: compare the body too.
 */
enum rc	record_view(struct record *r, const char *p, size_t n, int64_t at, bool check_crc) MUST_CHECK;

/* Only the head: is there a record of `size` bytes (0: any) that says it stands at `at`? */
bool	record_stands(const char *p, size_t n, int64_t at, uint32_t size);
/* Store time of a record whose head is known to be good. */
int64_t	record_store_ms(const char *p);
/* Its queue offset, queue id. */
int64_t	record_queue_offset(const char *p);

void	record_put_filler(char *p, uint32_t bytes_left);

#endif
