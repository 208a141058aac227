"""Random kill -9 of random workers, and of all, under load, with faults of the disk switched on and off. Then everything must be there.

A short form runs with the other crash tests; `make soak` the long one.

SOAK_SECONDS   how long (20; make soak: 600)
SOAK_SEED      to choose the same kills and faults again: it is printed
"""

import os
import random
import time
import unittest

import rmq
import shim
from rmq import until
from test_kill import TOPIC, QUEUES, Load, verify

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1 << 30)
ROLES = ("broker", "flush", "clean", "warm", "ha", "console", "namesrv")
# Faults that a node goes on with. A failed sync is final by design: that is t/sys/test_faults.py.
FAULTS = (["write commitlog/0 ENOSPC every=3"], ["write commitlog/0 short every=2", "write consumequeue/ EINTR every=2"],
          ["write+create+truncate consumequeue/ ENOSPC"], ["create+fallocate+truncate index/ ENOSPC"],
          ["create+fallocate+truncate commitlog/ ENOSPC"], ["write+create config/ ENOSPC"], ["sync commitlog/0 delay=200 every=5"],
          ["write+open store/checkpoint ENOSPC"], ["write+fallocate+rename commitlog/prepare ENOSPC"], ["unlink consumequeue/ EIO"],
          ["clock +60000"], ["clock -60000"])


class Soak(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(SEED)
        self.kills, self.switched = {}, 0

    def kill(self, c):
        """One worker, now and then two at once or all of them."""
        which = self.rng.choice(ROLES + ("two", "all"))
        self.kills[which] = self.kills.get(which, 0) + 1
        if which == "all":
            c.kill_all()
            c.rules()       # a start needs space for what is mended
            c.start()
            return
        for role in self.rng.sample(ROLES[:5], 2) if which == "two" else (which,):
            c.kill(role)

    def step(self, c, load):
        if self.rng.random() < 0.5:
            c.rules(*self.rng.choice(FAULTS))
            self.switched += 1
            until("it was met, or its time is over", lambda end=time.monotonic() + 0.5: c.injected() or time.monotonic() > end)
        if self.rng.random() < 0.7:
            self.kill(c)
        c.rules()
        until("all workers are ready", c.healthy, 60)
        load.more(self.rng.randrange(1, 100), 60)

    def soak(self, conf):
        with shim.ShimCluster({"mappedFileSizeCommitLog": 1 << 20, "mappedFileSizeConsumeQueue": 20000, "maxIndexNum": 20000,
                               "maxHashSlotNum": 5000, "flushIntervalConsumeQueue": 200, **conf}) as c:
            with c.client() as p:
                p.create_topic(TOPIC, QUEUES)
            end = time.monotonic() + SECONDS / 2
            with Load(c) as load:
                while time.monotonic() < end:
                    self.step(c, load)
            refused = sum(len(p.refused) for p in load.producers)
            verify(self, c, load.producers)
            print(f"seed {SEED}: {self.kills}, faults switched on {self.switched} times, {len(c.injected())} operations failed, "
                  f"{sum(p.count() for p in load.producers)} acknowledged, {refused} refused, none lost", flush=True)
            self.assertNotRegex(c.output(), "signal 7|SIGBUS|signal 11|SIGSEGV|signal 6|SIGABRT")
            self.assertEqual(c.stop(), 0)

    def test_async_flush(self):
        self.soak({})

    def test_sync_flush(self):
        self.soak({"flushDiskType": "SYNC_FLUSH"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
