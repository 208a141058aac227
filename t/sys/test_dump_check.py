"""rmqdump check on a recorded store in which one byte is changed: in each kind of file, wherever there is something to compare it with.

What has no second witness is not asked for: times, hosts and flags of a record, its properties, the count of a timer slot.
RMQ_SEED repeats a run, RMQ_ROUNDS (8) is the number of bytes for each kind.
"""

import json
import os
import random
import shutil
import struct
import subprocess
import tarfile
import tempfile
import unittest
import zlib

from rmq import BUILD, TOP

SEED = int(os.environ.get("RMQ_SEED", random.randrange(1 << 32)))
ROUNDS = int(os.environ.get("RMQ_ROUNDS", "8"))
SLOTS = 40      # of the recording's index files


def dump(*args):
    run = subprocess.run([os.path.join(BUILD, "rmqdump"), *args], capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout + run.stderr


def rows(*args):
    return [json.loads(line) for line in dump(*args, "--json")[1].splitlines()]


class Damage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="dump-check-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        with tarfile.open(os.path.join(TOP, "t", "data", "java-5.3.3-clean.tar.xz")) as tar:
            tar.extractall(cls.dir, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(cls.dir)
        cls.store = os.path.join(cls.dir, "store")
        cls.random = random.Random(SEED)
        status, text = dump("check", cls.store)
        assert status == 0, text

    def path(self, *names):
        return os.path.join(self.store, *names)

    def expect(self, part, what, status=1):
        got, text = dump("check", self.store)
        self.assertEqual(got, status, f"seed {SEED}: {what}: not found\n{text}")
        self.assertTrue(any(line.startswith(part) for line in text.splitlines()), f"seed {SEED}: {what}: no line of {part}\n{text}")

    def change(self, parts, path, at):
        """Changes the byte, expects a finding, and puts it back."""
        with open(path, "r+b") as f:
            f.seek(at)
            old = f.read(1)[0]
            new = old ^ self.random.randrange(1, 256)
            f.seek(at)
            f.write(bytes([new]))
            f.flush()
            self.expect(parts, f"{path} at {at}: {old} made {new}")
            f.seek(at)
            f.write(bytes([old]))

    # ---- log and queues

    def test_a_byte_of_a_record(self):
        records = rows("log", self.store, "-n", "0")
        self.assertGreater(len(records), 500)
        for _ in range(ROUNDS):
            r = self.random.choice(records)
            fields = [(0, 4), (4, 8), (12, 16), (20, 28), (28, 36)] + [(88, 88 + r["bodyBytes"])] * 3 * (r["bodyBytes"] > 0)
            first, end = self.random.choice(fields)
            at = r["offset"] + self.random.randrange(first, end)
            self.change(("log:", "queue:", "index:", "timer:"), self.path("commitlog", f"{at - at % 65536:020d}"), at % 65536)

    def test_a_byte_of_a_unit(self):
        queues = [q for q in rows("queue", self.store) if q["max"] > q["min"]]
        for _ in range(ROUNDS):
            q = self.random.choice(queues)
            at = self.random.randrange(q["min"], q["max"]) * 20 + self.random.randrange(20)
            while q["topic"] == "SCHEDULE_TOPIC_XXXX" and at % 20 >= 12:
                at = at - at % 20 + self.random.randrange(12)      # the code is a time there
            name = self.path("consumequeue", q["topic"], str(q["queueId"]), f"{at - at % 1000:020d}")
            self.change(("queue:", "log:"), name, at % 1000)

    # ---- index and checkpoint

    def test_a_byte_of_the_index(self):
        for _ in range(ROUNDS):
            name = self.random.choice(sorted(os.listdir(self.path("index"))))
            with open(self.path("index", name), "rb") as f:
                (following,) = struct.unpack(">i", f.read(40)[36:])
            self.change("index:", self.path("index", name), self.random.choice((
                self.random.randrange(40), self.random.randrange(40, 40 + 4 * SLOTS),
                40 + 4 * SLOTS + self.random.randrange(20, following * 20))))

    def test_a_high_byte_of_the_checkpoint(self):
        for _ in range(ROUNDS):     # a time that is older only makes recovery begin earlier
            self.change("checkpoint:", self.path("checkpoint"), self.random.randrange(3) * 8 + self.random.randrange(2))

    # ---- timer files

    def test_a_byte_of_the_timer_log(self):
        name = self.path("timerlog", "0" * 20)
        with open(name, "rb") as f:
            data = f.read()
        units = next(n for n in range(len(data) // 52) if data[n * 52:n * 52 + 4] == bytes(4))
        self.assertGreater(units, 8)
        for _ in range(ROUNDS):
            first, end = self.random.choice(((0, 4), (12, 15), (28, 36), (36, 40)))
            self.change("timer:", name, self.random.randrange(units) * 52 + self.random.randrange(first, end))

    def test_a_byte_of_the_timer_wheel(self):
        with open(self.path("timerwheel"), "rb") as f:
            data = f.read()
        used = [at for at in range(0, len(data), 32) if data[at:at + 24] != bytes(24)]
        self.assertGreater(len(used), 1)
        for _ in range(ROUNDS):     # the low bytes of a position may make it another unit of the same second
            first, end = self.random.choice(((0, 8), (8, 14), (16, 22)))
            self.change("timer:", self.path("timerwheel"), self.random.choice(used) + self.random.randrange(first, end))

    def test_a_wheel_of_another_size(self):
        path = self.path("timerwheel")
        size = os.path.getsize(path)
        os.truncate(path, size - 32)
        self.expect("timer:", "a short wheel")
        os.truncate(path, size)

    def test_a_timer_queue_that_is_said_to_be_read_beyond_its_end(self):
        self.change("timer:", self.path("config", "timercheck"), 16 + self.random.randrange(1, 6))

    # ---- text files

    def test_a_table_of_which_both_copies_are_cut(self):
        for name in ("topics.json", "subscriptionGroup.json", "consumerOffset.json"):
            kept = {}
            for copy in (name, name + ".bak"):
                path = self.path("config", copy)
                with open(path, "rb") as f:
                    kept[path] = f.read()
                os.truncate(path, self.random.randrange(1, len(kept[path].rstrip()) - 1))
            self.expect("config:", name)
            for path, data in kept.items():
                with open(path, "wb") as f:
                    f.write(data)

    def test_a_byte_of_the_epochs(self):
        lines = "1-0\n3-1000\n"
        path = self.path("epochFileCheckpoint")
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        text = f"2\n{zlib.crc32(lines.encode()) & 0x7FFFFFFF}\n{lines}"
        with open(path, "w") as f:
            f.write(text)
        self.assertEqual(dump("check", self.store)[0], 0)
        for _ in range(ROUNDS):
            self.change("epochs:", path, self.random.randrange(text.index("1-0"), len(text)))
        lines = "1-0\n3-99999999999\n"
        with open(path, "w") as f:
            f.write(f"2\n{zlib.crc32(lines.encode()) & 0x7FFFFFFF}\n{lines}")
        self.expect("epochs:", "an epoch behind the log's end")

    # ---- other kinds of store

    def test_other_kinds_of_store_are_named(self):
        for name, text in (("dledger-n0/data/0", "DLedger"), ("consumequeue/CURRENT", "RocksDB"), ("config/topics/CURRENT", "RocksDB"),
                           ("config/rdb/CURRENT", "RocksDB"), ("batchconsumequeue/T/0/" + "0" * 20, "batch queues"),
                           ("consumequeue_ext/T/0/" + "0" * 20, "extended queues"),
                           ("compaction/compactionLog/T/0/" + "0" * 20, "compacted topics")):
            path = self.path(name)
            made = [p for p in self.parents(name) if not os.path.exists(p)]
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
            status, found = dump("check", self.store)
            self.assertEqual(status, 1, name)
            self.assertRegex(found, f"store: .*{text}")
            os.unlink(path)
            if made:
                shutil.rmtree(made[0])
        self.assertEqual(dump("check", self.store)[0], 0)

    def parents(self, name):
        parts = name.split("/")[:-1]
        return [self.path(*parts[:n + 1]) for n in range(len(parts))]


if __name__ == "__main__":
    unittest.main(verbosity=2)
