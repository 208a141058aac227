"""Failover's hands, with workers that only live: who is killed, told, started and asked, in which order. Real processes."""

import json
import os
import signal
import socket
import unittest

from rmq import until
from supervisor_kit import Supervisor, gone

A, B = "broker-a-0", "broker-a-1"
GROUP = ["broker-store", "flush", "ha"]
SLAVE = ("  - {{ brokerName: broker-a, brokerId: 1, brokerRole: SLAVE, listenPort: {c.port2}, bindAddress: 127.0.0.1 }}\n")


class Case(unittest.TestCase):
    def pair(self, failover="mode: local, restarts: 0", fakes="", broker_more="", start=True, env=None, more=""):
        s = Supervisor(fakes, spec_more="failover: {{ " + failover + " }}\n" + more, broker_more=broker_more, second_broker=SLAVE)
        self.addCleanup(s.close)
        if start:
            s.start(env=env)
            self.wait_followed(s)
        return s

    def wait_followed(self, s):
        """The supervisor has seen that the slave follows; it looks every 100 ms at the latest."""
        until("both nodes have all processes", lambda: len(s.pids()) == 12)

    def state(self, s, name="broker-a", folder="failover"):
        with open(os.path.join(s.data, folder, name + ".json")) as f:
            return json.load(f)

    def kill(self, s, node, roles=("broker-store",), sig=signal.SIGKILL):
        pids = s.pids()
        for role in roles:
            os.kill(pids[f"{node} {role}"], sig)
        return {f"{node} {r}": pids[f"{node} {r}"] for r in roles}

    def script(self, s, text, name="ask.sh"):
        path = os.path.join(s.dir, name)
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        return path


