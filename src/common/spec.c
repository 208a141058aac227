/*
 * spec: questions that workers ask about the other nodes of the spec.
 */
#include "common/spec.h"

#include <stdio.h>

static bool
is_sibling(const struct broker_spec *a, const struct broker_spec *b)
{
	return strcmp(a->conf.brokerName, b->conf.brokerName) == 0 &&
	    strcmp(a->conf.brokerClusterName, b->conf.brokerClusterName) == 0 && strcmp(a->name, b->name) != 0;
}

const struct broker_spec *
spec_sibling(const struct cluster_spec *c, const struct broker_spec *self, const struct broker_spec *prev)
{
	if (c == NULL)
		return NULL;
	for (size_t i = prev != NULL ? (size_t)(prev - c->brokers) + 1 : 0; i < c->broker_count; i++)
		if (is_sibling(&c->brokers[i], self))
			return &c->brokers[i];
	return NULL;
}

void
spec_ha_address(const struct broker_spec *b, char *out, size_t n)
{
	const char *ip = b->conf.brokerIP2[0] != '\0' ? b->conf.brokerIP2 : b->conf.brokerIP1;

	snprintf(out, n, strchr(ip, ':') != NULL ? "[%s]:%d" : "%s:%d", ip, (int)b->conf.haListenPort);
}
