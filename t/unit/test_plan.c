/*
 * test_plan: cluster.yaml as it is read, refused and completed.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "master/instance.h"
#include "master/plan.h"

static char dir[64], file[80];
static struct plan plan;
static struct err err;

static void
write_file(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fclose(f);
}

static void
make_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	if (dir[0] != '\0')
		return;
	snprintf(dir, sizeof(dir), "%.40s/test_plan.XXXXXX", tmp != NULL ? tmp : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/c.yaml", dir);
}

static void
clean_up(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	CU_ASSERT_EQUAL(system(command), 0);
	dir[0] = '\0';
}

static enum rc
load_for(const char *host, const char *yaml)
{
	make_dir();
	write_file("c.yaml", yaml);
	err.text[0] = '\0';
	return plan_load(&plan, file, host, &err);
}

static bool
loads(const char *yaml)
{
	bool ok = load_for(NULL, yaml) == RC_OK;

	if (!ok)
		printf("\n    %s\n", err.text);
	return ok;
}

static void
done(void)
{
	plan_free(&plan);
	clean_up();
}

/* The sentence must be exactly "<file>:place: text". */
static void
refuses(const char *yaml, const char *place, const char *text)
{
	enum rc rc = load_for(NULL, yaml);
	char *want = xasprintf("%s:%s: %s", file, place, text);

	CU_ASSERT_NOT_EQUAL(rc, RC_OK);
	CU_ASSERT_STRING_EQUAL(err.text, want);
	if (rc == RC_OK || strcmp(err.text, want) != 0)
		printf("\n    got  %s\n    want %s\n", err.text, want);
	free(want);
	if (rc == RC_OK)
		plan_free(&plan);
	clean_up();
}

static const struct broker_conf *
broker(size_t i)
{
	return &plan.spec.brokers[i].conf;
}

/* ---- what is read */

static void
a_small_spec_is_completed(void)
{
	CU_ASSERT_TRUE_FATAL(loads("dir: /srv/rmq\n"
				   "namesrv:\n  - { listenPort: 9876, bindAddress: 127.0.0.1 }\n"
				   "brokers:\n  - { brokerName: broker-a }\n"));
	CU_ASSERT_STRING_EQUAL(plan.spec.cluster, "DefaultCluster");
	CU_ASSERT_STRING_EQUAL(plan.spec.namesrvs[0].name, "namesrv-9876");
	CU_ASSERT_STRING_EQUAL(plan.spec.namesrvs[0].conf.kvConfigPath, "/srv/rmq/namesrv-9876/kvConfig.json");
	CU_ASSERT_STRING_EQUAL(plan.spec.brokers[0].name, "broker-a-0");
	CU_ASSERT_STRING_EQUAL(broker(0)->brokerClusterName, "DefaultCluster");
	CU_ASSERT_STRING_EQUAL(broker(0)->namesrvAddr, "127.0.0.1:9876");
	CU_ASSERT_STRING_EQUAL(broker(0)->brokerIP1, "127.0.0.1");
	CU_ASSERT_STRING_EQUAL(broker(0)->brokerIP2, "127.0.0.1");
	CU_ASSERT_STRING_EQUAL(broker(0)->storePathRootDir, "/srv/rmq/broker-a-0/store");
	CU_ASSERT_STRING_EQUAL(broker(0)->storePathCommitLog, "/srv/rmq/broker-a-0/store/commitlog");
	CU_ASSERT_EQUAL(broker(0)->listenPort, 10911);
	CU_ASSERT_EQUAL(broker(0)->haListenPort, 10912);
	CU_ASSERT_TRUE(plan.spec.brokers[0].here);
	CU_ASSERT_EQUAL(plan.spec.ready_timeout_s, 30);
	CU_ASSERT_EQUAL(plan.warning_count, 0);
	done();
}

