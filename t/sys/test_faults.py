"""The disk fails: a sync, a write, the space, the whole device; it is slow; the clock jumps. Through the shim (t/shim).

What must hold: nothing is acknowledged that is not where the configuration promises it; the cause is said with path and numbers; what can
go on goes on, without a restart; no worker dies of a signal.
"""

import json
import os
import re
import subprocess
import threading
import time
import unittest

import rmq
import shim
from rmq import RemotingError, until
from shim import ShimCluster

TOPIC = "Faulty"
SMALL = {"mappedFileSizeCommitLog": 1 << 20, "flushIntervalConsumeQueue": 100, "maxIndexNum": 2000, "maxHashSlotNum": 500,
         "mappedFileSizeConsumeQueue": 2000, "waitTimeMillsInSendQueue": 10000}
NOT_ACKNOWLEDGED = {1, 10, 11, 12, 14}   # codes that say that a message may not be stored


class Case(unittest.TestCase):
    def cluster(self, conf=None, **how):
        c = ShimCluster({**SMALL, **(conf or {})}, **how)
        self.addCleanup(c.close)
        c.start()
        with c.client() as p:
            p.create_topic(TOPIC, 4)
        return c

    def no_worker_died(self, c):
        self.assertNotRegex(c.output(), r"was killed by|SIGBUS|SIGSEGV|signal \d+")
        self.assertEqual({k: v for k, v in c.restarts().items() if v}, {})

    def send(self, c, acked, n, size=200):
        """Sends n messages one after another; those acknowledged come into `acked`: (queue, offset) -> body. The last refusal."""
        refusal = None
        with c.client() as p:
            for _ in range(n):
                self.serial = getattr(self, "serial", 0) + 1
                body, queue = b"%d " % self.serial + b"x" * size, self.serial % 4
                try:
                    ext = p.send(TOPIC, body, queue, {"UNIQ_KEY": "%032X" % self.serial})
                    acked[queue, int(ext["queueOffset"])] = body
                except RemotingError as e:
                    refusal = e
        return refusal

    def everything_acknowledged_is_there(self, c, acked, only=False):
        """only: and nothing else, as it must be when no process died."""
        with c.client() as p:
            for queue in range(4):
                want = {o: b for (q, o), b in acked.items() if q == queue}
                got = until(f"queue {queue} has all that was acknowledged",
                            lambda q=queue, w=want: (lambda g: g if len(g) > max(w, default=-1) else None)(p.pull_queue(TOPIC, q)) or
                            (not w and []) or (not w))
                got = got if isinstance(got, list) else []
                self.assertEqual([m["offset"] for m in got], list(range(len(got))), f"holes in queue {queue}")
                for offset, body in want.items():
                    self.assertEqual(got[offset]["body"], body, f"queue {queue}, offset {offset}")
                if only:
                    self.assertEqual(len(got), len(want), f"queue {queue} has messages that were refused")
                bodies = [m["body"] for m in got]
                self.assertEqual(len(bodies), len(set(bodies)), f"doubled messages in queue {queue}")

    def restart_without_faults(self, c):
        c.kill_all()
        c.rules()
        c.start()


