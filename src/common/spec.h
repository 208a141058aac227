/*
 * spec: the cluster spec as the workers see it: made by the master from cluster.yaml, read-only afterwards.
 */
#ifndef COMMON_SPEC_H
#define COMMON_SPEC_H

#include "common/base.h"
#include "common/conf.h"

struct namesrv_spec {
	char	*host;	/* NULL: every host */
	char	*name;	/* "namesrv-9876" */
	char	*dir;	/* holds kvConfig.json */
	bool	 here;	/* runs on this host */
	struct namesrv_conf conf;
};

struct broker_spec {
	char	*host;
	char	*name;	/* "broker-a-0": brokerName and brokerId */
	char	*dir;	/* conf.storePathRootDir, resolved */
	/*
	 * <dir>/config/broker.conf: the keys that updateBrokerConfig has set, as properties, and only those; the broker writes
	 * it. At the next start they hold again unless the spec itself gives them: what the operator's file says wins.
	 */
	char	*conf_file;
	bool	 here;
	struct broker_conf conf; /* brokerIP1, namesrvAddr, haListenPort, storePath... are filled in */
};

enum log_to { LOG_TO_STDERR, LOG_TO_FILE, LOG_TO_SYSLOG };
enum failover_mode { FAILOVER_OFF, FAILOVER_SCRIPT, FAILOVER_LOCAL };

struct cluster_spec {
	char	*file;		/* path of the YAML */
	char	*cluster;	/* default of brokerClusterName */
	char	*dir;
	char	*user, *group;	/* NULL: keep */
	char	*pid_file;	/* NULL: none */
	enum log_to log_to;
	char	*log_dir, *log_level;
	char	*console_listen; /* "127.0.0.1:9877"; NULL: no console */
	enum failover_mode failover;
	char	*on_promote, *on_failed; /* scripts, or NULL */
	bool	 unclean;	/* promote a slave that may lack acknowledged records */
	int32_t	 detect_ms;	/* without a heartbeat for so long, a worker counts as frozen */
	int32_t	 master_timeout_ms; /* a master that is not heard or does not serve for so long counts as dead */
	int32_t	 restarts;	/* deaths of a master's workers in a row that are answered by starting them again */
	int32_t	 ready_timeout_s;	/* a worker that has not said READY by then is killed and started again */
	int32_t	 stop_timeout_s;	/* a worker that has not left by then is killed */
	struct namesrv_spec *namesrvs;
	size_t	 namesrv_count;
	struct broker_spec *brokers;
	size_t	 broker_count;
};

/*
 * The nodes of the spec that share brokerName and brokerClusterName with `self` and are not it: the one behind `prev` (NULL: the
 * first). NULL: no more. The spec may be NULL (a worker in a test).
 */
const struct broker_spec *spec_sibling(const struct cluster_spec *c, const struct broker_spec *self, const struct broker_spec *prev);
/* Where its replication listens: "brokerIP2:haListenPort", IPv6 in brackets. */
void	spec_ha_address(const struct broker_spec *b, char *out, size_t n);

#endif
