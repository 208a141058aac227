/*
 * adm_message: queues and messages, for the commands that send and read them.
 */
#ifndef TOOLS_ADM_MESSAGE_H
#define TOOLS_ADM_MESSAGE_H

#include "common/message.h"
#include "tools/adm.h"

/* A queue to send to or to read from. */
struct adm_queue {
	const char *broker, *address; /* of the route and of the brokers list */
	int64_t id;
};

struct adm_queues {
	struct adm_brokers brokers;
	struct adm_queue *v;
	size_t n;
};

/* The topic's queues that may be written (perm 2) or read (perm 4), within -b and -i. *route keeps the names alive. */
enum rc	adm_find_queues(struct adm *a, const char *topic, int perm, struct adm_queues *q, json_t **route) MUST_CHECK;
void	adm_queues_free(struct adm_queues *q);

json_t	*adm_message_json(const struct message *m, const char *broker);
void	adm_message_line(const json_t *j);
void	adm_message_long(const json_t *j);
/* Prints an array of them, which is taken: as JSON, or each with `print`. */
void	adm_messages(struct adm *a, json_t *found, void (*print)(const json_t *j));

#endif
