"""Several hosts on one machine, for specs of several: network namespaces where we may make them, else loopback addresses.

With namespaces a spec runs as it stands in etc/, but for `dir`: its ports are free in each, and its host names are in the
namespaces' hosts files. Without (no root, no ip, RMQ_NO_NETNS=1), each host is a 127.0.0.x and the ports are free ones.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request

import rmq
from rmq import until


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=20)


class Namespaces:
    """A bridge with us and each host on it. Everything that was made is taken away by close()."""

    def __init__(self, names):
        self.id = f"{os.getpid() % 10000}"
        self.net = f"10.231.{os.getpid() % 250}"
        self.bridge = "rq" + self.id
        self.names, self.made = names, []
        self.addresses = {n: f"{self.net}.{i + 1}" for i, n in enumerate(names)}
        try:
            ip("link", "add", self.bridge, "type", "bridge")
            ip("addr", "add", f"{self.net}.254/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            for i, name in enumerate(names):
                self.add(name, i)
        except (OSError, subprocess.SubprocessError):
            self.close()
            raise

    def space(self, name):
        return f"rmq{self.id}{name}"

    def add(self, name, i):
        space, outer, inner = self.space(name), f"rq{self.id}o{i}", f"rq{self.id}i{i}"
        ip("netns", "add", space)
        self.made.append(space)
        ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        ip("link", "set", inner, "netns", space)
        ip("link", "set", outer, "master", self.bridge, "up")
        ip("-n", space, "addr", "add", self.addresses[name] + "/24", "dev", inner)
        ip("-n", space, "link", "set", inner, "up")
        ip("-n", space, "link", "set", "lo", "up")
        os.makedirs(f"/etc/netns/{space}", exist_ok=True)
        with open(f"/etc/netns/{space}/hosts", "w") as f:
            f.write("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in self.addresses.items()))

    def cable(self, name, plugged):
        """Pulls the host's network cable, or puts it back."""
        ip("link", "set", f"rq{self.id}o{self.names.index(name)}", "up" if plugged else "down")

    def command(self, name):
        return ["ip", "netns", "exec", self.space(name)]

    def rewrite(self, text):
        return text.replace('"127.0.0.1:9877"', '"0.0.0.0:9877"')  # we look at it from outside

    def address(self, name, port):
        return f"{self.addresses[name]}:{port}"

    def close(self):
        for space in self.made:
            subprocess.run(["ip", "netns", "del", space], capture_output=True)
            shutil.rmtree(f"/etc/netns/{space}", ignore_errors=True)
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True)


class Loopback:
    def __init__(self, names):
        self.names = names
        self.addresses = {n: f"127.0.0.{i + 1}" for i, n in enumerate(names)}
        self.base = rmq.free_ports(64)
        self.ports = {}

    def command(self, _name):
        return []

    def port(self, port):
        """The free one that stands for it; 16 apart, since a broker takes its neighbours, too."""
        return self.ports.setdefault(int(port), self.base + 2 + 16 * len(self.ports))

    def rewrite(self, text):
        text = re.sub(r"(listenPort: |127\.0\.0\.1:)(\d+)", lambda m: m[1] + str(self.port(m[2])), text)
        text = re.sub(r"\{ host: (\w+),", lambda m: f"{{ host: {m[1]}, bindAddress: {self.addresses[m[1]]},", text)
        return re.sub(r"\{ (listenPort|brokerName)", r"{ bindAddress: 127.0.0.1, \1", text)

    def address(self, name, port):
        return f"{self.addresses[name]}:{self.port(port)}"

    def close(self):
        pass


def make_net(names):
    if os.geteuid() == 0 and shutil.which("ip") and not os.environ.get("RMQ_NO_NETNS"):
        try:
            return Namespaces(names)
        except (OSError, subprocess.SubprocessError):
            pass  # a container that may not
    return Loopback(names)


