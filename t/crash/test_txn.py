"""Transactions while the broker is killed: at its fault points, by kill -9 with all others, and under load.

What must hold: a committed transaction is delivered exactly once, a rolled back one never, and one that nobody heard the end of is
asked for until it is decided.
"""

import json
import threading
import time
import unittest

import rmq
from rmq import Client, Cluster, RemotingError, until

TOPIC, COMMIT, ROLLBACK = "Paid", 8, 12
CONF = {"transactionTimeOut": 1000, "transactionCheckInterval": 500, "mappedFileSizeCommitLog": 1 << 20}


def key_of(serial):
    return "%032X" % serial


def decision(serial):
    return ROLLBACK if serial % 4 == 3 else COMMIT


class Producer(threading.Thread):
    """Sends half messages one after the other; ends most of them, leaves each fifth to be asked for; answers what it is asked."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.serial, self.asked = 0, 0
        self.acked, self.ended = set(), set()
        self.sending, self.done, self.trouble = True, False, []

    def run(self):
        while not self.done:
            try:
                with Client(self.address, timeout=5) as c:
                    self.serve(c)
            except (OSError, RemotingError) as e:
                self.trouble.append(e)
                time.sleep(0.02)

    def serve(self, c):
        body = json.dumps({"clientID": "p@1", "producerDataSet": [{"groupName": "PG"}], "consumerDataSet": []}).encode()
        c.need(34, {}, body)
        while not self.done:
            if self.sending:
                self.one(c)
            else:
                self.listen(c)
            self.reply(c)

    def one(self, c):
        self.serial += 1
        serial = self.serial
        sent = c.send(TOPIC, b"%d" % serial, 0, {"TRAN_MSG": "true", "PGROUP": "PG", "UNIQ_KEY": key_of(serial)})
        self.acked.add(serial)
        self.reply(c)
        if serial % 5 == 0:
            return
        c.need(37, {"producerGroup": "PG", "tranStateTableOffset": sent["queueOffset"], "commitLogOffset": int(sent["msgId"][16:], 16),
                    "commitOrRollback": decision(serial), "msgId": sent["msgId"], "transactionId": key_of(serial)})
        self.ended.add(serial)

    def listen(self, c):
        c.sock.settimeout(0.1)
        try:
            c.pushed.append(c.read_frame())
        except TimeoutError:
            pass
        c.sock.settimeout(5)

    def reply(self, c):
        while c.pushed:
            f = c.pushed.pop(0)
            if f.code != 39:
                continue
            self.asked += 1
            c.post(37, {"producerGroup": "PG", "tranStateTableOffset": f.ext["tranStateTableOffset"],
                        "commitLogOffset": f.ext["commitLogOffset"], "commitOrRollback": decision(int(f.ext["msgId"], 16)),
                        "fromTransactionCheck": True, "msgId": f.ext["msgId"]}, oneway=True)

    def more(self, n, timeout=60):
        start = len(self.ended)
        until(f"{n} more ended transactions", lambda: len(self.ended) >= start + n, timeout)


def undecided(cluster):
    for line in cluster.get("/metrics").splitlines():
        if line.startswith("rmqsupervisor_transactions_undecided"):
            return float(line.split()[-1])
    raise ValueError("no such metric")


class Transactions(unittest.TestCase):
    def run_with(self, disturb, conf=None, env=None):
        with Cluster({**CONF, **(conf or {})}, env=env) as c:
            with c.client() as p:
                p.create_topic(TOPIC, 1)
            producer = Producer(c.addr)
            producer.start()
            try:
                disturb(c, producer)
                producer.more(10)
                producer.sending = False
                self.verify(c, producer)
            finally:
                producer.done = True
                producer.join(20)

    def verify(self, cluster, producer):
        with cluster.client() as c:
            wanted = {s for s in producer.acked if decision(s) == COMMIT}

            def bodies():
                return [int(m["body"]) for m in c.pull_queue(TOPIC, 0)]
            until("each committed transaction is delivered", lambda: wanted <= set(bodies()), 60)
            until("all are decided", lambda: undecided(cluster) == 0, 60)
            self.assertGreater(producer.asked, 0)
            got = bodies()
            self.assertEqual(sorted(got), sorted(set(got)), "delivered twice")
            self.assertEqual([s for s in got if decision(s) == ROLLBACK], [], "rolled back, and delivered")
            self.assertTrue(wanted <= set(got))
            for m in c.pull_queue(TOPIC, 0):
                self.assertEqual(m["sysflag"] & 0xC, 8)

    def test_kill_at_each_step_of_a_commit(self):
        for point, nth in (("txn.before_commit", 12), ("txn.after_commit", 12), ("append.before_write", 50),
                           ("append.after_write", 50), ("append.after_publish", 50), ("dispatch.queue", 50)):
            def disturb(c, producer):
                until(f"the broker died at {point} twice", lambda: c.workers("broker")[0]["restarts"] >= 2, 60)
                c.env = {}
                c.kill_all()
                c.start()
            with self.subTest(fault=point):
                self.run_with(disturb, env={"RMQ_FAULTS": f"{point}=kill@{nth}"})

    def test_kill_the_broker_under_load(self):
        def disturb(c, producer):
            for _ in range(4):
                producer.more(40)
                pid = c.kill("broker")
                until("another broker", lambda p=pid: c.workers("broker")[0]["pid"] not in (p, 0) and c.healthy())
        self.run_with(disturb)

    def test_kill_all_with_sync_flush(self):
        def disturb(c, producer):
            for _ in range(2):
                producer.more(30)
                c.kill_all()
                c.start()
        self.run_with(disturb, {"flushDiskType": "SYNC_FLUSH"})

    def test_a_clean_stop_and_start_between_half_and_end(self):
        with Cluster({**CONF, "transactionCheckInterval": 600000}) as cluster:
            props = {"TRAN_MSG": "true", "PGROUP": "PG", "UNIQ_KEY": key_of(1)}
            with cluster.client() as c:
                c.create_topic(TOPIC, 1)
                sent = c.send(TOPIC, b"1", 0, props)
            self.assertEqual(cluster.stop(), 0)
            cluster.start()
            with cluster.client() as c:
                end = {"producerGroup": "PG", "tranStateTableOffset": sent["queueOffset"],
                       "commitLogOffset": int(sent["msgId"][16:], 16), "commitOrRollback": COMMIT, "msgId": sent["msgId"]}
                c.need(37, end)
                self.assertEqual([m["body"] for m in c.pull_queue(TOPIC, 0)], [b"1"])
                cluster.kill("broker")
            until("the broker is back", lambda: cluster.workers("broker")[0]["restarts"] >= 1 and cluster.healthy())
            with cluster.client() as c:
                c.need(37, end)  # said again: it was settled before
                self.assertEqual([m["body"] for m in c.pull_queue(TOPIC, 0)], [b"1"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
