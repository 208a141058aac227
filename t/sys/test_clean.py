"""Clean and rmqdump on a running node: files that expire under load, and what is left of the store."""

import json
import os
import subprocess
import unittest

import rmq
from rmq import Cluster, until

ALL_HOURS = ";".join("%02d" % h for h in range(24))


def dump(*args):
    run = subprocess.run([os.path.join(rmq.BUILD, "rmqdump"), *args, "--json"], capture_output=True, text=True, timeout=60)
    return run.returncode, [json.loads(line) for line in run.stdout.splitlines()], run.stderr


class Expiry(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(conf={
            "mappedFileSizeCommitLog": 1 << 20, "mappedFileSizeConsumeQueue": 2000, "maxHashSlotNum": 500, "maxIndexNum": 2000,
            "fileReservedTime": 0, "deleteWhen": ALL_HOURS, "cleanResourceInterval": 20, "deleteCommitLogFilesInterval": 0,
            "deleteConsumeQueueFilesInterval": 0}).start()
        self.addCleanup(self.cluster.close)

    def segments(self):
        return sorted(int(n) for n in os.listdir(os.path.join(self.cluster.store(), "commitlog")) if n.isdigit())

    def fill(self, client, count, first=0):
        """Posts all, then reads all answers: a closed loop would take minutes on a slow disk."""
        asked = [client.post_send("orders", b"%08d" % i + b"x" * 4000, i % 2, {"KEYS": "k%d" % i}) for i in range(first, first + count)]
        for opaque in asked:
            self.assertEqual(client.answer(opaque).code, 0)

    def test_expired_files_go_under_load_and_the_rest_stays_whole(self):
        with self.cluster.client() as client:
            client.create_topic("orders", 2)
            for n in range(8):
                self.fill(client, 300, n * 300)
            until("all segments but the last are gone", lambda: len(self.segments()) == 1)
            self.assertGreater(self.segments()[0], 4 << 20)
            until("the queues follow", lambda: min(int(n) for n in os.listdir(
                os.path.join(self.cluster.store(), "consumequeue", "orders", "0"))) > 0)

            def whole():    # the broker follows clean once a second
                got = [m["offset"] for m in client.pull_queue("orders", 1)]
                return got and got[0] > 0 and got == list(range(got[0], 1200))
            until("what is left is whole", whole)
        self.assertEqual(self.cluster.stop(), 0)
        status, lines, why = dump("check", self.cluster.store())
        self.assertEqual((status, lines[-1]["problems"], lines[-1]["notDispatched"]), (0, 0, 0), (lines, why))
        self.assertFalse(os.path.exists(os.path.join(self.cluster.store(), "commitlog", "prepare")))

    def test_too_few_free_bytes_refuse_writes_until_the_limit_is_lowered(self):
        def disk():
            return self.cluster.status()["nodes"][0]["disk"]

        with self.cluster.client() as client:
            client.create_topic("orders", 2)
            self.fill(client, 10)
            client.need(25, {}, b"diskMinFreeBytes=%d\n" % (1 << 60))
            refused = until("a send is refused", lambda: self.refusal(client))
            self.assertIn("disk is full", refused)
            self.assertEqual((disk()["full"], disk()["fullInSeconds"] in (-1, 0)), (True, True))
            self.assertEqual(len(client.pull_queue("orders", 0)), 5)     # reads go on
            client.need(25, {}, b"diskMinFreeBytes=0\n")
            until("writes are taken again", lambda: self.refusal(client) is None)
            self.assertFalse(disk()["full"])

    def refusal(self, client):
        try:
            client.send("orders", b"x", 1)
        except rmq.RemotingError as e:
            return e.remark
        return None

    def test_a_killed_clean_is_replaced_and_goes_on(self):
        with self.cluster.client() as client:
            client.create_topic("orders", 2)
            self.fill(client, 300)
            self.cluster.kill("clean")
            self.fill(client, 900, 300)
            until("old segments are gone", lambda: self.segments()[0] >= 2 << 20)
        self.assertEqual(self.cluster.stop(), 0)
        status, lines, why = dump("check", self.cluster.store())
        self.assertEqual(status, 0, (lines, why))


class Dump(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster().start()
        self.addCleanup(self.cluster.close)
        with self.cluster.client() as client:
            client.create_topic("orders", 2)
            for i in range(20):
                client.send("orders", b"body %d" % i, i % 2, {"TAGS": "t", "KEYS": "k%d" % i})

    def test_a_store_in_use_is_shown_and_checked(self):
        status, lines, why = dump("check", self.cluster.store())
        self.assertEqual(status, 0, lines)
        self.assertEqual(lines[-1]["records"], 20)
        self.assertIn("in use by process", why)
        status, lines, _ = dump("log", self.cluster.store(), "--topic", "orders", "--queue", "1", "--count", "3")
        self.assertEqual([(l["queueOffset"], l["properties"]["KEYS"], l["crcOk"]) for l in lines],
                         [(0, "k1", True), (1, "k3", True), (2, "k5", True)])
        status, lines, _ = dump("queue", self.cluster.store())
        self.assertEqual([(l["topic"], l["queueId"], l["max"]) for l in lines if l["topic"] == "orders"],
                         [("orders", 0, 10), ("orders", 1, 10)])

    def test_a_damaged_body_is_found(self):
        self.assertEqual(self.cluster.stop(), 0)
        _, lines, _ = dump("log", self.cluster.store(), "--count", "0")
        hit = next(l for l in lines if l["properties"].get("KEYS") == "k7")
        with open(os.path.join(self.cluster.store(), "commitlog", "0" * 20), "r+b") as f:
            f.seek(hit["offset"])
            at = hit["offset"] + f.read(hit["size"]).index(b"body 7")
            f.seek(at)
            f.write(b"B")
        status, lines, _ = dump("check", self.cluster.store())
        self.assertEqual((status, len(lines)), (1, 2), lines)
        self.assertIn("at %d " % hit["offset"], lines[0]["problem"])
        self.assertIn("CRC", lines[0]["problem"])


if __name__ == "__main__":
    unittest.main()
