"""Stores that Apache's broker left (t/data, recorded by t/data/make-java-stores) are opened here in place.

Each recording comes with a listing of all that the original answered about it; the same questions must get the same answers here. Then
what was pending comes through once, groups and queues go on where they were, and a kill -9 changes none of it. No Java is needed.
"""

import json
import os
import subprocess
import tarfile
import time
import unittest

import kinds
from rmq import BUILD, TOP, Cluster, until

GROUP = "PG"
# What is ours alone or theirs alone, by its nature.
SYSTEM = ("broker-a", "DefaultCluster", "BenchmarkTest", "TBW102", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT", "rmq_sys_", "RMQ_SYS_",
          "SCHEDULE_TOPIC_XXXX", "DefaultCluster_REPLY_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC")
# Queues to which what is pending is added as soon as the broker runs.
GROWING = ("Delayed", "%RETRY%CG1", "Paid", kinds.HALF, kinds.OP, kinds.WHEEL)


def data_file(name):
    return os.path.join(TOP, "t", "data", f"java-{name}.tar.xz")


def dump(*args):
    run = subprocess.run([os.path.join(BUILD, "rmqdump"), *args], capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout + run.stderr


class Producer:
    """Answers what the broker asks about its transactions: those with an even number are committed."""

    def __init__(self, cluster):
        self.c, self.asked = cluster.client(), set()
        body = json.dumps({"clientID": "p@1", "producerDataSet": [{"groupName": GROUP}], "consumerDataSet": []}).encode()
        self.c.need(34, {}, body)

    def serve(self):
        self.c.need(34, {}, json.dumps({"clientID": "p@1", "producerDataSet": [{"groupName": GROUP}],
                                        "consumerDataSet": []}).encode())
        while self.c.pushed:
            f = self.c.pushed.pop(0)
            if f.code != 39:
                continue
            body = kinds.messages(f.body)[0]["body"].decode()
            self.asked.add(body)
            self.c.post(37, {"producerGroup": GROUP, "tranStateTableOffset": f.ext["tranStateTableOffset"],
                             "commitLogOffset": f.ext["commitLogOffset"], "fromTransactionCheck": True, "msgId": f.ext["msgId"],
                             "commitOrRollback": kinds.COMMIT if int(body.split()[1]) % 2 == 0 else kinds.ROLLBACK}, oneway=True)

    def close(self):
        self.c.close()


class Opened:
    """One recording, opened. Mixed into a TestCase for each."""
    NAME = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster({**kinds.SETTINGS, "transactionCheckInterval": 500, "fileReservedTime": 24 * 365 * 100})
        cls.addClassCleanup(cls.cluster.close)
        root = os.path.dirname(cls.cluster.store())
        os.makedirs(root)
        with tarfile.open(data_file(cls.NAME)) as tar:
            tar.extractall(root, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(root)
        with open(os.path.join(root, "expected.json")) as f:
            cls.expected = json.load(f)
        cls.checked_before = dump("check", cls.cluster.store())
        cls.cluster.start()

    def setUp(self):
        self.client = self.cluster.client()
        self.addCleanup(self.client.close)

    def test_1_check_finds_nothing_wrong_before(self):
        self.assertEqual(self.checked_before[0], 0, self.checked_before[1])

    def test_2_every_message_is_at_its_offset(self):
        self.check_messages()

    def check_messages(self):
        self.assertGreater(sum(len(q["messages"]) for q in self.expected["queues"].values()), 500)
        for name, want in self.expected["queues"].items():
            topic, queue = name.rsplit(" ", 1)
            ends = [int(self.client.need(code, {"topic": topic, "queueId": queue}).ext["offset"]) for code in (31, 30)]
            got = [kinds.plain_message(m) for m in kinds.read_queue(self.client, topic, int(queue))]
            with self.subTest(queue=name):
                self.assertEqual(ends[0], want["min"])
                self.assertEqual(got[:len(want["messages"])], want["messages"])
                if topic not in GROWING:
                    self.assertEqual(ends[1], want["max"] + self.added(name))
                self.assertGreaterEqual(ends[1], want["max"])

    def added(self, name):
        """Messages that the tests below have sent to that queue."""
        return self.sent_to.get(name, 0)

    sent_to = {}

    def test_3_topics_and_groups_are_as_they_were(self):
        topics, groups = kinds.list_topics(self.client), kinds.list_groups(self.client)
        for name, want in self.expected["topics"].items():
            if not name.startswith(SYSTEM):
                self.assertEqual(topics.get(name), want, name)
        for name, want in self.expected["groups"].items():
            self.assertEqual(groups.get(name), want, name)

    def test_3_groups_go_on_where_they_were(self):
        self.assertEqual(kinds.list_offsets(self.client), self.expected["offsets"])
        for key, queues in self.expected["offsets"].items():
            topic, group = key.split("@")
            for queue, offset in queues.items():
                ext = {"consumerGroup": group, "topic": topic, "queueId": queue}
                self.assertEqual(self.client.need(14, ext).ext["offset"], str(offset))

    def test_3_keys_find_what_they_found(self):
        self.check_keys()

    def check_keys(self):
        """Above the place where the recording ends stands what was delivered since."""
        end = max(m["physical"] for q in self.expected["queues"].values() for m in q["messages"])
        self.assertGreater(sum(len(k["hits"]) > 0 for k in self.expected["keys"]), 100)
        for k in self.expected["keys"]:
            got = [x for x in kinds.query(self.client, *k["ask"]) if x <= end]
            self.assertEqual(got, k["hits"], k["ask"])

    def test_3_times_find_the_offsets_that_they_found(self):
        self.assertGreater(len(self.expected["times"]), 100)
        for t in self.expected["times"]:
            self.assertEqual(kinds.by_time(self.client, *t["ask"]), t["offset"], t["ask"])

    def test_3_tags_filter_as_they_did(self):
        self.assertEqual(kinds.list_tags(self.client), self.expected["tags"])

    def test_3_each_message_is_found_by_its_place(self):
        for q in self.expected["queues"].values():
            for m in q["messages"][::7]:
                found = kinds.messages(self.client.need(33, {"offset": m["physical"]}).body)
                self.assertEqual([kinds.plain_message(x) for x in found], [m])

    # ---- what was pending

    def bodies(self, topic):
        queues = kinds.topics_of(self.client)[topic]["readQueueNums"]
        return [m["body"].decode("latin-1") for q in range(queues) for m in kinds.read_queue(self.client, topic, q)]

    def newest(self):
        return max(m["stored"] for q in self.expected["queues"].values() for m in q["messages"])

    def test_4_what_was_pending_comes_once(self):
        if self.newest() + kinds.DUE_MS > time.time() * 1000:
            self.skipTest("by this machine's clock the recording was made just now: what it holds is not due yet")
        for topic in {t for t, _ in self.expected["pending"]}:
            want = [b for t, b in self.expected["pending"] if t == topic]
            until(f"{topic}: {want}", lambda t=topic, w=want: set(w) <= set(self.bodies(t)), 30)
        self.check_nothing_twice()

    def check_nothing_twice(self):
        for topic in ("Delayed", "%RETRY%CG1", "Paid"):
            got = self.bodies(topic)
            self.assertEqual(len(got), len(set(got)), f"{topic}: twice: {sorted(got)}")
        for topic, body in self.expected["never"]:
            self.assertNotIn(body, self.bodies(topic))

    def test_4_undecided_transactions_are_asked_for_and_settled(self):
        producer = Producer(self.cluster)
        self.addCleanup(producer.close)
        want = set(self.expected["askedFor"])
        until(f"asked for {want}", lambda: producer.serve() or producer.asked >= want, 30, 0.05)
        committed = {b for b in want if int(b.split()[1]) % 2 == 0}
        until(f"{committed} delivered", lambda: committed <= set(self.bodies("Paid")), 30)
        self.assertEqual(producer.asked, want)
        self.check_nothing_twice()
        self.assertFalse((want - committed) & set(self.bodies("Paid")))

    # ---- going on

    def test_5_new_messages_go_on_at_the_right_offsets(self):
        for name, q in self.expected["queues"].items():
            topic, queue = name.rsplit(" ", 1)
            if topic in kinds.TOPICS and topic not in GROWING:
                for i in range(60):     # beyond a queue file
                    sent = self.client.send(topic, b"new %d" % i, int(queue), {"KEYS": f"new{i}", "UNIQ_KEY": kinds.uniq(1 << 40 | i)})
                    self.assertEqual(int(sent["queueOffset"]), q["max"] + self.added(name) + i, name)
                self.sent_to[name] = self.added(name) + 60
        self.check_messages()
        got = kinds.query(self.client, "Plain", "new7")
        self.assertEqual(len(got), 4)

    def test_6_a_clean_stop_and_a_kill_change_nothing(self):
        for how in ("stop", "kill", "stop"):
            self.cluster.kill_all() if how == "kill" else self.assertEqual(self.cluster.stop(), 0)
            status, text = dump("check", self.cluster.store())
            self.assertEqual(status, 0, f"after a {how}:\n{text}")
            self.cluster.start()
            self.client.close()
            self.client = self.cluster.client()
            self.addCleanup(self.client.close)
            self.check_messages()
            self.check_keys()
            self.check_nothing_twice()
            self.assertEqual(kinds.list_offsets(self.client), self.expected["offsets"])


def recording(name):
    return type("Java_" + name.replace(".", "_").replace("-", "_"), (Opened, unittest.TestCase), {"NAME": name, "sent_to": {}})


Clean5, Killed5, Clean4, Killed4 = map(recording, ("5.3.3-clean", "5.3.3-killed", "4.9.7-clean", "4.9.7-killed"))

if __name__ == "__main__":
    unittest.main(verbosity=2)
