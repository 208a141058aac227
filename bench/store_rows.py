"""The rows of bench/run that are about a store's size and age: how a large one starts, what reading old messages does to new ones,
what a sync costs. Each is a function of (ours, apache or None, options) that returns the cells of its line.
"""

import json
import os
import shutil
import re
import subprocess
import sys
import tempfile
import time

import rmq

BUILD = os.environ.get("RMQ_BUILD", os.getcwd())
GIB = 1 << 30


def rmqbench(ns, *args):
    out = subprocess.run([os.path.join(BUILD, "rmqbench"), *map(str, args), "-n", ns, "--json", "--quiet"], stdout=subprocess.PIPE,
                         text=True, check=False).stdout
    if not out.strip():
        raise SystemExit(f"rmqbench {' '.join(map(str, args))} gave no result")
    return json.loads(out)


def registered(ns):
    with rmq.Client(ns) as c:
        return b"broker-a" in c.need(106).body


def fill(ns, topic, queues, count, *more):
    rmq.until("the broker is registered", lambda: registered(ns), 20)
    return rmqbench(ns, "send", "-t", topic, "-s", 1024, "-q", queues, "--count", count, "-d", 0, "-w", 0, *more)


def say(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def median(values):
    return sorted(values)[len(values) // 2]


def send_once(address, topic):
    with rmq.Client(address, 2) as c:
        return c.send(topic, b"is it there")


# ---- start after a kill

def started(start, address, topic, every=0.002):
    """Milliseconds from the start to the first acknowledged message."""
    begin = time.monotonic()
    start()
    rmq.until("a message is taken", lambda: send_once(address(), topic), 600, every)
    return (time.monotonic() - begin) * 1000


def row_start(ours, apache, opt):
    count = 900000 if opt.quick else 9000000
    name = f"start after kill -9, {count // 900000} GB, 100 queues"
    ns, took = ours.start({}), []
    try:
        fill(ns, "Start", 100, count)
        for _ in range(3):
            fill(ns, "Start", 100, 100000)     # killed while it is busy
            ours.cluster.kill_all()
            took.append(started(lambda: ours.cluster.start(wait=False), lambda: ours.cluster.addr, "Start"))
            rmq.until("ready", ours.cluster.healthy, 60)
            say(f"{name}: {took[-1]:.0f} ms")
    finally:
        ours.stop()
    theirs = None
    if apache:
        ns = apache.start({})
        try:
            fill(ns, "Start", 100, count, "-i", 32)
            theirs = started(apache.kill_and_start, lambda: apache.address, "Start", 0.02)
        finally:
            apache.stop()
    return [name, f"{median(took):,.0f} ms (longest of {len(took)}: {max(took):,.0f})", f"{theirs:,.0f} ms" if theirs else "–",
            f"1/{theirs / median(took):.0f}" if theirs else "–", "≤ 300 ms", max(took) <= 300]


def row_queues(ours, _apache, opt):
    topics, each = (40, 1000) if opt.quick else (200, 1000)
    ns, goal = ours.start({}), 5000
    try:
        for i in range(topics):
            fill(ns, f"Many{i}", each, each)
        ours.cluster.kill_all()
        killed = started(lambda: ours.cluster.start(wait=False), lambda: ours.cluster.addr, "Many0")
        rmq.until("ready", ours.cluster.healthy, 60)
        with ours.cluster.client() as c:    # all queues are looked at
            for i in range(topics):
                c.need(202, {"topic": f"Many{i}"}, timeout=60)
        memory = ours.private() / (1 << 20)
        assert ours.cluster.stop(120) == 0
        clean = started(lambda: ours.cluster.start(wait=False), lambda: ours.cluster.addr, "Many0")
        rmq.until("ready", ours.cluster.healthy, 60)
        memory = max(memory, ours.private() / (1 << 20))
    finally:
        ours.stop()
    return [f"start, {topics * each:,} consume queues", f"{killed:,.0f} ms after kill -9, {clean:,.0f} ms after a stop; {memory:.0f} MiB",
            "–", "–", "≤ 5 s, ≤ 300 MiB", max(killed, clean) <= goal and memory <= 300]


# ---- new messages beside old ones, in little memory

class Limit:
    """A memory cgroup for the processes of one cluster, v2 or v1; without the right to make one the row runs in all memory there is."""

    def __init__(self, size):
        self.path = None
        v2 = "/sys/fs/cgroup/cgroup.controllers"
        if os.path.exists(v2) and "memory" in open(v2).read():
            root, key = "/sys/fs/cgroup", "memory.max"
        else:
            root, key = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        path = f"{root}/rmq-bench-{os.getpid()}"
        try:
            os.mkdir(path)
            self.path = path
            with open(f"{path}/{key}", "w") as f:
                f.write(str(size))
        except OSError as e:
            print(f"note: no memory limit: {e}", file=sys.stderr)
            self.drop()

    def add(self, pids):
        for pid in pids if self.path else ():
            with open(f"{self.path}/cgroup.procs", "w") as f:
                f.write(str(pid))

    def drop(self):
        if self.path:
            rmq.until("the cgroup is empty", lambda: not os.rmdir(self.path) or True, 20)
        self.path = None


def drop_from_memory(folder):
    os.sync()
    for path, _, names in os.walk(folder):
        for name in names:
            fd = os.open(os.path.join(path, name), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def major_faults(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rsplit(")", 1)[1].split()[9])


def row_cold(ours, _apache, opt):
    seconds, store, memory = (15, GIB * 3 // 2, GIB // 2) if opt.quick else (60, 6 * GIB, GIB)
    conf = {"mappedFileSizeCommitLog": 64 << 20, "maxIndexNum": 1000000, "maxHashSlotNum": 250000, "fileReservedTime": 72,
            "deleteWhen": ";".join("%02d" % h for h in range(24)), "cleanResourceInterval": 1000, "deleteFileBatchMax": 1}
    ns, limit = ours.start(conf), Limit(memory)
    limited = limit.path is not None
    cluster = ours.cluster
    try:
        fill(ns, "Old", 8, store // 1240, "--keys")
        assert cluster.stop(60) == 0
        drop_from_memory(cluster.store())
        cluster.start()
        limit.add([cluster.proc.pid] + [w["pid"] for w in cluster.status()["workers"]])
        rmqbench(ns, "send", "-t", "New", "-s", 1024, "--rate", 10000, "-d", 2, "-w", 0)
        broker = cluster.pid("broker")
        faults = major_faults(broker)
        with cluster.client() as c:
            c.need(25, {}, b"fileReservedTime=0\n")     # from now on a segment goes each second
        pull = subprocess.Popen([os.path.join(BUILD, "rmqbench"), "pull", "-t", "Old", "-c", "4", "-i", "2", "--loop", "-n", ns, "-d", str(seconds),
                                 "-w", "0", "--json", "--quiet"], stdout=subprocess.PIPE, text=True)
        r = rmqbench(ns, "send", "-t", "New", "-s", 1024, "--rate", 10000, "-d", seconds - 2, "-w", 1)
        pulled = json.loads(pull.communicate()[0])
        faults = major_faults(broker) - faults
        removed = cluster.status()["nodes"][0]["disk"]["segmentsRemoved"]
        assert cluster.pid("broker") == broker, "the broker died"
    finally:
        ours.stop()
        limit.drop()
    if removed == 0:
        print("note: no segment was removed meanwhile", file=sys.stderr)
    say(f"pulled {pulled['msg_s']:,.0f} old messages/s, {faults} major faults of the broker, {removed} segments removed, {r['errors']} refused")
    name = f"1 KiB at 10,000/s beside readers of {store / GIB:g} GiB, {f'{memory >> 20} MiB of memory' if limited else 'all memory'}, expiry"
    return [name, f"p99 {r['p99_us'] / 1e3:.3g}, p99.9 {r['p999_us'] / 1e3:.3g} ms; {r['errors']} refused; {faults} major faults; "
            f"{pulled['msg_s']:,.0f} old/s", "–", "–", "p99.9 ≤ 10 ms, none refused", r["p999_us"] <= 10000 and r["errors"] == 0]


# ---- syncs

def bare_syncs(size, seconds):
    """Syncs a second of a loop that writes `size` bytes into zero-filled blocks and syncs them."""
    path = tempfile.mkdtemp(prefix="rmq-sync-")
    try:
        fd = os.open(path + "/log", os.O_RDWR | os.O_CREAT)
        room, data = 512 << 20, os.urandom(size)
        for _ in range(room >> 20):
            os.write(fd, bytes(1 << 20))
        os.fsync(fd)
        n, at, end = 0, 0, time.monotonic() + seconds
        while time.monotonic() < end:
            os.pwrite(fd, data, at)
            os.fdatasync(fd)
            n, at = n + 1, (at + size) % (room - size)
        os.close(fd)
        return n / seconds
    finally:
        shutil.rmtree(path)


def counts(ours):
    node = ours.cluster.status()["nodes"][0]
    return [node["flush"]["syncs"], node["flush"]["bytes"], node["positions"]["appended"], node["counters"]["put_msgs"]]


def row_sync(ours, _apache, opt):
    """The bare loop writes as many bytes a sync as flush did on average, into blocks that are zero-filled as the log's are."""
    speed = {}
    for kind in ("ASYNC_FLUSH", "SYNC_FLUSH"):
        ns = ours.start({"flushDiskType": kind})
        try:
            before = counts(ours)
            speed[kind] = rmqbench(ns, "send", "-t", "Sync", "-s", 1024, "-c", 4, "-i", 64, "-d", opt.seconds, "-w", 2)["msg_s"]
            syncs, synced, appended, messages = (a - b for a, b in zip(counts(ours), before))
        finally:
            ours.stop()
        os.sync()
    size, record = synced // max(syncs, 1), appended / max(messages, 1)
    bare = bare_syncs(size, opt.seconds) * size / record
    of_async, of_bare = speed["SYNC_FLUSH"] / speed["ASYNC_FLUSH"], speed["SYNC_FLUSH"] / bare
    return ["SYNC_FLUSH, 1 KiB, 256 in flight, of our ASYNC_FLUSH and of a bare loop of such syncs",
            f"{speed['SYNC_FLUSH']:,.0f} of {speed['ASYNC_FLUSH']:,.0f} and {bare:,.0f} msg/s: {of_async:.0%} and {of_bare:.0%}; {size:,} B a sync",
            "–", "–", "≥ 70 % of each", of_async >= 0.7 and of_bare >= 0.7]


def row_bytes(ours, apache, _opt):
    sizes = []
    for system in [ours] + ([apache] if apache else []):
        ns = system.start({})
        try:
            with rmq.Client(system.cluster.addr if system is ours else system.address) as c:
                before = log_end(c)
                fill(ns, "Bytes", 8, 10000)
                rmq.until("all is in the log", lambda: log_end(c) > before + 10000 * 1024, 20)
                sizes.append((log_end(c) - before) / 10000)
        finally:
            system.stop()
    theirs = f"{sizes[1]:,.1f}" if apache else "–"
    return ["bytes of the log per message of 1 KiB", f"{sizes[0]:,.1f}", theirs, f"{sizes[0] / sizes[1]:.3f}×" if apache else "–", "the same",
            not apache or abs(sizes[0] - sizes[1]) < 0.5]


def log_end(client):
    return int(json.loads(client.need(28).body)["table"]["commitLogMaxOffset"])


ROWS = [("store: start after kill", row_start), ("store: 200,000 queues", row_queues), ("store: new beside old", row_cold),
        ("store: syncs", row_sync), ("store: bytes", row_bytes)]


def run(ours, apache, opt):
    lines = []
    for name, row in ROWS:
        if opt.only and not re.search(opt.only, name):
            continue
        print(name, file=sys.stderr, flush=True)
        *cells, good = row(ours, apache, opt)
        lines.append("| " + " | ".join([*cells, "yes" if good else "**no**"]) + " |")
    return lines