static void
the_entry_wins_over_the_include_and_that_over_the_defaults(void)
{
	make_dir();
	write_file("b.properties", "deleteWhen=05\nfileReservedTime=10\nbrokerName=broker-p\n# comment\nmaxMessageSize=1000\n");
	CU_ASSERT_TRUE_FATAL(loads("brokers:\n  - { fileReservedTime: 11, include: b.properties }\n"
				   "defaults: { deleteWhen: '06', fileReservedTime: 12, flushDiskType: SYNC_FLUSH }\n"));
	CU_ASSERT_STRING_EQUAL(broker(0)->brokerName, "broker-p");
	CU_ASSERT_STRING_EQUAL(broker(0)->deleteWhen, "05");
	CU_ASSERT_EQUAL(broker(0)->fileReservedTime, 11);
	CU_ASSERT_EQUAL(broker(0)->maxMessageSize, 1000);
	CU_ASSERT_EQUAL(broker(0)->flushDiskType, FLUSH_SYNC);
	CU_ASSERT_TRUE(plan_given(&plan.brokers[0], "deleteWhen"));
	CU_ASSERT_FALSE(plan_given(&plan.brokers[0], "listenPort"));
	done();
}

static void
unknown_keys_of_an_included_file_are_a_warning_with_its_line(void)
{
	char *want;

	make_dir();
	write_file("b.properties", "brokerName=broker-p\n\nsomebodysOwnKey=1\n");
	CU_ASSERT_TRUE_FATAL(loads("brokers:\n  - { include: b.properties }\n"));
	want = xasprintf("%s/b.properties:3: `somebodysOwnKey` is no key of a broker and is left out", dir);
	CU_ASSERT_EQUAL_FATAL(plan.warning_count, 1);
	CU_ASSERT_STRING_EQUAL(plan.warnings[0], want);
	free(want);
	done();
}

