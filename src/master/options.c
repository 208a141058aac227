/*
 * options: the command line of rmqsupervisor.
 */
#include "master/options.h"

#include <getopt.h>
#include <stdio.h>

#include "common/role.h"

#define USAGE_ERROR 2

enum { OPT_HOST = 256, OPT_NODE, OPT_SWITCH, OPT_UNCLEAN };

static const char usage[] =
    "usage: rmqsupervisor [-f FILE] [--host NAME] [-d] [-p PIDFILE]   runs this host's part of the cluster\n"
    "       rmqsupervisor [-f FILE] [--host NAME] -t                  checks FILE and prints the plan\n"
    "       rmqsupervisor [-f FILE] [--host NAME] --switch NODE       has the running one make NODE the master\n"
    "       rmqsupervisor [-f FILE] -r ROLE [--node NAME]             runs one worker in the foreground, for a debugger\n"
    "\n"
    "  -f, --file FILE      the cluster's spec (default " SYSCONFDIR "/rmqsupervisor/cluster.yaml)\n"
    "      --host NAME      run the entries with `host: NAME` (default: this machine's name)\n"
    "  -t, --test           check and print what would run; nothing is started or made\n"
    "  -d, --daemon         go to the background; returns when all workers serve\n"
    "  -p, --pid-file FILE  hold this file, with our pid, while running\n"
    "  -r, --role ROLE      namesrv, broker-store, flush, ha, clean, warm or console\n"
    "      --node NAME      with -r: which broker or name server, such as broker-a-0 (needed if there are several)\n"
    "      --switch NODE    the broker NODE, such as broker-a-1, is to be master of its name; waits for the end of it\n"
    "      --unclean        with --switch: even if NODE lacks records that may have been acknowledged\n"
    "  -V, --version        print the version\n"
    "  -h, --help           print this\n"
    "\n"
    "Signals: TERM and INT stop (a second one kills), HUP reads FILE again, USR1 opens the logs again.\n"
    "Exit status: 0 stopped as asked, 1 could not run, 2 wrong usage or an error in FILE.\n";

static const struct option long_options[] = {
    {"file", required_argument, NULL, 'f'},
    {"host", required_argument, NULL, OPT_HOST},
    {"test", no_argument, NULL, 't'},
    {"daemon", no_argument, NULL, 'd'},
    {"pid-file", required_argument, NULL, 'p'},
    {"role", required_argument, NULL, 'r'},
    {"node", required_argument, NULL, OPT_NODE},
    {"switch", required_argument, NULL, OPT_SWITCH},
    {"unclean", no_argument, NULL, OPT_UNCLEAN},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int
wrong(const char *why, const char *what)
{
	fprintf(stderr, "rmqsupervisor: %s%s; --help shows the usage\n", why, what);
	return USAGE_ERROR;
}

static int
take(struct options *o, int opt)
{
	switch (opt) {
	case 'f':
		o->file = optarg;
		break;
	case OPT_HOST:
		o->host = optarg;
		break;
	case 't':
		o->test = true;
		break;
	case 'd':
		o->daemon = true;
		break;
	case 'p':
		o->pid_file = optarg;
		break;
	case 'r':
		o->role = optarg;
		break;
	case OPT_NODE:
		o->node = optarg;
		break;
	case OPT_SWITCH:
		o->switch_to = optarg;
		break;
	case OPT_UNCLEAN:
		o->unclean = true;
		break;
	case 'V':
		printf("rmqsupervisor %s\n", PACKAGE_VERSION);
		return 0;
	case 'h':
		fputs(usage, stdout);
		return 0;
	default:
		fputs("--help shows the usage\n", stderr); /* getopt has said what is wrong */
		return USAGE_ERROR;
	}
	return -1;
}

static int
check(struct options *o)
{
	o->role_number = o->role != NULL ? role_by_title(o->role) : -1;
	if (o->role != NULL && o->role_number < 0)
		return wrong("there is no role ", o->role);
	if (o->node != NULL && o->role == NULL)
		return wrong("--node goes with -r", "");
	if (o->unclean && o->switch_to == NULL)
		return wrong("--unclean goes with --switch", "");
	if (o->switch_to != NULL && (o->role != NULL || o->test || o->daemon))
		return wrong("--switch goes only with -f and --host", "");
	if (o->daemon && (o->role != NULL || o->test))
		return wrong("-d does not go with ", o->test ? "-t" : "-r");
	return -1;
}

int
options_read(struct options *o, int argc, char **argv)
{
	int opt, status;

	memset(o, 0, sizeof(*o));
	o->file = SYSCONFDIR "/rmqsupervisor/cluster.yaml";
	while ((opt = getopt_long(argc, argv, "f:tdp:r:Vh", long_options, NULL)) != -1)
		if ((status = take(o, opt)) >= 0)
			return status;
	if (optind < argc)
		return wrong("no idea what to do with ", argv[optind]);
	return check(o);
}
