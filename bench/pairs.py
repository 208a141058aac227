"""Rows of bench/run for a master with a slave: how to start such a pair of both systems, and what only ours does.

A row's settings with `pair` start two brokers: {"pair": "SYNC_MASTER"} with inSyncReplicas=2 on both sides, so that an answer stands
for two copies in both.
"""

import os
import re
import signal
import statistics
import sys
import tempfile
import time

import pair
import rmq

SYNC = {"pair": "SYNC_MASTER"}
ASYNC = {"pair": "ASYNC_MASTER"}
ROWS = [
    ("2 copies: 1 KiB, 4 × 64", ["send", "-s", "1024"], SYNC, "msg_s", 3, None),
    ("2 copies: 1 KiB, 1 × 1", ["send", "-s", "1024", "-c", "1", "-i", "1"], SYNC, "msg_s", 2, None),
    # the answer waits for the slave's word, so the replica's delay is within it
    ("2 copies: 1 KiB at 50,000/s", ["send", "-s", "1024", "--rate", "50000"], SYNC, "p99_us", None, ("p99 ms", 2.0)),
    ("slave attached: 1 KiB, 4 × 64", ["send", "-s", "1024"], ASYNC, "msg_s", None, ("p99 ms", 1000)),
]
GB = float(os.environ.get("RMQ_BENCH_GB", "5"))
ROUNDS = 5


def ours(settings, common):
    """A started pair, in sync. settings: the row's, without `pair` afterwards."""
    role = settings.pop("pair")
    return pair.Pair(role=role, failover={"mode": "off"}, conf={**common, "enableAutoInSyncReplicas": False, **settings})


def java_slave(base, store, common, settings):
    """The slave's broker.conf beside a master on base + 4; and what the master's needs."""
    return {"brokerClusterName": "DefaultCluster", "brokerName": "broker-a", "brokerId": 1, "brokerRole": "SLAVE",
            "brokerIP1": "127.0.0.1", "namesrvAddr": f"127.0.0.1:{base}", "listenPort": base + 14, "haListenPort": base + 15,
            "brokerIP2": "127.0.0.1", "storePathRootDir": store,
            "storePathCommitLog": os.path.join(store, "commitlog"), **common, **settings}


def java_master(role, base):
    return {"brokerRole": role, "brokerIP2": "127.0.0.1", "haListenPort": base + 5, "inSyncReplicas": 2}


def wait_two_copies(ns):
    """A send is answered with SEND_OK: the slave is there and has caught up."""
    def sent():
        with rmq.Client(ns) as c:
            brokers = dict(re.findall(r'"?(\d+)"?:"([\d.]+:\d+)"', c.need(106).body.decode()))  # the original's keys have no quotes
        if "1" not in brokers:
            return False
        with rmq.Client(brokers["0"]) as c:
            return c.send("TBW102", b"x")
    rmq.until("a send has two copies", sent, 60, 0.1)


# ---- ours alone

def gaps(hit, failover):
    """Longest time without an acknowledged send, in ms, for each of some losses of the master; a client asks for the route all the time."""
    out = []
    c = pair.Pair(failover=failover)
    try:
        c.start()
        with pair.Load(c, queues=1, depth=1) as load:
            for _ in range(ROUNDS):
                c.in_sync()
                load.more(200)
                load.forget_gaps()
                old = c.master()
                hit(c, old)
                rmq.until("another master", lambda old=old: c.master() not in (old, ""))
                load.more(20)
                out.append(load.gap() * 1000)
    finally:
        c.close()
    return out


def killed():
    return gaps(lambda c, node: c.signal(node), {"mode": "local", "restarts": 0})


def frozen():
    return gaps(lambda c, node: c.signal(node, signal.SIGSTOP), {"mode": "local", "restarts": 0})


def disk_rate(total):
    """Bytes a second of a plain write of as many bytes to the same file system."""
    chunk = bytes(1 << 20)
    fd, path = tempfile.mkstemp(prefix="rmq-bench-")
    try:
        begin = time.monotonic()
        for _ in range(total >> 20):
            os.write(fd, chunk)
        return total / (time.monotonic() - begin)
    finally:
        os.close(fd)
        os.unlink(path)


def slave_from_empty(bench):
    """Percent of what the disk gives."""
    c = pair.Pair(role="ASYNC_MASTER", failover={"mode": "off"}, conf={"mappedFileSizeCommitLog": 1 << 30, "maxIndexNum": 20000000,
                                                                      "maxHashSlotNum": 5000000})
    try:
        both = open(c.spec_path).read()
        with open(c.spec_path, "w") as f:
            f.write("".join(line + "\n" for line in both.splitlines() if "SLAVE" not in line))
        c.start()
        bench(c.ns, ["send", "-t", "BenchEmpty", "-s", "4096", "--count", str(int(GB * (1 << 30) / 4300))], 0, 0)
        end = c.nodes()["broker-a-0"]["positions"]["appended"]
        c.stop()
        with open(c.spec_path, "w") as f:
            f.write(both)
        os.sync()
        begin = time.monotonic()
        c.start(wait=False)
        rmq.until("the slave has all", lambda: c.nodes()["broker-a-1"]["positions"]["appended"] >= end, 600, 0.02)
        rate = end / (time.monotonic() - begin)
    finally:
        c.close()
    plain = disk_rate(end)
    print(f"  slave from empty: {rate / 1e6:,.0f} MB/s, a plain write {plain / 1e6:,.0f} MB/s", file=sys.stderr)
    return [100 * rate / plain]


# name, what to run, unit, what to reach
ALONE = [
    ("failover: master killed, longest gap", lambda bench: killed(), "ms", ("≤", 150)),
    ("failover: master frozen, longest gap", lambda bench: frozen(), "ms", ("≤", 3000)),
    ("slave from empty, of the disk's rate", slave_from_empty, "%", ("≥", 70)),
]


def table(only, bench):
    """The rows that only ours has, as a table; "" if none is asked for."""
    lines = []
    for name, run, unit, (sign, goal) in ALONE:
        if only and not re.search(only, name):
            continue
        print(f"rmqsupervisor {name}", file=sys.stderr, flush=True)
        values = run(bench)
        middle = statistics.median(values)
        good = middle <= goal if sign == "≤" else middle >= goal
        lines.append(f"| {name} | {middle:,.0f} {unit} | {', '.join(f'{v:,.0f}' for v in values)} | {sign} {goal} {unit} | "
                     f"{'yes' if good else '**no**'} |")
    head = "| rmqsupervisor alone | median | each | to reach | reached |\n| --- | --- | --- | --- | --- |\n"
    return head + "\n".join(lines) if lines else ""


def sync_share(results, ours_name):
    """A sentence: how much of its speed with an asynchronous slave ours keeps with two copies."""
    values = [[r["msg_s"] for r in results.get((name, ours_name), [])] for name in (ROWS[0][0], ROWS[3][0])]
    if not all(values):
        return ""
    share = 100 * statistics.median(values[0]) / statistics.median(values[1])
    return f"Two copies keep {share:.0f} % of the speed with an asynchronous slave (to reach: ≥ 60 %)."
