"""Each sample spec of etc/ runs whole on this machine and keeps what doc/clusters.md promises for its mode."""

import json
import os
import unittest

from hosts import Hosts, Namespaces
from rmq import Client, RemotingError, until

NS, BROKER, SLAVE = 9876, 10911, 11011


class Case(unittest.TestCase):
    def hosts(self, sample, **how):
        h = Hosts(sample, **how)
        self.addCleanup(h.close)
        return h.start()

    def brokers(self, h, host, topic="TBW102"):
        """{brokerName: {brokerId: address}}, as the name server of that host says."""
        with h.client(host, NS) as c:
            return {b["brokerName"]: b["brokerAddrs"] for b in json.loads(c.need(105, {"topic": topic}).body)["brokerDatas"]}

    def wait_brokers(self, h, host, want):
        """Waits until the brokers of the names have just these ids."""
        return until(f"{host} knows {want}", lambda: (lambda b: b if {n: sorted(a) for n, a in b.items()} == want else None)(
            self.brokers(h, host)))

    def fill(self, address, count=50, topic="T"):
        with Client(address) as c:
            c.create_topic(topic, 1)
            for i in range(count):
                c.send(topic, b"%d" % i)

    def read(self, address, topic="T"):
        with Client(address) as c:
            if int(c.need(30, {"topic": topic, "queueId": 0}).ext["offset"]) == 0:
                return []  # a slave that has not got the queue yet
            return [int(m["body"]) for m in c.pull_queue(topic, 0)]


class Masters(Case):
    def test_single_master(self):
        h = self.hosts("single-master.yaml")
        self.wait_brokers(h, "node1", {"broker-a": ["0"]})
        self.fill(h.net.address("node1", BROKER))
        self.assertEqual(self.read(h.net.address("node1", BROKER)), list(range(50)))
        self.assertEqual(h["node1"].stop(), 0)

    def test_two_masters_share_a_topic_and_one_takes_all_when_the_other_is_lost(self):
        h = self.hosts("2m.yaml")
        for host in ("node1", "node2"):
            self.wait_brokers(h, host, {"broker-a": ["0"], "broker-b": ["0"]})
            self.fill(h.net.address(host, BROKER))
        h["node2"].lose()
        until("its brokers are gone from the route", lambda: "broker-b" not in self.brokers(h, "node1", "T"))
        self.fill(h.net.address("node1", BROKER), 5)
        h["node2"].start().ready()
        self.assertEqual(self.read(h.net.address("node2", BROKER)), list(range(50)))  # they have waited

    def test_three_name_servers_two_may_be_lost(self):
        h = self.hosts("3-namesrv.yaml")
        for host in ("node1", "node2", "node3"):
            self.wait_brokers(h, host, {"broker-a": ["0"], "broker-b": ["0"]})
        h["node3"].lose()
        h["node2"].lose()
        self.fill(h.net.address("node1", BROKER))
        until("the topic's route at the one that is left", lambda: list(self.brokers(h, "node1", "T")) == ["broker-a"])


class Pairs(Case):
    WANT = {"broker-a": ["0", "1"], "broker-b": ["0", "1"]}

    def wait_in_sync(self, h):
        def look():
            nodes = {**h["node1"].nodes(), **h["node2"].nodes()}
            return all(nodes[f"broker-{x}-0"]["slavesInSync"] == 1 for x in "ab")
        until("both slaves in sync", look, 30)

    def wait_copied(self, h, master, slave, name):
        end = h[master].nodes()[f"{name}-0"]["positions"]["appended"]
        until("the slave has it, and dispatched it", lambda: h[slave].nodes()[f"{name}-1"]["positions"]["dispatched"] >= end)

    def test_asynchronous_consumers_go_on_at_the_slave(self):
        h = self.hosts("2m-2s-async.yaml")
        self.wait_brokers(h, "node1", self.WANT)
        self.wait_in_sync(h)
        self.fill(h.net.address("node1", BROKER))
        self.wait_copied(h, "node1", "node2", "broker-a")
        h["node1"].lose()
        until("the route has the slave alone", lambda: list(self.brokers(h, "node2", "T")["broker-a"]) == ["1"])
        self.assertEqual(self.read(h.net.address("node2", SLAVE)), list(range(50)))
        with Client(h.net.address("node2", SLAVE)) as c:
            with self.assertRaises(RemotingError):
                c.send("T", b"50")  # a slave takes none
        h["node1"].start().ready()
        self.wait_brokers(h, "node2", self.WANT)
        self.fill(h.net.address("node1", BROKER), 5, "Again")
        until("what came after is copied, too", lambda: self.read(h.net.address("node2", SLAVE), "Again") == list(range(5)))

    def test_synchronous_means_two_copies_and_says_when_there_is_one(self):
        h = self.hosts("2m-2s-sync.yaml")
        self.wait_brokers(h, "node1", self.WANT)
        self.wait_in_sync(h)
        with Client(h.net.address("node1", BROKER)) as c:
            c.create_topic("T", 1)
            for i in range(50):
                c.send("T", b"%d" % i)
                end = h["node2"].nodes()["broker-a-1"]["positions"]["appended"] if i % 10 == 0 else None
                self.assertTrue(end is None or end >= h["node1"].nodes()["broker-a-0"]["positions"]["replicated"])
            until("readable at the slave", lambda: self.read(h.net.address("node2", SLAVE)) == list(range(50)))
            h["node2"].lose()
            until("no slave is in sync", lambda: h["node1"].nodes()["broker-a-0"]["slavesInSync"] == 0)
            a = c.answer(c.post_send("T", b"50"))
            self.assertEqual(a.code, 11, a.remark)  # SLAVE_NOT_AVAILABLE: stored, one copy
        self.assertEqual(self.read(h.net.address("node1", BROKER)), list(range(51)))
        h["node2"].start().ready()
        self.wait_in_sync(h)
        self.wait_copied(h, "node1", "node2", "broker-a")
        self.assertEqual(self.read(h.net.address("node2", SLAVE)), list(range(51)))

    @staticmethod
    def ready_pid(host, name):
        return [w["pid"] for w in host.status()["workers"] if w["name"] == name and w["state"] == "ready"]

    def test_failover_local_goes_to_the_slave_at_the_second_death(self):
        h = self.hosts("failover-local.yaml")
        host = h["node1"]
        self.wait_brokers(h, "node1", {"broker-a": ["0", "1"]})
        until("in sync", lambda: host.nodes()["broker-a-0"]["slavesInSync"] == 1, 30)
        self.fill(h.net.address("node1", BROKER))
        for deaths in (1, 2):
            until("in sync", lambda: host.nodes()["broker-a-0"]["slavesInSync"] == 1, 30)
            pid = until("the master's broker runs", lambda: self.ready_pid(host, "broker-a-0/broker-store"))[0]
            os.kill(pid, 9)
            until("it died", lambda p=pid: all(w["pid"] != p for w in host.status()["workers"]))
        f = until("the slave is master", lambda: (lambda f: f if f["master"] == "broker-a-1" and f["phase"] == "watching" else None)(
            host.status()["failover"][0]))
        self.assertEqual((f["mode"], f["epoch"]), ("local", 2))
        self.assertIn("died 2 times in a row", f["why"])
        self.wait_brokers(h, "node1", {"broker-a": ["0", "1"]})
        self.assertEqual(self.brokers(h, "node1")["broker-a"]["0"], h.net.address("node1", SLAVE))
        self.fill(h.net.address("node1", SLAVE), 5, "After")
        self.assertEqual(self.read(h.net.address("node1", SLAVE)), list(range(50)))


