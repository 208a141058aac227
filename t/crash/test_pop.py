"""Pops while the broker is killed: at its fault points, by kill -9 with all others, and under load.

What must hold: a message whose send was acknowledged is handed out until it is acked, and never to two within its invisible time;
an acked message does not come again.
"""

import os
import sys
import threading
import time
import unittest

import rmq
from rmq import Client, Cluster, RemotingError, until

sys.path.insert(0, os.path.join(rmq.TOP, "t", "sys"))
from test_pop import ack, pop, put_off  # noqa: E402

TOPIC, QUEUES = "T", 2
INVISIBLE_MS = 1500
SETTINGS = {"mappedFileSizeCommitLog": 1 << 20}


class Consumers:
    """Threads that pop; each acks most of what it gets, puts some off, and drops the rest. They note what was handed out, and when."""

    def __init__(self, cluster, threads=3):
        self.cluster, self.lock, self.running, self.dropping = cluster, threading.Lock(), True, True
        self.hidden = {}    # body: until when nobody else may get it
        self.asked = set()  # their ack was sent: where its answer was lost in a crash it may have been stored
        self.acked, self.twice, self.after_ack, self.trouble = set(), [], [], []
        self.got = 0
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]
        for t in self.threads:
            t.start()

    def run(self, number):
        turn = number
        while self.running:
            try:
                with Client(self.cluster.addr, timeout=5) as c:
                    while self.running:
                        for m in pop(c, TOPIC, count=8, invisible=INVISIBLE_MS, poll=300):
                            turn += 1
                            self.handle(c, m, turn)
            except (OSError, RemotingError) as e:
                self.trouble.append(e)
                time.sleep(0.02)

    def handle(self, c, m, turn):
        body, popped = m["body"], int(m["handle"].split(" ")[1])
        with self.lock:
            self.got += 1
            if popped < self.hidden.get(body, 0):
                self.twice.append((body, self.hidden[body] - popped))
            if body in self.acked:
                self.after_ack.append(body)
            self.hidden[body] = popped + INVISIBLE_MS
        if self.dropping and turn % 7 == 0:
            return
        if self.dropping and turn % 5 == 0:
            self.hidden[body] = 0   # whether it is done is not known before the answer
            try:
                off = put_off(c, m, 700)
                with self.lock:
                    self.hidden[body] = int(off["handle"].split(" ")[1]) + 700
            except RemotingError as e:
                if e.code != 208:   # its time was over
                    raise
            return
        with self.lock:
            self.asked.add(body)
        ack(c, m)
        with self.lock:
            self.acked.add(body)

    def stop(self):
        self.running = False
        for t in self.threads:
            t.join(20)


class Producer(threading.Thread):
    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.sent, self.serial, self.running = cluster, set(), 0, True
        self.start()

    def run(self):
        while self.running:
            try:
                with Client(self.cluster.addr, timeout=5) as c:
                    while self.running:
                        self.serial += 1
                        body = b"%d" % self.serial
                        c.send(TOPIC, body, self.serial % QUEUES)
                        self.sent.add(body)
                        time.sleep(0.002)   # a pace, not a wait
            except (OSError, RemotingError):
                time.sleep(0.02)

    def more(self, n, timeout=40):
        start = len(self.sent)
        until(f"{n} more messages are sent", lambda: len(self.sent) >= start + n, timeout)


def in_flight(cluster):
    return cluster.status()["nodes"][0]["broker"]["pop"]["inFlight"]


class UnderLoad(unittest.TestCase):
    def run_with(self, disturb, conf=None, env=None):
        c = Cluster({**SETTINGS, **(conf or {})}, env=env)
        self.addCleanup(c.close)
        c.start()
        with c.client() as p:
            p.create_topic(TOPIC, QUEUES)
        consumers, producer = Consumers(c), Producer(c)
        try:
            disturb(c, producer, consumers)
            producer.more(50)
            producer.running = False
            producer.join(20)
            consumers.dropping = False
            until("each message was handed out, and its ack sent", lambda: producer.sent <= consumers.asked, 60)
            until("nothing is in flight", lambda: in_flight(c) == 0, 30)
        finally:
            producer.running = False
            consumers.stop()
        self.assertEqual(consumers.after_ack, [], "came again though the ack was answered")
        self.assertEqual(consumers.twice, [], "handed out twice within the invisible time")
        print(f"{len(producer.sent)} sent, {consumers.got} handed out, {len(consumers.trouble)} errors on the way")
        return c

    def test_kill_of_the_broker_again_and_again(self):
        def disturb(c, producer, consumers):
            for _ in range(5):
                producer.more(100)
                pid = c.kill("broker")
                until("another broker", lambda p=pid: c.workers("broker")[0]["pid"] not in (p, 0) and c.healthy())
        self.run_with(disturb)

    def test_kill_of_everything_again_and_again(self):
        def disturb(c, producer, consumers):
            for _ in range(3):
                producer.more(100)
                c.kill_all()
                c.start()
        self.run_with(disturb, {"flushDiskType": "SYNC_FLUSH"})

    def test_clean_stops(self):
        def disturb(c, producer, consumers):
            for _ in range(3):
                producer.more(100)
                self.assertEqual(c.stop(), 0)
                c.start()
        self.run_with(disturb)

    def fault(self, fault, conf=None):
        def disturb(c, producer, consumers):
            until(f"killed at {fault} twice", lambda: c.workers("broker")[0]["restarts"] >= 2, 40)
            c.kill_all()
            c.env = {}
            c.start()
        self.run_with(disturb, conf, {"RMQ_FAULTS": fault})

    def test_killed_before_a_checkpoint(self):
        self.fault("pop.before_checkpoint=kill@60")

    def test_killed_before_an_answer(self):
        self.fault("pop.before_answer=kill@60")

    def test_killed_after_an_ack(self):
        self.fault("pop.after_ack=kill@60")

    def test_killed_after_a_message_was_put_off(self):
        self.fault("pop.after_put_off=kill@20")

    def test_killed_before_a_revival(self):
        self.fault("pop.before_revive=kill@100")

    def test_killed_after_a_revival(self):
        self.fault("pop.after_revive=kill@20")

    def test_killed_between_two_writes_at_the_end_of_a_segment(self):
        """Copies and their marks, checkpoints and acks are torn apart there."""
        def disturb(c, producer, consumers):
            until("killed four times", lambda: c.workers("broker")[0]["restarts"] >= 4, 60)
            c.kill_all()
            c.env = {}
            c.start()
        self.run_with(disturb, {"mappedFileSizeCommitLog": 128 << 10}, {"RMQ_FAULTS": "roll.after_filler=kill@3"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