static void
only_entries_of_the_host_are_here(void)
{
	const char *yaml = "namesrv: [ { host: node1 }, { host: node2 } ]\n"
			   "brokers:\n  - { host: node1, brokerName: a }\n  - { host: node2, brokerName: b }\n";

	CU_ASSERT_EQUAL_FATAL(load_for("node2", yaml), RC_OK);
	CU_ASSERT_FALSE(plan.spec.namesrvs[0].here);
	CU_ASSERT_TRUE(plan.spec.namesrvs[1].here);
	CU_ASSERT_FALSE(plan.spec.brokers[0].here);
	CU_ASSERT_TRUE(plan.spec.brokers[1].here);
	CU_ASSERT_STRING_EQUAL(broker(1)->namesrvAddr, "node1:9876;127.0.0.1:9876");
	CU_ASSERT_STRING_EQUAL(broker(0)->brokerIP2, "node1"); /* not this host's own address */
	plan_free(&plan);
	CU_ASSERT_EQUAL(load_for("node1.example.com", yaml), RC_OK);
	CU_ASSERT_TRUE(plan.spec.brokers[0].here);
	plan_free(&plan);
	CU_ASSERT_EQUAL(load_for("node3", yaml), RC_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no entry is for host `node3`; its hosts are node1, node2"));
	clean_up();
}

static void
relative_paths_are_below_dir(void)
{
	CU_ASSERT_TRUE_FATAL(loads("dir: /srv/rmq/\npidFile: run/pid\nlog: { dir: ./logs }\n"
				   "failover: { mode: script, onPromote: p.sh, onFailed: /bin/f.sh }\n"
				   "brokers: [ { brokerName: a, storePathRootDir: here, storePathCommitLog: /fast/log } ]\n"));
	CU_ASSERT_STRING_EQUAL(plan.spec.dir, "/srv/rmq");
	CU_ASSERT_STRING_EQUAL(plan.spec.pid_file, "/srv/rmq/run/pid");
	CU_ASSERT_STRING_EQUAL(plan.spec.log_dir, "/srv/rmq/logs");
	CU_ASSERT_STRING_EQUAL(plan.spec.on_promote, "/srv/rmq/p.sh");
	CU_ASSERT_STRING_EQUAL(plan.spec.on_failed, "/bin/f.sh");
	CU_ASSERT_STRING_EQUAL(plan.spec.brokers[0].dir, "/srv/rmq/here");
	CU_ASSERT_STRING_EQUAL(plan.spec.brokers[0].conf_file, "/srv/rmq/here/config/broker.conf");
	CU_ASSERT_STRING_EQUAL(broker(0)->storePathCommitLog, "/fast/log");
	done();
}

static void
failover_has_defaults_and_takes_numbers(void)
{
	CU_ASSERT_TRUE_FATAL(loads("brokers: [ { brokerName: a } ]\n"));
	CU_ASSERT_EQUAL(plan.spec.failover, FAILOVER_OFF);
	CU_ASSERT_FALSE(plan.spec.unclean);
	CU_ASSERT_EQUAL(plan.spec.detect_ms, 1500);
	CU_ASSERT_EQUAL(plan.spec.master_timeout_ms, 3000);
	CU_ASSERT_EQUAL(plan.spec.restarts, 1);
	done();
	CU_ASSERT_TRUE_FATAL(loads("failover: { mode: local, unclean: true, detect: 800, masterTimeout: 500, restarts: 0 }\n"
				   "brokers: [ { brokerName: a } ]\n"));
	CU_ASSERT_EQUAL(plan.spec.failover, FAILOVER_LOCAL);
	CU_ASSERT_TRUE(plan.spec.unclean);
	CU_ASSERT_EQUAL(plan.spec.detect_ms, 800);
	CU_ASSERT_EQUAL(plan.spec.master_timeout_ms, 500);
	CU_ASSERT_EQUAL(plan.spec.restarts, 0);
	done();
}

static void
the_bound_address_is_the_one_that_clients_are_told(void)
{
	CU_ASSERT_TRUE_FATAL(loads("namesrv: [ { bindAddress: 127.0.0.2 } ]\n"
				   "brokers:\n  - { brokerName: a, bindAddress: 127.0.0.3 }\n"
				   "  - { brokerName: b, bindAddress: 127.0.0.3, listenPort: 20911, brokerIP1: 192.0.2.7 }\n"));
	CU_ASSERT_STRING_EQUAL(broker(0)->brokerIP1, "127.0.0.3");
	CU_ASSERT_STRING_EQUAL(broker(0)->namesrvAddr, "127.0.0.2:9876");
	CU_ASSERT_STRING_EQUAL(broker(1)->brokerIP1, "192.0.2.7");
	CU_ASSERT_STRING_EQUAL(broker(1)->brokerIP2, "192.0.2.7");
	done();
}

static void
a_masters_id_other_than_0_is_taken_as_0_with_a_warning(void)
{
	CU_ASSERT_TRUE_FATAL(loads("brokers:\n  - { brokerName: a, brokerId: 3 }\n"));
	CU_ASSERT_EQUAL(broker(0)->brokerId, 0);
	CU_ASSERT_EQUAL(plan.warning_count, 1);
	done();
}

static void
what_update_broker_config_saved_holds_unless_the_spec_says_otherwise(void)
{
	char *yaml;

	make_dir();
	yaml = xasprintf("dir: %s\nbrokers: [ { brokerName: a, storePathRootDir: store, fileReservedTime: 33 } ]\n", dir);
	write_file("mk", "");
	CU_ASSERT_TRUE_FATAL(loads(yaml));
	plan_free(&plan);
	{
		char path[150];

		snprintf(path, sizeof(path), "%s/store", dir);
		CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
		snprintf(path, sizeof(path), "%s/store/config", dir);
		CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	}
	write_file("store/config/broker.conf", "fileReservedTime=44\nbrokerPermission=4\nlistenPort=7777\nnoSuchKey=1\n");
	CU_ASSERT_TRUE_FATAL(loads(yaml));
	CU_ASSERT_EQUAL(broker(0)->fileReservedTime, 33); /* the spec's */
	CU_ASSERT_EQUAL(broker(0)->brokerPermission, 4);  /* saved */
	CU_ASSERT_EQUAL(broker(0)->listenPort, 10911);	  /* cannot be changed at run time, so it cannot have been saved */
	free(yaml);
	done();
}

static void
a_slave_may_follow_a_master_outside_of_the_spec(void)
{
	CU_ASSERT_TRUE(loads("brokers: [ { brokerName: a, brokerId: 1, brokerRole: SLAVE, haMasterAddress: '192.0.2.1:10912' } ]\n"));
	plan_free(&plan);
	CU_ASSERT_TRUE(loads("brokers: [ { brokerName: a, brokerId: 1, brokerRole: SLAVE, namesrvAddr: '192.0.2.1:9876' } ]\n"));
	done();
}

static void
directories_are_made_for_their_owner_only(void)
{
	struct identity who = {geteuid(), getegid(), NULL};
	char *yaml, path[150];
	struct stat st;

	make_dir();
	yaml = xasprintf("dir: %s/new/data\nlog: { to: file }\nnamesrv: [ {} ]\nbrokers: [ { brokerName: a } ]\n", dir);
	CU_ASSERT_TRUE_FATAL(loads(yaml));
	CU_ASSERT_EQUAL(instance_make_dirs(&plan, &who, &err), RC_OK);
	snprintf(path, sizeof(path), "%s/new/data/broker-a-0/store", dir);
	snprintf(path, sizeof(path), "%s", plan.spec.brokers[0].dir);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0700);
	CU_ASSERT_EQUAL(stat(plan.spec.log_dir, &st), 0);
	CU_ASSERT_EQUAL(stat(plan.spec.namesrvs[0].dir, &st), 0);
	free(yaml);
	done();
}

