/*
 * adm_link: requests of rmqadmin: one connection for each address, kept until the end.
 */
#include <stdio.h>

#include "tools/adm.h"

struct adm_link {
	struct adm_link *next;
	char *address; /* as asked for */
	struct ask ask;
};

static struct adm_link *
find_link(struct adm *a, const char *address)
{
	for (struct adm_link *l = a->links; l; l = l->next)
		if (strcmp(l->address, address) == 0)
			return l;
	return NULL;
}

struct ask *
adm_begin(struct adm *a, const char *address, int code)
{
	struct adm_link *l = find_link(a, address);

	if (l && l->ask.fd < 0) {
		err_set(&a->e, "%s failed before", address);
		return NULL;
	}
	if (l == NULL) {
		l = xcalloc(1, sizeof(*l));
		l->address = xstrdup(address);
		l->next = a->links;
		a->links = l;
		if (ask_open(&l->ask, address, a->timeout_ms, &a->e) != RC_OK)
			return NULL;
	}
	ask_begin(&l->ask, code);
	return &l->ask;
}

struct ask *
adm_begin_ns(struct adm *a, int code)
{
	return adm_begin(a, a->namesrv, code);
}

enum rc
adm_end(struct adm *a, struct ask *k, struct slice body)
{
	enum rc rc;

	if (k == NULL)
		return RC_IO;
	rc = ask_need(k, body, &a->e);
	if (rc == RC_INVAL && (k->answer.code == RES_TOPIC_NOT_EXIST || k->answer.code == RES_QUERY_NOT_FOUND))
		return RC_NOTFOUND;
	if (rc != RC_OK && rc != RC_INVAL)
		ask_close(k);
	return rc;
}

enum rc
adm_end_json(struct adm *a, struct ask *k, json_t **out)
{
	enum rc rc = adm_end(a, k, SLICE_NONE);

	if (rc != RC_OK)
		return rc;
	rc = json_load_relaxed(k->answer.body, out, &a->e);
	if (rc != RC_OK)
		err_prefix(&a->e, "answer of %s", k->address);
	return rc;
}

void
adm_failed(struct adm *a, const char *what)
{
	bool said = strncmp(a->e.text, what, strlen(what)) == 0;

	fprintf(stderr, "rmqadmin %s: %s%s%s\n", a->cmd->name, said ? "" : what, said ? "" : ": ", a->e.text);
	a->failures++;
}

void
adm_close(struct adm *a)
{
	struct adm_link *l;

	while ((l = a->links) != NULL) {
		a->links = l->next;
		ask_close(&l->ask);
		free(l->address);
		free(l);
	}
	json_decref(a->cluster);
	a->cluster = NULL;
}