class Local(Case):
    def test_a_killed_master_is_followed_by_the_slave_and_comes_back_as_one(self):
        s = self.pair()
        before = s.pids()
        self.kill(s, A)
        s.wait_for(r"failover: broker-a: broker-a-0 is master no longer \(its processes died 1 time in a row\)")
        s.wait_for(r"failover: broker-a: broker-a-1 is master now, epoch 2 from 1000 on")
        s.wait_for(r"begins as slave, epoch 2, brokerId 1", 1)
        said = s.output()
        self.assertIn("told that its role is 0, epoch 2, brokerId 0", said)
        self.assertIn("not started again before it is clear who is master", said)
        self.assertLess(said.index("is master no longer"), said.index("is master now"))
        self.assertLess(said.index("is master now"), said.index("begins as slave, epoch 2, brokerId 1"))
        after = s.wait_pids(lambda p: all(f"{A} {r}" in p for r in GROUP), "the old master's processes")
        for role in GROUP:
            self.assertNotEqual(after[f"{A} {role}"], before[f"{A} {role}"])
            self.assertEqual(after[f"{B} {role}"], before[f"{B} {role}"])  # in place
        for role in ("clean", "warm"):
            self.assertEqual(after[f"{A} {role}"], before[f"{A} {role}"])
        kept = self.state(s)
        self.assertEqual((kept["brokerName"], kept["epoch"], kept["masterId"]), ("broker-a", 2, 1))
        self.assertIn("died 1 time", kept["why"])

    def test_the_roles_stay_when_the_supervisor_is_started_again_and_go_back_the_same_way(self):
        s = self.pair()
        self.kill(s, A)
        s.wait_for(r"begins as slave, epoch 2, brokerId 1")
        self.assertEqual(s.stop(), 0)
        s.start()
        s.wait_for(r"failover: broker-a: broker-a-1 is master, epoch 2, as \S+/failover/broker-a.json says")
        s.wait_for(r"begins as master, epoch 2, brokerId 0")
        s.wait_for(r"begins as slave, epoch 2, brokerId 1", 2)
        self.wait_followed(s)
        self.kill(s, B)
        s.wait_for(r"broker-a-0 is master now, epoch 3")
        s.wait_for(r"begins as slave, epoch 3, brokerId 1")
        self.assertEqual((self.state(s)["epoch"], self.state(s)["masterId"]), (3, 0))

    def test_the_first_death_is_answered_by_starting_again_and_the_second_by_the_slave(self):
        s = self.pair("mode: local")
        self.kill(s, A)
        s.wait_for(rf"{A}/broker-store\[\d+\] was killed by signal 9.*starting it again now")
        s.wait_for(r"begins as master, epoch 1", 2)
        self.assertNotIn("master no longer", s.output())
        s.wait_pids(lambda p: all(f"{A} {r}" in p for r in GROUP), "the master's processes")
        self.kill(s, A)
        s.wait_for(r"its processes died 2 times in a row")
        s.wait_for(r"broker-a-1 is master now, epoch 2")

    def test_a_frozen_master_is_ended_and_followed_before_it_can_thaw(self):
        s = self.pair("mode: local, detect: 800")
        pids = self.kill(s, A, GROUP, signal.SIGSTOP)
        s.wait_for(r"broker-a-0 is master no longer \(it is frozen: its loop does not turn\)")
        s.wait_for(r"broker-a-1 is master now")
        for pid in pids.values():
            self.assertTrue(gone(pid))

    def test_a_frozen_slave_is_ended_and_starts_again(self):
        s = self.pair("mode: local, detect: 800")
        pids = self.kill(s, B, ["ha"], signal.SIGSTOP)
        s.wait_for(rf"{B}/ha\[{pids[f'{B} ha']}\] is frozen: its loop does not turn for 800 ms")
        s.wait_pids(lambda p: p.get(f"{B} ha", 0) not in (0, pids[f"{B} ha"]), "another ha")
        self.assertNotIn("master no longer", s.output())

    def test_a_sync_slave_that_lacks_acknowledged_records_is_refused_until_unclean_is_set(self):
        s = self.pair(fakes="ha=ahead", broker_more="    brokerRole: SYNC_MASTER\n")
        self.kill(s, A)
        s.wait_for(r"nobody is promoted: broker-a-1 lacks 4000 bytes that broker-a-0 may have acknowledged")
        s.wait_for(r"begins as master, epoch 1", 2)
        s.wait_for(r"broker-a-0 serves again as master")
        self.assertFalse(os.path.exists(os.path.join(s.data, "failover")))
        s.more = "failover: {{ mode: local, restarts: 0, unclean: true }}\n"
        s.write_spec()
        s.proc.send_signal(signal.SIGHUP)
        s.wait_for(r"changed now: failover: unclean=true")
        s.wait_pids(lambda p: all(f"{A} {r}" in p for r in GROUP), "the master's processes")
        self.kill(s, A)
        s.wait_for(r"broker-a-1 lacks the last 4000 bytes of broker-a-0's log, which may have been acknowledged: they are lost")
        s.wait_for(r"told that its role is 1, epoch 2, brokerId 0")  # a SYNC_MASTER as the one before

    def test_a_slave_that_never_found_its_master_is_not_promoted(self):
        s = self.pair(fakes="ha=alone")
        self.kill(s, A)
        s.wait_for(r"nobody is promoted: broker-a-1 has not followed broker-a-0 in epoch 1: its log may be another")
        s.wait_for(r"begins as master, epoch 1", 2)

    def test_a_slave_that_does_not_take_the_role_is_ended_and_the_old_master_is_taken_back(self):
        s = self.pair(fakes="broker-store=deaf")
        self.kill(s, A)
        s.wait_for(r"broker-a-1 is master no longer \(broker-a-1 did not become master in time\)")
        s.wait_for(r"broker-a-0 is master now, epoch 3")
        s.wait_for(r"begins as slave, epoch 3, brokerId 1")
        self.assertEqual((self.state(s)["epoch"], self.state(s)["masterId"]), (3, 0))

    def test_a_failed_disk_of_the_master_is_followed_and_the_node_stays_out(self):
        s = self.pair(start=False, fakes="flush=syncfail-later")
        s.start()
        self.wait_followed(s)
        os.kill(s.pids()[f"{A} flush"], signal.SIGUSR2)
        s.wait_for(r"broker broker-a-0 has failed: its log could not be synced")
        s.wait_for(r"broker-a-0 is master no longer \(its disk has failed\)")
        s.wait_for(r"broker-a-1 is master now")
        self.assertNotIn(f"{A} broker-store", s.pids())

    def test_a_state_that_cannot_be_written_is_said_and_the_slave_takes_over(self):
        s = self.pair()
        with open(os.path.join(s.data, "failover"), "w"):
            pass  # a file where the folder should be
        self.kill(s, A)
        s.wait_for(r"epoch 2 could not be kept in \S+/failover/broker-a.json; after a restart of the supervisor the roles would be")
        s.wait_for(r"broker-a-1 is master now, epoch 2")

    def test_a_damaged_state_is_refused_at_the_start_with_its_file(self):
        s = self.pair(start=False)
        os.makedirs(os.path.join(s.data, "failover"), 0o700)
        path = os.path.join(s.data, "failover", "broker-a.json")
        for text, why in (("{", path), ('{"epoch": 3}', "does not say who is master of broker-a"),
                          ('{"epoch": 3, "masterId": 7}', "says that brokerId 7 is master of broker-a, but the spec has none")):
            with open(path, "w") as f:
                f.write(text)
            status, said = s.run()
            self.assertEqual(status, 1, said)
            self.assertIn(why, said)

    def test_with_mode_off_the_master_is_only_started_again(self):
        s = self.pair("mode: off")
        for n in (2, 3):
            s.wait_pids(lambda p: f"{A} broker-store" in p, "a broker")
            self.kill(s, A)
            s.wait_for(r"begins as master, epoch 0", n)
        self.assertNotIn("failover:", s.output())

    def test_a_reload_turns_it_on(self):
        s = self.pair("mode: off")
        s.more = "failover: {{ mode: local, restarts: 0 }}\n"
        s.write_spec()
        s.proc.send_signal(signal.SIGHUP)
        s.wait_for(r"changed now: failover: mode=local")
        self.kill(s, A)
        s.wait_for(r"broker-a-1 is master now, epoch 1")


