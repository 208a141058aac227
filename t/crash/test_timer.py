"""kill -9 of the broker worker, and of all processes, while thousands of timer messages fall due.

What must hold: each message that was acknowledged comes exactly once, and not before its time; a message whose recall was acknowledged
never comes.
"""

import time
import unittest

from rmq import Cluster, until

TOPIC, QUEUES = "Timed", 2
SETTINGS = {"mappedFileSizeCommitLog": 4 << 20, "recallMessageEnable": True}


def now_ms():
    return int(time.time() * 1000)


class Timed:
    """Sends messages to be delivered in the next seconds, many in flight, and remembers what was asked for."""

    def __init__(self, cluster):
        self.cluster, self.due, self.handles, self.recalled = cluster, {}, {}, set()

    def send(self, count, first_ms, spread_ms):
        begin = now_ms() + first_ms
        with self.cluster.client() as c:
            flying = {}
            for i in range(count):
                body, due = b"m%d-%d" % (begin, i), begin + i * spread_ms // count
                opaque = c.post_send(TOPIC, body, i % QUEUES, {"UNIQ_KEY": "%032X" % (begin * 100000 + i), "TIMER_DELIVER_MS": str(due)})
                flying[opaque] = (body, due)
                while len(flying) >= 64 or (i == count - 1 and flying):
                    a = c.read_frame()
                    body, due = flying.pop(a.opaque)
                    if a.code == 0:
                        self.due[body] = due
                        self.handles[body] = a.ext["recallHandle"]

    def recall(self, bodies):
        with self.cluster.client() as c:
            for body in bodies:
                a = c.ask(370, {"producerGroup": "PG", "topic": TOPIC, "recallHandle": self.handles[body]})
                if a.code == 0:
                    self.recalled.add(body)

    def come(self):
        with self.cluster.client() as c:
            return [m for q in range(QUEUES) for m in c.pull_queue(TOPIC, q)]

    def verify(self, test):
        wanted = set(self.due) - self.recalled
        until("all messages have come", lambda: {m["body"] for m in self.come()} >= wanted, 60, 0.1)
        until("the last is long past, so that a second copy would have come", lambda: now_ms() > max(self.due.values()) + 1500)
        got = self.come()
        bodies = [m["body"] for m in got]
        test.assertEqual(len(bodies), len(set(bodies)), "messages came twice")
        test.assertEqual(set(bodies), wanted)
        late = {m["body"]: m["stored"] - self.due[m["body"]] for m in got}
        test.assertGreaterEqual(min(late.values()), 0, "a message came early")
        return late


class TimerKills(unittest.TestCase):
    def cluster(self, **how):
        c = Cluster({**SETTINGS, **how})
        self.addCleanup(c.close)
        c.start()
        with c.client() as p:
            p.create_topic(TOPIC, QUEUES)
        return c, Timed(c)

    def test_broker_worker_while_they_fall_due(self):
        c, timed = self.cluster()
        timed.send(6000, 2000, 4000)
        timed.recall(list(timed.due)[1000::1000])
        end = max(timed.due.values())
        while now_ms() < end:
            pid = c.kill("broker")
            until("another broker", lambda p=pid: c.workers("broker")[0]["pid"] not in (p, 0) and c.healthy())
            seen = len(timed.come())
            until("it delivers, or all is due", lambda n=seen: len(timed.come()) > n or now_ms() >= end)
        self.assertEqual(len(timed.recalled), 5)
        timed.verify(self)

    def test_all_processes_while_they_fall_due(self):
        c, timed = self.cluster(flushDiskType="SYNC_FLUSH")
        timed.send(4000, 3000, 3000)
        for _ in range(3):
            seen = len(timed.come())
            until("some more have come", lambda n=seen: len(timed.come()) > n, 10)
            c.kill_all()
            c.start()
        timed.verify(self)

    def test_what_fell_due_while_nothing_ran_comes_at_the_start_and_the_rest_on_time(self):
        c, timed = self.cluster()
        timed.send(500, 1000, 1000)
        c.stop()
        until("all have fallen due", lambda: now_ms() >= max(timed.due.values()))
        c.start()
        old = set(timed.verify(self))
        timed.send(2000, 1000, 2000)
        late = sorted(ms for body, ms in timed.verify(self).items() if body not in old)
        print(f"ms behind the time asked for: median {late[len(late) // 2]}, 99 % {late[len(late) * 99 // 100]}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
