"""What the system tests share: a remoting client in plain Python, and a cluster of real processes in a temporary folder.

Nothing here sleeps for a guessed time: until() looks again and again until something is so, or fails with what it saw last.
"""

import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zlib

TOP = os.environ.get("RMQ_TOP") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("RMQ_BUILD", os.getcwd())

PULL_FOUND, PULL_NOT_FOUND, PULL_RETRY, PULL_MOVED = 0, 19, 20, 21


def until(what, check, timeout=20.0, every=0.005):
    """Calls check() until its answer is true, and returns that; an exception counts as not yet."""
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            last = check()
            if last:
                return last
        except (OSError, RemotingError, ValueError, KeyError) as e:
            last = e
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not so after {timeout:g} s; last seen: {last!r}")
        time.sleep(every)


class RemotingError(Exception):
    def __init__(self, code, remark):
        super().__init__(f"code {code}: {remark}")
        self.code, self.remark = code, remark


class Answer:
    def __init__(self, header, body):
        self.code = header["code"]
        self.ext = header.get("extFields") or {}
        self.remark = header.get("remark") or ""
        self.flag, self.opaque = header["flag"], header["opaque"]
        self.body = body


def json_frame(header, body=b""):
    head = json.dumps(header).encode()
    return struct.pack(">II", 4 + len(head) + len(body), len(head)) + head + body


def binary_frame(code, opaque, ext, body=b"", flag=0, version=479):
    """The ROCKETMQ header codec."""
    fields = b"".join(struct.pack(">h", len(k)) + k + struct.pack(">i", len(v)) + v
                      for k, v in ((k.encode(), str(v).encode()) for k, v in ext.items()))
    head = struct.pack(">hBhiii", code, 0, version, opaque, flag, 0) + struct.pack(">i", len(fields)) + fields
    return struct.pack(">II", 4 + len(head) + len(body), 1 << 24 | len(head)) + head + body


def binary_header(head):
    code, _lang, version, opaque, flag, rlen = struct.unpack(">hBhiii", head[:17])
    remark = head[17:17 + rlen].decode()
    at = 17 + rlen
    (total,) = struct.unpack(">i", head[at:at + 4])
    at += 4
    ext, end = {}, at + total
    while at < end:
        (n,) = struct.unpack(">h", head[at:at + 2])
        key = head[at + 2:at + 2 + n].decode()
        at += 2 + n
        (n,) = struct.unpack(">i", head[at:at + 4])
        ext[key] = head[at + 4:at + 4 + n].decode()
        at += 4 + n
    return {"code": code, "version": version, "opaque": opaque, "flag": flag, "remark": remark, "extFields": ext}


