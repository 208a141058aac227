#!/usr/bin/env python3
"""A slave beside its master: what it has from it besides the log, what it refuses, and what becomes of commits made at it."""

import json
import os
import socket
import struct
import subprocess
import threading

import rmq
from rmq import Client, Cluster, until

GROUP, TOPIC = "CG", "T1"
NS = """cluster: DefaultCluster
dir: {c.dir}/data
namesrv:
  - {{ listenPort: {c.ns_port}, bindAddress: 127.0.0.1 }}
console: {{ listen: "127.0.0.1:{c.console_port}" }}
"""
NODE = """cluster: DefaultCluster
dir: {c.dir}/data
brokers:
  - brokerName: broker-a
    brokerId: {c.broker_id}
    brokerRole: {c.role}
    listenPort: {c.port}
    bindAddress: 127.0.0.1
    brokerIP1: 127.0.0.1
    namesrvAddr: {c.ns_addr}
    slaveReadEnable: true
    mappedFileSizeCommitLog: 16777216
    maxIndexNum: 100000
    maxHashSlotNum: 20000
console: {{ listen: "127.0.0.1:{c.console_port}" }}
"""


class Node(Cluster):
    """One broker under a supervisor of its own, so that it can go and come back alone."""

    def __init__(self, ns_addr, broker_id):
        self.ns_addr, self.broker_id = ns_addr, broker_id
        self.role = "SLAVE" if broker_id else "ASYNC_MASTER"
        super().__init__(spec=NODE)


def offset(client, queue=0):
    a = client.ask(14, {"consumerGroup": GROUP, "topic": TOPIC, "queueId": queue, "setZeroIfNotFound": "false"})
    return int(a.ext["offset"]) if a.code == 0 else None


def commit(client, value, queue=0):
    client.need(15, {"consumerGroup": GROUP, "topic": TOPIC, "queueId": queue, "commitOffset": value})


def make_group(client):
    client.need(200, body=json.dumps({"groupName": GROUP, "consumeEnable": True}).encode())


def lock(client, who, queue=1):
    body = {"consumerGroup": GROUP, "clientId": who,
            "mqSet": [{"topic": TOPIC, "brokerName": "broker-a", "queueId": queue}]}
    return json.loads(client.need(41, body=json.dumps(body).encode()).body)["lockOKMQSet"]


def topics(client):
    return json.loads(client.need(21).body)["topicConfigTable"]


def route(ns):
    with Client(ns) as c:
        body = c.need(105, {"topic": TOPIC, "acceptStandardJsonOnly": "true"}).body
    return json.loads(body)["brokerDatas"][0]["brokerAddrs"]


# ---- stories

def the_slave_has_what_the_master_has(ns, master, slave):
    with master.client() as m, slave.client() as s:
        m.create_topic(TOPIC, queues=6)
        make_group(m)
        until("the topic is at the slave", lambda: topics(s)[TOPIC]["readQueueNums"] == 6, timeout=5)
        until("the group too", lambda: GROUP in json.loads(s.need(201).body)["subscriptionGroupTable"], timeout=5)
        until("the name server has both", lambda: route(ns.ns) == {"0": master.addr, "1": slave.addr})
        commit(m, 10)
        until("an offset follows", lambda: offset(s) == 10, timeout=5)
        assert lock(m, "A")
        until("a lock follows", lambda: not lock(s, "B"), timeout=5)


