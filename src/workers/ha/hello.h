/*
 * hello: what goes over a replication connection between two of ours, and what the original sends.
 *
 * The original's protocol is bare numbers: the slave reports its log's end (i64, big-endian) again and again, the
 * master sends frames: i64 offset, i32 size, bytes. See doc/store.md, 8.2.
 *
 * Two of ours begin with a hello each, the slave in place of its first report, the master as its answer; then the
 * master's frames have a longer head. A hello is written in words of 8 bytes, each 0xff and 7 bytes of text, ended by a
 * word of ones. So a Java master, which takes the last whole 8 bytes that it has read for a report, sees nothing but
 * negative ones, wherever the stream is cut: it waits, and never takes a part of a hello for an acknowledgement.
 *
 * The text ends with its CRC-32. To change it: add fields before that, a reader passes over what it does not know;
 * raise HELLO_VERSION when that is not enough.
 */
#ifndef WORKERS_HA_HELLO_H
#define WORKERS_HA_HELLO_H

#include "common/buf.h"
#include "store/epochs.h"

#define HELLO_VERSION  1
#define HELLO_MAX      (32 << 10) /* bytes of text: 1000 epochs are 12 KB */
#define HELLO_NAME_MAX 256
#define HELLO_TEXT_MAX 400

#define HELLO_PROBE     1 /* asks for epoch and role only, wants no data */
#define HELLO_LAST_FILE 2 /* an empty slave that wants no more than the last file */

/* The master's answer. What is done about it: meet.h. */
enum verdict {
	VERDICT_NONE,      /* in a slave's hello, and in the answer to a probe */
	VERDICT_GO,        /* data follows from `start` on */
	VERDICT_CUT,       /* the slave's bytes from `start` on are none of the master's: they are to be cut first */
	VERDICT_AFRESH,    /* the slave ends before the master's first byte: it is to begin anew, empty */
	VERDICT_AHEAD,     /* the slave has more than the master, and nobody can tell which is right */
	VERDICT_STALE,     /* the slave knows a higher epoch: the one who says this is no master any more */
	VERDICT_DIFFERENT, /* the bytes before the slave's end are other ones */
	VERDICT_FOREIGN,   /* another cluster, brokerName or size of log files */
	VERDICT_NO_MASTER, /* the one who says this is a slave itself */
	VERDICT_LATER      /* a promotion is under way: ask again at once */
};
#define VERDICTS (VERDICT_LATER + 1)

struct hello {
	uint32_t flags;
	enum broker_role role;
	enum verdict verdict;
	int64_t broker_id;
	int64_t epoch;         /* of the role; the epochs of the log may be behind it */
	int64_t min, max;      /* of the log */
	int64_t segment_bytes; /* mappedFileSizeCommitLog */
	int64_t start;         /* of the answer */
	int64_t tail_at;       /* tail_crc is that of the bytes from here to max; equal to max: nothing is said */
	uint32_t tail_crc;
	char cluster[HELLO_NAME_MAX], name[HELLO_NAME_MAX]; /* brokerClusterName, brokerName */
	char text[HELLO_TEXT_MAX];                          /* the verdict in a sentence */
	struct epochs epochs;
};

void hello_put(struct buf *out, const struct hello *h);
/*
 * Reads the hello at p. RC_AGAIN: the bytes so far may be the beginning of one. RC_OK: *used bytes were it. RC_BADDATA:
 * it is none, or one that says what cannot be; sentence in e. RC_LIMIT: a version that is not ours.
 */
enum rc hello_take(struct hello *h, const char *p, size_t n, size_t *used, struct err *e) MUST_CHECK;
/* May these n > 0 bytes begin a hello? A report of the original never does. */
bool hello_begins(const char *p, size_t n);
const char *verdict_name(enum verdict v);

/* ---- frames */

#define HEAD_PLAIN_BYTES 12
#define HEAD_OURS_BYTES  44
#define REPORT_BYTES     8

struct head {
	int64_t at;    /* of the data in the log; of the next byte to be sent when there is none */
	int32_t bytes; /* 0: a heartbeat */
	/* between ours */
	int64_t epoch;      /* of the master */
	int64_t replicated; /* held by as many copies as are needed */
	int64_t max;        /* the master's log ends here */
	uint32_t crc;       /* CRC-32 of the data: of a record only the body has one */
};
/* Puts it, HEAD_OURS_BYTES or HEAD_PLAIN_BYTES of them, with the CRC for that data; returns how many. */
size_t head_put(char *out, const struct head *h, bool ours, struct slice data);
/*
 * Reads as many bytes. RC_BADDATA: another CRC (of ours), or numbers that no master of files of segment_bytes sends:
 * negative, or data that would cross the end of a file.
 */
enum rc head_take(struct head *h, const char *p, bool ours, int64_t segment_bytes) MUST_CHECK;

#endif
