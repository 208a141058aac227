"""What peers may do wrong: each gets an error or a closed connection with a logged reason, and others notice nothing."""

import json
import os
import socket
import struct
import unittest

import rmq
from rmq import Client, Cluster, json_frame, until


def frame(header, body=b"", codec=0, header_length=None, total=None):
    length = len(header) if header_length is None else header_length
    return struct.pack(">II", 4 + len(header) + len(body) if total is None else total, codec << 24 | length) + header + body


def request(code=310, **header):
    return json.dumps({"code": code, "flag": 0, "language": "JAVA", "opaque": 1, "version": 479, "extFields": {}, **header}).encode()


BAD_FRAMES = {
    "a length of zero": struct.pack(">I", 0) + b"\0" * 8,
    "a negative length": struct.pack(">i", -5) + b"\0" * 8,
    "a length over the limit": struct.pack(">II", 17 << 20, 10) + b"\0" * 64,
    "a header longer than its frame": frame(request(), header_length=100000),
    "an unknown codec": frame(request(), codec=7),
    "no JSON": frame(b"hello, broker"),
    "JSON that ends too early": frame(request()[:-5]),
    "nesting without end": frame(b'{"code":34,"x":' + b"[" * 100000 + b"]" * 100000 + b"}"),
    "thousands of fields": frame(request(extFields={f"f{i}": "v" for i in range(5000)})),
    "a cut binary header": frame(b"\x01\x36\x00", codec=1),
    "binary lengths beyond the header": frame(struct.pack(">hBhiiii", 310, 0, 479, 1, 0, 0, 1 << 30), codec=1),
    "a TLS hello": b"\x16\x03\x01\x02\x00" + b"\1" * 64,
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().start()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def check_service(self):
        with self.cluster.client() as p:
            p.send("Service", b"still served")

    def targets(self):
        return {"broker": self.cluster.addr, "name server": self.cluster.ns}

    def test_a_bad_frame_closes_its_connection_and_no_other(self):
        for name, address in self.targets().items():
            with Client(address) as bystander:
                for what, data in BAD_FRAMES.items():
                    with self.subTest(server=name, frame=what), Client(address) as c:
                        c.sock.sendall(data)
                        try:
                            got = c.read_frame()
                            self.assertNotEqual(got.code, 0, what)
                        except (ConnectionError, socket.timeout) as e:
                            self.assertIsInstance(e, ConnectionError, f"{what}: neither closed nor answered")
                self.assertNotEqual(bystander.ask(4711).code, 0)
        self.check_service()

    def test_bad_frames_are_logged_with_the_peer(self):
        with Cluster() as own:  # one that has not said its share of such lines yet
            with own.client() as c:
                peer = "%s:%d" % c.sock.getsockname()
                c.sock.sendall(BAD_FRAMES["an unknown codec"])
                self.assertRaises(ConnectionError, c.read_frame)
            until("a line that names the peer", lambda: peer in own.output())

    def test_bad_values_are_answered(self):
        with self.cluster.client() as c:
            for ext in ({}, {"b": "T"}, {"a": "g", "b": "T", "e": "no number"}, {"a": "", "b": "", "e": "99999999999999999999"}):
                self.assertNotEqual(c.ask(310, ext, b"x").code, 0, ext)
            for code in (11, 14, 15, 17, 29, 30, 33, 34, 35, 38, 41, 200, 208, 222, 307):
                self.assertNotEqual(c.ask(code, {}, b"\xff{[").code, None)
        self.check_service()

    def test_every_code_survives_noise_for_a_body(self):
        with open(os.path.join(rmq.TOP, "src/remoting/codes.tbl")) as f:
            codes = [int(line.split(",")[1].split(")")[0]) for line in f if line.startswith("REQUEST_CODE(")]
        noise = [b"", b"\0" * 40, b"\xff" * 40, b"{" * 40, b'{"a":', b"[[[[", b'{"clientID":1}', bytes(range(256))]
        pids = {w["name"]: w["pid"] for w in self.cluster.status()["workers"]}
        ext = {"topic": "T", "consumerGroup": "G", "queueId": "0", "group": "G", "timestamp": "0", "offset": "0"}
        for address in self.targets().values():
            with Client(address) as c:
                asked = [c.post(code, e, body) for code in codes if code not in (11, 361) for e in ({}, ext) for body in noise]
                c.post(4711)
                end = c.opaque
                while c.read_frame().opaque != end:
                    pass
                self.assertTrue(asked)
        self.check_service()
        self.assertEqual(pids, {w["name"]: w["pid"] for w in self.cluster.status()["workers"]}, "a worker was restarted")

    def test_frames_in_single_bytes_are_put_together(self):
        with self.cluster.client() as c:
            for byte in json_frame(json.loads(request(code=4711))):
                c.sock.sendall(bytes([byte]))
            self.assertEqual(c.read_frame().code, 3)

    def test_a_thousand_idle_connections_cost_little_and_hinder_nobody(self):
        idle = []
        try:
            pid = self.cluster.pid("broker")
            before = private_kib(pid)
            for _ in range(1000):
                idle.append(socket.create_connection(("127.0.0.1", self.cluster.port)))
                if len(idle) % 2:   # half of them have begun a frame
                    idle[-1].sendall(struct.pack(">II", 1 << 20, 100))
            self.check_service()
            self.assertLess(private_kib(pid) - before, 16 << 10, "KiB for 1000 idle connections")
        finally:
            for s in idle:
                s.close()
        self.check_service()

    def test_a_peer_that_does_not_read_is_bounded(self):
        with self.cluster.client() as p:
            p.create_topic("Big", 1)
            for _ in range(40):
                p.send("Big", bytes(200_000))
            pid = self.cluster.pid("broker")
            before = private_kib(pid)
            with Client(self.cluster.addr) as slow:
                slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                slow.sock.settimeout(0.5)
                ext = {"consumerGroup": "CG", "topic": "Big", "queueId": 0, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 4,
                       "commitOffset": 0, "suspendTimeoutMillis": 0, "subscription": "*", "subVersion": 0}
                try:
                    for _ in range(2000):
                        slow.post(11, ext)
                except (socket.timeout, ConnectionError, BlockingIOError):
                    pass
                self.check_service()
                self.assertLess(private_kib(pid) - before, 64 << 10, "KiB for one peer that does not read")
        self.check_service()


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith(("Private_Clean", "Private_Dirty")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
