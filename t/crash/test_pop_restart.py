"""Pops, ordered ones too, across a clean stop, a kill of the broker and a kill of everything: what was popped stays hidden until its time
is over, what was acked stays away, what was put off comes at its new time.
"""

import os
import sys
import unittest

import rmq
from rmq import Cluster, until

sys.path.insert(0, os.path.join(rmq.TOP, "t", "sys"))
from test_pop import ack, drain, now_ms, pop, put_off  # noqa: E402


class Restarts(unittest.TestCase):
    def cluster(self, **conf):
        c = Cluster(conf)
        self.addCleanup(c.close)
        c.start()
        with c.client() as p:
            p.create_topic("T", 2)
        return c

    def pop_and_restart(self, c, restart):
        with c.client() as p:
            for i in range(10):
                p.send("T", b"%d" % i, i % 2)
            got = drain(p, "T", 10, invisible=4000)
            popped = now_ms()
            for m in got[:3]:
                ack(p, m)
            off = put_off(p, got[3], 8000)
            ordered = pop(p, "T", "OG", order=True, queue=0, invisible=4000, attemptId="x")
        restart(c)
        with c.client() as p:
            self.assertEqual(pop(p, "T"), [], "nothing is visible before its time")
            self.assertEqual(pop(p, "T", "OG", order=True, queue=0, attemptId="y"), [])
            ack(p, got[4])
            again = drain(p, "T", 5, poll=8000)
            self.assertGreaterEqual(now_ms() - popped, 3900)
            self.assertEqual({m["body"] for m in again}, {m["body"] for m in got[5:]})
            (late,) = drain(p, "T", 1, poll=8000)
            self.assertEqual(late["body"], off["body"])
            self.assertGreaterEqual(now_ms() - popped, 7900)
            for m in again + [late]:
                ack(p, m)
            back = pop(p, "T", "OG", order=True, queue=0, attemptId="y")
            self.assertEqual([m["body"] for m in back], [m["body"] for m in ordered])
        until("nothing is in flight", lambda: c.status()["nodes"][0]["broker"]["pop"]["inFlight"] == 0)

    def test_clean_stop(self):
        def restart(c):
            self.assertEqual(c.stop(), 0)
            c.start()
        self.pop_and_restart(self.cluster(), restart)

    def test_kill_of_everything(self):
        def restart(c):
            c.kill_all()
            c.start()
        self.pop_and_restart(self.cluster(flushDiskType="SYNC_FLUSH"), restart)

    def test_kill_of_the_broker(self):
        def restart(c):
            pid = c.kill("broker")
            until("another broker", lambda: c.workers("broker")[0]["pid"] not in (pid, 0) and c.healthy())
        self.pop_and_restart(self.cluster(enableRetryTopicV2=True), restart)


if __name__ == "__main__":
    unittest.main(verbosity=2)
