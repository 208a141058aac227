#!/usr/bin/env python3
"""Replication between two of ours: a master and a slave under supervisors of their own, with a relay between them that can hold,
cut and damage the connection. After whatever was done, both logs are the same, byte for byte.

RMQ_REPLICATION_MB: how far behind the slave of the catch-up test is (12).
"""

import os
import signal
import socket
import threading
import time
import unittest

import rmq
import shim
from rmq import Cluster, until

SEGMENT = 1 << 20
BEHIND_MB = int(os.environ.get("RMQ_REPLICATION_MB", "12"))
OK, FLUSH_SLAVE_TIMEOUT, SLAVE_NOT_AVAILABLE = 0, 12, 11

MASTER = """cluster: DefaultCluster
dir: {c.dir}/data
namesrv:
  - {{ listenPort: {c.ns_port}, bindAddress: 127.0.0.1 }}
brokers:
  - brokerName: broker-a
    brokerRole: {c.role}
    listenPort: {c.port}
    bindAddress: 127.0.0.1
    mappedFileSizeCommitLog: {c.segment}
    maxIndexNum: 100000
    maxHashSlotNum: 20000
    slaveTimeout: 1000
{c.more}console: {{ listen: "127.0.0.1:{c.console_port}" }}
"""
SLAVE = """cluster: DefaultCluster
dir: {c.dir}/data
brokers:
  - brokerName: broker-a
    brokerId: 1
    brokerRole: SLAVE
    listenPort: {c.port}
    bindAddress: 127.0.0.1
    namesrvAddr: {c.ns_addr}
    haMasterAddress: 127.0.0.1:{c.relay}
    mappedFileSizeCommitLog: {c.segment}
    maxIndexNum: 100000
    maxHashSlotNum: 20000
    slaveReadEnable: true
{c.more}console: {{ listen: "127.0.0.1:{c.console_port}" }}
"""


def lines(more):
    return "".join(f"    {k}: {v}\n" for k, v in (more or {}).items())


class Master(Cluster):
    def __init__(self, role="SYNC_MASTER", more=None, segment=SEGMENT):
        self.role, self.more, self.segment = role, lines(more), segment
        super().__init__(spec=MASTER)


class Slave(shim.ShimCluster):
    """Its workers' file operations can be made to fail, where no sanitizer is in the way."""

    def __init__(self, master, relay, more=None):
        self.ns_addr, self.relay, self.more, self.segment = master.ns, relay, lines(more), master.segment
        super().__init__(spec=SLAVE)
        if shim.sanitized():
            self.env.pop("LD_PRELOAD")

    def store(self):
        return os.path.join(self.dir, "data", "broker-a-1", "store")