class Client:
    """One connection. Answers are matched by opaque; requests of the server's own are kept in `pushed`."""

    def __init__(self, address, timeout=10.0):
        host, port = address.rsplit(":", 1) if isinstance(address, str) else address
        self.sock = socket.create_connection((host, int(port)), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opaque, self.have, self.pushed, self.early = 0, b"", [], {}

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def post(self, code, ext=None, body=b"", oneway=False, codec="json", version=479):
        self.opaque += 1
        ext = {k: v if isinstance(v, str) else str(v).lower() if isinstance(v, bool) else str(v)
               for k, v in (ext or {}).items()}
        flag = 2 if oneway else 0
        if codec == "json":
            frame = json_frame({"code": code, "extFields": ext, "flag": flag, "language": "JAVA", "opaque": self.opaque,
                                "serializeTypeCurrentRPC": "JSON", "version": version}, body)
        else:
            frame = binary_frame(code, self.opaque, ext, body, flag, version)
        self.sock.sendall(frame)
        return self.opaque

    def read_frame(self):
        while len(self.have) < 8 or len(self.have) < 4 + struct.unpack(">I", self.have[:4])[0]:
            more = self.sock.recv(1 << 18)
            if not more:
                raise ConnectionError("closed by the server")
            self.have += more
        total, mark = struct.unpack(">II", self.have[:8])
        head = self.have[8:8 + (mark & 0xFFFFFF)]
        body = self.have[8 + len(head):4 + total]
        self.have = self.have[4 + total:]
        return Answer(json.loads(head) if mark >> 24 == 0 else binary_header(head), body)

    def answer(self, opaque, timeout=None):
        if timeout is not None:
            self.sock.settimeout(timeout)
        while opaque not in self.early:
            frame = self.read_frame()
            if frame.flag & 1:
                self.early[frame.opaque] = frame
            else:
                self.pushed.append(frame)
        return self.early.pop(opaque)

    def ask(self, code, ext=None, body=b"", codec="json", version=479, timeout=None):
        return self.answer(self.post(code, ext, body, codec=codec, version=version), timeout)

    def need(self, code, ext=None, body=b"", **how):
        """As ask, but any code other than 0 is an error."""
        a = self.ask(code, ext, body, **how)
        if a.code != 0:
            raise RemotingError(a.code, a.remark)
        return a

    # ---- what tests say most

    def post_send(self, topic, body, queue=0, props=None, group="PG", queues=4, **how):
        text = "".join(f"{k}\x01{v}\x02" for k, v in (props or {}).items())
        ext = {"a": group, "b": topic, "c": "TBW102", "d": queues, "e": queue, "f": 0, "g": int(time.time() * 1000),
               "h": 0, "i": text, "j": 0, "k": False, "m": False}
        return self.post(310, ext, body, **how)

    def send(self, topic, body, queue=0, props=None, **how):
        """Sends one message; the answer's ext. Raises RemotingError unless it was stored and acknowledged."""
        a = self.answer(self.post_send(topic, body, queue, props, **how))
        if a.code != 0:
            raise RemotingError(a.code, a.remark)
        return a.ext

    def pull(self, topic, queue, offset, count=32, group="CG", hold_ms=0, sub="*", commit=None):
        ext = {"consumerGroup": group, "topic": topic, "queueId": queue, "queueOffset": offset, "maxMsgNums": count,
               "sysFlag": 4 | (2 if hold_ms else 0) | (1 if commit is not None else 0), "commitOffset": commit or 0,
               "suspendTimeoutMillis": hold_ms, "subscription": sub, "subVersion": 0, "expressionType": "TAG"}
        return self.ask(11, ext, timeout=max(10, hold_ms / 1000 + 10))

    def pull_queue(self, topic, queue, **how):
        """All messages of a queue from its first on."""
        out, offset, before = [], int(self.need(31, {"topic": topic, "queueId": queue}).ext["offset"]), None
        while True:
            a = self.pull(topic, queue, offset, **how)
            if a.code == PULL_RETRY and a.ext["nextBeginOffset"] == a.ext["maxOffset"] == str(offset):
                return out  # a slave that has no more: its master should be asked
            if (a.code, a.ext.get("nextBeginOffset")) == before:
                raise ValueError(f"{topic} {queue}: pulled at {offset} twice, and was sent there again: {a.code} {a.remark} {a.ext}")
            before = (a.code, a.ext.get("nextBeginOffset"))
            if a.code == PULL_FOUND:
                out += messages(a.body)
            elif a.code == PULL_NOT_FOUND:
                return out
            elif a.code not in (PULL_RETRY, PULL_MOVED):
                raise RemotingError(a.code, a.remark)
            offset = int(a.ext["nextBeginOffset"])

    def create_topic(self, topic, queues=4, perm=6):
        self.need(17, {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues,
                       "perm": perm, "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False})


def messages(data):
    """The stored messages of a pull answer."""
    out, at = [], 0
    while at < len(data):
        size, magic, crc, queue, flag, qoff, phys, sysflag, born = struct.unpack(">iIIiiqqiq", data[at:at + 48])
        p = at + 48
        p += 20 if sysflag & 0x10 else 8
        (stored,) = struct.unpack(">q", data[p:p + 8])
        p += 8 + (20 if sysflag & 0x20 else 8)
        reconsume, _prepared, n = struct.unpack(">iqi", data[p:p + 16])
        body = data[p + 16:p + 16 + n]
        p += 16 + n
        width = 1 if magic == 0xDAA320A7 else 2
        n = int.from_bytes(data[p:p + width], "big")
        topic = data[p + width:p + width + n].decode()
        p += width + n
        (n,) = struct.unpack(">h", data[p:p + 2])
        text = data[p + 2:p + 2 + n].decode()
        if p + 2 + n != at + size:
            raise ValueError(f"a message of {size} bytes has {p + 2 + n - at}")
        if body and zlib.crc32(body) & 0x7FFFFFFF != crc:
            raise ValueError(f"wrong CRC at {phys}")
        props = dict(x.split("\x01", 1) for x in text.split("\x02") if "\x01" in x)
        out.append({"topic": topic, "queue": queue, "offset": qoff, "physical": phys, "body": body, "props": props,
                    "flag": flag, "sysflag": sysflag, "born": born, "stored": stored, "reconsume": reconsume,
                    "raw": data[at:at + size]})
        at += size
    return out


# ---- a cluster

def free_ports(count):
    """That many neighbouring free ports below 30000 (the system hands out those above by itself)."""
    for _ in range(200):
        base = random.randrange(10240, 29900 - count)
        held = []
        try:
            for port in range(base, base + count):
                s = socket.socket()
                held.append(s)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for s in held:
                s.close()
    raise RuntimeError("no free ports")


class Cluster:
    """One supervisor in a temporary folder: one name server and one broker unless the spec says more."""

    def __init__(self, conf=None, spec=None, binary=None, env=None):
        self.dir = tempfile.mkdtemp(prefix="rmq-", dir=os.environ.get("TMPDIR", "/tmp"))
        base = free_ports(8)
        self.ns_port, self.console_port, self.port = base, base + 1, base + 4
        self.addr, self.ns = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.ns_port}"
        self.env = env or {}
        self.binary = binary or os.environ.get("RMQ_SUPERVISOR") or os.path.join(BUILD, "rmqsupervisor")
        self.proc, self.args = None, []
        self.conf = {"mappedFileSizeCommitLog": 16 << 20, "maxIndexNum": 100000, "maxHashSlotNum": 20000, **(conf or {})}
        self.spec_path = os.path.join(self.dir, "cluster.yaml")
        self.write_spec(spec)

    def write_spec(self, spec=None):
        keys = "".join(f"    {k}: {json.dumps(v)}\n" for k, v in self.conf.items())
        with open(self.spec_path, "w") as f:
            f.write(spec.format(c=self) if spec else
                    f"cluster: DefaultCluster\ndir: {self.dir}/data\n"
                    f"namesrv:\n  - {{ listenPort: {self.ns_port}, bindAddress: 127.0.0.1 }}\n"
                    f"brokers:\n  - brokerName: broker-a\n    brokerId: 0\n    listenPort: {self.port}\n"
                    f"    bindAddress: 127.0.0.1\n    brokerIP1: 127.0.0.1\n{keys}"
                    f"console: {{ listen: \"127.0.0.1:{self.console_port}\" }}\n")

    # -- life

    def start(self, wait=True):
        self.log = open(os.path.join(self.dir, "stderr"), "ab")
        self.proc = subprocess.Popen([self.binary, "-f", self.spec_path, *self.args], stdout=self.log, stderr=self.log,
                                     stdin=subprocess.DEVNULL, env={**os.environ, **self.env})
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=30):
        def ready():
            if self.proc.poll() is not None:
                raise AssertionError(f"the supervisor ended with {self.proc.returncode}:\n{self.output()}")
            return self.healthy()
        try:
            until("all workers ready", ready, timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.output()}") from None

    def stop(self, timeout=30):
        """SIGTERM, and the exit status."""
        if self.proc is None:
            return None
        if self.proc.poll() is None:
            self.proc.terminate()
        try:
            status = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {timeout} s after SIGTERM:\n{self.output()}") from None
        self.log.close()
        self.proc = None
        return status

    def kill_all(self):
        """kill -9 of the supervisor and all workers at once: as a crash of the machine without loss of the page cache."""
        # the supervisor first, so that nothing is started anew meanwhile; a worker that is just down has no pid
        os.kill(self.proc.pid, signal.SIGSTOP)
        pids = [self.proc.pid] + [w["pid"] for w in self.status()["workers"] if w["pid"] > 0]
        for sig in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
        self.proc.wait()
        for pid in pids[1:]:
            until(f"process {pid} gone", lambda p=pid: not os.path.exists(f"/proc/{p}") or "Z" in open(f"/proc/{p}/stat").read().rsplit(")")[1][:3])
        self.log.close()
        self.proc = None

    def close(self):
        try:
            if self.proc is not None and self.proc.poll() is None:
                self.proc.terminate()
                try:
                    self.proc.wait(20)
                except subprocess.TimeoutExpired:
                    self.proc.kill()
                    self.proc.wait()
        finally:
            if os.environ.get("RMQ_KEEP"):
                print("kept:", self.dir)
            else:
                shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start() if self.proc is None else self

    def __exit__(self, *_):
        self.close()

    # -- looking at it

    def output(self):
        with open(os.path.join(self.dir, "stderr"), errors="replace") as f:
            return f.read()[-8000:]

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.console_port}{path}", timeout=10) as r:
            return r.read().decode()

    def healthy(self):
        try:
            return self.get("/healthz").strip() == "ok"
        except urllib.error.HTTPError as e:
            raise ValueError(e.read().decode()) from None

    def status(self):
        return json.loads(self.get("/status"))

    def workers(self, role):
        return [w for w in self.status()["workers"] if w["role"] in (role, {"broker": "broker-store"}.get(role))]

    def pid(self, role):
        """Of the running worker of that role; waits for it if it is just being started."""
        return until(f"{role} runs", lambda: self.workers(role)[0]["pid"])

    def kill(self, role, sig=signal.SIGKILL):
        """Kills the worker of that role and returns its pid."""
        pid = self.pid(role)
        os.kill(pid, sig)
        return pid

    def client(self):
        return Client(self.addr)

    def store(self):
        return os.path.join(self.dir, "data", "broker-a-0", "store")
