"""The name server as brokers, clients and operators meet it.

Each story is a list of requests. It runs against our name server and is checked here; with RMQ_PEER_NAMESRV=host:port (a
running original, freshly started) it also runs there, and the answers must be the same.
"""

import json
import os
import re
import time
import unittest
import zlib

import rmq
from rmq import Client, Cluster, until

SPEC = """cluster: DefaultCluster
dir: {c.dir}/data
namesrv:
  - {{ listenPort: {c.ns_port}, bindAddress: 127.0.0.1, scanNotActiveBrokerInterval: 100 }}
console: {{ listen: "127.0.0.1:{c.console_port}" }}
"""


def relaxed(body):
    """A body as Python sees it, whether number keys are quoted or not."""
    if not body:
        return None
    text = re.sub(rb"([{,])(-?\d+):", rb'\1"\2":', body)
    try:
        return json.loads(text)
    except ValueError:
        return body


def in_order(value):
    """Java's hash maps have no order, nor have lists of names made from them."""
    if isinstance(value, dict):
        return {k: in_order(v) for k, v in value.items()}
    if isinstance(value, list):
        return sorted((in_order(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    return value


def topic(name, read=8, write=8, perm=6, flag=0):
    return {"attributes": {}, "order": False, "perm": perm, "readQueueNums": read, "topicFilterType": "SINGLE_TAG",
            "topicName": name, "topicSysFlag": flag, "writeQueueNums": write}


def version(counter, state=0, timestamp=1700000000000):
    return {"counter": counter, "stateVersion": state, "timestamp": timestamp}


def registration(topics, ver, filters=()):
    return json.dumps({"filterServerList": list(filters), "topicConfigSerializeWrapper": {
        "dataVersion": ver, "mappingDataVersion": version(0), "topicConfigTable": {t["topicName"]: t for t in topics},
        "topicQueueMappingDetailMap": {}, "topicQueueMappingInfoMap": {}}}).encode()


def packed(topics, ver, with_mappings=True):
    def piece(data):
        return len(data).to_bytes(4, "big") + data
    out = piece(json.dumps(ver).encode()) + len(topics).to_bytes(4, "big")
    for t in topics:
        out += piece(f"{t['topicName']} {t['readQueueNums']} {t['writeQueueNums']} {t['perm']} SINGLE_TAG {{}}".encode())
    out += piece(b"[]")
    return zlib.compress(out + (b"\0\0\0\0" if with_mappings else b""))


def broker(name, bid=0, port=10911, cluster="C1", **more):
    return {"brokerName": name, "brokerId": bid, "brokerAddr": f"127.0.0.1:{port}", "clusterName": cluster,
            "haServerAddr": f"127.0.0.1:{port + 1}", "compressed": False, "bodyCrc32": 0, **more}


def who(name, bid=0, port=10911, cluster="C1"):
    return {"brokerName": name, "brokerId": bid, "brokerAddr": f"127.0.0.1:{port}", "clusterName": cluster}


TWO = [topic("TopicA"), topic("TopicB", 4, 2, 7)]
NEW = dict(enableActingMaster=False)


def crc(body):
    return zlib.crc32(body) & 0x7FFFFFFF


# Each step: code, ext, body and, if not 479, the request's version.
ROUTES = [
    (105, {"topic": "TopicA"}),
    (106, {}),
    (206, {}),
    (304, {}),
    (103, broker("b1", **NEW), registration([TWO[0]], version(1))),         # an increment of an unknown broker
    (103, broker("b1", **NEW), registration(TWO, version(1))),
    (105, {"topic": "TopicA"}),
    (105, {"topic": "TopicB"}, b"", 393),
    (105, {"topic": "TopicB", "acceptStandardJsonOnly": True}, b"", 393),
    (105, {"topic": "none"}),
    (106, {}),
    (206, {}),
    (304, {}),
    (322, who("b1"), json.dumps(version(1)).encode()),
    (322, who("b1"), json.dumps(version(2)).encode()),
    (322, who("b9"), json.dumps(version(2)).encode()),
    (322, who("b1")),
    (105, {}),
    (217, {"topic": "TopicA"}),
    (103, broker("b1", 1, 10921, **NEW), registration(TWO, version(7))),     # a slave
    (105, {"topic": "TopicA"}),
    (901, {"clusterName": "C1", "brokerName": "b1"}),
    (901, {"clusterName": "C1", "brokerName": "b9"}),
    (904, who("b1")),
    (904, who("b9")),
    (103, broker("b1", **NEW), registration([topic("TopicC")], version(2))),  # an increment
    (105, {"topic": "TopicC"}),
    (103, broker("b1", **NEW), registration([topic("TopicC", 1), topic("TopicD")], version(2))),  # the same version
    (105, {"topic": "TopicC"}),
    (105, {"topic": "TopicD"}),
    (205, {"brokerName": "b1"}),
    (105, {"topic": "TopicB"}),
    (327, {"brokerName": "b1"}),
    (105, {"topic": "TopicB"}),
    (205, {"brokerName": "b9"}),
    (217, {"topic": "TopicE"}, json.dumps({"queueDatas": [
        {"brokerName": "b1", "perm": 6, "readQueueNums": 3, "writeQueueNums": 3, "topicSysFlag": 0}]}).encode()),
    (105, {"topic": "TopicE"}),
    (217, {"topic": "TopicF"}, json.dumps({"queueDatas": [
        {"brokerName": "b9", "perm": 6, "readQueueNums": 3, "writeQueueNums": 3, "topicSysFlag": 0}]}).encode()),
    (105, {"topic": "TopicF"}),
    (103, broker("b2", 0, 10931, "C2", **NEW), registration([topic("TopicA"), topic("U1", flag=1), topic("U2", flag=2), topic("U3", flag=3)], version(1))),
    (105, {"topic": "TopicA"}),
    (106, {}),
    (206, {}),
    (224, {"cluster": "C2"}),
    (224, {"cluster": "none"}),
    (304, {}),
    (311, {}),
    (312, {}),
    (313, {}),
    (216, {"topic": "TopicA", "clusterName": "C2"}),
    (105, {"topic": "TopicA"}),
    (216, {"topic": "TopicB"}),
    (105, {"topic": "TopicB"}),
    (216, {"topic": "none"}),
    (103, broker("b1", **NEW), registration(TWO, version(2))),                # brings back what it has, at the same version
    (105, {"topic": "TopicB"}),
    (103, broker("b1", **NEW), registration(TWO, version(2))),
    (216, {"topic": "TopicB"}),
    (103, broker("b1", **NEW), registration(TWO, version(2))),                # the same bytes, but the tables have changed
    (105, {"topic": "TopicB"}),
    (104, who("b1")),
    (105, {"topic": "TopicC"}),                                                # the slave is left
    (104, who("b1", 1, 10921)),
    (105, {"topic": "TopicC"}),
    (104, who("b2", 0, 10931, "C2")),
    (106, {}),
    (206, {}),
    (304, {}),
]

FORMS = [
    (103, broker("p1", bodyCrc32=1, **NEW), registration(TWO, version(1))),
    (103, broker("p1", bodyCrc32=crc(registration(TWO, version(1))), **NEW), registration(TWO, version(1))),
    (105, {"topic": "TopicA"}),
    (103, broker("p2", 0, 10941, compressed=True, **NEW), packed(TWO, version(4))),
    (105, {"topic": "TopicB"}),
    (322, who("p2", 0, 10941), json.dumps(version(4)).encode()),
    (103, broker("p3", 0, 10951, compressed=True), packed([topic("TopicX"), topic("TopicY")], version(4), False), 409),
    (105, {"topic": "TopicX"}, b"", 409),
    (103, broker("p4", 0, 10961), json.dumps({"dataVersion": version(3), "topicConfigTable": {t["topicName"]: t for t in TWO}}).encode(), 36),
    (105, {"topic": "TopicB"}),
    (103, broker("p5", 0, 10971)),                                             # no body at all
    (106, {}),
    (104, who("p1")), (104, who("p2", 0, 10941)), (104, who("p3", 0, 10951)), (104, who("p4", 0, 10961)), (104, who("p5", 0, 10971)),
    (206, {}),
]

TAKE_OVER = [
    (103, broker("t1", 0, 10911, **NEW), registration(TWO, version(1, 5))),
    (103, broker("t1", 0, 10921, **NEW), registration(TWO, version(1, 4))),    # older: silently not taken
    (106, {}),
    (103, broker("t1", 0, 10921, **NEW), registration(TWO, version(1, 6))),
    (106, {}),
    (103, broker("t1", 1, 10921, **NEW), registration(TWO, version(1, 6))),    # the same address as a slave
    (106, {}),
    (105, {"topic": "TopicA"}),
    (104, who("t1", 1, 10921)),
    (104, who("t1", 0, 10911)),
    (206, {}),
]

ACTING = [
    (103, broker("a1", 0, 10911, enableActingMaster=True), registration(TWO, version(1))),
    (103, broker("a1", 1, 10921, enableActingMaster=True), registration(TWO, version(1))),
    (103, broker("a1", 2, 10931, enableActingMaster=True, heartbeatTimeoutMillis=60000), registration(TWO, version(1))),
    (104, who("a1", 0, 10911)),
    (105, {"topic": "TopicB"}),
    (318, {}, b"supportActingMaster=true"),
    (105, {"topic": "TopicB"}),
    (103, broker("a1", 1, 10921, enableActingMaster=True), registration(TWO, version(2))),
    (105, {"topic": "TopicB"}),
    (318, {}, b"supportActingMaster=false"),
    (104, who("a1", 1, 10921)),
    (104, who("a1", 2, 10931)),
    (206, {}),
]

KV = [
    (101, {"namespace": "N", "key": "k"}),
    (219, {"namespace": "N"}),
    (100, {"namespace": "N", "key": "k", "value": "v1"}),
    (100, {"namespace": "N", "key": "k2", "value": "gr\u00fc\u00df \"dich\""}),
    (101, {"namespace": "N", "key": "k"}),
    (219, {"namespace": "N"}),
    (102, {"namespace": "N", "key": "k"}),
    (102, {"namespace": "N", "key": "k2"}),
    (102, {"namespace": "none", "key": "k2"}),
    (219, {"namespace": "N"}),
    (100, {"namespace": "ORDER_TOPIC_CONFIG", "key": "TopicA", "value": "o1:4"}),
    (103, broker("o1", **NEW), registration(TWO, version(1))),
    (105, {"topic": "TopicA"}),
    (318, {}, b"orderMessageEnable=true\n"),
    (105, {"topic": "TopicA"}),
    (105, {"topic": "TopicB"}),
    (102, {"namespace": "ORDER_TOPIC_CONFIG", "key": "TopicA"}),
    (105, {"topic": "TopicA"}),
    (318, {}, b"orderMessageEnable=false\n"),
    (104, who("o1")),
]

CONFIG = [
    (318, {}, b"kvConfigPath=/tmp/x\n"),
    (318, {}, b"configBlackList=a\n"),
    (318, {}, b"enableAllTopicList=false\nenableTopicList=false"),
    (206, {}),
    (224, {"cluster": "C1"}),
    (304, {}),
    (311, {}),
    (312, {}),
    (313, {}),
    (318, {}, b"# comment\nenableAllTopicList = true\nenableTopicList:true\nnoSuchKey=1"),
    (206, {}),
    (10, {}),
    (999, {}),
    (200050, {}),
]

STORIES = {"ROUTES": ROUTES, "FORMS": FORMS, "TAKE_OVER": TAKE_OVER, "ACTING": ACTING, "KV": KV, "CONFIG": CONFIG}


def play(client, story):
    """What each step is answered, without what may differ between two runs."""
    seen = []
    for step in story:
        code, ext, body, ver = (*step, *(b"", 479)[len(step) - 2:])
        a = client.ask(code, ext, body, version=ver)
        if code == 104 and a.code == 0:
            time.sleep(0.05 if client.slow else 0)  # the original does it a moment after it has answered
        remark = "" if a.remark == "not set any response code" else a.remark  # what the original forgets to clear
        seen.append((a.code, remark, a.ext, in_order(relaxed(a.body))))
    return seen


def client_of(address, slow=False):
    c = Client(address)
    c.slow = slow
    return c


class NameServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(spec=SPEC).start()
        cls.client = client_of(cls.cluster.ns)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.cluster.close()

    def play(self, name):
        seen = play(self.client, STORIES[name])
        peer = os.environ.get("RMQ_PEER_NAMESRV")
        if peer:
            with client_of(peer, slow=True) as c:
                for step, ours, theirs in zip(STORIES[name], seen, play(c, STORIES[name])):
                    with self.subTest(story=name, step=step[:2]):
                        self.assertEqual(ours, theirs)
        return seen

    def test_brokers_come_change_and_go(self):
        seen = self.play("ROUTES")
        self.assertEqual(seen[0][0], 17)
        self.assertEqual(seen[4][:2], (1, "register broker failed"))
        self.assertEqual(seen[6][3], in_order({
            "brokerDatas": [{"brokerAddrs": {"0": "127.0.0.1:10911"}, "brokerName": "b1", "cluster": "C1", "enableActingMaster": False}],
            "filterServerTable": {},
            "queueDatas": [{"brokerName": "b1", "perm": 6, "readQueueNums": 8, "topicSysFlag": 0, "writeQueueNums": 8}]}))
        self.assertEqual(seen[19][2], {"masterAddr": "127.0.0.1:10911", "haServerAddr": "127.0.0.1:10912"})
        self.assertEqual(seen[-2][3], {"topicList": []})

    def test_a_missing_route_is_explained(self):
        a = self.client.ask(105, {"topic": "X"})
        self.assertEqual((a.code, a.remark), (17, "No topic route info in name server for the topic: X\n"
                                              "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."))

    def test_every_form_of_registration_is_read(self):
        seen = self.play("FORMS")
        self.assertEqual(seen[0][:2], (1, "crc32 not match"))
        self.assertEqual([s[0] for s in seen[1:]], [0] * (len(seen) - 1))

    def test_an_id_goes_to_the_newer_state(self):
        seen = self.play("TAKE_OVER")
        self.assertEqual(seen[2][3]["brokerAddrTable"]["t1"]["brokerAddrs"], {"0": "127.0.0.1:10911"})
        self.assertEqual(seen[4][3]["brokerAddrTable"]["t1"]["brokerAddrs"], {"0": "127.0.0.1:10921"})
        self.assertEqual(seen[6][3]["brokerAddrTable"]["t1"]["brokerAddrs"], {"1": "127.0.0.1:10921"})

    def test_the_smallest_slave_acts_as_master(self):
        seen = self.play("ACTING")
        self.assertEqual(seen[4][3]["brokerDatas"][0]["brokerAddrs"], {"1": "127.0.0.1:10921", "2": "127.0.0.1:10931"})
        self.assertEqual(seen[6][3]["brokerDatas"][0]["brokerAddrs"], {"0": "127.0.0.1:10921", "2": "127.0.0.1:10931"})
        self.assertEqual(seen[6][3]["queueDatas"][0]["perm"], 5)

    def test_keys_and_values_are_kept(self):
        seen = self.play("KV")
        self.assertEqual(seen[4][2], {"value": "v1"})
        self.assertEqual(seen[11][3], {"table": {"TopicA": "o1:4"}})
        self.assertNotIn("orderTopicConf", seen[12][3])
        self.assertEqual(seen[14][3]["orderTopicConf"], "o1:4")

    def test_configuration_is_changed_but_not_all_of_it(self):
        seen = self.play("CONFIG")
        self.assertEqual(seen[0][:2], (16, "Can not update config in black list."))
        self.assertEqual(seen[3][:2], (1, "disable"))
        self.assertEqual([s[0] for s in seen[-3:]], [3, 3, 3])
        a = self.client.need(319)
        self.assertIn(b"enableAllTopicList=true\n", a.body)
        refused = self.client.ask(318, body=b"listenPort=1\nenableAllTopicList=false")
        self.assertEqual(refused.code, 1)
        self.assertIn("listenPort", refused.remark)
        self.assertEqual(self.client.ask(206).code, 0)

    def test_broken_registrations_change_nothing(self):
        for body in (b"{", b"\x78\x9c\x00", b"\x78\x01" + b"\xff" * 100, b"[]", packed(TWO, version(1))[:-9], b"\0\0"):
            self.assertEqual(self.client.ask(103, broker("bad"), body).code, 1)
        for missing in ("brokerName", "brokerAddr", "clusterName", "brokerId"):
            ext = broker("bad")
            del ext[missing]
            self.assertEqual(self.client.ask(103, ext, registration(TWO, version(1))).code, 1)
        self.assertNotIn("bad", self.client.need(106).body.decode())

    def test_a_lost_connection_takes_its_broker_along(self):
        with Client(self.cluster.ns) as first, Client(self.cluster.ns) as last:
            first.need(103, broker("gone"), registration([topic("Gone"), topic("Gone2")], version(1)))
            last.need(103, broker("gone"), registration([topic("Gone"), topic("Gone2")], version(1)))
            first.close()
            self.assertEqual(last.ask(105, {"topic": "Gone"}).code, 0)
            last.close()
        until("route gone", lambda: self.client.ask(105, {"topic": "Gone"}).code == 17)

    def test_a_silent_broker_is_dropped_and_its_connection_closed(self):
        with Client(self.cluster.ns) as b:
            b.need(103, broker("dumb", heartbeatTimeoutMillis=300), registration([topic("Dumb"), topic("Dumb2")], version(1)))
            self.assertEqual(self.client.ask(105, {"topic": "Dumb"}).code, 0)
            until("route gone", lambda: self.client.ask(105, {"topic": "Dumb"}).code == 17)
            with self.assertRaises(ConnectionError):
                b.read_frame()

    def test_the_group_is_told_of_its_smallest_id(self):
        import socket
        heard = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(10)
            port = server.getsockname()[1]
            self.client.need(318, body=b"notifyMinBrokerIdChanged=true")
            self.client.need(103, broker("n1", 0, 10911, enableActingMaster=True), registration(TWO, version(1)))
            self.client.need(103, broker("n1", 1, port, enableActingMaster=True), registration(TWO, version(1)))
            self.client.need(104, who("n1", 0, 10911))
            sock, _ = server.accept()
            listener = Client.__new__(Client)
            listener.sock, listener.have = sock, b""
            sock.settimeout(10)
            length = int.from_bytes(sock.recv(4, socket.MSG_WAITALL), "big")
            head = int.from_bytes(sock.recv(4, socket.MSG_WAITALL), "big") & 0xFFFFFF
            heard = json.loads(sock.recv(head, socket.MSG_WAITALL))
            self.assertEqual(length, 4 + head)
            sock.close()
        self.client.need(104, who("n1", 1, port))
        self.client.need(318, body=b"notifyMinBrokerIdChanged=false")
        self.assertEqual(heard["code"], 905)
        self.assertEqual(heard["flag"] & 2, 2)
        self.assertEqual(heard["extFields"], {"minBrokerId": "1", "brokerName": "n1", "minBrokerAddr": f"127.0.0.1:{port}",
                                              "offlineBrokerAddr": "127.0.0.1:10911"})

    def test_key_values_outlive_a_kill(self):
        self.client.need(100, {"namespace": "KEEP", "key": "a", "value": "1"})
        self.client.need(100, {"namespace": "KEEP", "key": "b", "value": "2"})
        self.cluster.kill("namesrv")

        def again():
            with Client(self.cluster.ns) as c:
                return c.ask(219, {"namespace": "KEEP"})
        a = until("the name server is back", again)
        self.assertEqual(json.loads(a.body), {"table": {"a": "1", "b": "2"}})
        self.client.close()
        type(self).client = client_of(self.cluster.ns)

    def test_status_shows_brokers(self):
        self.client.need(103, broker("shown"), registration(TWO, version(1)))

        def page():
            text = json.dumps(self.cluster.status())
            return "shown" in text and "routeQueries" in text
        until("the status page names the broker", page)
        self.client.need(104, who("shown"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