class FailedSync(Case):
    """Final for the node, whichever of its files it is."""

    def sync_fails(self, rule, conf=None):
        c = ShimCluster({**SMALL, "flushDiskType": "SYNC_FLUSH", **(conf or {})}, spec=self.spec_with_hook(conf))
        self.addCleanup(c.close)
        self.hook(c)
        c.start()
        with c.client() as p:
            p.create_topic(TOPIC, 4)
        acked, after = {}, {}
        self.assertIsNone(self.send(c, acked, 40))
        c.rules(rule)
        refusal = None
        end = time.monotonic() + 20
        while c.node()["state"] != "failed" and time.monotonic() < end:
            refusal = self.send(c, acked, 8) or refusal
        self.assertEqual(c.node()["state"], "failed", c.output())
        c.rules()                              # the disk "recovers": nobody may believe it
        refusal = self.send(c, after, 4)
        self.assertEqual(after, {}, "acknowledged after a failed sync")
        self.assertRegex(refusal.remark, "sync.*failed|failed.*sync")
        self.assertIn("failed", json.dumps(c.node()["flush"]))
        facts = until("the hook has run", lambda: open(os.path.join(c.dir, "facts")).read())
        self.assertIn("RMQ_EVENT=failed", facts)
        self.assertEqual(len(c.injected("sync")), 1, "a sync was tried again")
        self.no_worker_died(c)
        self.restart_without_faults(c)
        self.everything_acknowledged_is_there(c, acked)
        self.assertIsNone(self.send(c, acked, 4))

    def spec_with_hook(self, conf):
        keys = "".join(f"    {k}: {json.dumps(v)}\n" for k, v in {**SMALL, "flushDiskType": "SYNC_FLUSH", **(conf or {})}.items())
        return ("cluster: DefaultCluster\ndir: {c.dir}/data\nnamesrv:\n  - {{ listenPort: {c.ns_port}, bindAddress: 127.0.0.1 }}\n"
                "brokers:\n  - brokerName: broker-a\n    brokerId: 0\n    listenPort: {c.port}\n    bindAddress: 127.0.0.1\n"
                "    brokerIP1: 127.0.0.1\n" + keys + "console: {{ listen: \"127.0.0.1:{c.console_port}\" }}\n"
                "failover: {{ mode: local, onFailed: {c.dir}/hook.sh }}\n")

    def hook(self, c):
        path = os.path.join(c.dir, "hook.sh")
        with open(path, "w") as f:
            f.write(f"#!/bin/sh\nunset LD_PRELOAD\nenv | grep ^RMQ_ > {c.dir}/facts.new && mv {c.dir}/facts.new {c.dir}/facts\n")
        os.chmod(path, 0o700)

    def test_of_the_log_once(self):
        self.sync_fails("sync commitlog/0 EIO times=1")

    def test_of_the_log_for_want_of_space(self):
        self.sync_fails("sync commitlog/0 ENOSPC times=1")

    def test_of_a_queue_file(self):
        self.sync_fails("sync consumequeue/ EIO times=1")

    def test_of_an_index_file(self):
        self.sync_fails("sync index/ EIO times=1")

    def test_of_the_checkpoint(self):
        self.sync_fails("sync store/checkpoint EIO times=1")

    def test_of_the_log_with_async_flush(self):
        self.sync_fails("sync commitlog/0 EIO times=1", {"flushDiskType": "ASYNC_FLUSH", "flushIntervalCommitLog": 50,
                                                  "flushCommitLogThoroughInterval": 100})


class FullDisk(Case):
    """ENOSPC at each kind of write; then there is space again, and nobody restarts anything."""

    def full(self, *rules, conf=None, refused=True, says=None, sends=400):
        c = self.cluster(conf)
        acked = {}
        self.assertIsNone(self.send(c, acked, 40))
        c.rules(*rules)
        refusal, end = None, time.monotonic() + 20
        while not (refusal if refused else c.injected()) and time.monotonic() < end:
            refusal = self.send(c, acked, 20, 4000) or refusal
        self.assertTrue(c.injected(), "nothing was injected: the rule meets nothing")
        if refused:
            self.assertEqual(refusal.code, 14)
            self.assertRegex(refusal.remark, r"no space for (\d+ bytes at \d+ of the log in )?/.*\d+ (bytes )?free")
        else:
            self.assertIsNone(refusal)
        if says:
            until("the log says it", lambda: re.search(says, c.output()))
        with c.client() as p:
            self.assertIn(p.pull(TOPIC, 1, 0).code, (0,), "reading goes on")
        c.rules()
        until("sends are taken again", lambda: self.send(c, acked, 4) is None)
        self.everything_acknowledged_is_there(c, acked, only=True)
        self.no_worker_died(c)
        c.kill_all()
        c.start()
        self.everything_acknowledged_is_there(c, acked, only=True)

    def test_in_the_log(self):
        self.full("write commitlog/0 ENOSPC")

    def test_in_the_log_with_sync_flush(self):
        self.full("write commitlog/0 ENOSPC", conf={"flushDiskType": "SYNC_FLUSH"})

    def test_after_half_of_a_write_to_the_log(self):
        self.full("write commitlog/0 short every=2", "write commitlog/0 ENOSPC from=2 every=2")

    def test_at_a_new_segment(self):
        self.full("create+fallocate+truncate commitlog/ ENOSPC", "rename commitlog/0 ENOENT")

    def test_while_the_next_segment_is_prepared(self):
        self.full("write+fallocate commitlog/prepare ENOSPC", conf={"flushDiskType": "SYNC_FLUSH"}, refused=False,
                  says="next segment is not made ready ahead")

    def test_in_a_queue(self):
        self.full("write+create+truncate consumequeue/ ENOSPC", refused=False, says="dispatch stands still .*no space.*consumequeue")

    def test_in_the_index(self):
        self.full("create+fallocate+truncate index/ ENOSPC", refused=False, says="dispatch stands still .*index")

    def test_in_the_checkpoint(self):
        self.full("write+open store/checkpoint ENOSPC", refused=False, says="cannot write .*checkpoint: No space")

    def test_in_a_config_file(self):
        c = self.cluster({"flushConsumerOffsetInterval": 100})
        self.assertIsNone(self.send(c, {}, 40))
        with c.client() as p:
            self.assertEqual(p.pull(TOPIC, 0, 0).code, 0)       # makes the group
            c.rules("write+create config/ ENOSPC")
            with self.assertRaises(RemotingError) as said:
                p.create_topic("Other", 2)
            self.assertRegex(str(said.exception), "No space")
            p.ask(15, {"consumerGroup": "CG", "topic": TOPIC, "queueId": 0, "commitOffset": 7})
            until("the offsets could not be saved", lambda: re.search("consumerOffset.json is kept in memory only.*No space", c.output()))
            self.assertEqual(p.need(14, {"consumerGroup": "CG", "topic": TOPIC, "queueId": 0}).ext["offset"], "7")
            c.rules()
            until("the offsets are saved", lambda: "consumerOffset.json is written again" in c.output())
            p.create_topic("Other", 2)
        self.no_worker_died(c)
        c.kill_all()
        c.start()
        with c.client() as p:
            self.assertEqual(p.need(14, {"consumerGroup": "CG", "topic": TOPIC, "queueId": 0}).ext["offset"], "7")
            p.send("Other", b"kept")


