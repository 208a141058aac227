/*
 * roles: what the program's worker roles are, by roles.tbl.
 */
#include "common/role.h"

#define ROLE_ROW(NAME, title, per, run, group) int run(struct worker *w);
#include "common/roles.tbl"
#undef ROLE_ROW

const struct role_def role_defs[ROLE_COUNT] = {
#define ROLE_ROW(NAME, title, per, run, group) [WORKER_##NAME] = {title, PER_##per, run, group},
#include "common/roles.tbl"
#undef ROLE_ROW
};

int
role_by_title(const char *title)
{
	for (int r = 0; r < ROLE_COUNT; r++)
		if (strcmp(role_defs[r].title, title) == 0)
			return r;
	return strcmp(title, "broker") == 0 ? (int)WORKER_BROKER : -1;
}
