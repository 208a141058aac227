/*
 * instance: completes the entries of a spec: addresses, ports, directories; and makes the directories.
 */
#ifndef MASTER_INSTANCE_H
#define MASTER_INSTANCE_H

#include <sys/types.h>

#include "master/plan.h"

/* Who the workers shall be. When neither user nor group is given, what we are. */
struct identity {
	uid_t	 uid;
	gid_t	 gid;
	char	*user;	/* for initgroups; NULL: stays as it is */
};

/* Decides which entries are `here` and fills in what was not given. RC_INVAL, RC_IO: sentence in e. */
enum rc	instance_fill(struct plan *p, const char *host, struct err *e) MUST_CHECK;
/* RC_NOTFOUND: no such user or group; RC_INVAL: one is asked for and we are not root. */
enum rc	instance_identity(const struct cluster_spec *s, struct identity *who, struct err *e) MUST_CHECK;
/* Makes what is missing of this host's directories, mode 0700, owned by `who`. RC_IO: errno. */
enum rc	instance_make_dirs(const struct plan *p, const struct identity *who, struct err *e) MUST_CHECK;
/* Gives root up for good. RC_IO: errno. */
enum rc	instance_drop_root(const struct identity *who, struct err *e) MUST_CHECK;
void	identity_free(struct identity *who);

#endif
