"""A supervisor with fake workers (t/sys/fakes.c) in a temporary folder, for tests of the supervisor alone."""

import os
import re
import shutil
import signal
import subprocess
import tempfile

import rmq

BINARY = os.environ.get("RMQ_FAKE_SUPERVISOR") or os.path.join(rmq.BUILD, "t", "sys", "fakesupervisor")
NODE_ROLES = ["broker-store", "flush", "ha", "clean", "warm"]


class Supervisor:
    def __init__(self, fakes="", spec_more="", broker_more="", second_broker=""):
        self.dir = tempfile.mkdtemp(prefix="rmq-master-", dir=os.environ.get("TMPDIR", "/tmp"))
        base = rmq.free_ports(16)
        self.ns_port, self.console_port, self.port, self.port2 = base, base + 1, base + 4, base + 10
        self.spec = os.path.join(self.dir, "c.yaml")
        self.data = os.path.join(self.dir, "data")
        self.fakes, self.proc, self.more = fakes, None, spec_more
        self.broker_more, self.second_broker = broker_more, second_broker
        self.write_spec()

    def write_spec(self):
        second = self.second_broker.format(c=self)
        with open(self.spec, "w") as f:
            f.write(f"dir: {self.data}\n"
                    f"namesrv:\n  - {{ listenPort: {self.ns_port}, bindAddress: 127.0.0.1 }}\n"
                    f"brokers:\n  - brokerName: broker-a\n    listenPort: {self.port}\n    bindAddress: 127.0.0.1\n"
                    f"{self.broker_more.format(c=self)}{second}"
                    f"console: {{ listen: \"127.0.0.1:{self.console_port}\" }}\n{self.more.format(c=self)}")

    def command(self, *args):
        return [BINARY, "-f", self.spec, *args]

    def run(self, *args, env=None):
        """To its end: exit status, what it wrote."""
        p = subprocess.run(self.command(*args), capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                           env={**os.environ, "FAKES": self.fakes, **(env or {})})
        return p.returncode, p.stdout + p.stderr

    def start(self, *args, wait=True, env=None):
        self.out = open(os.path.join(self.dir, "out"), "ab")
        self.proc = subprocess.Popen(self.command(*args), stdout=self.out, stderr=self.out, stdin=subprocess.DEVNULL,
                                     env={**os.environ, "FAKES": self.fakes, **(env or {})})
        if wait:
            self.wait_for(r"^ready in \d+ ms: ")
        return self

    def output(self):
        with open(os.path.join(self.dir, "out"), errors="replace") as f:
            return f.read()

    def wait_for(self, pattern, count=1, timeout=20):
        """Waits until the output has `count` matches; the last one."""
        def look():
            found = list(re.finditer(pattern, self.output(), re.M))
            return found if len(found) >= count else None
        try:
            return rmq.until(f"`{pattern}` in the output", look, timeout)[-1]
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.output()}") from None

    def pids(self):
        """Its workers by name, as /proc shows them: {"broker-a-0 flush": pid}."""
        out = {}
        try:
            with open(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children") as f:
                children = f.read().split()
        except FileNotFoundError:
            children = [p for p in os.listdir("/proc") if p.isdigit() and parent(p) == self.proc.pid]
        for pid in children:
            title = title_of(pid)
            if title.startswith("rmqsupervisor: "):
                out[title[len("rmqsupervisor: "):]] = int(pid)
        return out

    def wait_pids(self, check, what):
        return rmq.until(what, lambda: (lambda p: p if check(p) else None)(self.pids()))

    def stop(self, sig=signal.SIGTERM):
        self.proc.send_signal(sig)
        return self.wait()

    def wait(self, timeout=30):
        status = self.proc.wait(timeout)
        self.out.close()
        self.proc = None
        return status

    def close(self):
        if self.proc is not None:
            pids = self.pids().values()
            self.proc.kill()
            self.proc.wait()
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.out.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def title_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().rstrip(b"\0").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return int(f.read().rsplit(")", 1)[1].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def gone(pid):
    """Ended, whether or not somebody has asked for its status."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
