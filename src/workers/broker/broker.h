/*
 * broker: the process that serves clients of one broker node, shown as broker-store.
 *
 * Runs in:    the broker process.
 * Owns:       appended, dispatched (on a master), queues, index, config/ (JSON files), all client connections.
 * Must not:   block: no fdatasync, no read that may go to the disk, no name look-up.
 * If it dies: the listening sockets stay with the master; the node's group restarts and the store recovers.
 *
 * A loop turn: connections are read and their requests handled (sends are only staged); then broker_turn_end: one
 * store_commit, the answers of the staged sends (or their place among those that wait for flush and ha), pulls that were
 * waiting for what arrived, and one writev per connection.
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include <sys/queue.h>

#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "common/worker.h"
#include "remoting/call.h"
#include "store/store.h"

struct announce;
struct brstats;
struct clients;
struct cold;
struct daily;
struct delay;
struct filters;
struct followers;
struct groups;
struct hold;
struct known;
struct modes;
struct offsets;
struct orderly;
struct pop;
struct reread;
struct sends;
struct siblings;
struct slave;
struct timer;
struct topics;
struct txn;
struct waiters;

enum listener_tag { LISTENER_MAIN = 0, LISTENER_VIP = 1, CONN_TO_NAMESRV = 100, CONN_TO_MASTER = 101 };

struct broker {
	struct worker	*w;
	struct broker_conf *conf;	/* = &w->node->conf */
	struct store	*store;
	struct conn_set	 conns;		/* clients */
	struct conn_set	 outgoing;	/* to name servers, and of a slave to its master */
	struct calls	*calls;
	struct topics	*topics;
	struct groups	*groups;
	struct offsets	*offsets;
	struct clients	*clients;
	struct filters	*filters;	/* SQL92 expressions of groups */
	struct orderly	*orderly;
	struct hold	*hold;		/* pulls that wait for messages */
	struct cold	*cold;		/* pulls that wait for warm */
	struct reread	*rereading;	/* the request at hand waited for warm; NULL: it did not */
	struct sends	*sends;		/* sends of this turn, staged and not yet committed */
	struct waiters	*waiters;	/* sends that wait for flush or ha */
	struct siblings	*siblings;	/* what flush and clean are to be told */
	struct announce	*announce;	/* registration at the name servers */
	struct known	*known;		/* answers that wait for it */
	struct brstats	*stats;		/* per topic and group, for codes 315, 28 */
	struct delay	*delay;		/* messages that are delivered later */
	struct timer	*timer;		/* messages that are delivered at any time */
	struct txn	*txn;		/* transactional messages */
	struct pop	*pop;		/* pop consumption */
	struct daily	*daily;		/* totals at the last midnights, for code 28 */
	struct followers *followers;	/* a master: slaves that ask for what is not in the log */
	struct slave	*slave;		/* a slave: what its master says */
	struct modes	*modes;		/* how groups want to get their messages (401) */
	struct addr	 store_host;	/* brokerIP1:listenPort */
	char		 store_host_text[ADDR_TEXT];
	char		*props_suffix;	/* "MSG_REGION\1..\2TRACE_ON\1..\2CLUSTER\1..\2": goes behind each message's own */
	size_t		 props_suffix_len;
	int64_t		 boot_ms, accept_ms; /* startAcceptSendRequestTimeStamp */
	bool		 stopping;
	bool		 failed;	/* a sync failed: no write is acknowledged any more, reads go on */
	char		 failed_why[256];
	bool		 promoting;	/* a slave is to be the master: waits for ha to let go of the log */
	bool		 promoted;	/* became the master while it ran: the supervisor has seen to it that there is no other */
	bool		 fenced;	/* was the master, another one is: nothing is acknowledged, failed_why says so */
	bool		 left;		/* the name servers know that we stop */
	bool		 told_ready;
	unsigned	 seconds, stop_seconds;
	int64_t		 conf_changes, conf_changed_ms; /* by updateBrokerConfig */
	ev_prepare	 turn_end;
	ev_idle		 more;		/* started while there is more to dispatch: the loop must not sleep */
	ev_timer	 patience;	/* started while sends wait for flush or ha: their time may be over */
};

/* conn->user of a client's connection, from on_open to on_close. */
struct held;
struct pop_held;
struct client_conn {
	struct held	*held;		/* hold: the pulls of this connection that wait */
	LIST_HEAD(, pop_held) pops;	/* pop_hold: its pops that wait */
};

/* One request: answers at once, or keeps request_id and a reference of the connection and answers later, exactly once. */
typedef void request_handler(struct broker *b, struct conn *c, struct command *cmd);

#define REQUEST(NAME, handler, vip) request_handler handler;
#include "workers/broker/requests.tbl"
#undef REQUEST

/* Answers RES_SYSTEM_ERROR in the words of the Java broker for a header field that is missing or no number. */
void	broker_bad_field(struct conn *c, const struct command *cmd, const char *field);
/* The same by name and value: an empty value counts as missing. */
void	broker_bad_value(struct conn *c, const struct request_id *id, const char *field, struct slice value);
/* A master now, who may store messages: no slave, and not fenced off by another master. See role.h. */
bool	broker_is_master(const struct broker *b);
bool	broker_readable(const struct broker *b);	/* brokerPermission */
bool	broker_writable(const struct broker *b);

/* A sync failed (seen in shared memory, or the master says so): writes are refused from now on, the name servers are left. */
void	broker_fail(struct broker *b, const char *why);
/* Why a send is refused now, whatever it holds: NULL, or a sentence; *code is what to answer. */
const char	*broker_send_refusal(struct broker *b, int *code);
/* Serving, and the name servers say so to clients (or cannot be reached): tells the master, the first time. */
void	broker_ready(struct broker *b);
/* start.c and broker.c to each other */
int	broker_run(struct worker *w);
struct broker *broker_start(struct worker *w);	/* all but the loop: for tests too */
void	broker_end(struct broker **b);		/* a store that is still open is closed as a kill would leave it */
void	broker_attach(struct broker *b);	/* the worker's callbacks */
void	broker_watch_turns(struct broker *b);
void	broker_make_props_suffix(struct broker *b);
extern const struct conn_ops broker_client_ops, broker_namesrv_ops;
/* Writes the page for the console. */
void	broker_page_write(struct broker *b);

#define FAQ_HINT "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."

/* {"brokerName":..,"queueId":..,"topic":..}, compact: the key form of fastjson maps. */
void	put_mq_json(struct buf *out, const struct broker *b, struct slice topic, int32_t queue_id);

#endif
