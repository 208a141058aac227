/*
 * dump_check: what the parts of rmqdump check share.
 */
#ifndef TOOLS_DUMP_CHECK_H
#define TOOLS_DUMP_CHECK_H

#include <uthash.h>

#include "tools/dump.h"

struct queue {
	char		*key;	/* "topic id" */
	char		*topic;
	int32_t		 id;
	struct dump_files files;
	bool		 has_files;
	int64_t		 next;	/* queue offset of the next record of the log; -1: none was seen */
	uint64_t	 seen;	/* records in the log */
	UT_hash_handle	 hh;
};

struct check {
	const struct dump_opts *o;
	struct dump_files log;
	int64_t		 begin, end;	/* of the log's records */
	int64_t		 last_ms;	/* store time of the last record */
	struct queue	*queues;
	uint64_t	 records, units, entries, problems, behind;
	int64_t		 first_behind;
	bool		 unclean;	/* `abort` is there, or a broker runs */
};

/* A line of the report; `part` of the store: log, queue, index ... */
void	problem(struct check *c, const char *part, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The queue in the store, or NULL. */
struct queue	*find_queue(struct check *c, struct slice topic, int32_t id);
/* One behind its last unit; 0: it has none. */
int64_t	queue_end(struct queue *q);

/* dump_check_index.c */
void	check_index_files(struct check *c);
/* dump_check_rest.c: they say nothing of what is not there. */
void	check_times(struct check *c);
void	check_timer(struct check *c);
void	check_epochs(struct check *c);
void	check_config(struct check *c);
void	check_others(struct check *c);

#endif