/* ---- what is refused */

static void
yaml_errors_have_line_and_column(void)
{
	refuses("cluster: a\nbrokers: [ { brokerName: a }\ndir: /x\n", "3:1",
	    "did not find expected ',' or ']' (while parsing a flow sequence that begins in line 2)");
	refuses("brokers:\n\t- brokerName: a\n", "2:1", "found character that cannot start any token (while scanning for "
							 "the next token that begins in line 2)");
	refuses("dir: /x\n---\ndir: /y\n", "3:1", "a second document begins here; the spec is one document");
	refuses("- a\n- b\n", "1:1", "the spec must be a mapping of keys to values, not a list");
}

static void
an_empty_file_and_a_missing_one_are_refused(void)
{
	CU_ASSERT_EQUAL(load_for(NULL, "# nothing\n"), RC_BADDATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "the file is empty"));
	CU_ASSERT_EQUAL(plan_load(&plan, "/nowhere/c.yaml", NULL, &err), RC_NOTFOUND);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nowhere/c.yaml"));
	clean_up();
	refuses("dir: /x\n", "1:1", "there is neither a broker nor a name server in it");
}

static void
unknown_keys_are_refused_with_the_nearest(void)
{
	refuses("broker:\n  - { brokerName: a }\n", "1:1", "the spec has no key `broker`; did you mean `brokers`?");
	refuses("brokers:\n  - { brokrName: a }\n", "2:7", "a broker has no key `brokrName`; did you mean `brokerName`?");
	refuses("brokers:\n  - brokerName: a\n    hots: node1\n", "3:5", "a broker has no key `hots`; did you mean `host`?");
	refuses("namesrv:\n  - listenport: 1\n", "2:5", "a name server has no key `listenport`; did you mean `listenPort`?");
	refuses("defaults:\n  flushDiskTyp: SYNC_FLUSH\nbrokers: [ { brokerName: a } ]\n", "2:3",
	    "a broker has no key `flushDiskTyp`; did you mean `flushDiskType`?");
	refuses("log: { too: file }\n", "1:8", "`log` has no key `too`; did you mean `to`?");
	refuses("zzzzzzzzzzzz: 1\n", "1:1", "the spec has no key `zzzzzzzzzzzz`");
}

static void
values_of_the_wrong_type_are_refused(void)
{
	refuses("dir: [ /x ]\n", "1:6", "`dir` must be a single value, not a list");
	refuses("dir:\n", "1:5", "`dir` has no value; write \"\" if it is meant to be empty");
	refuses("brokers: { brokerName: a }\n", "1:10", "`brokers` must be a list (each item begins with `-`), not a mapping");
	refuses("brokers:\n  - broker-a\n", "2:5", "a broker must be a mapping of keys to values, not a single value");
	refuses("brokers:\n  - brokerName: { a: b }\n", "2:17", "`brokerName` must be a single value, not a mapping");
	refuses("readyTimeout: soon\n", "1:15", "`readyTimeout` is a number of seconds from 1 to 86400, not `soon`");
	refuses("log: { to: disk }\n", "1:12", "log: to: `disk` is none of stderr, file, syslog");
	refuses("failover: { mode: maybe }\n", "1:19", "failover: mode: `maybe` is none of off, script, local");
	refuses("failover: { mode: script }\n", "1:11", "failover: mode: script needs `onPromote`, the script");
	refuses("failover: { unclean: perhaps }\n", "1:22", "failover: unclean: `perhaps` is neither true nor false");
	refuses("failover: { detect: 100 }\n", "1:21", "failover: `detect` is a number from 800 to 600000, not `100`");
	refuses("failover: { masterTimeout: soon }\n", "1:28", "failover: `masterTimeout` is a number from 500 to 600000, not `soon`");
	refuses("failover: { restarts: -1 }\n", "1:23", "failover: `restarts` is a number from 0 to 1000, not `-1`");
	refuses("console: { listen: 9877 }\n", "1:10", "console: listen: `9877` is not of the form address:port");
	CU_ASSERT_EQUAL(load_for(NULL, "brokers:\n  - brokerName: a\n    listenPort: many\n"), RC_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "c.yaml:3:17: "));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "many"));
	clean_up();
}

