/*
 * broker_fixture: a whole broker in the test's process: a real store in a directory of its own, a listening socket, and blocking
 * client sockets. The test turns the loop by itself, so nothing happens behind its back and nothing has to be waited for.
 */
#ifndef T_UNIT_BROKER_FIXTURE_H
#define T_UNIT_BROKER_FIXTURE_H

#include "t/unit/test.h"

#include "workers/broker/broker.h"

struct fixture {
	struct worker	 w;
	struct broker_spec node;
	struct cluster_spec cluster;
	char		 dir[64];
	int		 port, listen_fd;
	struct broker	*b;
	/* the sockets that flush and warm would read */
	int		 flush_fd, warm_fd;
};

/* settings: "key=value" strings, NULL at the end; may be NULL. */
void	fixture_start(struct fixture *f, const char *const *settings);
/* Ends the broker as a kill would; the directory stays. */
void	fixture_kill(struct fixture *f);
/* And again on the same directory. */
void	fixture_restart(struct fixture *f, const char *const *settings);
/* Ends it and removes the directory. */
void	fixture_stop(struct fixture *f);
void	fixture_turns(struct fixture *f, int n);
int	fixture_connect(struct fixture *f);
/* With a made clock: so much later; the second's work, and the turns that follow from it. */
void	fixture_pass_ms(struct fixture *f, int64_t ms);
/* Next queue offset of that queue; 0: there is none. */
int64_t	fixture_queue_end(struct fixture *f, const char *topic, int32_t queue);
/* The message at that queue offset, which must be there; its place in the log. code: of its unit; may be NULL. */
int64_t	fixture_message(struct fixture *f, const char *topic, int32_t queue, int64_t offset, struct message *m, int64_t *code);

/* A request being written. */
struct ask {
	struct buf	 b;
	struct frame_out f;
};
void	ask_begin(struct ask *a, int code, int32_t opaque);
void	ask_field(struct ask *a, const char *name, const char *value);
void	ask_field_i64(struct ask *a, const char *name, int64_t value);
/* Sends it with the body and turns the loop. */
void	ask_send(struct ask *a, struct fixture *f, int fd, const void *body, size_t n);

/* An answer that came. */
struct got {
	char		*mem;
	struct command	 cmd;
};
/* False: no whole frame came after many turns. */
bool	got_read(struct got *g, struct fixture *f, int fd);
void	got_free(struct got *g);
const char *got_text(const struct got *g, const char *field); /* static memory */

/* A send of one message by code 310; the answer is to be freed. props may be NULL (a UNIQ_KEY alone). */
bool	send_one(struct fixture *f, int fd, const char *topic, int queue, const char *props, const char *body, struct got *g);
/* The same without reading the answer. */
void	send_only(struct fixture *f, int fd, const char *topic, int queue, const char *props, const char *body, int32_t opaque);
/* A pull with its own subscription (sysFlag 4, or 6 when it may be held). */
void	pull_only(struct fixture *f, int fd, const char *topic, int queue, int64_t offset, const char *sub, int64_t suspend_ms, int32_t opaque);
bool	pull_one(struct fixture *f, int fd, const char *topic, int queue, int64_t offset, const char *sub, struct got *g);

#endif