class Host:
    """One supervisor: its part of the spec."""

    def __init__(self, hosts, name):
        self.hosts, self.name, self.proc = hosts, name, None
        self.dir = os.path.join(hosts.dir, name)
        os.makedirs(self.dir)
        self.spec = os.path.join(self.dir, "cluster.yaml")
        text = hosts.net.rewrite(hosts.text).replace("/var/lib/rmqsupervisor", os.path.join(self.dir, "data"))
        text = text.replace("/etc/rmqsupervisor", self.dir)
        if not isinstance(hosts.net, Namespaces):
            # one console for each host on one machine
            text = re.sub(r'listen: "[\d.]+:(\d+)"', lambda m: f'listen: "{hosts.net.addresses[name]}:{m[1]}"', text)
        with open(self.spec, "w") as f:
            f.write(text)

    def args(self):
        return [*self.hosts.net.command(self.name), hosts_binary(), "-f", self.spec] + (
            ["--host", self.name] if self.hosts.named else [])

    def start(self):
        self.out = open(os.path.join(self.dir, "out"), "ab")
        self.proc = subprocess.Popen(self.args(), stdout=self.out, stderr=self.out, stdin=subprocess.DEVNULL)
        return self

    def ready(self):
        def look():
            if self.proc.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.proc.returncode}:\n{self.output()}")
            return self.get("/healthz").strip() == "ok"
        try:
            until(f"{self.name} ready", look, 30)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.output()}") from None

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.hosts.net.address(self.name, 9877)}{path}", timeout=10) as r:
            return r.read().decode()

    def status(self):
        return json.loads(self.get("/status"))

    def nodes(self):
        return {n["name"]: n for n in self.status()["nodes"]}

    def output(self):
        with open(os.path.join(self.dir, "out"), errors="replace") as f:
            return f.read()[-6000:]

    def lose(self):
        """As if its power went: the supervisor and all workers are killed at once."""
        pids = [w["pid"] for w in self.status()["workers"] if w["pid"] > 0]
        self.proc.kill()
        self.proc.wait()
        for pid in pids:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        self.out.close()
        self.proc = None

    def stop(self):
        if self.proc is None:
            return None
        if self.proc.poll() is None:
            self.proc.terminate()
        try:
            status = self.proc.wait(40)
        except subprocess.TimeoutExpired:
            self.lose()
            raise AssertionError(f"{self.name} does not stop:\n{self.output()}") from None
        self.out.close()
        self.proc = None
        return status


def hosts_binary():
    return os.environ.get("RMQ_SUPERVISOR") or os.path.join(rmq.BUILD, "rmqsupervisor")


class Hosts:
    """All hosts of a spec of etc/."""

    def __init__(self, sample, defaults="mappedFileSizeCommitLog: 1048576, maxIndexNum: 100000, maxHashSlotNum: 20000"):
        with open(os.path.join(rmq.TOP, "etc", sample)) as f:
            self.text = f.read()
        if defaults:  # small files: a test machine has no room for twelve logs of the usual size
            inline, block = re.search(r"^defaults: \{ ", self.text, re.M), re.search(r"^defaults:\n", self.text, re.M)
            if inline:
                self.text = self.text.replace("defaults: { ", f"defaults: {{ {defaults}, ", 1)
            elif block:
                lines = "".join(f"  {d}\n" for d in defaults.split(", "))
                self.text = self.text.replace("defaults:\n", "defaults:\n" + lines, 1)
            else:
                self.text = self.text.replace("\nbrokers:\n", f"\ndefaults: {{ {defaults} }}\n\nbrokers:\n", 1)
        names = sorted(set(re.findall(r"^ *- \{ host: (\w+)", self.text, re.M)))
        self.named = bool(names)
        self.dir = tempfile.mkdtemp(prefix="rmq-", dir=os.environ.get("TMPDIR", "/tmp"))
        self.net = make_net(names or ["node1"]) if names else Loopback(["node1"])
        self.hosts = {n: Host(self, n) for n in names or ["node1"]}

    def __getitem__(self, name):
        return self.hosts[name]

    def start(self):
        for h in self.hosts.values():
            h.start()
        for h in self.hosts.values():
            h.ready()
        return self

    def client(self, name, port):
        return rmq.Client(self.net.address(name, port))

    def close(self):
        try:
            for h in self.hosts.values():
                h.stop()
        finally:
            self.net.close()
            if os.environ.get("RMQ_KEEP"):
                print("kept:", self.dir)
            else:
                shutil.rmtree(self.dir, ignore_errors=True)
