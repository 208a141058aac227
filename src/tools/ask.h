/*
 * ask: requests of a command-line tool: one at a time, waiting for the answer.
 */
#ifndef TOOLS_ASK_H
#define TOOLS_ASK_H

#include "common/mem.h"
#include "common/sock.h"
#include "remoting/command.h"

struct ask {
	int		 fd;
	char		*address;	/* as given */
	int32_t		 opaque;
	int64_t		 timeout_ms;
	struct buf	 out;
	struct frame_out f;
	char		*frame;		/* the last answer; its command points into it */
	struct command	 answer;
};

/* Connects. RC_NOTFOUND, RC_INVAL, RC_IO: sentence in e. Several addresses may be given, separated by ';': the first that answers. */
enum rc	ask_open(struct ask *a, const char *addresses, int64_t timeout_ms, struct err *e) MUST_CHECK;
void	ask_close(struct ask *a);
/* Begins a request; put fields with frame_field*(&a->f, ...). */
void	ask_begin(struct ask *a, int code);
/*
 * Sends it and waits. RC_OK: the answer, whatever its code, is a->answer, valid until the next call. RC_AGAIN: none came in
 * time. RC_CLOSED, RC_IO, RC_BADDATA: the connection is of no more use. Sentence in e.
 */
enum rc	ask_end(struct ask *a, struct slice body, struct err *e) MUST_CHECK;
/* As ask_end; an answer with another code than 0 is RC_INVAL with code, name and remark in e. */
enum rc	ask_need(struct ask *a, struct slice body, struct err *e) MUST_CHECK;

#endif
