"""A store that is not in memory: the broker itself never reads the disk, whatever it is asked; warm does."""

import os
import time
import unittest

import rmq
from rmq import Cluster, PULL_FOUND, until

MESSAGES, QUEUES, BODY = 4000, 8, 2000


def read_bytes(pid):
    """What this process has caused to be fetched from the disk, by reads and page faults."""
    with open(f"/proc/{pid}/io") as f:
        return int(dict(line.split(": ") for line in f)["read_bytes"])


def major_faults(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rsplit(")", 1)[1].split()[9])


def drop_from_memory(folder):
    for path, _, names in os.walk(folder):
        for name in names:
            fd = os.open(os.path.join(path, name), os.O_RDWR)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def physical_of(message_id):
    return int(message_id[16:32], 16)


class Cold(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(conf={"mappedFileSizeCommitLog": 1 << 20, "mappedFileSizeConsumeQueue": 2000, "maxHashSlotNum": 20000,
                                     "maxIndexNum": 2000}).start()
        self.addCleanup(self.cluster.close)
        with self.cluster.client() as client:
            client.create_topic("orders", QUEUES)
            asked = [client.post_send("orders", b"%06d" % i + b"x" * BODY, i % QUEUES, {"KEYS": "k%d" % i}) for i in range(MESSAGES)]
            self.sent = [client.answer(opaque).ext for opaque in asked]
        self.hot = self.ask_everything()
        self.assertEqual(self.cluster.stop(), 0)
        drop_from_memory(self.cluster.store())
        self.cluster.start()

    def ask_everything(self):
        """One of each request that reads the store at any place, and what it answered."""
        out = {}
        with self.cluster.client() as client:
            ids = [self.sent[i]["msgId"] for i in (0, MESSAGES // 2, MESSAGES - 1)]
            out["view"] = [client.need(33, {"offset": physical_of(i)}).body for i in ids]
            out["query"] = [[m["offset"] for m in rmq.messages(client.need(12, {
                "topic": "orders", "key": "k%d" % i, "maxNum": 32, "beginTimestamp": 0, "endTimestamp": int(time.time() * 1000) + 1000}).body)]
                for i in (1, MESSAGES // 2, MESSAGES - 1)]
            stored = rmq.messages(out["view"][1])[0]["stored"]
            out["by time"] = [client.need(29, {"topic": "orders", "queueId": q, "timestamp": stored, "boundaryType": b}).ext["offset"]
                              for q in range(QUEUES) for b in ("lower", "upper")]
            out["earliest"] = client.need(32, {"topic": "orders", "queueId": 3}).ext["timestamp"]
            out["stats"] = client.need(202, {"topic": "orders"}).body
            out["units"] = client.need(321, {"topic": "orders", "queueId": 1, "index": 100, "count": 5, "consumerGroup": "CG"}).body
            out["span"] = [x["minTimeStamp"] for x in json_of(client.need(303, {"topic": "orders", "group": "CG"}).body)["consumeTimeSpanSet"]]
            out["pull"] = [m["body"][:6] for q in range(QUEUES) for m in client.pull_queue("orders", q)]
        return out

    def test_whatever_is_asked_the_broker_does_not_read_the_disk(self):
        pid, warm = self.cluster.pid("broker"), self.cluster.pid("warm")
        before, faults = read_bytes(pid), major_faults(pid)
        self.assertEqual(self.ask_everything(), self.hot)
        if read_bytes(warm) == 0:
            self.skipTest("this file system keeps everything in memory")
        self.assertEqual(major_faults(pid) - faults, 0)
        # a read that must not wait begins a read-ahead of the queue file that the kernel counts as the broker's
        self.assertLess(read_bytes(pid) - before, QUEUES * (16 << 10))
        self.assertGreater(read_bytes(warm), MESSAGES * BODY // 2)

    def test_requests_that_wait_are_answered_when_warm_is_killed(self):
        with self.cluster.client() as client:
            asked = [client.post(33, {"offset": physical_of(s["msgId"])}) for s in self.sent[::400]]
            self.cluster.kill("warm")
            asked += [client.post(29, {"topic": "orders", "queueId": q, "timestamp": 1}) for q in range(QUEUES)]
            for opaque in asked:
                self.assertEqual(client.answer(opaque, 20).code, 0)

    def test_sends_are_not_held_up_by_those_who_wait(self):
        with self.cluster.client() as reader, self.cluster.client() as sender:
            asked = [reader.post(29, {"topic": "orders", "queueId": q % QUEUES, "timestamp": 1}) for q in range(200)]
            for i in range(50):
                sender.send("orders", b"new", i % QUEUES)
            for opaque in asked:
                self.assertEqual(reader.answer(opaque).ext["offset"], "0")
        until("the metrics tell the age of the first message", lambda: "message_reserve_time_milliseconds{" in self.cluster.get("/metrics"))

    def test_files_that_expire_while_they_are_read_are_passed_over(self):
        with self.cluster.client() as client:
            last, seen = self.cluster.store() + "/commitlog", 0
            pulls = [client.post(11, {"consumerGroup": "CG", "topic": "orders", "queueId": q, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 4,
                                      "commitOffset": 0, "suspendTimeoutMillis": 0, "subscription": "*", "subVersion": 0,
                                      "expressionType": "TAG"}) for q in range(QUEUES)]
            with self.cluster.client() as operator:
                operator.need(25, {}, b"fileReservedTime=0\n")
                operator.need(329)
            for opaque in pulls:
                a = client.answer(opaque)
                seen += a.code == PULL_FOUND
                self.assertIn(a.code, (0, 19, 20, 21), a.remark)
            until("the log is short", lambda: len([n for n in os.listdir(last) if n.isdigit()]) < 3)

            def whole():
                got = [m["offset"] for m in client.pull_queue("orders", 1)]
                return got and got[0] > 0 and got == list(range(got[0], MESSAGES // QUEUES))
            until("what is left is whole", whole)


def json_of(body):
    import json
    import re
    return json.loads(re.sub(r'(?<=[{,])(\d+):', r'"\1":', body.decode()))


if __name__ == "__main__":
    unittest.main()