@unittest.skipUnless(os.geteuid() == 0, "needs root, to mount a small file system")
class SmallFileSystem(Case):
    """The second witness: a real file system of 12 MB that is full."""

    def setUp(self):
        self.c = ShimCluster({**SMALL, "fileReservedTime": 1000, "diskMaxUsedSpaceRatio": 95, "cleanFileForciblyEnable": False,
                              "cleanResourceInterval": 200})
        self.addCleanup(self.c.close)
        self.data = os.path.join(self.c.dir, "data")
        os.mkdir(self.data)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", self.data], capture_output=True).returncode:
            self.skipTest("no file system can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", self.data])
        self.ballast = os.path.join(self.data, "ballast")
        self.c.start()
        with self.c.client() as p:
            p.create_topic(TOPIC, 4)

    def fill_up(self):
        fd = os.open(self.ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(fd, bytes(4096))
        except OSError:
            os.close(fd)

    def until_refused(self, acked):
        return until("a send is refused", lambda: self.send(self.c, acked, 20, 20000), 30)

    def test_writes_are_refused_and_taken_again_and_nothing_is_lost(self):
        acked = {}
        self.assertIsNone(self.send(self.c, acked, 40))
        for _ in range(3):
            self.fill_up()
            refusal = self.until_refused(acked)
            self.assertEqual(refusal.code, 14)
            self.assertRegex(refusal.remark, "disk is full|no space")
            until("/status says it", lambda: self.c.status()["nodes"][0]["disk"]["full"])
            os.unlink(self.ballast)
            until("sends are taken again", lambda: self.send(self.c, acked, 4) is None)
        self.everything_acknowledged_is_there(self.c, acked, only=True)
        self.no_worker_died(self.c)

    def test_a_node_that_was_killed_on_a_full_disk_starts_when_there_is_space(self):
        acked = {}
        self.assertIsNone(self.send(self.c, acked, 40))
        self.fill_up()
        self.until_refused(acked)
        self.fill_up()
        self.c.kill_all()
        self.c.start(wait=False)
        until("it serves, or says what is missing", lambda: re.search("No space left|no space|serves", self.c.output().split("SIGTERM")[-1]))
        os.unlink(self.ballast)
        self.c.wait_ready()
        until("sends are taken again", lambda: self.send(self.c, acked, 4) is None)
        self.everything_acknowledged_is_there(self.c, acked)


class Oddities(Case):
    """What a disk may do without being broken."""

    def test_short_and_interrupted_writes_change_nothing(self):
        c = self.cluster({"flushDiskType": "SYNC_FLUSH", "flushConsumerOffsetInterval": 50})
        acked = {}
        kinds = ("commitlog/0", "consumequeue/", "config/", "store/checkpoint")
        c.rules(*[f"write {k} {w}" for k in kinds for w in ("EINTR every=3", "short every=2")])
        for i in range(10):
            self.assertIsNone(self.send(c, acked, 40, 1000))
            with c.client() as p:
                p.create_topic("T%d" % i, 1)
                p.ask(15, {"consumerGroup": "CG", "topic": TOPIC, "queueId": 0, "commitOffset": i})
        for kind in kinds:
            until(f"writes to {kind} were short", lambda k=kind: c.injected(k, "short"))
            until(f"writes to {kind} were interrupted", lambda k=kind: c.injected(k, "EINTR"))
        self.everything_acknowledged_is_there(c, acked, only=True)
        self.assertEqual(c.node()["state"], "running", c.output())
        self.no_worker_died(c)
        self.restart_without_faults(c)
        self.everything_acknowledged_is_there(c, acked, only=True)

    def test_a_read_only_remount_acknowledges_nothing_and_goes_on_reading(self):
        c = self.cluster()
        acked, after = {}, {}
        self.assertIsNone(self.send(c, acked, 40))
        c.rules("* * EROFS")
        refusal = self.send(c, after, 4)
        self.assertEqual(after, {})
        self.assertRegex(refusal.remark, "Read-only file system|sync")
        with c.client() as p:
            self.assertEqual(p.pull(TOPIC, 1, 0).code, 0)
        self.no_worker_died(c)
        self.restart_without_faults(c)
        self.everything_acknowledged_is_there(c, acked, only=True)

    def test_a_slow_disk_delays_the_answers_and_nothing_else(self):
        c = self.cluster({"flushDiskType": "SYNC_FLUSH"})
        acked = {}
        self.assertIsNone(self.send(c, acked, 4))
        c.rules("sync commitlog/0 delay=1000")
        with c.client() as p, c.client() as other:
            begun = time.monotonic()
            opaque = p.post_send(TOPIC, b"slow", 0)
            slowest = 0
            while time.monotonic() - begun < 0.9:
                t = time.monotonic()
                self.assertEqual(other.pull(TOPIC, 1, 0).code, 0)
                slowest = max(slowest, time.monotonic() - t)
            answer = p.answer(opaque)
            self.assertEqual(answer.code, 0)
            self.assertGreater(time.monotonic() - begun, 0.9)
            self.assertLess(slowest, 0.5, "a pull waited for the sync")
            acked[0, int(answer.ext["queueOffset"])] = b"slow"
        self.assertTrue(c.injected("sync", "delay"))
        c.rules()
        self.everything_acknowledged_is_there(c, acked, only=True)
        self.no_worker_died(c)

    def test_a_sync_slower_than_syncFlushTimeout_is_not_acknowledged_as_safe(self):
        c = self.cluster({"flushDiskType": "SYNC_FLUSH", "syncFlushTimeout": 300})
        acked = {}
        self.assertIsNone(self.send(c, acked, 4))
        c.rules("sync commitlog/0 delay=1500 times=2")
        refusal = self.send(c, acked, 1)
        self.assertEqual(refusal.code, 10)      # FLUSH_DISK_TIMEOUT: stored, not known to be safe
        until("sends are safe again", lambda: self.send(c, acked, 1) is None)
        self.everything_acknowledged_is_there(c, acked)
        self.no_worker_died(c)

    def test_a_clock_that_jumps_loses_nothing_and_stops_nothing(self):
        c = self.cluster()
        acked = {}
        for ms in (0, 86400000, 0, -3600000, 3600000, -86400000, 0):
            c.rules(f"clock {ms:+d}")
            self.assertIsNone(self.send(c, acked, 40))
            self.everything_acknowledged_is_there(c, acked, only=True)
            if ms in (86400000, -86400000):
                c.kill_all()
                c.start()
        self.no_worker_died(c)
        self.everything_acknowledged_is_there(c, acked, only=True)
        c.stop()
        c.start()
        self.everything_acknowledged_is_there(c, acked, only=True)

    def test_delayed_messages_come_after_the_clock_has_jumped(self):
        c = self.cluster()
        with c.client() as p:
            for ms in (3600000, -3600000, 0):
                c.rules(f"clock {ms:+d}")
                p.send(TOPIC, b"late %d" % ms, 0, {"DELAY": "1"})
            until("all have come", lambda: {m["body"] for m in p.pull_queue(TOPIC, 0)} == {b"late 3600000", b"late -3600000", b"late 0"})
        self.no_worker_died(c)


if __name__ == "__main__":
    unittest.main(verbosity=2)
