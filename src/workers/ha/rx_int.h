/*
 * rx_int: the receiver as its two parts see it: receiver.c takes the log, greeting.c finds the master and comes to
 * terms with it.
 */
#ifndef WORKERS_HA_RX_INT_H
#define WORKERS_HA_RX_INT_H

#include "workers/ha/ha_int.h"

#define RX_READ_BYTES (1 << 20)
#define RETRY_MS      200  /* between attempts */
#define RETRY_SLOW_MS 1000 /* when trying again at once would only say the same again */
#define HELLO_MS      1000 /* a Java master never answers a hello */

enum rx_state {
	RX_IDLE, /* waits for its broker, or for retry_ms */
	RX_CONNECTING,
	RX_GREETING, /* our hello is out, the answer is not there */
	RX_FED,      /* bytes of the log come */
	RX_CUTTING   /* our workers are about to be started again */
};

struct receiver {
	struct ha *h;
	enum rx_state state;
	struct commitlog log; /* end: what is written */
	bool opened;          /* log is */
	int fd;
	ev_io io;
	bool ours; /* the other side said hello */
	char address[HA_ADDRESS_MAX];
	bool asked_plain; /* our hello was not answered, and we asked as the original does: whoever speaks now is either
			   */
	size_t turn;      /* which of the candidates is next */
	int64_t since_ms, retry_ms; /* of the state; when to try again. Monotonic, as all here */
	int64_t heard_ms, reported_ms;
	int64_t reported;  /* the last report; -1 none on this connection */
	char *in;          /* RX_READ_BYTES */
	size_t have;       /* bytes in it that no head or hello is yet */
	struct head head;  /* of the frame at hand */
	int64_t data_left; /* of it */
	uint32_t crc;      /* of what came of it */
	int64_t sure;      /* the log below was in frames with the right CRC (or in the original's, which have none) */
	char half[REPORT_BYTES]; /* of a report that the socket did not take whole */
	size_t half_at, half_len;
	bool full;                /* the disk is; said once */
	char why[HELLO_TEXT_MAX]; /* it is not connected */
	uint64_t bytes, bytes_before, bytes_per_second;
	struct log_limit said;
};

/* ---- receiver.c */
/* Ends the connection, says why, and tries again after that time. */
void rx_part(struct receiver *rx, int64_t retry_ms, const char *fmt, ...) PRINTF_LIKE(3, 4);
void rx_turn_state(struct receiver *rx, enum rx_state state);
void rx_close_socket(struct receiver *rx);
shm_i64 *rx_appended(const struct receiver *rx);
/* Tells the master how far we are; also what keeps it from taking us for dead. */
void rx_report(struct receiver *rx);
/* The same before it is known who listens. */
void rx_put_report(struct receiver *rx);
/* The segment that the next bytes will stand in can be had. False: said, and parted. */
bool rx_has_space(struct receiver *rx);
bool rx_is_empty(const struct receiver *rx);
/* An empty slave's log begins at `at`. False: it cannot, parted. */
bool rx_begin_log(struct receiver *rx, int64_t at);
void rx_note_master(struct receiver *rx, const struct head *head);
/* Takes all that is in the buffer but the beginning of a head. False: parted. */
bool rx_take_frames(struct receiver *rx);

/* ---- greeting.c */
void rx_begin_connect(struct receiver *rx);
void rx_connected(struct receiver *rx);
/* Bytes came while the answer to our hello is awaited. False: parted. */
bool rx_take_greeting(struct receiver *rx);
/* No answer to our hello: asks for the log as the original does. */
void rx_ask_plain(struct receiver *rx);

#endif