class Relay:
    """Between slave and master. damage, cut: at that many bytes from now on the way to the slave; held: nothing passes."""

    def __init__(self, port):
        self.to, self.cuts, self.damages = port, 0, 0
        self.cut = self.damage = None
        self.held = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                slave, _ = self.listener.accept()
            except OSError:
                return
            try:
                master = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                slave.close()
                continue
            for s in (slave, master):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs.append((slave, master))
            threading.Thread(target=self.pump, args=(slave, master, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(master, slave, True), daemon=True).start()

    def tamper(self, data):
        """What of these bytes to the slave goes on, and whether the connection ends then."""
        if self.damage is not None:
            if self.damage < len(data):
                data = data[:self.damage] + bytes([data[self.damage] ^ 0x40]) + data[self.damage + 1:]
                self.damage, self.damages = None, self.damages + 1
            else:
                self.damage -= len(data)
        if self.cut is not None:
            if self.cut < len(data):
                data, self.cut, self.cuts = data[:self.cut], None, self.cuts + 1
                return data, True
            self.cut -= len(data)
        return data, False

    def pump(self, source, sink, to_slave):
        end = False
        try:
            while not end and (data := source.recv(65536)):
                while self.held.is_set():
                    time.sleep(0.005)
                if to_slave:
                    data, end = self.tamper(data)
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
        for pair in self.pairs:
            for s in pair:
                s.close()


class Sender(threading.Thread):
    """Sends one message after the other and counts the answers by code, until stop()."""

    def __init__(self, master, size=2000):
        super().__init__(daemon=True)
        self.master, self.size, self.codes, self.done = master, size, {}, False

    def run(self):
        while not self.done:
            try:
                with self.master.client() as c:
                    while not self.done:
                        code = c.answer(c.post_send("T", os.urandom(self.size))).code
                        self.codes[code] = self.codes.get(code, 0) + 1
            except (OSError, rmq.RemotingError, ValueError):
                continue

    def more(self, n, code=OK):
        """Waits for n further answers of that code."""
        have = self.codes.get(code, 0)
        until(f"{n} more answers {code}", lambda: self.codes.get(code, 0) >= have + n, 40)

    def stop(self):
        self.done = True
        self.join(20)


class Replication(unittest.TestCase):
    def master(self, *args, **how):
        m = Master(*args, **how)
        self.addCleanup(m.close)
        m.start()
        with m.client() as c:
            c.create_topic("T", 1)
        return m

    def slave(self, master, more=None, start=True):
        relay = Relay(master.port + 1)
        self.addCleanup(relay.close)
        s = Slave(master, relay.port, more)
        self.addCleanup(s.close)
        if start:
            s.start()
        return s, relay

    def sender(self, master, **how):
        s = Sender(master, **how)
        self.addCleanup(s.stop)
        s.start()
        return s

    def node(self, c):
        return c.status()["nodes"][0]

    def in_sync(self, master, n=1):
        until("the slave is in sync", lambda: self.node(master)["slavesInSync"] == n, 30)

    def fill(self, master, megabytes, size=60000):
        with master.client() as c:
            flying = []
            for i in range(megabytes * (1 << 20) // size):
                flying.append(c.post_send("T", os.urandom(size)))
                if len(flying) == 32:
                    c.answer(flying.pop(0))
            for opaque in flying:
                c.answer(opaque)

    def log(self, c, start, end):
        folder, out = os.path.join(c.store(), "commitlog"), b""
        for name in sorted(n for n in os.listdir(folder) if n.isdigit() and int(n) >= start):
            with open(os.path.join(folder, name), "rb") as f:
                out += f.read(max(0, end - int(name)))
        return out

    def same(self, master, slave):
        """At rest: the slave has, and has dispatched, all that the master has; the bytes are the same."""
        end = self.node(master)["positions"]["appended"]
        try:
            until("the slave has all of it", lambda: self.node(slave)["positions"]["dispatched"] == end, 30)
        except AssertionError as e:
            raise AssertionError(f"{e}; end {end}; {self.node(slave)['positions']} {self.node(slave)['ha']} {self.node(master)['ha']}\n"
                                 f"{slave.output()}") from None
        start = self.node(slave)["positions"]["min"]
        ours, theirs = self.log(slave, start, end), self.log(master, start, end)
        self.assertEqual(len(ours), end - start)
        self.assertTrue(ours == theirs, "the logs differ")
        return end

    def test_an_empty_slave_gets_the_whole_history_and_serves_it(self):
        m = self.master("ASYNC_MASTER")
        self.fill(m, BEHIND_MB)
        s, _ = self.slave(m)
        begun = time.monotonic()
        end = self.same(m, s)
        print(f"{end >> 20} MB behind: the same after {time.monotonic() - begun:.2f} s")
        with m.client() as c:
            count = int(c.need(30, {"topic": "T", "queueId": 0}).ext["offset"])
        with s.client() as c:
            self.assertEqual(len(c.pull_queue("T", 0)), count)
        # what was sent while it was away
        s.stop()
        self.fill(m, 2)
        s.start()
        self.same(m, s)

    def test_a_connection_that_breaks_anywhere_is_gone_on_with(self):
        m = self.master(more={"enableAutoInSyncReplicas": "true"})
        s, relay = self.slave(m)
        self.in_sync(m)
        load = self.sender(m)
        for n in (3, 700, 5001, 40, 1999, 20011):
            cuts, relay.cut = relay.cuts, n
            until("the connection is cut", lambda: relay.cuts > cuts)
            load.more(20)
        load.stop()
        self.assertEqual(set(load.codes), {OK})
        self.same(m, s)

    def test_damaged_bytes_are_refused_wherever_they_are(self):
        m = self.master("ASYNC_MASTER")
        s, relay = self.slave(m)
        self.in_sync(m)
        load = self.sender(m)
        for n in (2, 41, 777, 9000):   # of a head, and of data
            damages, relay.damage = relay.damages, n
            until("bytes are damaged", lambda: relay.damages > damages)
            seen = self.node(s)["positions"]["appended"]
            until("the slave goes on", lambda: self.node(s)["positions"]["appended"] > seen + 20000, 30)
        load.stop()
        self.same(m, s)
        self.assertRegex(s.output(), "damaged on the way|is no frame|of the log on, ours ends at")

    def test_a_slave_that_stands_still_is_said_so_and_catches_up(self):
        m = self.master()
        s, relay = self.slave(m)
        self.in_sync(m)
        with m.client() as c:
            c.send("T", b"x")
            pid = s.kill("ha", signal.SIGSTOP)
            try:
                begun = time.monotonic()
                self.assertEqual(c.answer(c.post_send("T", b"y")).code, FLUSH_SLAVE_TIMEOUT)
                self.assertGreater(time.monotonic() - begun, 0.9)
                until("it is not in sync any more", lambda: self.node(m)["slavesInSync"] == 0)
                begun = time.monotonic()
                self.assertEqual(c.answer(c.post_send("T", b"z")).code, SLAVE_NOT_AVAILABLE)
                self.assertLess(time.monotonic() - begun, 0.5)
                # they were told that it is stored: it is there for consumers
                until("it is shown", lambda: len(c.pull_queue("T", 0)) == 3)
            finally:
                os.kill(pid, signal.SIGCONT)
            self.in_sync(m)
            c.send("T", b"again")
        # half-open: nothing passes, nothing is closed
        relay.held.set()
        with m.client() as c:
            self.assertEqual(c.answer(c.post_send("T", b"y")).code, FLUSH_SLAVE_TIMEOUT)
        relay.held.clear()
        self.in_sync(m)
        self.same(m, s)

    def test_any_worker_on_either_side_may_be_killed_under_load(self):
        m = self.master(more={"enableAutoInSyncReplicas": "true"})
        s, _ = self.slave(m)
        self.in_sync(m)
        load = self.sender(m)
        load.more(50)
        for side, role in ((s, "ha"), (m, "ha"), (s, "broker"), (m, "broker"), (s, "flush"), (m, "flush"), (s, "ha"), (m, "ha")):
            old = side.kill(role)
            until("it is started again", lambda: side.pid(role) != old)
            self.in_sync(m)
            load.more(30)
        m.kill_all()
        s.kill_all()
        m.start()
        s.start()
        self.in_sync(m)
        load.more(30)
        load.stop()
        self.assertTrue(set(load.codes) <= {OK, 1, 10, 14}, load.codes)
        end = self.same(m, s)
        with s.client() as c:   # all that was acknowledged, and what died on its way to the client
            self.assertGreaterEqual(len(c.pull_queue("T", 0)), load.codes[OK])
        self.assertGreater(end, 0)

    def test_a_slave_that_is_ahead_is_refused_and_keeps_its_store(self):
        m = self.master("ASYNC_MASTER")
        s, _ = self.slave(m)
        self.fill(m, 1)
        end = self.same(m, s)
        m.stop()
        os.rename(m.store(), m.store() + ".lost")
        m.start()
        with m.client() as c:
            c.create_topic("T", 1)
            c.send("T", b"another history")
        until("the refusal is said", lambda: "nobody can tell which end is right" in s.output(), 30)
        self.assertEqual(self.node(s)["positions"]["appended"], end)
        self.assertEqual(self.node(m)["slaves"], 0)
        # nor is one followed whose log is longer, but not the same
        self.fill(m, 2)
        until("the difference is said", lambda: "are not the master's" in s.output(), 30)
        self.assertEqual(self.node(s)["positions"]["appended"], end)

    def test_a_slave_below_the_masters_first_byte_begins_anew(self):
        m = self.master("ASYNC_MASTER")
        s, _ = self.slave(m)
        self.fill(m, 1)
        self.same(m, s)
        s.stop()
        self.fill(m, 4)
        m.stop()
        for n in range(3):   # as if they had expired
            os.unlink(os.path.join(m.store(), "commitlog", f"{n * SEGMENT:020d}"))
        m.start()
        s.start(wait=False)
        until("it begins where the master does", lambda: self.node(s)["positions"]["min"] == 3 * SEGMENT, 30)
        self.same(m, s)
        self.assertIn("removed as expired", s.output())
        self.fill(m, 1)
        self.same(m, s)

    @unittest.skipIf(shim.sanitized(), "the sanitizers do not go with the shim")
    def test_a_full_disk_of_the_slave_stops_only_the_slave_and_only_as_long_as_it_is_full(self):
        m = self.master(more={"enableAutoInSyncReplicas": "true"})
        s, _ = self.slave(m)
        self.in_sync(m)
        s.rules("fallocate commitlog/0 ENOSPC", "create commitlog/0 ENOSPC")
        self.fill(m, 3)
        until("it says that it stands still", lambda: "the copy of the log stands still" in s.output(), 20)
        until("it is not counted", lambda: self.node(m)["slaves"] == 0)
        with m.client() as c:
            c.send("T", b"x")   # answered OK; enableAutoInSyncReplicas: alone
        s.rules()
        self.in_sync(m)
        self.same(m, s)
        self.assertIn("there is space again", s.output())

    def test_flow_control_keeps_the_rate(self):
        m = self.master("ASYNC_MASTER", more={"haFlowControlEnable": "true", "maxHaTransferByteInSecond": 1 << 20})
        self.fill(m, 3)
        begun = time.monotonic()
        s, _ = self.slave(m)
        self.same(m, s)
        self.assertGreater(time.monotonic() - begun, 2.0)

    def test_three_copies_need_both_slaves(self):
        m = self.master(more={"inSyncReplicas": 3})
        one, _ = self.slave(m)
        self.in_sync(m)
        with m.client() as c:
            self.assertEqual(c.answer(c.post_send("T", b"x")).code, SLAVE_NOT_AVAILABLE)
        two, _ = self.slave(m, start=False)
        with open(two.spec_path) as f:
            text = f.read().replace("brokerId: 1\n", "brokerId: 2\n")
        with open(two.spec_path, "w") as f:
            f.write(text)
        two.start()
        self.in_sync(m, 2)
        with m.client() as c:
            c.send("T", b"y")
        self.same(m, one)


if __name__ == "__main__":
    unittest.main(verbosity=2)
