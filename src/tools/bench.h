/*
 * bench: what the parts of rmqbench share.
 *
 * One thread, one epoll loop, frames prepared once per slot and patched, answers scanned for their opaque number and code
 * only: the generator shares the machine with the server that it measures, so it must cost much less.
 */
#ifndef TOOLS_BENCH_H
#define TOOLS_BENCH_H

#include "common/buf.h"
#include "common/mem.h"
#include "tools/bench_hist.h"

enum bench_mode { BENCH_SEND, BENCH_PULL, BENCH_DUE };

struct bench_opts {
	enum bench_mode	mode;
	const char	*namesrv, *broker;	/* one of them */
	const char	*topic, *group;
	unsigned	connections, inflight, queues, batch, size, pull_count;
	bool		keys, binary, loop, hold, json, quiet;
	double		rate;		/* messages a second over all connections; 0: closed loop */
	double		seconds, warmup;
	uint64_t	count;		/* stop after so many messages; 0: by time */
	const char	*ledger;	/* file for what was acknowledged */
	unsigned	delay_ms;	/* send: each is due so long after it was sent; due: what delay_level stands for; 0: not set */
	unsigned	delay_level;	/* send: by that level; 0: none */
	uint64_t	due_at_ms;	/* send: all are due at that moment, ms since 1970; 0: not set */
};

struct bench_target {
	char		broker[128];	/* address */
	char		broker_name[128];
	unsigned	queues;
};

struct bench_result {
	uint64_t	messages, bytes, requests, errors;
	double		seconds;
	int		error_code;	/* of the first error */
	char		error_text[200];
	struct hist	latency;	/* microseconds; BENCH_DUE: how far each message came from its time, early or late */
	uint64_t	early;		/* BENCH_DUE: messages that came before their time */
};

/* Finds the broker by the name server's route and makes the topic when it is missing. */
enum rc	bench_find_target(const struct bench_opts *o, struct bench_target *t, struct err *e) MUST_CHECK;
/* Runs the load. RC_CLOSED, RC_IO: a connection was lost, sentence in e; r holds what came until then. */
enum rc	bench_run(const struct bench_opts *o, const struct bench_target *t, struct bench_result *r, struct err *e) MUST_CHECK;
/* Answers each request with a canned success: shows what the generator itself can do. Runs until killed. */
int	bench_echo(int port);
/* Reads everything back and holds it against the ledger. */
int	bench_verify(const struct bench_opts *o, const struct bench_target *t);

/* A request frame of which some places change from use to use. Offsets are from the start of the frame. */
struct bench_frame {
	char		*p;
	size_t		 n;
	size_t		 queue_at;	/* 4 digits, or a text of that length in the binary codec as well */
	size_t		 born_at;	/* 13 digits */
	size_t		 unique_at;	/* last 16 characters of the first UNIQ_KEY */
	size_t		 unique_step;	/* batch: distance to the next message's */
	size_t		 key_at, key_step; /* 11 digits of KEYS; 0: none */
	size_t		 offset_at;	/* pull: 19 digits */
	size_t		 due_at;	/* 13 digits of TIMER_DELIVER_MS; 0: none */
};
void	bench_frame_send(struct bench_frame *f, const struct bench_opts *o, const struct bench_target *t, int32_t opaque);
void	bench_frame_pull(struct bench_frame *f, const struct bench_opts *o, const struct bench_target *t, int32_t opaque);
/* Decimal with leading zeros: Java's and our parsers take them. */
void	bench_put_digits(char *at, unsigned width, uint64_t v);
void	bench_put_hex16(char *at, uint64_t v);

/* One answer frame, of which n bytes are at p. RC_AGAIN: not whole. RC_BADDATA: not an answer. */
struct bench_answer {
	size_t		total;
	int32_t		opaque, code;
	struct slice	header, body;
};
enum rc	bench_answer_scan(const char *p, size_t n, struct bench_answer *a) MUST_CHECK;
/* A number among the ext fields; dflt if it is not there. Either codec. */
int64_t	bench_answer_i64(const struct bench_answer *a, const char *name, int64_t dflt);

/*
 * A pull's answer that came at wall_us: how far each of its records is from its time: TIMER_DELIVER_MS, or delay_ms after its birth.
 * Returns how many there are. What has no time is counted only there.
 */
unsigned bench_due_note(struct bench_result *r, struct slice body, unsigned delay_ms, int64_t wall_us);

/* When the next request of an open loop is due. */
struct bench_pace {
	double		interval_us, next_us;
};
void	bench_pace_start(struct bench_pace *p, double per_second, double now_us);
/* True: one is due; *intended is its time, from which its latency counts, however late it goes out. */
bool	bench_pace_due(struct bench_pace *p, double now_us, double *intended_us);

#endif
