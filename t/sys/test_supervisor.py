"""The supervisor with workers that only live: restarts, groups, deadlines, stopping, reload, refusals. Real processes."""

import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
import unittest

from rmq import TOP, until
from supervisor_kit import BINARY, NODE_ROLES, Supervisor, gone

GROUP = ["broker-store", "flush", "ha"]


def node(role, name="broker-a-0"):
    return f"{name} {role}"


class Case(unittest.TestCase):
    def supervisor(self, *args, **how):
        s = Supervisor(*args, **how)
        self.addCleanup(s.close)
        return s


class Starting(Case):
    def test_all_workers_run_with_their_titles_and_the_ready_line_names_every_address(self):
        s = self.supervisor().start()
        line = s.wait_for(r"^ready in (\d+) ms: (.*)$")
        self.assertEqual(line[2], f"name server 127.0.0.1:{s.ns_port}, broker broker-a 127.0.0.1:{s.port}, "
                                  f"status http://127.0.0.1:{s.console_port}/status")
        self.assertLess(int(line[1]), 1000)
        self.assertEqual(sorted(s.pids()), sorted([f"namesrv-{s.ns_port}", "console"] + [node(r) for r in NODE_ROLES]))
        self.assertEqual(stat.S_IMODE(os.stat(s.data).st_mode), 0o700)

    def test_a_port_in_use_is_one_sentence_and_nothing_is_left_behind(self):
        s = self.supervisor()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", s.port + 1))
            taken.listen()
            status, said = s.run()
        self.assertEqual(status, 1)
        self.assertRegex(said, rf"^rmqsupervisor: broker-a-0: .*127\.0\.0\.1:{s.port + 1}.*in use.*\n$")
        self.assertFalse(os.path.exists(s.data))

    def test_a_second_instance_is_refused_with_the_pid_of_the_first(self):
        s = self.supervisor().start()
        status, said = s.run()
        self.assertEqual(status, 1)
        self.assertIn(f"another rmqsupervisor is running with pid {s.proc.pid}", said)
        other = self.supervisor(spec_more="")
        other.data = s.data  # other ports, the same directory
        other.write_spec()
        status, said = other.run()
        self.assertEqual((status, said.count("\n")), (1, 1))
        self.assertIn(f"pid {s.proc.pid}: it holds {s.data}/supervisor.lock", said)

    def test_the_pid_file_is_held_and_removed_and_a_stale_one_is_no_hindrance(self):
        s = self.supervisor()
        path = os.path.join(s.dir, "pid")
        with open(path, "w") as f:
            f.write("1\n")
        s.start("-p", path)
        with open(path) as f:
            self.assertEqual(int(f.read()), s.proc.pid)
        other = self.supervisor()
        status, said = other.run("-p", path)
        self.assertEqual(status, 1)
        self.assertIn(f"another rmqsupervisor is running with pid {s.proc.pid}: it holds {path}", said)
        self.assertFalse(os.path.exists(other.data))
        self.assertEqual(s.stop(), 0)
        self.assertFalse(os.path.exists(path))
        self.assertFalse(os.path.exists(os.path.join(s.data, "supervisor.lock")))

    def test_a_store_that_somebody_else_holds_is_refused_with_his_pid(self):
        s = self.supervisor()
        store = os.path.join(s.data, "broker-a-0", "store")
        os.makedirs(store)
        with open(os.path.join(store, "lock"), "w") as f:
            fcntl.lockf(f, fcntl.LOCK_EX, 1)
            status, said = s.run()
        self.assertEqual((status, said), (1, f"rmqsupervisor: broker-a-0: its store is in use by process {os.getpid()}, "
                                             f"which holds {store}/lock\n"))

    def test_in_the_background_the_command_returns_when_all_serve(self):
        s = self.supervisor()
        path = os.path.join(s.dir, "pid")
        status, said = s.run("-d", "-p", path)
        self.assertEqual((status, said), (0, ""))
        with open(path) as f:
            pid = int(f.read())
        try:
            with open(os.path.join(s.data, "log", "master.log")) as f:
                self.assertRegex(f.read(), r"ready in \d+ ms: name server")
            self.assertTrue(os.path.exists(os.path.join(s.data, "log", "broker-a-0-flush.log")))
        finally:
            os.kill(pid, signal.SIGTERM)
            until("the daemon gone", lambda: gone(pid))

    def test_in_the_background_a_failure_is_told_to_the_caller(self):
        s = self.supervisor()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", s.ns_port))
            taken.listen()
            status, said = s.run("-d")
        self.assertEqual(status, 1)
        self.assertIn("in use", said)

    def test_in_the_background_a_start_that_does_not_end_is_told_to_the_caller(self):
        s = self.supervisor("warm=die", spec_more="readyTimeout: 1\n")
        path = os.path.join(s.dir, "pid")
        status, said = s.run("-d", "-p", path)
        with open(path) as f:
            pid = int(f.read())
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(status, 1)
        self.assertIn("not all workers serve after 1 s; it goes on in the background", said)
        until("the daemon gone", lambda: gone(pid))

    def test_systemd_is_told_when_it_serves_and_when_it_stops(self):
        s = self.supervisor()
        path = os.path.join(s.dir, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(path)
            sock.settimeout(20)
            s.start(env={"NOTIFY_SOCKET": path})
            self.assertEqual(sock.recv(100), b"READY=1")
            self.assertEqual(s.stop(), 0)
            self.assertEqual(sock.recv(100), b"STOPPING=1")

    def test_one_role_runs_in_the_foreground(self):
        s = self.supervisor()
        s.start("-r", "flush", wait=False)
        until("the lock is taken", lambda: os.path.exists(os.path.join(s.data, "supervisor.lock")))
        until("it has its loop", lambda: any("signalfd" in link for link in links(s.proc.pid)))
        self.assertEqual(s.pids(), {})
        self.assertEqual(s.stop(signal.SIGINT), 0)

    def test_a_role_that_is_not_here_is_refused(self):
        s = self.supervisor(second_broker="  - {{ brokerName: broker-b, listenPort: {c.port2}, bindAddress: 127.0.0.1 }}\n")
        status, said = s.run("-r", "ha")
        self.assertEqual(status, 2)
        self.assertIn("there are several of ha here", said)
        status, said = s.run("-r", "ha", "--node", "broker-c-0")
        self.assertEqual(status, 2)
        self.assertIn("has no ha of broker-c-0 on this host", said)
        status, said = s.run("-r", "hat")
        self.assertEqual(status, 2)
        self.assertIn("there is no role hat", said)


def links(pid):
    out = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            out.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return out


class Deaths(Case):
    def test_each_worker_that_is_killed_is_started_again_and_its_death_told(self):
        s = self.supervisor().start()
        alone = [f"namesrv-{s.ns_port}", "console"] + [node(r) for r in NODE_ROLES if r != "broker-store"]
        for name in alone:
            before = s.pids()
            os.kill(before[name], signal.SIGKILL)
            after = s.wait_pids(lambda p, n=name, b=before: n in p and p[n] != b[n], f"{name} runs again")
            self.assertEqual({n: p for n, p in after.items() if n != name}, {n: p for n, p in before.items() if n != name})
            shown = name.replace(" ", "/")
            s.wait_for(rf"ERROR master.*: {re.escape(shown)}\[{before[name]}\] was killed by signal 9 \(Killed\) after \d+\.\d+ s"
                       + r"(, log end \d+)?; starting it again now$")

    def test_the_broker_takes_flush_and_ha_with_it_and_they_come_back_together(self):
        s = self.supervisor().start()
        before = s.pids()
        os.kill(before[node("broker-store")], signal.SIGABRT)
        after = s.wait_pids(lambda p: len(p) == len(before) and all(p[node(r)] != before[node(r)] for r in GROUP),
                            "the group runs again")
        for name in after:
            if name not in [node(r) for r in GROUP]:
                self.assertEqual(after[name], before[name])
        s.wait_for(r"ERROR master.*: broker-a-0/broker-store\[\d+\] was killed by signal 6 \(Aborted(, core dumped)?\)"
                   r" after .* s, log end 1000; starting it again now$")
        self.assertEqual(len(re.findall("ERROR", s.output())), 1)

    def test_on_a_slave_ha_takes_its_group_with_it(self):
        s = self.supervisor(second_broker="  - {{ brokerName: broker-a, brokerId: 1, brokerRole: SLAVE, listenPort: {c.port2},"
                                          " bindAddress: 127.0.0.1 }}\n").start()
        before = s.pids()
        os.kill(before[node("ha", "broker-a-1")], signal.SIGKILL)
        after = s.wait_pids(lambda p: len(p) == len(before) and all(
            p[node(r, "broker-a-1")] != before[node(r, "broker-a-1")] for r in GROUP), "the slave's group runs again")
        self.assertEqual({n: p for n, p in after.items() if "broker-a-0" in n},
                         {n: p for n, p in before.items() if "broker-a-0" in n})

    def test_positions_survive_the_brokers_death(self):
        s = self.supervisor().start()
        for n in (1, 2):
            pid = s.pids()[node("broker-store")]
            os.kill(pid, signal.SIGKILL)
            s.wait_for(rf"broker-store\[{pid}\] was killed .*, log end {n}000")
            s.wait_pids(lambda p, b=pid: p.get(node("broker-store"), b) != b, "the broker runs again")
            # the fake adds 1000 in each life: had the memory been new, the second death would say 1000
            until("the broker has counted", lambda b=pid: os.path.exists(f"/proc/{s.pids()[node('broker-store')]}"))
            s.wait_pids(lambda p: len(p) == 7, "all run")

    def test_a_loop_of_deaths_backs_off_and_tells_the_last_words(self):
        s = self.supervisor("warm=die").start(wait=False)
        s.wait_for(r"warm\[\d+\] ended with exit status 1 .*; its last words: these are the last words; starting it again now$")
        for ms in (100, 200, 400):
            s.wait_for(rf"its last words: these are the last words; starting it again in {ms} ms$")
        self.assertIn(node("broker-store"), s.pids())
        self.assertNotIn("ready in", s.output())
        self.assertEqual(s.stop(), 0)

    def test_a_worker_that_dies_once_does_not_hold_the_others(self):
        s = self.supervisor("clean=once").start()
        s.wait_for(r"clean\[\d+\] ended with exit status 1")
        self.assertEqual(len(s.pids()), 7)

    def test_a_worker_without_a_sign_of_life_is_killed(self):
        s = self.supervisor("warm=silent", spec_more="readyTimeout: 1\n").start(wait=False)
        s.wait_for(r"warm\[\d+\] does not serve after 1 s \(readyTimeout\)")
        s.wait_for(r"warm\[\d+\] was killed by signal 9 \(Killed\) after 1\.\d+ s \(by us: it was not ready in time\)")

    def test_a_worker_that_sends_what_it_must_not_is_killed(self):
        s = self.supervisor("warm=babble").start(wait=False)
        s.wait_for(r"warm\[\d+\] sent BROKER_MASTER_PARAM, which is not for it to send")
        s.wait_for(r"warm\[\d+\] was killed by signal 9 \(Killed\) .*by us: it sent what it must not")

    def test_workers_leave_when_the_master_has_been_killed(self):
        s = self.supervisor().start()
        pids = list(s.pids().values())
        s.proc.kill()
        s.proc.wait()
        until("all workers gone", lambda: all(gone(p) for p in pids))
        s.wait_for(r"INFO broker-a-0/flush\[\d+\]: the master has gone: stopping")
        s.out.close()
        s.proc = None

    def test_after_a_killed_master_the_next_one_takes_over(self):
        s = self.supervisor().start()
        pids = list(s.pids().values())
        s.proc.kill()
        s.proc.wait()
        s.out.close()
        s.start(wait=False)
        s.wait_for(r"^ready in \d+ ms: ", count=2)
        self.assertTrue(all(gone(p) for p in pids))
        self.assertEqual(len(s.pids()), 7)

    def test_after_a_killed_master_the_next_one_waits_for_workers_that_take_their_time(self):
        s = self.supervisor().start()
        slow = s.pids()[node("flush")]
        os.kill(slow, signal.SIGSTOP)
        s.proc.kill()
        s.proc.wait()
        s.out.close()
        s.start(wait=False)
        s.wait_for(r"INFO master\[\d+\]: workers of a supervisor that died are finishing")
        os.kill(slow, signal.SIGCONT)
        s.wait_for(r"^ready in \d+ ms: ", count=2)
        self.assertTrue(gone(slow))


class Failing(Case):
    def test_a_failed_sync_is_final_told_to_the_broker_and_to_the_script(self):
        s = self.supervisor("flush=syncfail", spec_more="failover: {{ mode: local, onFailed: {c.dir}/failed.sh }}\n")
        script = os.path.join(s.dir, "failed.sh")
        with open(script, "w") as f:
            f.write(f"#!/bin/sh\nenv | grep ^RMQ_ > {s.dir}/facts.new && mv {s.dir}/facts.new {s.dir}/facts\n")
        os.chmod(script, 0o700)
        s.start(wait=False)
        s.wait_for(r"ERROR master.*: broker broker-a-0 has failed: its log could not be synced to the disk \(Input/output error\)")
        s.wait_for(r"INFO broker-a-0/broker-store.*: told of the failure: broker broker-a-0 has failed")
        until("the script has run", lambda: os.path.exists(os.path.join(s.dir, "facts")))
        with open(os.path.join(s.dir, "facts")) as f:
            facts = dict(line.rstrip("\n").split("=", 1) for line in f)
        self.assertEqual((facts["RMQ_EVENT"], facts["RMQ_NODE"], facts["RMQ_ERRNO"], facts["RMQ_BROKER_ID"],
                          facts["RMQ_BROKER_NAME"], facts["RMQ_FLUSHED"]), ("failed", "broker-a-0", "5", "0", "broker-a", "0"))
        s.wait_for(r"script with pid \d+ ended with exit status 0")
        s.wait_pids(lambda p: node("flush") in p, "flush runs")
        os.kill(s.pids()[node("flush")], signal.SIGKILL)
        s.wait_for(r"flush\[\d+\] was killed .*; not started again, its node has failed")
        self.assertNotIn(node("flush"), s.pids())
        self.assertEqual(len(re.findall("has failed: its log", re.sub("told of.*|: broker-a-0/.*", "", s.output()))), 1)
        self.assertEqual(s.stop(), 0)


class Stopping(Case):
    def test_a_stop_goes_in_order_and_leaves_nothing(self):
        s = self.supervisor().start()
        pids = list(s.pids().values())
        out = s.dir
        self.assertEqual(s.stop(), 0)
        self.assertTrue(all(gone(p) for p in pids))
        with open(os.path.join(out, "out")) as f:
            order = re.findall(r"INFO (\S+)\[\d+\]: the master asks: stopping", f.read())
        self.assertEqual(order[:2], ["broker-a-0/broker-store", "broker-a-0/flush"])
        self.assertEqual(set(order[2:5]), {"broker-a-0/ha", "broker-a-0/clean", "broker-a-0/warm"})
        self.assertEqual(set(order[5:]), {f"namesrv-{s.ns_port}", "console"})

    def test_who_does_not_leave_in_time_is_killed(self):
        s = self.supervisor("clean=stay", spec_more="stopTimeout: 1\n").start()
        self.assertEqual(s.stop(), 1)
        self.assertIn("workers have not left within 1 s (stopTimeout): killing them", s.output())

    def test_a_second_signal_kills(self):
        s = self.supervisor("clean=stay").start()
        pids = list(s.pids().values())
        s.proc.send_signal(signal.SIGINT)
        s.wait_for(r"clean\[\d+\]: the master asks: stopping")
        s.proc.send_signal(signal.SIGINT)  # at once: the same stop, as when a terminal and a wrapper both send it
        until("a later signal ends it", lambda: s.proc.send_signal(signal.SIGINT) or s.proc.poll() is not None)
        self.assertEqual(s.wait(), 1)
        self.assertTrue(all(gone(p) for p in pids))

    def test_a_worker_that_is_terminated_by_hand_is_started_again(self):
        s = self.supervisor().start()
        pid = s.pids()[node("warm")]
        os.kill(pid, signal.SIGTERM)
        s.wait_pids(lambda p: p.get(node("warm"), pid) != pid, "warm runs again")
        s.wait_for(r"warm\[\d+\] ended with exit status 0 after")

    def test_a_stop_while_a_worker_waits_for_its_restart(self):
        s = self.supervisor("warm=die").start(wait=False)
        s.wait_for(r"starting it again in 400 ms")
        self.assertEqual(s.stop(), 0)


class Reloading(Case):
    def test_live_keys_reach_the_workers_and_the_rest_is_named(self):
        s = self.supervisor().start()
        s.broker_more = "    fileReservedTime: 9\n    mappedFileSizeCommitLog: 1048576\n"
        s.write_spec()
        s.proc.send_signal(signal.SIGHUP)
        for role in NODE_ROLES:
            s.wait_for(rf"INFO broker-a-0/{role}\[\d+\]: told that fileReservedTime=9$")
        s.wait_for(r"changed now: broker-a-0: fileReservedTime=9$")
        s.wait_for(r"these changes need a restart: broker-a-0: mappedFileSizeCommitLog$")
        self.assertNotRegex(s.output(), "namesrv.*told that")

    def test_a_worker_that_starts_later_has_the_new_value(self):
        s = self.supervisor().start()
        s.broker_more = "    fileReservedTime: 9\n"
        s.write_spec()
        s.proc.send_signal(signal.SIGHUP)
        s.wait_for(r"changed now: broker-a-0: fileReservedTime=9$")
        s.proc.send_signal(signal.SIGHUP)
        s.wait_for(r"was read again: nothing has changed")

    def test_a_spec_with_an_error_changes_nothing(self):
        s = self.supervisor().start()
        s.broker_more = "    fileReservedTime: 9\n    brokrId: 7\n"
        s.write_spec()
        s.proc.send_signal(signal.SIGHUP)
        s.wait_for(r"nothing is changed, the spec has an error: .*c\.yaml:\d+:5: a broker has no key `brokrId`; did you mean `brokerId`")
        self.assertNotIn("told that", s.output())

    def test_the_log_level_changes_at_once(self):
        s = self.supervisor().start()
        s.more = "log: { level: debug }\n".replace("{", "{{").replace("}", "}}")
        s.write_spec()
        s.proc.send_signal(signal.SIGHUP)
        s.wait_for(r"changed now: log: level=debug$")

    def test_what_update_broker_config_set_reaches_the_siblings(self):
        s = self.supervisor("broker-store=param").start()
        for role in NODE_ROLES[1:]:
            s.wait_for(rf"INFO broker-a-0/{role}\[\d+\]: told that fileReservedTime=5$")
        s.wait_for(r"broker-a-0: fileReservedTime=5, by updateBrokerConfig")
        self.assertNotRegex(s.output(), r"broker-store.*told that")

    def test_rotated_logs_are_opened_again(self):
        s = self.supervisor(spec_more="log: {{ to: file }}\n").start()
        logs = os.path.join(s.data, "log")
        until("the master's log", lambda: os.path.exists(os.path.join(logs, "master.log")))
        for name in os.listdir(logs):
            os.rename(os.path.join(logs, name), os.path.join(logs, name + ".1"))
        s.proc.send_signal(signal.SIGUSR1)
        for name in ("master.log", "broker-a-0-flush.log", "console.log"):
            until(f"a new {name}", lambda n=name: os.path.exists(os.path.join(logs, n)))


class InitScript(Case):
    def test_start_status_reload_restart_stop(self):
        s = self.supervisor(spec_more="log: {{ level: info }}\n")
        pid_file = os.path.join(s.dir, "pid")

        def init(verb):
            p = subprocess.run([os.path.join(TOP, "init", "rmqsupervisor.init"), verb], capture_output=True, text=True, timeout=60,
                               stdin=subprocess.DEVNULL,
                               env={**os.environ, "DAEMON": BINARY, "SPEC": s.spec, "PIDFILE": pid_file, "FAKES": ""})
            return p.returncode, (p.stdout + p.stderr).strip()

        def pid():
            with open(pid_file) as f:
                return int(f.read())

        self.assertEqual(init("status"), (3, "rmqsupervisor: does not run"))
        self.assertEqual(init("start"), (0, "rmqsupervisor: started"))
        first = pid()
        self.addCleanup(lambda: os.path.exists(pid_file) and os.kill(pid(), signal.SIGKILL))
        self.assertEqual(init("status"), (0, f"rmqsupervisor: runs, pid {first}"))
        self.assertEqual(init("start"), (0, f"rmqsupervisor: runs already, pid {first}"))
        self.assertEqual(init("reload"), (0, "rmqsupervisor: reads its spec again"))
        self.assertEqual(init("configtest")[0], 0)
        self.assertEqual(init("restart"), (0, "rmqsupervisor: stopped\nrmqsupervisor: started"))
        self.assertNotEqual(pid(), first)
        s.broker_more = "    listenPrt: 1\n"
        s.write_spec()
        self.assertEqual(init("restart")[0], 2)
        self.assertEqual(init("status")[0], 0)
        self.assertEqual(init("stop"), (0, "rmqsupervisor: stopped"))
        self.assertEqual(init("status"), (3, "rmqsupervisor: does not run"))
        with open(pid_file, "w") as f:
            f.write(f"{os.getpid()}\n")  # stale: the number is somebody else's by now
        self.assertEqual(init("status")[0], 1)
        self.assertEqual(init("stop"), (0, "rmqsupervisor: does not run"))
        os.unlink(pid_file)
        self.assertEqual(init("dance")[0], 2)


class Checking(Case):
    def test_a_good_spec_is_printed_and_nothing_is_made(self):
        s = self.supervisor(broker_more="    sendMessageThreadPoolNums: 9\n    fileReservedTime: 9\n",
                            spec_more="failover: {{ mode: script, onPromote: p.sh }}\n")
        status, said = s.run("-t")
        self.assertEqual(status, 0)
        self.assertIn("broker-a-0: broker broker-a of cluster DefaultCluster, master, asynchronous flush", said)
        self.assertIn(f"clients {s.port}, VIP {s.port - 2}, slaves {s.port + 1}", said)
        self.assertIn("broker-a-0: sendMessageThreadPoolNums=9: ", said)
        self.assertNotIn("fileReservedTime", said)
        self.assertIn("p.sh decides when a slave here takes over", said)
        self.assertFalse(os.path.exists(s.data))

    def test_a_bad_spec_is_one_sentence_with_its_place(self):
        s = self.supervisor(broker_more="    listenPrt: 9\n")
        status, said = s.run("-t")
        self.assertEqual((status, said), (2, f"rmqsupervisor: {s.spec}:8:5: a broker has no key `listenPrt`; did you mean `listenPort`?\n"))
        self.assertEqual(s.run()[0], 2)

    def test_wrong_usage_is_said(self):
        s = self.supervisor()
        for args in (["-x"], ["-d", "-t"], ["--node", "a"], ["more"]):
            status, said = s.run(*args)
            self.assertEqual(status, 2, args)
            self.assertIn("--help shows the usage", said)
        status, said = s.run("--help")
        self.assertEqual(status, 0)
        self.assertIn("usage: rmqsupervisor", said)
        self.assertRegex(s.run("-V")[1], r"^rmqsupervisor \d+\.\d+")


if __name__ == "__main__":
    unittest.main()