def the_slave_refuses_what_writes(master, slave):
    with slave.client() as s:
        refused = s.answer(s.post_send(TOPIC, b"x"))
        assert refused.code == 2 and refused.remark.startswith("[REJECTREQUEST]"), (refused.code, refused.remark)
        again = s.ask(36, {"group": GROUP, "offset": 0, "delayLevel": 0, "originMsgId": "", "originTopic": TOPIC})
        assert again.code == 1 and "no master available" in again.remark, (again.code, again.remark)
        topic = s.ask(17, {"topic": "T2", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6, "defaultTopic": "TBW102",
                           "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False})
        assert topic.code == 1 and "slave" in topic.remark, (topic.code, topic.remark)


def what_is_stored_is_read_at_the_slave(master, slave):
    with master.client() as m, slave.client() as s:
        sent = [b"m%d" % i for i in range(50)]
        for body in sent:
            m.send(TOPIC, body, queue=2)
        until("the slave has them", lambda: s.need(30, {"topic": TOPIC, "queueId": 2}).ext["offset"] == str(len(sent)))
        master.stop()
        until("the slave sees that its master has gone", lambda: s.pull(TOPIC, 2, len(sent)).code == rmq.PULL_NOT_FOUND)
        assert [x["body"] for x in s.pull_queue(TOPIC, 2)] == sent
        commit(s, 60)
        commit(s, 5, queue=3)
    master.start()
    with master.client() as m:
        until("commits flow back", lambda: offset(m) == 60 and offset(m, 3) == 5)


def status_tells_both_sides(master, slave):
    def replication(node):
        return node.status()["nodes"][0]["broker"]["replication"]

    until("the master shows who follows", lambda: [f["brokerId"] for f in replication(master)["followers"]] == [1])
    there = until("the slave shows its master", lambda: replication(slave)["tables"]["master"] == master.addr and replication(slave))
    assert there["role"] == "SLAVE" and there["tables"]["error"] == "", there
    with slave.client() as s:
        ha = json.loads(s.need(907).body)
        assert ha["master"] is False, ha
    with master.client() as m:
        ha = until("and each connection of a slave", lambda: (h := json.loads(m.need(907).body)) and h["haConnectionInfo"] and h)
        assert ha["master"] is True and len(ha["haConnectionInfo"]) == 1, ha

    def ha_rows():
        said = subprocess.run([os.path.join(rmq.BUILD, "rmqadmin"), "haStatus", "-n", master.ns_addr, "-c", "DefaultCluster", "--json"],
                              stdout=subprocess.PIPE, text=True, check=True).stdout
        return [row["status"] for row in json.loads(said)]

    until("rmqadmin shows both ends", lambda: sorted(ha_rows()) == ["OK", "follows"])


# ---- a stock master: knows only the original's requests

class StockMaster(threading.Thread):
    """Answers what a stock master answers a slave; keeps what it was asked and told."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sock = socket.create_server(("127.0.0.1", rmq.free_ports(1)))
        self.addr = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.asked, self.commits, self.offsets = [], [], {"0": 7}

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def body_of(self, code):
        version = '"dataVersion":{"counter":%d,"stateVersion":0,"timestamp":1700000000000}'
        if code == 21:
            return ('{%s,"topicConfigTable":{"%s":{"order":false,"perm":6,"readQueueNums":3,"topicFilterType":"SINGLE_TAG",'
                    '"topicName":"%s","topicSysFlag":0,"writeQueueNums":3}}}' % (version % 9, TOPIC, TOPIC))
        if code == 201:
            return '{%s,"subscriptionGroupTable":{"%s":{"groupName":"%s","retryMaxTimes":4}}}' % (version % 4, GROUP, GROUP)
        if code == 43:
            return '{"offsetTable":{"%s@%s":%s}}' % (TOPIC, GROUP, json.dumps(self.offsets).replace('"', ""))
        if code == 45:
            return '{"offsetTable":{3:17}}'
        if code == 402:
            return '{"messageRequestModeMap":{}}'
        return None

    def serve(self, conn):
        have = b""
        while True:
            more = conn.recv(65536)
            if not more:
                return
            have += more
            while len(have) >= 4 and len(have) >= 4 + struct.unpack(">I", have[:4])[0]:
                total = struct.unpack(">I", have[:4])[0]
                (mark,) = struct.unpack(">I", have[4:8])
                header = json.loads(have[8:8 + (mark & 0xFFFFFF)])
                have = have[4 + total:]
                self.answer(conn, header)

    def answer(self, conn, header):
        code = header["code"]
        self.asked.append(code)
        if code == 15:
            ext = header["extFields"]
            self.commits.append((ext["topic"], ext["consumerGroup"], ext["queueId"], int(ext["commitOffset"])))
            return
        body = self.body_of(code)
        reply = {"code": 0 if body is not None else 3, "flag": 1, "language": "JAVA", "opaque": header["opaque"],
                 "serializeTypeCurrentRPC": "JSON", "version": 479, "extFields": {}}
        conn.sendall(rmq.json_frame(reply, (body or "").encode()))


class FakeNames(StockMaster):
    """A name server that knows one master."""

    def __init__(self, master):
        super().__init__()
        self.master = master

    def answer(self, conn, header):
        ext = {"masterAddr": self.master, "haServerAddr": "127.0.0.1:1"} if header["code"] == 103 else {}
        conn.sendall(rmq.json_frame({"code": 0, "flag": 1, "language": "JAVA", "opaque": header["opaque"],
                                     "serializeTypeCurrentRPC": "JSON", "version": 479, "extFields": ext}))


def a_stock_master_is_followed_by_its_own_requests():
    master = StockMaster()
    names = FakeNames(master.addr)
    master.start()
    names.start()
    with Node(names.addr, 1) as slave:
        with slave.client() as s:
            until("its topics are here", lambda: topics(s).get(TOPIC, {}).get("readQueueNums") == 3)
            until("and offsets", lambda: offset(s) == 7)
            until("and groups", lambda: json.loads(s.need(201).body)["subscriptionGroupTable"][GROUP]["retryMaxTimes"] == 4)
            delay = os.path.join(slave.dir, "data", "broker-a-1", "store", "config", "delayOffset.json")
            until("and how far delayed messages are", lambda: json.load(open(delay))["offsetTable"] == {"3": 17})
            assert 30043 in master.asked and 60 in until("it asks for all", lambda: 60 in master.asked and master.asked)
            commit(s, 9)
            until("a commit made here goes to it", lambda: master.commits == [(TOPIC, GROUP, "0", 9)])
            master.offsets["0"] = 8
            seen = len(master.asked)
            until("another round", lambda: master.asked[seen:].count(43) >= 2)
            assert offset(s) == 9, "an offset never goes back"


def main():
    with Cluster(spec=NS) as ns:
        with Node(ns.ns, 0) as master, Node(ns.ns, 1) as slave:
            the_slave_has_what_the_master_has(ns, master, slave)
            the_slave_refuses_what_writes(master, slave)
            status_tells_both_sides(master, slave)
            what_is_stored_is_read_at_the_slave(master, slave)
    a_stock_master_is_followed_by_its_own_requests()


if __name__ == "__main__":
    main()