static void
a_key_given_twice_is_refused(void)
{
	refuses("dir: /a\nbrokers: [ { brokerName: a } ]\ndir: /b\n", "3:1", "`dir` is given twice; the first is in line 1");
	refuses("brokers:\n  - brokerName: a\n    listenPort: 1\n    listenPort: 2\n", "4:5",
	    "`listenPort` is given twice; the first is in line 3");
}

static void
the_same_broker_twice_is_refused(void)
{
	refuses("brokers:\n  - { brokerName: a }\n  - { brokerName: a, listenPort: 20911 }\n", "3:7",
	    "brokerName a with brokerId 0 is there already, in line 2");
}

static void
slaves_without_id_or_master_are_refused(void)
{
	refuses("brokers:\n  - { brokerName: a, brokerRole: SLAVE }\n", "2:5",
	    "slave of a needs a brokerId above 0; 0 is the master's or none");
	refuses("brokers:\n  - { brokerName: a }\n  - { brokerName: b, brokerId: 1, brokerRole: SLAVE, listenPort: 20911 }\n", "3:7",
	    "slave b-1 has no master: the spec has no broker b with brokerId 0 (haMasterAddress names one elsewhere)");
}

static void
ports_that_clash_are_refused(void)
{
	refuses("brokers:\n  - { brokerName: a }\n  - { brokerName: b, listenPort: 10911 }\n", "3:22",
	    "port 10911 of b-0 (listenPort) is taken by a-0 (listenPort) in line 2");
	refuses("brokers:\n  - { brokerName: a }\n  - { brokerName: b, listenPort: 10913 }\n", "3:22",
	    "port 10911 of b-0 (the VIP port, listenPort - 2) is taken by a-0 (listenPort) in line 2");
	refuses("brokers:\n  - { brokerName: a }\n  - { brokerName: b, listenPort: 20911, haListenPort: 10909 }\n", "3:41",
	    "port 10909 of b-0 (haListenPort) is taken by a-0 (the VIP port, listenPort - 2) in line 2");
	refuses("namesrv:\n  - {}\n  - { listenPort: 9876 }\n", "3:7",
	    "port 9876 of namesrv-9876 (listenPort) is taken by namesrv-9876 (listenPort) in line 2");
	refuses("namesrv:\n  - {}\nconsole: { listen: '127.0.0.1:9876' }\n", "3:10",
	    "port 9876 of console (listen) is taken by namesrv-9876 (listenPort) in line 2");
	refuses("brokers:\n  - { brokerName: a, listenPort: 2 }\n", "2:22",
	    "a-0: the VIP port, listenPort - 2 leads to port 0, which is none (1 to 65535)");
}

static void
the_same_port_on_other_hosts_or_addresses_is_no_clash(void)
{
	CU_ASSERT_EQUAL(load_for("n1", "brokers: [ { host: n1, brokerName: a }, { host: n2, brokerName: b } ]\n"), RC_OK);
	plan_free(&plan);
	CU_ASSERT_TRUE(loads("brokers: [ { bindAddress: 127.0.0.1, brokerName: a }, { bindAddress: 127.0.0.2, brokerName: b } ]\n"));
	done();
}

