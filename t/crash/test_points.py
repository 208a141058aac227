"""kill -9 at each fault point of the store: a table. One point, one node, one story; the last test sees to it that no point is left out.

The worker kills itself at the Nth pass through the point, in each life again, as the environment is the supervisor's. Meanwhile producers
send, an operator changes topics and a consumer commits. Then everything is killed and started without the faults, and what must hold
holds: test_kill.verify.

CRASH_POINTS=a,b   only these
"""

import os
import re
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

import rmq
from rmq import Cluster, RemotingError, until
from pair import Pair
from test_kill import TOPIC, QUEUES, Load, verify

AT_A_TIME = 3
BASE = {"mappedFileSizeCommitLog": 256 << 10, "mappedFileSizeConsumeQueue": 2000, "maxIndexNum": 300, "maxHashSlotNum": 50,
        "flushIntervalConsumeQueue": 200, "flushConsumerOffsetInterval": 50}
SYNC = {"flushDiskType": "SYNC_FLUSH"}
EXPIRE = {"fileReservedTime": 0, "deleteWhen": ";".join("%02d" % h for h in range(24)), "cleanResourceInterval": 20,
          "deleteCommitLogFilesInterval": 0, "deleteConsumeQueueFilesInterval": 0}

# point: (at which pass, who dies, settings)
POINTS = {
    "append.before_write": (40, "broker", {}),
    "append.write": (40, "broker", {}),
    "append.after_write": (40, "broker", {}),
    "append.after_publish": (40, "broker", SYNC),
    "roll.before_filler": (2, "broker", {}),
    "roll.after_filler": (2, "broker", {}),
    "roll.after_rename": (1, "broker", SYNC),
    "roll.after_open": (2, "broker", {}),
    "dispatch.queue": (40, "broker", {}),
    "dispatch.create": (6, "broker", {}),
    "dispatch.index": (40, "broker", {}),
    "dispatch.publish": (40, "broker", {}),
    "index.create": (3, "broker", {}),
    "index.slot": (250, "broker", {}),
    "index.count": (250, "broker", {}),
    "flush.sync": (30, "flush", SYNC),
    "flush.names": (2, "flush", SYNC),
    "flush.file": (10, "flush", {}),
    "flush.before_publish": (30, "flush", SYNC),
    "checkpoint.write": (2, "flush", {}),
    "checkpoint.sync": (2, "flush", {}),
    "config.before_sync": (9, "broker", {}),
    "config.before_rename": (5, "broker", {}),
    "config.after_rename": (5, "broker", {}),
    "prepare.fill": (1, "clean", SYNC),
    "prepare.rename": (2, "clean", SYNC),
    "prepare.after_rename": (1, "clean", SYNC),
    "expire.before_unlink": (2, "clean", EXPIRE),
    "expire.after_unlink": (2, "clean", EXPIRE),
    "expire.index": (1, "clean", EXPIRE),
    "expire.queue": (2, "clean", EXPIRE),
}
REPLICATION = {"ha.before_publish"}    # KillTheReceiver
ONLY = set(filter(None, os.environ.get("CRASH_POINTS", "").split(",")))


class Operator(threading.Thread):
    """Changes topics and commits offsets, all the time: both are written to files."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.done, self.committed, self.topics = address, False, -1, set()

    def run(self):
        n = 0
        while not self.done:
            try:
                with rmq.Client(self.address, timeout=5) as c:
                    while not self.done:
                        n += 1
                        c.create_topic("Made%d" % (n % 7), 1 + n % 3)
                        self.topics.add("Made%d" % (n % 7))
                        c.pull(TOPIC, 0, 0, 1, commit=n)
                        self.committed = n
            except (OSError, RemotingError):
                continue


class KillAtPoints(unittest.TestCase):
    def test_each_point(self):
        """Some at a time: most of it is waiting for a restart."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            runs = {point: pool.submit(self.kill_at, point, *how) for point, how in POINTS.items() if not ONLY or point in ONLY}
        for point, run in runs.items():
            with self.subTest(fault=point):
                run.result()

    def kill_at(self, point, nth, role, conf):
        with Cluster({**BASE, **conf}, env={"RMQ_FAULTS": f"{point}=kill@{nth}"}) as c:
            with c.client() as p:
                until("the topic is made", lambda: p.create_topic(TOPIC, QUEUES) or True)
            operator = Operator(c.addr)
            operator.start()
            try:
                with Load(c, first=0) as load:
                    until(f"{role} died at {point} twice", lambda: c.workers(role)[0]["restarts"] >= 2, 40)
                    c.env = {}
                    c.kill_all()
                    c.conf["fileReservedTime"] = 72     # nothing goes while we look
                    c.write_spec()
                    c.start()
                    load.more(20)
            finally:
                operator.done = True
                operator.join(10)
            self.check(c, load, operator, expired=conf is EXPIRE)
            self.assertEqual(c.stop(), 0)

    def check(self, c, load, operator, expired):
        verify(self, c, load.producers, expired)
        with c.client() as p:
            for topic in operator.topics:
                self.assertEqual(p.ask(31, {"topic": topic, "queueId": 0}).code, 0, f"topic {topic} was acknowledged")
            offset = int(p.need(14, {"consumerGroup": "CG", "topic": TOPIC, "queueId": 0}).ext["offset"])
            self.assertLessEqual(offset, operator.committed + 1)


class KillTheReceiver(unittest.TestCase):
    def test_a_slave_that_dies_between_write_and_publish_has_the_same_log_in_the_end(self):
        with Pair(env={"RMQ_FAULTS": "ha.before_publish=kill@15"}) as c:
            with c.client() as p:
                p.create_topic(TOPIC, QUEUES)
            with Load(c, first=0) as load:
                until("the slave's ha died twice", lambda: restarts(c, "broker-a-1/ha") >= 2, 60)
                c.kill_all()
                c.env = {}
                c.start()
                load.more(20)
            c.at_rest()
            verify(self, c, load.producers)


def restarts(cluster, name):
    return sum(w["restarts"] for w in cluster.status()["workers"] if w["name"] == name)


class Table(unittest.TestCase):
    def test_no_fault_point_is_left_out(self):
        """Those of other subjects stand in their own tests: by name."""
        with open(os.path.join(rmq.TOP, "src/common/faults.tbl")) as f:
            names = re.findall(r'^FAULT\(\w+, "([a-z._]+)"', f.read(), re.M)
        others = ""
        for folder in ("t/crash", "t/unit", "t/sys"):
            for name in sorted(os.listdir(os.path.join(rmq.TOP, folder))):
                if name.startswith("test_") and name not in ("test_points.py", "test_fault.c"):
                    with open(os.path.join(rmq.TOP, folder, name)) as f:
                        others += f.read()
        self.assertGreater(len(names), 30)
        self.assertEqual([n for n in names if n not in POINTS and n not in REPLICATION and f'"{n}' not in others], [], "no test kills at these fault points")
        self.assertEqual([n for n in POINTS if n not in names], [], "these are no fault points")


if __name__ == "__main__":
    unittest.main(verbosity=2)
