"""Stock clients against clusters of masters and slaves, one master of which is killed and started again in between.

ours:  etc/2m-2s-sync.yaml, each host a loopback address; a host with a master and a slave loses its power.
mixed: etc/mixed-java.yaml with Apache's brokers: its slave follows our master, our slave follows its master; ours is killed -9.
"""

import os
import signal

import hosts
import rmq
from peer import JavaBroker

BEFORE, AFTER = ["core", "order"], ["delay", "tx", "retry"]


def as_yaml(settings):
    return ", ".join(f"{k}: {str(v).lower() if isinstance(v, bool) else v}" for k, v in settings.items())


def registered(ns, name, ids):
    with rmq.Client(ns) as c:
        found = c.need(106).body.decode()
    at = found.find(f'"brokerName":"{name}"')
    block = found[found.rfind('"brokerAddrs"', 0, at):at] if found.rfind('"brokerAddrs"', 0, at) > 0 else found[at:at + 300]
    return all(f'{i}:"' in block or f'"{i}":"' in block for i in ids)


def in_sync(h):
    nodes = {**h["node1"].nodes(), **h["node2"].nodes()}
    return all(nodes[f"broker-{x}-0"]["slavesInSync"] == 1 for x in "ab")


def ours(settings, scenarios):
    os.environ["RMQ_NO_NETNS"] = "1"    # the kit expects to be seen as 127.0.0.1
    h = hosts.Hosts("2m-2s-sync.yaml", as_yaml(settings))
    try:
        h.start()
        rmq.until("both slaves in sync", lambda: in_sync(h), 30)
        ns = ";".join(h.net.address(n, 9876) for n in ("node1", "node2"))
        scenarios("2m-2s-sync", ns, BEFORE)
        h["node1"].lose()
        h["node1"].start().ready()
        rmq.until("both slaves in sync again", lambda: in_sync(h), 60)
        scenarios("2m-2s-sync, a host lost and back", ns, AFTER)
    finally:
        h.close()


class Ours(rmq.Cluster):
    """Our half of mixed-java.yaml, on free ports."""

    def __init__(self, settings):
        self.slave_port = rmq.free_ports(8) + 4
        with open(os.path.join(rmq.TOP, "etc", "mixed-java.yaml")) as f:
            text = f.read().replace("{", "{{").replace("}", "}}")
        for old, new in (("/var/lib/rmqsupervisor", "{c.dir}/data"), ("listenPort: 9876", "listenPort: {c.ns_port}, bindAddress: 127.0.0.1"),
                         ("listenPort: 10911", "listenPort: {c.port}, bindAddress: 127.0.0.1"), ("127.0.0.1:9876", "{c.ns}"),
                         ("listenPort: 11011", "listenPort: {c.slave_port}, bindAddress: 127.0.0.1"),
                         ("127.0.0.1:9877", "127.0.0.1:{c.console_port}"),
                         ("defaults:\n", "defaults:\n" + "".join(f"  {d}\n" for d in as_yaml(settings).split(", ")))):
            assert old in text, old
            text = text.replace(old, new)
        super().__init__(spec=text)


def mixed(peer, settings, scenarios):
    with Ours(settings) as c:
        keys = {"namesrvAddr": c.ns, "slaveReadEnable": True, **settings}
        slave = JavaBroker(peer, c.dir, os.path.join(c.dir, "java-a"), conf={**keys, "brokerId": 1, "brokerRole": "SLAVE"})
        master = JavaBroker(peer, c.dir, os.path.join(c.dir, "java-b"), conf=keys, name="broker-b")
        started = []
        try:
            for broker in (master, slave):
                started.append(broker.start())
            for name in ("broker-a", "broker-b"):
                rmq.until(f"master and slave of {name}", lambda n=name: registered(c.ns, n, (0, 1)), 90)
            scenarios("mixed with Java", c.ns, BEFORE)
            pid = next(w["pid"] for w in c.workers("broker") if w["name"].startswith("broker-a"))
            os.kill(pid, signal.SIGKILL)
            rmq.until("our master is back", lambda: c.healthy() and all(w["pid"] not in (0, pid) for w in c.workers("broker")), 30)
            scenarios("mixed with Java, our master killed and back", c.ns, AFTER)
        finally:
            for broker in started:
                broker.stop()
