"""One store, opened in turns by this broker and by the original.

Each visitor must find all that the others left, at its offsets; what they left pending must come once, and nothing that is settled may
come again. Then it writes messages of every kind itself and leaves, by a clean stop or by kill -9. The original must not complain of
a file, and `rmqdump check` finds nothing.
"""

import collections
import json
import os
import shutil
import subprocess
import time

import kinds
import rmq
from peer import JavaBroker

CONF = {**kinds.SETTINGS, "transactionCheckInterval": 2000, "transactionTimeOut": 15000,     # the original is not to ask for its own: it stores a half again when it does
         "transactionCheckMax": 1000, "flushConsumerOffsetInterval": 1000,
        "flushDelayOffsetInterval": 1000, "transactionOpBatchInterval": 100, "mappedFileSizeTimerLog": 1 << 20, "fileReservedTime": 24 * 365,
        "recallMessageEnable": True}
LATER = {"levels": (4, 4), "timer_ms": 30000}       # 30 s: when the visitor has left
TOPICS = [*kinds.TOPICS, "%RETRY%CG1", "%RETRY%CG2", "%DLQ%CG1", "%DLQ%CG2", "%RETRY%" + kinds.LONG_GROUP]


class World:
    """What must stand in the topics, each once."""

    def __init__(self, version):
        self.version, self.five = version, version.startswith("5")
        self.stands, self.pending, self.asked_for, self.never = [], [], [], []
        self.listing, self.serial, self.exact_keys = None, 0, True

    def write(self, c, mark, timers_due=True):
        s = kinds.Scenario(c, self.five, mark, self.serial, timers_due=timers_due, **LATER)
        s.all()
        self.serial = s.serial
        self.stands += s.sent + s.due
        self.pending, self.asked_for = s.pending, s.asked_for
        self.never += s.never
        self.listing = kinds.listing(c)

    def verify(self, c):
        if self.listing is None:
            return
        wrong = kinds.differences(self.listing, c, keys=self.exact_keys)
        assert not wrong, "\n".join(wrong[:20])
        producer = kinds.Producer(c)
        asked = {b for _, b in self.asked_for}
        rmq.until(f"asked for {asked}", lambda: producer.serve() or producer.asked >= asked, 60, 0.05)
        assert producer.asked == asked, f"asked for {sorted(producer.asked)}, not {sorted(asked)}"
        self.stands += self.pending + [x for x in self.asked_for if kinds.commits(x[1])]
        self.never += [x for x in self.asked_for if not kinds.commits(x[1])]
        rmq.until("all that was pending has come", lambda: not self.missing(c), 60, 0.2)
        more = self.found(c) - collections.Counter(self.stands)
        assert not more, f"came twice, or should not: {sorted(more)[:20]}"

    def found(self, c):
        return collections.Counter((t, b) for t in TOPICS for b in kinds.bodies(c, t))

    def missing(self, c):
        return collections.Counter(self.stands) - self.found(c)


def wait_written(c, store, timers):
    """Until the tables on the disk are those in memory: what kill -9 may lose of them is another matter."""
    def table(name):
        with open(os.path.join(store, "config", name)) as f:
            return json.loads(kinds.fix_keys(f.read()))["offsetTable"]

    def offsets():
        return {k: v for k, v in table("consumerOffset.json").items() if not k.endswith(("@LISTING", "@CID_RMQ_SYS_TRANS"))}
    rmq.until("offsets are written", lambda: offsets() == kinds.list_offsets(c), 30)
    rmq.until("positions of the levels are written",
              lambda: table("delayOffset.json") == json.loads(kinds.fix_keys(c.need(45).body.decode()))["offsetTable"], 30)
    if timers:
        begun = kinds.now_ms()
        rmq.until("the progress of timer messages is written", lambda: timer_time(store) >= begun, 30)


def timer_time(store):
    with open(os.path.join(store, "config", "timercheck"), "rb") as f:
        return int.from_bytes(f.read(8), "big")


def check_files(store):
    run = subprocess.run([os.path.join(rmq.BUILD, "rmqdump"), "check", store], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, f"rmqdump check: {run.stdout[-2000:]}{run.stderr}"


def ours(world, cluster, end, mark):
    cluster.start()
    with cluster.client() as c:
        world.verify(c)
        # of what we delivered out of the timer queue, the original can only know after a clean stop
        world.write(c, mark, timers_due=end == "clean")
        wait_written(c, cluster.store(), False)
    if end == "killed":
        cluster.kill_all()
        if world.five and mark[0] != "0":
            # timer messages of others were delivered: what the original is to know of that, a clean stop leaves (doc/store.md 9.2)
            cluster.start()
            cluster.stop()
        if not world.five:      # the segment made ready: 4.9 takes the folder for a file of another size (doc/store.md)
            shutil.rmtree(os.path.join(cluster.store(), "commitlog", "prepare"), ignore_errors=True)
    else:
        status = cluster.stop()
        assert status == 0 and "killed by signal" not in cluster.output(), cluster.output()


def theirs(world, cluster, peer, end, mark):
    broker = JavaBroker(peer, cluster.dir, cluster.store(), world.version, CONF)
    broker.forget_logs()
    broker.start()
    try:
        with broker.client() as c:
            world.verify(c)
            world.write(c, mark)
            wait_written(c, cluster.store(), world.five)
    finally:
        broker.kill() if end == "killed" else broker.stop()
        complaints = broker.complaints()
    assert not complaints, "the original complains:\n" + "\n".join(complaints[:20])


def chain(peer, version, steps, count):
    """steps: ("ours" or "theirs", "clean" or "killed") ... Counts each as a scenario."""
    world, cluster = World(version), rmq.Cluster(CONF)
    try:
        for n, (who, end) in enumerate(steps):
            name, begun = f"store.{version}.{n + 1}.{who}-{end}", time.monotonic()
            try:
                mark = f"{n} {who} "
                ours(world, cluster, end, mark) if who == "ours" else theirs(world, cluster, peer, end, mark)
                check_files(cluster.store())
                world.exact_keys = end == "clean"   # the original drops an index file that is not full when it was killed
            except (AssertionError, OSError, rmq.RemotingError, subprocess.CalledProcessError) as e:
                count.failed += 1
                print(f"not ok {name}: {e}", flush=True)
                return
            count.passed += 1
            print(f"ok {name} ({(time.monotonic() - begun) * 1000:.0f})", flush=True)
    finally:
        cluster.close()


SHORT = (("ours", "killed"), ("theirs", "clean"), ("ours", "clean"))
LONG = (("ours", "clean"), ("theirs", "killed"), ("ours", "killed"), ("theirs", "clean"), ("ours", "clean"))


def run(peer, short, count):
    for version in ("5.3.3",) if short else ("5.3.3", "4.9.7"):
        print(f"== store: opened in turns by this broker and by {version}", flush=True)
        chain(peer, version, SHORT if short else LONG, count)