class Script(Case):
    def asked(self, text, fakes="", **how):
        s = self.pair("mode: script, onPromote: ../ask.sh, detect: 800, masterTimeout: 500", fakes, start=False, **how)
        self.script(s, text)
        s.start()
        self.wait_followed(s)
        return s

    def test_it_gets_the_facts_and_its_promote_is_carried_out(self):
        s = self.asked("env | grep ^RMQ_ | sort > $0.facts\necho promote\n", broker_more="    brokerRole: SYNC_MASTER\n")
        self.kill(s, A, GROUP, signal.SIGSTOP)
        s.wait_for(r"it is frozen: its loop does not turn: onPromote is asked")
        s.wait_for(r"onPromote says promote")
        s.wait_for(r"broker-a-1 is master now, epoch 2")
        self.assertIn("the script said promote", self.state(s)["why"])
        with open(os.path.join(s.dir, "ask.sh.facts")) as f:
            facts = dict(line.rstrip("\n").split("=", 1) for line in f)
        self.assertEqual({k: facts.get("RMQ_" + k) for k in ("EVENT", "BROKER_NAME", "NODE", "MASTER", "CANDIDATE", "IN_SYNC", "EPOCH",
                                                             "APPENDED", "ACKNOWLEDGED", "ROLE", "CLUSTER")},
                         {"EVENT": "frozen", "BROKER_NAME": "broker-a", "NODE": A, "MASTER": A, "CANDIDATE": B, "IN_SYNC": "1",
                          "EPOCH": "1", "APPENDED": "1000", "ACKNOWLEDGED": facts["RMQ_ACKNOWLEDGED"], "ROLE": "SYNC_MASTER",
                          "CLUSTER": "DefaultCluster"})

    def test_what_is_no_promote_counts_as_wait_and_it_is_asked_again(self):
        for text, said in (("echo wait\n", r"onPromote says wait"),
                           ("echo perhaps\n", r"onPromote says `perhaps`, which is neither promote nor wait: taken for wait"),
                           ("echo promote\nexit 3\n", r"onPromote ended with exit status 3: taken for wait"),
                           ("kill -9 $$\n", r"onPromote ended with signal 9: taken for wait"),
                           ("exit 0\n", r"onPromote says ``, which is neither")):
            with self.subTest(said):
                s = self.asked(text)
                self.kill(s, A, GROUP, signal.SIGSTOP)
                s.wait_for(said, 2)
                self.assertNotIn("master no longer", s.output())

    def test_one_that_cannot_be_run_counts_as_wait(self):
        s = self.asked("")
        os.unlink(os.path.join(s.dir, "ask.sh"))
        self.kill(s, A, GROUP, signal.SIGSTOP)
        s.wait_for(r"ask.sh cannot be run: No such file or directory")
        s.wait_for(r"onPromote ended with exit status 127: taken for wait")


