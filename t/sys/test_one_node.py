"""One node, from a client's side: sending, pulling, long polling, topics, restarts. Real processes."""

import json
import os
import re
import signal
import subprocess
import unittest

import rmq
from rmq import Client, Cluster, RemotingError, messages, until


class OneNode(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().start()

    @classmethod
    def tearDownClass(cls):
        status = cls.cluster.stop()
        cls.cluster.close()
        assert status == 0, f"the supervisor ended with {status}"

    def setUp(self):
        self.client = self.cluster.client()
        self.addCleanup(self.client.close)
        self.topic = self.id().rsplit(".", 1)[1][:100]

    def topic_of(self, queues=4):
        self.client.create_topic(self.topic, queues)
        return self.topic

    def test_what_was_sent_is_pulled_with_all_its_parts(self):
        topic = self.topic_of()
        sent = [self.client.send(topic, b"body %d" % i, i % 4, {"TAGS": "t%d" % i, "UNIQ_KEY": "%032X" % i, "own": "\u2713"})
                for i in range(40)]
        for queue in range(4):
            got = self.client.pull_queue(topic, queue)
            self.assertEqual([m["body"] for m in got], [b"body %d" % i for i in range(queue, 40, 4)])
            self.assertEqual([m["offset"] for m in got], list(range(10)))
            for m in got:
                i = m["offset"] * 4 + queue
                self.assertEqual(int(sent[i]["msgId"][16:], 16), m["physical"])
                self.assertEqual(sent[i]["queueOffset"], str(m["offset"]))
                self.assertEqual((m["props"]["TAGS"], m["props"]["own"], m["props"]["UNIQ_KEY"]), ("t%d" % i, "\u2713", "%032X" % i))
                self.assertEqual((m["props"]["CLUSTER"], m["props"]["MSG_REGION"], m["props"]["TRACE_ON"]),
                                 ("DefaultCluster", "DefaultRegion", "true"))

    def test_both_header_codecs_are_read_and_answered(self):
        topic = self.topic_of()
        for codec in ("json", "binary"):
            ext = self.client.send(topic, codec.encode(), 1, codec=codec)
            self.assertEqual(ext["queueId"], "1")
        self.assertEqual([m["body"] for m in self.client.pull_queue(topic, 1)], [b"json", b"binary"])

    def test_a_held_pull_is_answered_by_the_next_message(self):
        topic = self.topic_of()
        with self.cluster.client() as consumer:
            ext = {"consumerGroup": "CG", "topic": topic, "queueId": 2, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 6,
                   "commitOffset": 0, "suspendTimeoutMillis": 15000, "subscription": "*", "subVersion": 0}
            opaque = consumer.post(11, ext)
            until("the pull is held", lambda: self.held() > 0)
            self.client.send(topic, b"woken", 2)
            answer = consumer.answer(opaque)
            self.assertEqual((answer.code, [m["body"] for m in messages(answer.body)]), (0, [b"woken"]))

    def held(self):
        return sum(n["counters"]["held_pulls"] for n in self.cluster.status()["nodes"])

    def test_a_held_pull_ends_with_not_found_in_time(self):
        topic = self.topic_of()
        self.client.send(topic, b"first", 0)
        until("dispatched", lambda: self.client.pull(topic, 0, 0).code == 0)
        answer = self.client.pull(topic, 0, 1, hold_ms=1000)
        self.assertEqual((answer.code, answer.ext["nextBeginOffset"]), (rmq.PULL_NOT_FOUND, "1"))

    def test_a_tag_filter_leaves_others_out(self):
        topic = self.topic_of()
        for i in range(20):
            self.client.send(topic, b"%d" % i, 0, {"TAGS": "AB"[i % 2]})
        got = until("all dispatched", lambda: len(self.client.pull_queue(topic, 0)) == 20 and self.client.pull_queue(topic, 0, sub="B"))
        self.assertEqual([m["body"] for m in got], [b"%d" % i for i in range(1, 20, 2)])

    def test_a_topic_is_made_on_the_first_send_with_no_more_queues_than_the_template_has(self):
        with Client(self.cluster.ns) as ns:
            until("the broker is registered", lambda: ns.need(105, {"topic": "TBW102"}).body)
        for asked, given in ((2, 2), (16, 8)):
            topic = f"{self.topic}{asked}"
            self.client.send(topic, b"x", 0, queues=asked)
            with Client(self.cluster.ns) as ns:     # it is there when the send is answered
                route = json.loads(ns.need(105, {"topic": topic}).body)
            self.assertEqual(route["queueDatas"][0]["writeQueueNums"], given)
            self.assertEqual(list(route["brokerDatas"][0]["brokerAddrs"].values()), [self.cluster.addr])

    def test_pull_offsets_outside_the_queue_are_corrected(self):
        topic = self.topic_of()
        self.assertEqual(self.client.pull(topic, 0, 0).code, rmq.PULL_NOT_FOUND)
        self.assertEqual(self.client.pull(topic, 0, 5).code, rmq.PULL_MOVED)
        for i in range(3):
            self.client.send(topic, b"x", 0)
        until("dispatched", lambda: self.client.pull(topic, 0, 0).ext["maxOffset"] == "3")
        moved = self.client.pull(topic, 0, 99)
        self.assertEqual((moved.code, moved.ext["nextBeginOffset"]), (rmq.PULL_MOVED, "3"))

    def test_refusals_carry_the_codes_that_clients_know(self):
        topic = self.topic_of()
        for what, code, call in (
                ("unknown topic without a template", 17, lambda: self.client.need(310, self.header(self.topic + "x", c="nothing"), b"x")),
                ("queue out of range", 29, lambda: self.client.send(topic, b"x", 99)),
                ("system topic", 16, lambda: self.client.send("SCHEDULE_TOPIC_XXXX", b"x")),
                ("bad name", 29, lambda: self.client.send("a b", b"x")),
                ("body too large", 13, lambda: self.client.send(topic, bytes((4 << 20) + 1))),
                ("properties too long", 13, lambda: self.client.send(topic, b"x", props={"p": "v" * 40000})),
                ("unknown code", 3, lambda: self.client.need(4711))):
            with self.assertRaises(RemotingError, msg=what) as e:
                call()
            self.assertEqual(e.exception.code, code, f"{what}: {e.exception}")
        self.assertEqual(self.client.ask(4711).remark, " request type 4711 not supported")

    def header(self, topic, **more):
        return {"a": "PG", "b": topic, "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": 1, "h": 0, "i": "", "j": 0, "k": False,
                "m": False, **more}

    def test_oneway_requests_are_never_answered(self):
        topic = self.topic_of()
        for _ in range(10):
            self.client.post_send(topic, b"x", oneway=True)
        self.client.post(4711, oneway=True)
        opaque = self.client.post(31, {"topic": topic, "queueId": 0})
        self.assertEqual(self.client.read_frame().opaque, opaque)
        until("all stored", lambda: len(self.client.pull_queue(topic, 0)) == 10)

    def test_a_batch_gets_consecutive_offsets(self):
        topic = self.topic_of()
        body = b""
        for i in range(5):
            part = (b"m%d" % i, b"UNIQ_KEY\x01%032X\x02" % i)
            item = (b"\0" * 8 + i.to_bytes(4, "big") + len(part[0]).to_bytes(4, "big") + part[0]
                    + len(part[1]).to_bytes(2, "big") + part[1])
            body += (len(item) + 4).to_bytes(4, "big") + item
        answer = self.client.need(320, self.header(topic, m=True), body)
        self.assertEqual((answer.ext["queueOffset"], len(answer.ext["msgId"].split(","))), ("0", 5))
        got = self.client.pull_queue(topic, 0)
        self.assertEqual([(m["body"], m["flag"], m["offset"]) for m in got], [(b"m%d" % i, i, i) for i in range(5)])

    def test_thousands_in_flight_keep_their_order(self):
        topic = self.topic_of(1)
        asked = [self.client.post_send(topic, b"%d" % i) for i in range(3000)]
        answers = [self.client.answer(o) for o in asked]
        self.assertEqual([a.ext["queueOffset"] for a in answers], [str(i) for i in range(3000)])
        self.assertEqual([m["body"] for m in self.client.pull_queue(topic, 0)], [b"%d" % i for i in range(3000)])

    def test_status_metrics_and_health_tell_the_same(self):
        self.client.send(self.topic_of(), b"x")
        status = self.cluster.status()
        self.assertEqual({w["role"] for w in status["workers"]},
                         {"namesrv", "broker-store", "flush", "ha", "clean", "warm", "console"})
        self.assertTrue(all(w["state"] == "ready" for w in status["workers"]), status["workers"])
        series = re.compile(r'^rocketmq_messages_in_total\{[^}]*topic="%s"[^}]*\} 1$' % self.topic, re.M)
        until("the topic's messages in the metrics", lambda: series.search(self.cluster.get("/metrics")))
        metrics = self.cluster.get("/metrics")
        for line in metrics.splitlines():
            self.assertRegex(line, r"^(#.*|[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? [-+0-9.eEinfNa]+)$")


class Restarts(unittest.TestCase):
    def test_everything_is_there_after_a_clean_stop(self):
        with Cluster() as c:
            with c.client() as p:
                p.create_topic("T", 2)
                for i in range(200):
                    p.send("T", b"%d" % i, i % 2)
                p.pull("T", 0, 0)   # the group is made by its first pull
                p.need(15, {"consumerGroup": "CG", "topic": "T", "queueId": 0, "commitOffset": 7})
            self.assertEqual(c.stop(), 0)
            self.assertFalse(os.path.exists(os.path.join(c.store(), "abort")), "abort after a clean stop")
            c.start()
            with c.client() as p:
                for q in range(2):
                    self.assertEqual([m["body"] for m in p.pull_queue("T", q)], [b"%d" % i for i in range(q, 200, 2)])
                self.assertEqual(p.need(14, {"consumerGroup": "CG", "topic": "T", "queueId": 0}).ext["offset"], "7")
                self.assertEqual(p.send("T", b"more", 0)["queueOffset"], "100")

    def test_a_second_start_on_the_same_store_names_the_holder_and_leaves_nothing(self):
        with Cluster() as c:
            other = Cluster()
            self.addCleanup(other.close)
            with open(other.spec_path) as f:
                text = f.read()
            with open(other.spec_path, "w") as f:
                f.write(text.replace("    brokerId: 0\n", f"    brokerId: 0\n    storePathRootDir: {c.store()}\n"))
            run = subprocess.run([other.binary, "-f", other.spec_path], capture_output=True, text=True, timeout=60)
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(str(c.pid("broker")), run.stderr + run.stdout)
            with c.client() as p:
                p.send("Still", b"x")

    def test_a_port_in_use_is_one_sentence_and_an_exit(self):
        with Cluster() as c:
            other = Cluster()
            self.addCleanup(other.close)
            with open(other.spec_path) as f:
                text = f.read()
            with open(other.spec_path, "w") as f:
                f.write(text.replace(f"listenPort: {other.port}", f"listenPort: {c.port}"))
            run = subprocess.run([other.binary, "-f", other.spec_path], capture_output=True, text=True, timeout=30)
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(str(c.port), run.stderr)
            self.assertFalse(os.path.exists(other.store() + "/commitlog"), "a store was made")

    def test_sync_flush_acknowledges_only_what_flush_has_synced(self):
        with Cluster({"flushDiskType": "SYNC_FLUSH"}) as c:
            with c.client() as p:
                p.create_topic("T", 1)
                p.send("T", b"first")
                flush = c.kill("flush", signal.SIGSTOP)
                opaque = p.post_send("T", b"second")
                with c.client() as other:
                    # the broker serves others, and shows a consumer nothing that is not safe
                    for _ in range(20):
                        self.assertEqual(other.pull("T", 0, 0).ext["maxOffset"], "1")
                self.assertNotIn(opaque, p.early)
                os.kill(flush, signal.SIGCONT)
                self.assertEqual(p.answer(opaque).code, 0)
                self.assertEqual(len(p.pull_queue("T", 0)), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
