/*
 * adm: what the commands of rmqadmin share: options, requests, tables.
 *
 * A command returns RC_OK, or leaves one sentence in a->e. What it found goes to stdout, as a table for people or, with
 * --json, as one JSON value; what failed beside that (one broker of many) goes to stderr and makes the exit status 1.
 */
#ifndef TOOLS_ADM_H
#define TOOLS_ADM_H

#include "common/json.h"
#include "tools/ask.h"

#define ADM_TIMEOUT_MS	5000
#define ADM_LETTERS	128

/* letter: -x; where it is upper case there is no short form, it only names the value. */
struct adm_opt {
	char		 letter;
	const char	*name;	/* --name */
	const char	*arg;	/* what is to follow, or NULL: nothing */
	bool		 needed;
	const char	*help;
};

struct adm;

struct adm_cmd {
	const char	*name;
	enum rc		(*run)(struct adm *a);
	const char	*help;
	const struct adm_opt *opts;	/* ends with a letter of 0 */
};

struct adm {
	const struct adm_cmd *cmd;
	const char	*values[ADM_LETTERS];	/* by letter; "" for an option without argument */
	const char	*namesrv;
	bool		 json;
	int64_t		 timeout_ms;
	struct err	 e;
	struct adm_link	*links;		/* open connections */
	json_t		*cluster;	/* answer of 106, once asked */
	json_t		*done;		/* --json: what adm_done was told, printed at the end */
	unsigned	 failures;	/* parts that failed although the command went on */
	bool		 misused;	/* what failed is the command line */
};

/* adm_opt.c */
/* RC_INVAL: sentence in a->e. */
enum rc		 adm_parse(struct adm *a, int argc, char **argv) MUST_CHECK;
void		 adm_usage(const struct adm_cmd *c);
static inline const char *
adm_value(const struct adm *a, char letter)
{
	return a->values[(unsigned char)letter];
}
/* Puts the sentence into a->e; always RC_INVAL. */
enum rc		 adm_misused(struct adm *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* RC_INVAL: not a number, or out of its range. */
enum rc		 adm_number(struct adm *a, char letter, int64_t dflt, int64_t min, int64_t max, int64_t *v) MUST_CHECK;
enum rc		 adm_bool(struct adm *a, char letter, bool dflt, bool *v) MUST_CHECK;
/* "now", milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS in local time. */
enum rc		 adm_time(struct adm *a, char letter, int64_t dflt, int64_t *ms) MUST_CHECK;

/* adm_link.c: the answers live until the next request to the same address. NULL or not RC_OK: sentence in a->e. */
struct ask	*adm_begin(struct adm *a, const char *address, int code);
struct ask	*adm_begin_ns(struct adm *a, int code);
enum rc		 adm_end(struct adm *a, struct ask *k, struct slice body) MUST_CHECK;
/* The same, and its body as JSON, which is the caller's. */
enum rc		 adm_end_json(struct adm *a, struct ask *k, json_t **out) MUST_CHECK;
/* A failure that does not end the command: said on stderr. */
void		 adm_failed(struct adm *a, const char *what);
void		 adm_close(struct adm *a);

/* adm_route.c */
enum adm_which { ADM_MASTERS, ADM_ALL };

struct adm_broker {
	char	*cluster, *name, *address;
	int64_t	 id;
};

struct adm_brokers {
	struct adm_broker *v;
	size_t		 n;
};

enum rc		 adm_cluster(struct adm *a, json_t **borrowed) MUST_CHECK;
/* NOTFOUND: no route. */
enum rc		 adm_route(struct adm *a, const char *topic, json_t **out) MUST_CHECK;
/* The brokers of a cluster, or of all when it is NULL; sorted. RC_NOTFOUND: there is no such cluster. */
enum rc		 adm_brokers_of_cluster(struct adm *a, const char *cluster, enum adm_which which,
		    struct adm_brokers *out) MUST_CHECK;
/* One per broker name of the topic's route: its master, or whoever has the lowest id. */
enum rc		 adm_brokers_of_topic(struct adm *a, const char *topic, struct adm_brokers *out) MUST_CHECK;
/* By -b (an address) or -c (a cluster), one of which must be given. */
enum rc		 adm_brokers_of_options(struct adm *a, enum adm_which which, struct adm_brokers *out) MUST_CHECK;
void		 adm_brokers_free(struct adm_brokers *b);
/* A name server's list has several addresses: one after another. False: no more. The caller frees *one. */
bool		 adm_next_ns(const struct adm *a, size_t *at, char **one);

/* adm_table.c */
struct adm_col {
	const char	*key;	/* of the row's member */
	const char	*title;
	bool		 right;
};
/* rows is an array of objects; taken. */
void		 adm_rows(struct adm *a, const struct adm_col *cols, size_t count, json_t *rows);
/* Prints a value as JSON; taken. */
void		 adm_print_json(json_t *j);
/* A line of success for people; with --json all of them are one array at the end. */
void		 adm_done(struct adm *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
void		 adm_done_print(struct adm *a);
/* "2026-11-20 13:35:59,862", local; "" for 0 and less. */
const char	*adm_time_text(int64_t ms, char buf[32]);
/* "V5_3_3" for 479. */
const char	*adm_version_text(int64_t version, char buf[32]);
json_t		*adm_json_text(struct slice s);	/* a string; bytes that are no UTF-8 become U+FFFD */
/* Sorts rows by their members topic, broker, queue. */
void		 adm_sort_queues(json_t *rows);
/* A key that is an object in the original's dialect and a string here: {"brokerName","queueId","topic"}. */
json_t		*adm_queue_key(const char *key);

/* The commands. */
enum rc	cmd_cluster_list(struct adm *a);
enum rc	cmd_wipe_write_perm(struct adm *a);
enum rc	cmd_add_write_perm(struct adm *a);
enum rc	cmd_topic_list(struct adm *a);
enum rc	cmd_topic_route(struct adm *a);
enum rc	cmd_topic_status(struct adm *a);
enum rc	cmd_update_topic(struct adm *a);
enum rc	cmd_delete_topic(struct adm *a);
enum rc	cmd_update_sub_group(struct adm *a);
enum rc	cmd_delete_sub_group(struct adm *a);
enum rc	cmd_consumer_progress(struct adm *a);
enum rc	cmd_consumer_connection(struct adm *a);
enum rc	cmd_producer_connection(struct adm *a);
enum rc	cmd_reset_offset(struct adm *a);
enum rc	cmd_broker_status(struct adm *a);
enum rc	cmd_ha_status(struct adm *a);
enum rc	cmd_get_broker_config(struct adm *a);
enum rc	cmd_update_broker_config(struct adm *a);
enum rc	cmd_send_message(struct adm *a);
enum rc	cmd_consume_message(struct adm *a);
enum rc	cmd_query_msg_by_id(struct adm *a);
enum rc	cmd_query_msg_by_key(struct adm *a);
/* cmd_topic.c, for deleteSubGroup. */
enum rc	topic_delete(struct adm *a, const char *cluster, const char *topic) MUST_CHECK;

#endif