class TwoHosts(Case):
    def begin(self):
        h = Hosts("failover-script.yaml")
        self.addCleanup(h.close)
        for host in h.hosts.values():
            self.write_script(host)
        h.start()
        until("in sync", lambda: h["node1"].nodes()["broker-a-0"]["slavesInSync"] == 1, 30)
        self.fill(h.net.address("node1", BROKER))
        until("copied", lambda: h["node2"].nodes()["broker-a-1"]["positions"]["dispatched"] ==
              h["node1"].nodes()["broker-a-0"]["positions"]["appended"])
        return h, h["node1"], h["node2"]

    def test_a_master_that_is_cut_off_is_replaced_and_follows_when_the_network_is_back(self):
        h, one, two = self.begin()
        if not isinstance(h.net, Namespaces):
            self.skipTest("needs network namespaces")
        h.net.cable("node1", False)
        until("the slave is master", lambda: two.nodes()["broker-a-1"]["role"] == "SYNC_MASTER")
        with Client(h.net.address("node2", SLAVE)) as c:
            self.assertEqual(c.answer(c.post_send("T", b"50")).code, 11)
        h.net.cable("node1", True)
        until("the old master has heard of it and follows", lambda: one.nodes()["broker-a-0"]["role"] == "SLAVE" and
              two.nodes()["broker-a-1"]["slavesInSync"] == 1, 40)
        self.assertIn("fenced", one.get("/status"))
        until("the old one has what came", lambda: self.read(h.net.address("node1", BROKER)) == list(range(51)))

    def write_script(self, host):
        path = os.path.join(host.dir, "promote.sh")
        with open(path, "w") as f:
            f.write('#!/bin/sh\n[ "$RMQ_EVENT" = unreachable ] && [ "$RMQ_IN_SYNC" = 1 ] && echo promote || echo wait\n')
        os.chmod(path, 0o755)

    def test_failover_script_promotes_when_a_host_is_lost_and_the_old_master_is_cut_and_follows(self):
        h, one, two = self.begin()
        one.lose()
        until("the slave is master", lambda: two.nodes()["broker-a-1"]["role"] == "SYNC_MASTER")
        self.assertIn("the script said promote", two.status()["failover"][0]["why"])
        self.assertEqual(self.read(h.net.address("node2", SLAVE)), list(range(50)))
        with Client(h.net.address("node2", SLAVE)) as c:
            self.assertEqual(c.answer(c.post_send("T", b"50")).code, 11)  # one copy: the other host is away
        # back, it takes itself for the master until it hears of the other
        one.start()
        until("the old master follows", lambda: one.nodes()["broker-a-0"]["role"] == "SLAVE" and
              two.nodes()["broker-a-1"]["slavesInSync"] == 1, 40)
        f = one.status()["failover"][0]
        self.assertEqual((f["master"], f["epoch"]), ("broker-a-1", 2))
        with Client(h.net.address("node2", SLAVE)) as c:
            until("two copies again", lambda: c.send("T", b"51"))
        until("the old one has what came", lambda: self.read(h.net.address("node1", BROKER)) == list(range(52)))
        self.wait_brokers(h, "node1", {"broker-a": ["0", "1"]})


class Mixed(Case):
    def test_our_part_of_a_mixed_cluster_runs_without_the_java_brokers(self):
        """With them: interop/run, part java-slaves, needs a JDK."""
        h = self.hosts("mixed-java.yaml")
        self.wait_brokers(h, "node1", {"broker-a": ["0"], "broker-b": ["1"]})
        self.fill(h.net.address("node1", BROKER))
        self.assertEqual(h["node1"].nodes()["broker-b-1"]["role"], "SLAVE")


if __name__ == "__main__":
    unittest.main()
