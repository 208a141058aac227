"""Stores that Apache's broker left (t/data, recorded by t/data/make-java-stores) are opened here in place.

Each recording comes with a listing of all that the original answered about it; the same questions must get the same answers here. Then
what was pending comes through once, groups and queues go on where they were, and a kill -9 changes none of it. No Java is needed.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
import unittest

import kinds
from rmq import BUILD, TOP, Cluster, until

def data_file(name):
    return os.path.join(TOP, "t", "data", f"java-{name}.tar.xz")


def dump(*args):
    run = subprocess.run([os.path.join(BUILD, "rmqdump"), *args], capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout + run.stderr


def unpack(name, cluster):
    """Puts a recording in the place of the cluster's store; its listing."""
    root = os.path.dirname(cluster.store())
    os.makedirs(root)
    with tarfile.open(data_file(name)) as tar:
        tar.extractall(root, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(root)
    with open(os.path.join(root, "expected.json")) as f:
        return json.load(f)


def files_of(folder):
    """What stands there: {path: hash}."""
    out = {}
    for at, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(at, name), "rb") as f:
                out[os.path.join(at, name)] = hashlib.sha256(f.read()).hexdigest()
    return out


class Opened:
    """One recording, opened. Mixed into a TestCase for each."""
    NAME = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster({**kinds.SETTINGS, "transactionCheckInterval": 500, "fileReservedTime": 24 * 365 * 100})
        cls.addClassCleanup(cls.cluster.close)
        cls.expected = unpack(cls.NAME, cls.cluster)
        cls.checked_before = dump("check", cls.cluster.store())
        cls.cluster.start()

    def setUp(self):
        self.client = self.cluster.client()
        self.addCleanup(self.client.close)

    def test_1_check_finds_nothing_wrong_before(self):
        self.assertEqual(self.checked_before[0], 0, self.checked_before[1])

    def test_2_messages_tables_and_keys_are_what_they_were(self):
        self.check_messages()

    def check_messages(self):
        self.assertGreater(sum(len(q["messages"]) for q in self.expected["queues"].values()), 500)
        self.assertGreater(sum(len(k["hits"]) > 0 for k in self.expected["keys"]), 100)
        self.assertEqual(kinds.differences(self.expected, self.client, self.sent_to), [])

    sent_to = {}

    def test_3_groups_go_on_where_they_were(self):
        for key, queues in self.expected["offsets"].items():
            topic, group = key.split("@")
            for queue, offset in queues.items():
                ext = {"consumerGroup": group, "topic": topic, "queueId": queue}
                self.assertEqual(self.client.need(14, ext).ext["offset"], str(offset))

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
        return kinds.bodies(self.client, topic)

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
        producer = kinds.Producer(self.client)
        want = {b for _, b in self.expected["askedFor"]}
        until(f"asked for {want}", lambda: producer.serve() or producer.asked >= want, 30, 0.05)
        committed = {b for b in want if kinds.commits(b)}
        until(f"{committed} delivered", lambda: committed <= set(self.bodies("Paid")), 30)
        self.assertEqual(producer.asked, want)
        self.check_nothing_twice()
        self.assertFalse((want - committed) & set(self.bodies("Paid")))

    # ---- going on

    def test_5_new_messages_go_on_at_the_right_offsets(self):
        for name, q in self.expected["queues"].items():
            topic, queue = name.rsplit(" ", 1)
            if topic in kinds.TOPICS and topic not in kinds.GROWING:
                for i in range(60):     # beyond a queue file
                    sent = self.client.send(topic, b"new %d" % i, int(queue), {"KEYS": f"new{i}", "UNIQ_KEY": kinds.uniq(1 << 40 | i)})
                    self.assertEqual(int(sent["queueOffset"]), q["max"] + self.sent_to.get(name, 0) + i, name)
                self.sent_to[name] = self.sent_to.get(name, 0) + 60
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
            self.check_nothing_twice()


def recording(name):
    return type("Java_" + name.replace(".", "_").replace("-", "_"), (Opened, unittest.TestCase), {"NAME": name, "sent_to": {}})


Clean5, Killed5, Clean4, Killed4 = map(recording, ("5.3.3-clean", "5.3.3-killed", "4.9.7-clean", "4.9.7-killed"))

class Rebuilt(unittest.TestCase):
    """Queues and index are only a view of the log: when they are moved away they are made again."""

    def check(self, name, *gone):
        c = Cluster({**kinds.SETTINGS, "transactionCheckInterval": 3600000, "fileReservedTime": 24 * 365 * 100})
        self.addCleanup(c.close)
        expected = unpack(name, c)
        for folder in gone:
            shutil.rmtree(os.path.join(c.store(), folder))
        c.start()
        with c.client() as client:
            self.assertEqual(kinds.differences(expected, client), [])
        self.assertEqual(c.stop(), 0)
        status, text = dump("check", c.store())
        self.assertEqual(status, 0, text)

    def test_queues_after_a_clean_stop(self):
        self.check("5.3.3-clean", "consumequeue")

    def test_queues_and_index_after_a_clean_stop(self):
        self.check("4.9.7-clean", "consumequeue", "index")

    def test_queues_and_index_after_a_kill(self):
        self.check("5.3.3-killed", "consumequeue", "index")


class Refused(unittest.TestCase):
    """What cannot be read is refused with the reason, and nothing in it is changed."""

    def check(self, text, conf=None, made=()):
        c = Cluster({**kinds.SETTINGS, **(conf or {})})
        self.addCleanup(c.close)
        unpack("5.3.3-clean", c)
        for name in made:
            path = os.path.join(c.store(), name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write("x")
        before = files_of(c.store())
        c.start(wait=False)
        until(f"it says {text}", lambda: c.proc.poll() is not None or re.search(text, c.output()), 20)
        self.assertRegex(c.output(), text)
        if c.proc.poll() is None:
            self.assertRaises((OSError, ValueError), c.healthy)
        c.stop()
        after = files_of(c.store())
        self.assertEqual({k: v for k, v in after.items() if not k.endswith("/lock")},
                         {k: v for k, v in before.items() if not k.endswith("/lock")})

    def test_segments_of_another_size(self):
        self.check("65536 bytes, but mappedFileSizeCommitLog is 131072: set mappedFileSizeCommitLog",
                   {"mappedFileSizeCommitLog": 128 << 10})

    def test_queue_files_of_another_size(self):
        self.check("1000 bytes, but mappedFileSizeConsumeQueue is 2000: set it to the si",
                   {"mappedFileSizeConsumeQueue": 2000})

    def test_index_files_of_another_size(self):
        self.check("maxIndexNum", {"maxIndexNum": 400})

    def test_a_log_in_several_directories(self):
        self.check("several directories", {"storePathCommitLog": "/tmp/one,/tmp/two"})

    def test_other_kinds_of_store(self):
        for name, text in (("dledger-n0/data/00000000000000000000", "DLedger"), ("consumequeue/CURRENT", "RocksDB"),
                           ("config/rdb/CURRENT", "RocksDB"), ("batchconsumequeue/T/0/00000000000000000000", "batch queues"),
                           ("consumequeue_ext/T/0/00000000000000000000", "extended queues"),
                           ("compaction/compactionLog/T/0/00000000000000000000", "compacted topics")):
            with self.subTest(name):
                self.check(name.split("/")[0] + ".*" + text, made=(name,))


if __name__ == "__main__":
    unittest.main(verbosity=2)
