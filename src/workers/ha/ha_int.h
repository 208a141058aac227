/*
 * ha_int: ha as its own parts see it. Nobody else includes this.
 */
#ifndef WORKERS_HA_HA_INT_H
#define WORKERS_HA_HA_INT_H

#include <limits.h>

#include "common/log.h"
#include "common/sock.h"
#include "common/worker.h"
#include "store/commitlog.h"
#include "workers/ha/ha.h"
#include "workers/ha/halog.h"
#include "workers/ha/hello.h"
#include "workers/ha/quorum.h"

#define HA_TICK_S      0.1
#define HA_BEAT_MS     500  /* between two of ours, or haSendHeartbeatInterval if that is less: failover looks at it */
#define HA_SILENT_MS   1500 /* one of ours that is not heard for so long, or for slaveTimeout, is not in sync */
#define HA_PEERS_MAX   64   /* connections of slaves, and what pretends to be one */
#define HA_ADDRESS_MAX 300

struct receiver;
struct probe;

enum peer_state {
	PEER_NEW,     /* its first bytes have not come */
	PEER_LEAVING, /* it gets an answer, then it is closed */
	PEER_FED      /* it gets the log */
};

/* A connection to our replication port. */
struct peer {
	struct peer *next;
	struct ha *h;
	enum peer_state state;
	bool ours; /* it said hello */
	int fd;
	ev_io in, out;
	char address[ADDR_TEXT];
	char name[HELLO_NAME_MAX + 24]; /* "broker-a-1" of one of ours, else "" */
	int64_t id;                     /* brokerId of one of ours, else -1 */
	struct buf got, put;        /* bytes that are no whole report or hello yet; hello and heads on their way out */
	int64_t from;               /* it was fed from here on */
	int64_t at;                 /* the next byte that no frame has yet */
	int64_t data_at, data_left; /* of the frame that is being sent */
	int64_t acked;              /* -1: it has not reported */
	bool in_sync;
	bool below; /* one of the original's, behind our first byte: as there, it gets nothing */
	int64_t since_ms, heard_ms, sent_ms; /* monotonic */
	uint64_t bytes, bytes_before, bytes_per_second;
};

struct ha {
	struct worker *w;
	const struct broker_conf *conf; /* = &w->node->conf */
	enum broker_role role;          /* that we act upon; shared memory may be ahead */
	int64_t epoch;
	int64_t segment_bytes;
	char epochs_file[PATH_MAX];
	ev_io listener;
	ev_timer tick;
	struct hello self, other; /* ours as last filled in; the last one that was read */
	/* a master's */
	struct halog log;
	struct peer *peers;
	unsigned peer_count;
	struct quorum quorum;       /* as published */
	int64_t flow_left, flow_ms; /* bytes that may still be sent, and when that was last raised */
	struct log_limit refused;
	/* a slave's */
	struct receiver *rx;
	char learned[HA_ADDRESS_MAX]; /* the master's address as the name servers tell; "" not known */
	/* the other nodes of the name */
	struct probe *probes;
	size_t probe_count;
	int64_t probed_ms;
};

/* ---- ha.c */
/* Fills h->self with what we are and have now. RC_IO, RC_BADDATA: the list of epochs cannot be read; sentence in e. */
enum rc ha_fill_self(struct ha *h, struct err *e) MUST_CHECK;
/* Our promotion, if there was one, is done: the log's epochs know it, and the broker serves. h->self is filled. */
bool ha_serves(const struct ha *h);
/* Somebody has a higher epoch: nothing may be acknowledged here any more. */
void ha_fence(struct ha *h, int64_t epoch, const char *peer);
/* The broker serves: its positions can be trusted, the log is to be written by us. */
bool ha_broker_runs(const struct ha *h);
int64_t ha_beat_ms(const struct ha *h, bool ours);

/* ---- sender.c: connections to our port */
void sender_take(struct ha *h, int fd, const struct addr *from);
/* Something was appended. */
void sender_push_all(struct ha *h);
void sender_tick(struct ha *h, int64_t now_ms);
void sender_second(struct ha *h);
void sender_close_all(struct ha *h);
/* Counts copies anew and publishes; wakes the broker if something has changed. */
void sender_count(struct ha *h);

/* ---- receiver.c: the connection to our master */
struct receiver *receiver_new(struct ha *h);
void receiver_free(struct receiver **rx);
void receiver_tick(struct receiver *rx, int64_t now_ms);
/* `flushed` may have moved: confirms it, with haSlaveFsyncBeforeAck. */
void receiver_flushed(struct receiver *rx);
void receiver_second(struct receiver *rx);
void receiver_put_json(const struct receiver *rx, struct buf *out);

/* ---- probe.c: who else is there, and of which epoch */
void probes_start(struct ha *h);
void probes_tick(struct ha *h, int64_t now_ms);
void probes_stop(struct ha *h);

/* ---- page.c */
void ha_page_write(struct ha *h);

#endif
