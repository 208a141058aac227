"""Power cuts: a node's trace is cut at many points, each cut is made into a disk as it could be left, and that is opened and compared.

One node runs below the shim while producers send; what each process writes, maps, syncs and answers is one trace. An answer counts from the
moment at which the broker wrote it to the socket. For each cut: with SYNC_FLUSH everything acknowledged is there; with ASYNC_FLUSH
what is lost is the log's end, and nothing that was acknowledged before the last sync began. A few cuts are served by a whole node.

POWER_POINTS   cuts for each way to flush (150); make power: 1000
POWER_SEED     to repeat a run: it is printed
"""

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import disk
import rmq
import shim
from rmq import until

POINTS = int(os.environ.get("POWER_POINTS", "150"))
SEED = int(os.environ.get("POWER_SEED", "0")) or random.randrange(1, 1 << 30)
WHOLE_NODES = max(2, POINTS // 100)
CHECK = os.path.join(rmq.BUILD, "t", "power", "check_image")
DUMP = os.path.join(rmq.BUILD, "rmqdump")
STORE = "data/broker-a-0/store"
TOPIC, QUEUES, DEPTH, PERIOD_S = "Power", 4, 8, 0.02
CONF = {"mappedFileSizeCommitLog": 128 << 10, "mappedFileSizeConsumeQueue": 20000, "maxIndexNum": 1500, "maxHashSlotNum": 300,
        "flushIntervalConsumeQueue": 300, "flushIntervalCommitLog": 100, "flushCommitLogThoroughInterval": 200,
        "flushConsumerOffsetInterval": 200, "maxMessageSize": 32 << 10}


class Producer(threading.Thread):
    """Sends DEPTH messages at a time, every PERIOD_S; remembers what each was, by port and number of the request."""

    def __init__(self, address, number, sends, rng, until_time):
        super().__init__(daemon=True)
        self.address, self.number, self.sends, self.rng, self.end = address, number, sends, rng, until_time
        self.count = 0

    def run(self):
        with rmq.Client(self.address, timeout=30) as c:
            port = c.sock.getsockname()[1]
            due = time.monotonic()
            while due < self.end:
                flying = {self.send(c, port) for _ in range(self.rng.randrange(1, 2 * DEPTH))}
                while flying:
                    flying.remove(c.read_frame().opaque)
                due += PERIOD_S
                time.sleep(max(0, due - time.monotonic()))

    def send(self, c, port):
        self.count += 1
        token, key = "%d-%d" % (self.number, self.count), "%016X%016X" % (self.number, self.count)
        body = token.encode() + b" " + self.rng.randbytes(int(self.rng.paretovariate(0.7) * 60) % 9000)
        opaque = c.post_send(TOPIC, body, self.number % QUEUES, {"UNIQ_KEY": key})
        self.sends[port, opaque] = TOPIC, token
        return opaque


class Acks:
    """Frames out of what the broker wrote to its sockets."""

    def __init__(self, sends):
        self.sends, self.streams = sends, {}

    def take(self, e):
        """The messages that this event acknowledges: (topic, queue, offset, physical, token)."""
        data = self.streams.get((e.pid, e.at), b"") + e.a
        out = []
        while len(data) >= 8 and len(data) >= 4 + struct.unpack(">I", data[:4])[0]:
            total, mark = struct.unpack(">II", data[:8])
            header = data[8:8 + (mark & 0xFFFFFF)]
            data = data[4 + total:]
            out += self.acknowledged(e.at, header) if mark >> 24 == 0 else []
        self.streams[e.pid, e.at] = data
        return out

    def acknowledged(self, port, header):
        header = json.loads(header)
        sent = self.sends.get((port, header["opaque"]))
        if sent is None or header["code"] != 0 or not header["flag"] & 1:
            return []
        ext = header["extFields"]
        return [(sent[0], int(ext["queueId"]), int(ext["queueOffset"]), int(ext["msgId"][16:], 16), sent[1])]


def record(conf, seconds, rng):
    """Runs a node and producers; the trace's events and what was sent."""
    trace = tempfile.mktemp(prefix="rmq-trace-", dir=os.environ.get("TMPDIR", "/tmp"))
    c, sends = shim.ShimCluster({**CONF, **conf}, trace=trace), {}
    try:
        c.start()
        with c.client() as p:
            p.create_topic(TOPIC, QUEUES)
            end = time.monotonic() + seconds
            producers = [Producer(c.addr, n, sends, random.Random(rng.random()), end) for n in range(QUEUES)]
            for t in producers:
                t.start()
            n = 0
            while any(t.is_alive() for t in producers):
                n += 1
                p.pull(TOPIC, n % QUEUES, 0, commit=n // QUEUES, group="CG")
                time.sleep(PERIOD_S)
                if n % 20 == 0:
                    p.create_topic("Other%d" % (n % 5), 1 + n % 3)
        c.kill_all()
        return disk.read_trace(trace), sends
    finally:
        c.close()
        if os.path.exists(trace):
            os.unlink(trace)


class PowerCut(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="rmq-power-", dir=os.environ.get("TMPDIR", "/tmp"))
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.checked = self.kept = self.lost = 0
        self.longest_us = 0

    def cuts(self, conf, sync, seconds=4.0):
        rng = random.Random(SEED)
        events, sends = record(conf, seconds, rng)
        acks, known, d = Acks(sends), [], disk.Disk()
        at = set(rng.sample(range(len(events) // 50, len(events)), POINTS))
        whole = set(rng.sample(sorted(at), min(WHOLE_NODES, len(at))))
        for number, e in enumerate(events):
            d.feed(e)
            if e.kind == "A":
                known += [(number + 1, e.us, ack) for ack in acks.take(e)]
            if number in at:
                self.cut(d, known, conf, sync, number, e, number in whole)
        self.assertGreater(len(known), 200, "hardly anything was acknowledged")
        self.assertEqual(self.checked, POINTS)
        print(f"seed {SEED}: {self.checked} cuts of {len(events)} events and {len(known)} acknowledgements; "
              f"{self.kept} found again, {self.lost} lost; oldest lost {self.longest_us / 1000:.0f} ms before the cut", flush=True)

    def must_stand(self, d, sync, number, ack):
        """Was it acknowledged before a sync of its segment began that has ended?"""
        if sync:
            return True
        size = CONF["mappedFileSizeCommitLog"]
        return d.syncs_ended.get(f"{STORE}/commitlog/{ack[3] // size * size:020d}", 0) > number

    def cut(self, d, known, conf, sync, number, event, whole):
        image = os.path.join(self.dir, "image")
        where = f"seed {SEED}, event {number}"
        ledger = "".join("%s %s %d %d %d %s\n" % ("must" if self.must_stand(d, sync, n, a) else "may", *a) for n, _, a in known)
        where += ", " + d.image(image, random.Random(f"{SEED} {number}"))
        if os.path.isdir(os.path.join(image, STORE)):
            if whole:
                shutil.copytree(image, os.path.join(self.dir, "whole"))
            self.check(os.path.join(image, STORE), conf, ledger, where, event, known)
            if whole:
                self.serve(os.path.join(self.dir, "whole"), conf, ledger, where)
        else:
            self.assertNotIn("must", ledger, where)
        shutil.rmtree(image, True)
        self.checked += 1

    def check(self, store, conf, ledger, where, event, known):
        keys = [f"{k}={v}" for k, v in {**CONF, **conf}.items()]
        if os.environ.get("RMQ_KEEP"):
            self.keep(store, ledger)
        r = subprocess.run([CHECK, store, *keys], input=ledger, capture_output=True, text=True, timeout=60)
        self.assertEqual(r.returncode, 0, f"{where}: {r.stdout}{r.stderr}")
        kept, lost, _ = map(int, r.stdout.split("\n")[-2].split())
        self.kept, self.lost = self.kept + kept, self.lost + lost
        if lost:
            oldest = sorted(known, key=lambda k: k[2][3])[-lost]
            self.longest_us = max(self.longest_us, event.us - oldest[1])
        if self.checked % 10 == 0:
            r = subprocess.run([DUMP, "check", store], capture_output=True, text=True, timeout=60)
            self.assertEqual(r.returncode, 0, f"{where}: rmqdump check: {r.stdout}{r.stderr}")

    def keep(self, store, ledger):
        """The newest image as it was before anything was opened; of a failure, the one that failed."""
        kept = os.path.join(os.path.dirname(self.dir), "rmq-power-kept")
        shutil.rmtree(kept, True)
        shutil.copytree(store, kept)
        with open(os.path.join(kept, "ledger"), "w") as f:
            f.write(ledger)

    def serve(self, folder, conf, ledger, where):
        """A whole node on it: pulls give the same."""
        c = rmq.Cluster({**CONF, **conf})
        try:
            os.rename(os.path.join(folder, "data"), os.path.join(c.dir, "data"))
            shutil.rmtree(folder)
            c.start()
            with c.client() as p:
                queues = [p.pull_queue(TOPIC, q) for q in range(QUEUES)] if ledger else []
                for line in ledger.splitlines():
                    word, _, queue, offset, physical, token = line.split()
                    got = queues[int(queue)]
                    there = int(offset) < len(got) and got[int(offset)]["body"].startswith(token.encode() + b" ")
                    self.assertTrue(there or word == "may", f"{where}: {line}")
                p.create_topic("After", 1)
                p.send("After", b"taken")
            self.assertEqual(c.stop(), 0)
        except AssertionError as e:
            raise AssertionError(f"{where}: {e}\n{c.output()}") from None
        finally:
            c.close()

    def test_with_sync_flush_nothing_acknowledged_is_lost(self):
        self.cuts({"flushDiskType": "SYNC_FLUSH"}, True)
        self.assertEqual(self.lost, 0)

    def test_with_async_flush_only_the_end_is_lost(self):
        self.cuts({"flushDiskType": "ASYNC_FLUSH"}, False)
        self.assertGreater(self.lost, 0, "no cut met anything that was not synced")


if __name__ == "__main__":
    unittest.main(verbosity=2)
