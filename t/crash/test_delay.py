"""kill -9 of the broker, and of all processes at once, while thousands of delayed messages fall due.

What must hold, whatever was killed and when: each acknowledged delayed message is delivered to its topic and queue, not
before its time, and none is delivered twice.
"""

import collections
import json
import os
import threading
import time
import unittest

import rmq
from rmq import Client, Cluster, until

TOPIC, QUEUES, DEPTH = "Later", 4, 32
EARLY_MS = 50  # the store time of a message is that of the broker's turn, which may have begun before it was sent
CONF = {"mappedFileSizeCommitLog": 1 << 20, "messageDelayLevel": "1s 2s 3s"}


class Producer(threading.Thread):
    """Sends messages of changing levels until told to stop; remembers the level and time of what was acknowledged."""

    def __init__(self, address, queue):
        super().__init__(daemon=True)
        self.address, self.queue, self.serial = address, queue, 0
        self.acked, self.refused, self.done = {}, [], False

    def run(self):
        while not self.done:
            try:
                with Client(self.address, timeout=5) as c:
                    self.pump(c)
            except OSError:
                continue

    def pump(self, c):
        flying = {}
        while not self.done or flying:
            while len(flying) < DEPTH and not self.done:
                level, body = 1 + self.serial % 3, b"%d-%d" % (self.queue, self.serial)
                self.serial += 1
                key = "%08X%024X" % (self.queue, self.serial)
                flying[c.post_send(TOPIC, body, self.queue, {"UNIQ_KEY": key, "DELAY": level})] = (body, level, time.time())
            frame = c.read_frame()
            body, level, sent = flying.pop(frame.opaque)
            if frame.code == 0:
                self.acked[body] = (level, sent)
            else:
                self.refused.append((frame.code, frame.remark))


def delivered(cluster, queue):
    with cluster.client() as c:
        return c.pull_queue(TOPIC, queue)


def count_delivered(cluster):
    with cluster.client() as c:
        return sum(int(c.need(30, {"topic": TOPIC, "queueId": q}).ext["offset"]) for q in range(QUEUES))


def waiting(cluster):
    """Delayed messages that are not delivered yet, by the broker's own figures."""
    with cluster.client() as c:
        table = json.loads(c.need(28).body)["table"]
    pairs = [table.get(f"scheduleMessageOffset_{level}", "0,0").split(",") for level in (1, 2, 3)]
    return sum(int(end) - int(done) for done, end in pairs)


class Kill(unittest.TestCase):
    def load(self, cluster, kill, times):
        producers = [Producer(cluster.addr, q) for q in range(QUEUES)]
        with cluster.client() as c:
            c.create_topic(TOPIC, QUEUES)
        for p in producers:
            p.start()
        for n in range(times):
            before = sum(len(p.acked) for p in producers)
            until("more sends and deliveries", lambda b=before, n=n: sum(len(p.acked) for p in producers) > b + 2000
                  and count_delivered(cluster) > 1000 * (n + 1), 60, 0.05)
            kill()
        for p in producers:
            p.done = True
        for p in producers:
            p.join(30)
        return producers

    def verify(self, cluster, producers):
        until("all are delivered", lambda: waiting(cluster) == 0, 60)
        for p in producers:
            self.assertFalse([r for r in p.refused if r[0] not in (14, 2)], "sends refused")
            got = until("all acknowledged messages", lambda p=p: (lambda g: g if not p.acked.keys() - {m["body"] for m in g}
                        else None)(delivered(cluster, p.queue)), 10)
            doubled = [b for b, n in collections.Counter(m["body"] for m in got).items() if n > 1]
            self.assertEqual(doubled, [], f"delivered twice in queue {p.queue}")
            for m in got:
                self.assertEqual((m["props"]["REAL_TOPIC"], m["props"]["REAL_QID"]), (TOPIC, str(p.queue)))
                level, sent = p.acked.get(m["body"], (0, 0))
                self.assertGreaterEqual(m["stored"], sent * 1000 + level * 1000 - EARLY_MS, "delivered too early")

    def kill_and_verify(self, kill_of, conf=None, times=4):
        with Cluster({**CONF, **(conf or {})}) as c:
            producers = self.load(c, kill_of(c), times)
            self.verify(c, producers)
            print(f"{sum(len(p.acked) for p in producers)} delayed messages, each delivered once")

    @staticmethod
    def broker(c):
        def kill():
            pid = c.kill("broker")
            until("another broker", lambda: c.workers("broker")[0]["pid"] not in (pid, 0) and c.healthy())
        return kill

    @staticmethod
    def everything(c):
        def kill():
            c.kill_all()
            c.start()
        return kill

    def test_broker(self):
        self.kill_and_verify(self.broker)

    def test_broker_with_sync_flush(self):
        self.kill_and_verify(self.broker, {"flushDiskType": "SYNC_FLUSH"})

    def test_broker_that_writes_its_progress_often(self):
        self.kill_and_verify(self.broker, {"flushDelayOffsetInterval": 100}, 6)

    def test_all_processes_at_once(self):
        self.kill_and_verify(self.everything)

    def test_broker_within_the_first_seconds(self):
        with Cluster(CONF) as c:
            with c.client() as p:
                p.create_topic(TOPIC, QUEUES)
                for i in range(200):
                    p.send(TOPIC, b"%d" % i, 0, {"DELAY": 1})
            until("the first is delivered", lambda: delivered(c, 0))
            self.everything(c)()
            until("all are delivered", lambda: waiting(c) == 0)
            bodies = until("all are there", lambda: (lambda g: g if len(g) >= 200 else None)(delivered(c, 0)))
            self.assertEqual([m["body"] for m in bodies], [b"%d" % i for i in range(200)])

    def test_stop_and_start_deliver_the_rest(self):
        with Cluster(CONF) as c:
            with c.client() as p:
                p.create_topic(TOPIC, QUEUES)
                for i in range(300):
                    p.send(TOPIC, b"%d" % i, 0, {"DELAY": 1 + i % 2})
            until("the first is delivered", lambda: delivered(c, 0))
            c.stop()
            with open(os.path.join(c.store(), "config/delayOffset.json")) as f:
                self.assertIn("offsetTable", json.load(f))
            c.start()
            got = until("all are there", lambda: (lambda g: g if len(g) >= 300 else None)(delivered(c, 0)))
            self.assertEqual(sorted(int(m["body"]) for m in got), list(range(300)))

    def test_file_of_the_original_is_taken(self):
        """It has no end of the log: what it does not know of is delivered again, what it knows of is not."""
        with Cluster(CONF) as c:
            with c.client() as p:
                p.create_topic(TOPIC, QUEUES)
                for i in range(10):
                    p.send(TOPIC, b"%d" % i, 0, {"DELAY": 1})
            until("all are delivered", lambda: len(delivered(c, 0)) == 10)
            c.stop()
            with open(os.path.join(c.store(), "config/delayOffset.json"), "w") as f:
                f.write('{"dataVersion":{"counter":3,"stateVersion":0,"timestamp":1},"offsetTable":{1:7}}')
            c.start()
            got = until("three are delivered again", lambda: (lambda g: g if len(g) >= 13 else None)(delivered(c, 0)))
            self.assertEqual([m["body"] for m in got[10:]], [b"7", b"8", b"9"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