class TwoHosts(Case):
    """One file, two supervisors: the master on node1, the slave on node2."""

    def host(self, name, failover, fakes="", env=None, start=True):
        s = Supervisor(fakes, spec_more="failover: {{ " + failover + " }}\n", second_broker=SLAVE.replace("{{ ", "{{ host: node2, "),
                       broker_more="    host: node1\n")
        self.addCleanup(s.close)
        with open(s.spec) as f:
            text = f.read().replace("{ listenPort: ", "{ host: " + name + ", listenPort: ", 1)
        with open(s.spec, "w") as f:
            f.write(text)
        return s.start("--host", name, env=env) if start else s

    def test_a_slave_that_does_not_hear_its_master_asks_the_script(self):
        s = self.host("node2", "mode: script, onPromote: ../ask.sh, masterTimeout: 500", start=False)
        self.script(s, "echo $RMQ_EVENT $RMQ_NODE $RMQ_CANDIDATE > $0.facts\necho promote\n")
        s.start("--host", "node2")
        s.wait_for(r"the master is not heard for \d+ ms: onPromote is asked")
        s.wait_for(r"broker-a-1 is master now, epoch 2")
        with open(os.path.join(s.dir, "ask.sh.facts")) as f:
            self.assertEqual(f.read(), f"unreachable {B} {B}\n")
        self.assertEqual(self.state(s, folder="failover-node2")["masterId"], 1)

    def test_a_master_that_meets_a_higher_epoch_becomes_a_slave(self):
        s = self.host("node1", "mode: script, onPromote: ../ask.sh", "ha=fenced", env={"FAKES_PEER": B})
        s.wait_for(r"broker-a-0 is master no longer \(broker-a-1 has epoch 7, which is above its own 1\)")
        s.wait_for(r"begins as slave, epoch 7, brokerId 1")
        kept = self.state(s, folder="failover-node1")
        self.assertEqual((kept["epoch"], kept["masterId"]), (7, 1))


class Cut(Case):
    def test_a_log_that_is_to_be_cut_restarts_the_slaves_group_at_once(self):
        s = self.pair(fakes="ha=cut", start=False)
        s.start(wait=False)
        s.wait_for(r"broker-a-1 cuts its log at 500: the master never had the rest")
        s.wait_for(r"begins as slave, epoch 1, brokerId 1", 2)
        self.assertNotIn("master no longer", s.output())


class ByHand(Case):
    def switch(self, s, node, *more):
        return s.run("--switch", node, *more)

    def test_a_switch_and_back_again_with_failover_off(self):
        s = self.pair("mode: off")
        s.wait_for("begins as slave")
        status, said = until("the slave has followed", lambda: (lambda r: r if r[0] == 0 else None)(self.switch(s, B)))
        self.assertIn("broker-a-1 is master now, epoch 1", said)
        self.assertTrue(said.endswith("broker-a-1 is master of broker-a, epoch 1\n"), said)
        s.wait_for(r"begins as slave, epoch 1, brokerId 1")
        self.wait_followed(s)
        status, said = until("back again", lambda: (lambda r: r if r[0] == 0 else None)(self.switch(s, A)))
        self.assertTrue(said.endswith("broker-a-0 is master of broker-a, epoch 2\n"), said)
        self.assertEqual(self.switch(s, A), (0, "broker-a-0 is master already\nbroker-a-0 is master of broker-a, epoch 2\n"))

    def test_what_cannot_be_switched_is_one_sentence(self):
        s = self.pair("mode: off", fakes="ha=alone")
        self.assertEqual(self.switch(s, "broker-x-1"),
                         (1, "the spec has no broker broker-x-1 for this host; names are like broker-a-1\n"))
        status, said = self.switch(s, B)
        self.assertEqual(status, 1)
        self.assertIn("broker-a-1 has not followed its master in epoch 0", said)
        status, said = self.switch(s, B, "--unclean")
        self.assertEqual(status, 0, said)
        status, said = s.run("--unclean")
        self.assertEqual(status, 2)
        self.assertEqual(s.stop(), 0)
        status, said = self.switch(s, A)
        self.assertEqual(status, 1)
        self.assertIn("no supervisor answers here", said)

    def test_clients_of_the_socket_that_talk_nonsense_are_told_so(self):
        s = self.pair("mode: off")
        path = os.path.join(s.data, "supervisor.sock")
        self.assertEqual(os.stat(path).st_mode & 0o077, 0)
        for text in (b"dance\n", b"x" * 4096, b"switch\n", b"\0\n"):
            with socket.socket(socket.AF_UNIX) as c:
                c.settimeout(10)
                c.connect(path)
                c.sendall(text)
                self.assertRegex(c.recv(1000), rb"^- (no such request|the request is too long)\n")
        crowd = []
        for _ in range(20):  # more than there are places; those without one are closed
            c = socket.socket(socket.AF_UNIX)
            self.addCleanup(c.close)
            c.settimeout(10)
            c.connect(path)
            crowd.append(c)
        self.assertEqual(crowd[-1].recv(100), b"")
        self.assertEqual(crowd[0].recv(100), b"- no request came\n")
        until("places again", lambda: self.switch(s, A)[0] == 0)


if __name__ == "__main__":
    unittest.main()
