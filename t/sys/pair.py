"""A master and its slave under one supervisor, and producers that go where the name server says: for tests of failover.

The ledger: what was acknowledged, queue by queue, at which offset. After whatever was done to the brokers, each of it must be
there, once, at its offset, and in the order in which it was sent.
"""

import os
import signal
import subprocess
import threading
import time

import json

import rmq
from rmq import Client, Cluster, RemotingError, until

NODES = ("broker-a-0", "broker-a-1")
GROUP = ("broker-store", "flush", "ha")
TOPIC, QUEUES = "Load", 4

SPEC = """cluster: DefaultCluster
dir: {c.dir}/data
namesrv:
  - {{ listenPort: {c.ns_port}, bindAddress: 127.0.0.1 }}
defaults: {c.defaults}
brokers:
  - {{ brokerName: broker-a, brokerRole: {c.role}, listenPort: {c.port}, bindAddress: 127.0.0.1 }}
  - {{ brokerName: broker-a, brokerId: 1, brokerRole: SLAVE, listenPort: {c.slave_port}, bindAddress: 127.0.0.1 }}
console: {{ listen: "127.0.0.1:{c.console_port}" }}
failover: {c.failover}
"""


class Pair(Cluster):
    def __init__(self, role="SYNC_MASTER", failover=None, conf=None, env=None):
        self.role, self.failover = role, json.dumps(failover or {"mode": "local", "restarts": 0})
        self.defaults = json.dumps({"mappedFileSizeCommitLog": 1 << 20, "maxIndexNum": 100000, "maxHashSlotNum": 20000,
                                    "inSyncReplicas": 2, "minInSyncReplicas": 1, "enableAutoInSyncReplicas": True, **(conf or {})})
        self.slave_port = rmq.free_ports(8) + 4
        super().__init__(spec=SPEC, env=env)

    def nodes(self):
        return {n["name"]: n for n in self.status()["nodes"]}

    def master(self):
        """Name of the node that is master now."""
        return self.status()["failover"][0]["master"]

    def slave(self):
        return NODES[1 - NODES.index(self.master())]

    def pids_of(self, node, roles=GROUP):
        """Its running workers of those roles; waits for those that are just being started."""
        def look():
            found = {w["name"]: w["pid"] for w in self.status()["workers"]}
            return [found[f"{node}/{r}"] for r in roles] if all(found[f"{node}/{r}"] > 0 for r in roles) else None
        return until(f"all of {node}'s workers", look)

    def signal(self, node, sig=signal.SIGKILL, roles=GROUP):
        pids = self.pids_of(node, roles)
        for pid in pids:
            os.kill(pid, sig)
        return pids

    def in_sync(self):
        """The slave follows and has all that the master has; the master counts it."""
        def look():
            nodes, master = self.nodes(), self.master()
            m, s = nodes[master], nodes[NODES[1 - NODES.index(master)]]
            return m["state"] == s["state"] == "running" and m["slavesInSync"] == 1 and m["epoch"] == s["epoch"]
        return until("master and slave in sync", look, 30)

    def at_rest(self):
        """As in_sync, with nobody writing: both ends are the same."""
        def look():
            ends = {(n["positions"]["appended"], n["positions"]["dispatched"]) for n in self.nodes().values()}
            return len(ends) == 1
        self.in_sync()
        return until("the slave has all, and dispatched it", look, 30)

    def switch(self, node):
        """By hand, as an operator does it; waits for its end."""
        p = subprocess.run([self.binary, "-f", self.spec_path, "--switch", node], capture_output=True, text=True, timeout=60)
        return p.returncode, p.stdout + p.stderr

    def route(self, topic=TOPIC):
        with Client(self.ns, timeout=2) as ns:
            return json.loads(ns.need(105, {"topic": topic}).body)["brokerDatas"][0]["brokerAddrs"]

    def client(self):
        """To the master, where the name server says it is."""
        return Client(until("a route to the master", lambda: self.route("TBW102").get("0")))

    def store(self, node=NODES[0]):
        return os.path.join(self.dir, "data", node, "store")

    def log_bytes(self, node, end):
        folder = os.path.join(self.store(node), "commitlog")
        out = b""
        for name in sorted(n for n in os.listdir(folder) if n.isdigit()):
            with open(os.path.join(folder, name), "rb") as f:
                out += f.read(max(0, end - int(name)))
        return out

    def logs_differ_at(self, end=None):
        """Compares the logs up to what is replicated; None, or the first offset that differs."""
        if end is None:
            end = self.nodes()[self.master()]["positions"]["replicated"]
        # what the master acknowledged while it was alone counts as replicated, too
        until("the slave has what is replicated", lambda: self.nodes()[self.slave()]["positions"]["appended"] >= end)
        a, b = (self.log_bytes(n, end) for n in NODES)
        if a == b and len(a) >= end:
            return None
        return next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))


