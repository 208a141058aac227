"""kill -9 of each worker, and of all at once, while producers send. At each fault point: test_points.py.

What must hold, whatever was killed: each acknowledged message is there exactly once, at the acknowledged queue offset;
queues have no holes and no order is turned round; sends are taken again soon.
"""

import os
import threading
import time
import unittest

import rmq
from rmq import Client, Cluster, RemotingError, until

TOPIC, QUEUES, DEPTH = "Load", 4, 16


class Producer(threading.Thread):
    """Keeps DEPTH sends in flight on one queue, reconnects, and remembers what was acknowledged."""

    def __init__(self, address, queue):
        super().__init__(daemon=True)
        self.address, self.queue = address, queue
        self.acked, self.gaps, self.refused = {}, [], []
        self.serial, self.last, self.done = 0, time.monotonic(), False

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
                body = b"%d-%d" % (self.queue, self.serial)
                self.serial += 1
                flying[c.post_send(TOPIC, body, self.queue, {"UNIQ_KEY": "%08X%024X" % (self.queue, self.serial), "KEYS": "k%d" % self.serial})] = body
            frame = c.read_frame()
            body = flying.pop(frame.opaque)
            if frame.code != 0:
                self.refused.append((frame.code, frame.remark))
                continue
            self.acked[int(frame.ext["queueOffset"])] = body
            now = time.monotonic()
            self.gaps.append(now - self.last)
            self.last = now

    def count(self):
        return len(self.acked)


class Load:
    def __init__(self, cluster, first=50):
        self.cluster, self.first = cluster, first
        self.producers = [Producer(cluster.addr, q) for q in range(QUEUES)]

    def __enter__(self):
        for p in self.producers:
            p.start()
        self.more(self.first)
        return self

    def __exit__(self, *_):
        for p in self.producers:
            p.done = True
        for p in self.producers:
            p.join(30)

    def more(self, n, timeout=30):
        """Waits until each producer has got n further acknowledgements."""
        start = [p.count() for p in self.producers]
        until(f"{n} more acknowledged sends on each queue",
              lambda: all(p.count() >= s + n for p, s in zip(self.producers, start)), timeout)


def verify(test, cluster, producers, expired=False):
    """expired: the oldest may be gone, as a whole."""
    with cluster.client() as c:
        for p in producers:
            test.assertFalse([r for r in p.refused if r[0] not in (14, 2)], "sends refused")
            until("all acknowledged messages can be pulled",
                  lambda p=p: int(c.need(30, {"topic": TOPIC, "queueId": p.queue}).ext["offset"]) > max(p.acked))
            got = c.pull_queue(TOPIC, p.queue)
            if expired and not got:
                continue
            first = got[0]["offset"] if expired else 0
            test.assertEqual([m["offset"] for m in got], list(range(first, first + len(got))), f"queue {p.queue} has holes")
            for offset, body in p.acked.items():
                if offset >= first:
                    test.assertEqual(got[offset - first]["body"], body, f"queue {p.queue} at the acknowledged offset {offset}")
            bodies = [m["body"] for m in got]
            test.assertEqual(len(bodies), len(set(bodies)), f"doubled messages in queue {p.queue}")
            newest = got[max(p.acked) - first]["props"]["UNIQ_KEY"]
            found = until("the newest acknowledged message is in the index", lambda k=newest: query(c, k))
            test.assertEqual([m["props"]["UNIQ_KEY"] for m in found], [newest])


def query(client, unique_key):
    a = client.ask(12, {"topic": TOPIC, "key": unique_key, "maxNum": 32, "beginTimestamp": 0, "endTimestamp": 1 << 60,
                        "_UNIQUE_KEY_QUERY": "true"})
    return [m for m in rmq.messages(a.body) if m["props"].get("UNIQ_KEY") == unique_key] if a.code == 0 else None