static void
a_directory_of_two_brokers_is_refused(void)
{
	refuses("dir: /srv\nbrokers:\n  - { brokerName: a, storePathRootDir: s }\n"
		"  - { brokerName: b, listenPort: 20911, storePathRootDir: /srv/s }\n",
	    "4:41", "b-0 has the directory /srv/s, which belongs to a-0 (line 3)");
	refuses("dir: /srv\nbrokers:\n  - { brokerName: a, storePathCommitLog: s }\n"
		"  - { brokerName: b, listenPort: 20911, storePathCommitLog: ./s }\n",
	    "4:41", "b-0 has the directory /srv/s, which belongs to a-0 (line 3)");
}

static void
a_broker_name_that_leads_out_of_the_directory_is_refused(void)
{
	CU_ASSERT_EQUAL(load_for(NULL, "brokers:\n  - brokerName: a/b\n"), RC_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "c.yaml:2:17: "));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "a/b"));
	refuses("brokers:\n  - brokerName: ..\n", "2:5", "brokerName `..` cannot be part of a path");
}

static void
an_include_that_cannot_be_used_is_refused_where_it_is_named(void)
{
	make_dir();
	write_file("bad.properties", "brokerName=a\nlistenPort=many\n");
	CU_ASSERT_EQUAL(load_for(NULL, "brokers:\n  - { include: bad.properties }\n"), RC_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "c.yaml:2:16: include: "));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "bad.properties:2: "));
	CU_ASSERT_EQUAL(load_for(NULL, "brokers:\n  - { include: missing.properties }\n"), RC_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "c.yaml:2:16: include: "));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "missing.properties"));
	clean_up();
}

static void
addresses_are_split_at_their_port(void)
{
	char ip[64];
	int port;

	CU_ASSERT_EQUAL(plan_split_address("127.0.0.1:9877", ip, &port), RC_OK);
	CU_ASSERT_STRING_EQUAL(ip, "127.0.0.1");
	CU_ASSERT_EQUAL(port, 9877);
	CU_ASSERT_EQUAL(plan_split_address("[::1]:1", ip, &port), RC_OK);
	CU_ASSERT_STRING_EQUAL(ip, "::1");
	CU_ASSERT_EQUAL(plan_split_address("*:1", ip, &port), RC_OK);
	CU_ASSERT_STRING_EQUAL(ip, "0.0.0.0");
	CU_ASSERT_EQUAL(plan_split_address("::1:9877", ip, &port), RC_INVAL);
	CU_ASSERT_EQUAL(plan_split_address(":9877", ip, &port), RC_INVAL);
	CU_ASSERT_EQUAL(plan_split_address("a:65536", ip, &port), RC_INVAL);
	CU_ASSERT_EQUAL(plan_split_address("a:0", ip, &port), RC_INVAL);
	CU_ASSERT_EQUAL(plan_split_address("a:", ip, &port), RC_INVAL);
	CU_ASSERT_EQUAL(plan_split_address("a", ip, &port), RC_INVAL);
}

TEST_MAIN("master/plan", TEST(a_small_spec_is_completed), TEST(the_entry_wins_over_the_include_and_that_over_the_defaults),
    TEST(unknown_keys_of_an_included_file_are_a_warning_with_its_line), TEST(only_entries_of_the_host_are_here),
    TEST(relative_paths_are_below_dir), TEST(failover_has_defaults_and_takes_numbers), TEST(the_bound_address_is_the_one_that_clients_are_told),
    TEST(a_masters_id_other_than_0_is_taken_as_0_with_a_warning),
    TEST(what_update_broker_config_saved_holds_unless_the_spec_says_otherwise),
    TEST(a_slave_may_follow_a_master_outside_of_the_spec), TEST(directories_are_made_for_their_owner_only),
    TEST(yaml_errors_have_line_and_column), TEST(an_empty_file_and_a_missing_one_are_refused),
    TEST(unknown_keys_are_refused_with_the_nearest), TEST(values_of_the_wrong_type_are_refused),
    TEST(a_key_given_twice_is_refused), TEST(the_same_broker_twice_is_refused), TEST(slaves_without_id_or_master_are_refused),
    TEST(ports_that_clash_are_refused), TEST(the_same_port_on_other_hosts_or_addresses_is_no_clash),
    TEST(a_directory_of_two_brokers_is_refused), TEST(a_broker_name_that_leads_out_of_the_directory_is_refused),
    TEST(an_include_that_cannot_be_used_is_refused_where_it_is_named), TEST(addresses_are_split_at_their_port))
