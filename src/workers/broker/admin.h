/*
 * admin: what the operators' requests (adm_*) have in common.
 */
#ifndef BROKER_ADMIN_H
#define BROKER_ADMIN_H

#include "workers/broker/answer.h"
#include "workers/broker/broker.h"

#define TEXT_OF(s) (int)(s).n, (s).p

/* True: this broker is a slave; the refusal is answered. */
bool	admin_refused_on_slave(struct broker *b, struct conn *c, const struct request_id *id);
/* The field, or SLICE_NONE after the refusal was answered. */
struct slice	admin_need(struct conn *c, const struct command *cmd, const char *name);
/* The body as a JSON object (the caller frees it), or NULL after the refusal was answered. */
json_t	*admin_body(struct conn *c, const struct request_id *id, const struct command *cmd);
/* A comma unless the text ends with an opening bracket: between the members of a list. */
void	admin_comma(struct buf *out);
/* {{"brokerName":..}: : the key of a member of an offset table, as fastjson writes it. */
void	admin_put_mq_key(struct buf *out, const struct broker *b, struct slice topic, int32_t queue_id);
/* A double as Java writes it: never without a point. */
void	admin_put_double(struct buf *out, double v);

/* {"role":..,"brokerId":..,"epoch":..,..}: this broker's view of replication, for the status page. */
void	adm_put_replication(const struct broker *b, struct buf *out);

#endif