class KillOne(unittest.TestCase):
    def kill_under_load(self, role, conf=None, times=3):
        with Cluster({"mappedFileSizeCommitLog": 1 << 20, **(conf or {})}) as c:
            with c.client() as p:
                p.create_topic(TOPIC, QUEUES)
            with Load(c) as load:
                for _ in range(times):
                    pid = c.kill(role)
                    until(f"another {role}", lambda p=pid: c.workers(role)[0]["pid"] not in (p, 0) and c.healthy())
                    load.more(50)
            verify(self, c, load.producers)
            self.assertGreaterEqual(c.workers(role)[0]["restarts"], times)
            self.assertRegex(c.output(), r"signal 9|SIGKILL")
            return max(max(p.gaps) for p in load.producers)

    def test_broker(self):
        gap = self.kill_under_load("broker")
        print(f"longest time without an acknowledged send: {gap * 1000:.0f} ms")

    def test_broker_with_sync_flush(self):
        self.kill_under_load("broker", {"flushDiskType": "SYNC_FLUSH"})

    def test_flush_with_sync_flush(self):
        self.kill_under_load("flush", {"flushDiskType": "SYNC_FLUSH"})

    def test_flush(self):
        self.kill_under_load("flush")

    def test_clean(self):
        self.kill_under_load("clean")

    def test_warm(self):
        self.kill_under_load("warm")

    def test_ha(self):
        self.kill_under_load("ha")

    def test_namesrv(self):
        with Cluster({"registerNameServerPeriod": 10000}) as c:
            with c.client() as p:
                p.create_topic(TOPIC, QUEUES)
            with Load(c) as load:
                pid = c.kill("namesrv")
                until("another name server", lambda: c.workers("namesrv")[0]["pid"] not in (pid, 0) and c.healthy())

                def route():
                    with Client(c.ns) as ns:
                        return ns.need(105, {"topic": TOPIC}).body
                until("the broker is registered again", route)
                load.more(50)
            verify(self, c, load.producers)

    def test_console(self):
        with Cluster() as c:
            pid = c.kill("console")
            until("another console", lambda: c.workers("console")[0]["pid"] != pid and c.healthy())


class KillAll(unittest.TestCase):
    def test_all_processes_at_once_and_again(self):
        with Cluster({"mappedFileSizeCommitLog": 1 << 20}) as c:
            with c.client() as p:
                p.create_topic(TOPIC, QUEUES)
            with Load(c) as load:
                for _ in range(3):
                    c.kill_all()
                    self.assertTrue(os.path.exists(os.path.join(c.store(), "abort")))
                    c.start()
                    load.more(50)
            verify(self, c, load.producers)

    def test_an_orphaned_worker_drains_and_leaves_when_the_supervisor_dies(self):
        with Cluster() as c:
            with c.client() as p:
                p.create_topic(TOPIC, QUEUES)
                p.send(TOPIC, b"kept")
            pids = [w["pid"] for w in c.status()["workers"]]
            c.proc.kill()
            c.proc.wait()
            for pid in pids:
                until(f"worker {pid} has left", lambda p=pid: not alive(p))
            c.log.close()
            c.proc = None
            c.start()
            with c.client() as p:
                self.assertEqual([m["body"] for m in p.pull_queue(TOPIC, 0)], [b"kept"])


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class SyncFails(unittest.TestCase):
    def test_a_failed_sync_is_never_acknowledged_and_is_final(self):
        with Cluster({"flushDiskType": "SYNC_FLUSH"}, env={"RMQ_FAULTS": "flush.sync=EIO@30"}) as c:
            acked = []
            with c.client() as p:
                p.create_topic(TOPIC, 1)
                with self.assertRaises((RemotingError, OSError)):
                    for i in range(200):
                        p.send(TOPIC, b"%d" % i)
                        acked.append(b"%d" % i)
            self.assertLess(len(acked), 200)
            until("the node is FAILED", lambda: c.status()["nodes"][0]["state"].upper() == "FAILED")
            with c.client() as p:
                with self.assertRaises(RemotingError):
                    p.send(TOPIC, b"after")
            self.assertIn("Input/output error", c.output())
            c.kill_all()
            c.env = {}
            c.start()
            with c.client() as p:
                got = [m["body"] for m in p.pull_queue(TOPIC, 0)]
            self.assertEqual(got[:len(acked)], acked)


if __name__ == "__main__":
    unittest.main(verbosity=2)