class Producer(threading.Thread):
    """Keeps `depth` sends in flight on one queue; asks for the route without pause when it has lost the master."""

    def __init__(self, pair, queue, depth=8):
        super().__init__(daemon=True)
        self.pair, self.queue, self.depth = pair, queue, depth
        self.acked, self.refused = {}, {}
        self.serial, self.done = 0, False
        self.last, self.gap = time.monotonic(), 0.0

    def run(self):
        while not self.done:
            try:
                with Client(self.pair.ns, timeout=2) as ns:
                    self.follow(ns)
            except (OSError, RemotingError, ValueError):
                continue

    def follow(self, ns):
        address = json.loads(ns.need(105, {"topic": TOPIC}).body)["brokerDatas"][0]["brokerAddrs"].get("0")
        if address is not None:
            with Client(address, timeout=1) as c:
                self.pump(c)

    def pump(self, c):
        flying = {}
        while not self.done or flying:
            while len(flying) < self.depth and not self.done:
                self.serial += 1
                body = b"%d-%d" % (self.queue, self.serial)
                flying[c.post_send(TOPIC, body, self.queue, {"KEYS": "k%d" % self.serial})] = body
            frame = c.read_frame()
            body = flying.pop(frame.opaque)
            if frame.code != 0:
                self.refused[frame.code] = (self.refused.get(frame.code, (0, ""))[0] + 1, frame.remark)
                if frame.code in (1, 2, 14, 16):
                    return  # not here: ask for the route again
                continue
            self.acked[int(frame.ext["queueOffset"])] = body
            now = time.monotonic()
            self.gap = max(self.gap, now - self.last)
            self.last = now


class Load:
    """Producers on all queues while the block runs."""

    def __init__(self, pair, queues=QUEUES, depth=8):
        self.pair = pair
        with pair.client() as c:
            c.create_topic(TOPIC, QUEUES)
        self.producers = [Producer(pair, q, depth) for q in range(queues)]

    def __enter__(self):
        for p in self.producers:
            p.start()
        self.more(20)
        self.forget_gaps()
        return self

    def __exit__(self, *_):
        for p in self.producers:
            p.done = True
        for p in self.producers:
            p.join(30)

    def forget_gaps(self):
        for p in self.producers:
            p.gap, p.last = 0.0, time.monotonic()

    def gap(self):
        return max(p.gap for p in self.producers)

    def more(self, n, timeout=30):
        """Waits until each producer has got n further acknowledgements."""
        start = [len(p.acked) for p in self.producers]
        try:
            until(f"{n} more acknowledged sends on each queue",
                  lambda: all(len(p.acked) >= s + n for p, s in zip(self.producers, start)), timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}; route {self.pair.route()}, refused {[p.refused for p in self.producers]}, "
                                 f"{json.dumps(self.pair.nodes())}\n{self.pair.output()}") from None


def check_ledger(test, pair, producers, lost=False):
    """Each acknowledged message is in its queue at its offset, no hole, none twice, in order."""
    with pair.client() as c:
        for p in producers:
            got = until("all that was acknowledged can be pulled",
                        lambda p=p: (lambda g: g if len(g) > max(p.acked) else None)(c.pull_queue(TOPIC, p.queue)))
            test.assertEqual([m["offset"] for m in got], list(range(len(got))), f"queue {p.queue} has holes")
            wrong = [(o, b, got[o]["body"]) for o, b in p.acked.items() if got[o]["body"] != b]
            test.assertEqual(wrong[:3], [], f"queue {p.queue}: {len(wrong)} of {len(p.acked)} acknowledged messages are not there")
            serials = [int(m["body"].split(b"-")[1]) for m in got]
            test.assertEqual(serials, sorted(set(serials)), f"queue {p.queue} has lost its order or has messages twice")
