"""config/*.json as a crash, an operator or an older version may leave them: recovered, or refused with a sentence; never a silent empty start."""

import json
import os
import re
import unittest

import rmq
from rmq import RemotingError, until
from test_faults import TOPIC, Case


class ConfigFiles(Case):
    """config/*.json as a crash, an operator or an older version may leave them: recovered, or refused with a sentence; never empty."""

    FILES = ("topics.json", "subscriptionGroup.json", "consumerOffset.json")

    def stopped(self):
        """A node that was used and stopped: a topic, a group with an offset, and a .bak of each file."""
        c = self.cluster()
        with c.client() as p:
            for i in range(8):
                p.send(TOPIC, b"%d" % i, 0)
            for i in (3, 5):
                p.pull(TOPIC, 0, 0, commit=i)
                p.create_topic("More%d" % i, 1)
                p.need(200, {}, json.dumps({"groupName": "G%d" % i, "consumeEnable": True, "retryMaxTimes": i}).encode())
                self.assertEqual(c.stop(), 0)
                c.start()
                p.close()
                p.__init__(c.addr)
        self.assertEqual(c.stop(), 0)
        self.config = os.path.join(c.store(), "config")
        for name in self.FILES:
            self.assertTrue(os.path.exists(os.path.join(self.config, name + ".bak")), name)
        return c

    def read(self, name):
        with open(os.path.join(self.config, name), "rb") as f:
            return f.read()

    def spoil(self, name, how):
        path, text = os.path.join(self.config, name), self.read(name)
        if how == "gone":
            os.unlink(path)
            return
        with open(path, "wb") as f:
            f.write({"empty": b"", "half": text[:len(text) // 2], "zeros": bytes(len(text)), "noise": os.urandom(len(text))}[how])

    def all_is_there(self, c, offsets=("5",)):
        with c.client() as p:
            self.assertIn(p.need(14, {"consumerGroup": "CG", "topic": TOPIC, "queueId": 0}).ext["offset"], offsets)
            self.assertEqual([m["body"] for m in p.pull_queue(TOPIC, 0)], [b"%d" % i for i in range(8)])
            self.assertIn(b"G3", p.need(201).body)
            p.send("More3", b"taken")

    def test_a_broken_file_is_taken_from_its_bak(self):
        c = self.stopped()
        for how in ("half", "empty", "zeros", "noise", "gone"):
            for name in self.FILES:
                self.spoil(name, how)
            c.start()
            for name in self.FILES:
                self.assertRegex(c.output(), f"{name}.*{name}.bak is used in its place")
            self.all_is_there(c, ("3", "5"))     # the .bak is one version older
            with c.client() as p:       # both are whole again
                p.need(200, {}, json.dumps({"groupName": "H" + how, "consumeEnable": True}).encode())
                p.create_topic("N" + how, 1)
                p.pull(TOPIC, 0, 0, commit=5)
            self.assertEqual(c.stop(), 0)
            for name in self.FILES:
                json.loads(self.read(name))
                json.loads(self.read(name + ".bak"))
                if how != "gone":
                    self.assertTrue(self.read(name + ".broken") != self.read(name), "it is kept")

    def test_both_broken_is_refused_with_a_sentence_and_nothing_is_written(self):
        c = self.stopped()
        for name in self.FILES:
            kept = {n: self.read(n) for n in (name, name + ".bak")}
            for how in (("half", "empty"), ("empty", "gone")):
                for n, h in zip(kept, how):
                    self.spoil(n, h)
                c.start(wait=False)
                until("it is said", lambda n=name: re.search(f"neither .*{n} nor .*{n}.bak can be used", c.output()))
                self.assertIn("Repair one, or remove both to start empty", c.output())
                with self.assertRaises((OSError, RemotingError)):
                    with rmq.Client(c.addr, timeout=1) as p:
                        p.send(TOPIC, b"must not be taken")
                c.stop()
                for n, text in kept.items():
                    with open(os.path.join(self.config, n), "wb") as f:
                        f.write(text)
        c.start()
        self.all_is_there(c)

    def test_after_a_power_cut_no_offset_lies_beyond_its_queue(self):
        """The log has lost its end, the offsets have not: the next messages would be passed over."""
        c = self.stopped()
        c.start()
        c.kill_all()
        os.unlink(os.path.join(c.store(), "positions"))         # the machine was booted since
        table = json.loads(self.read("consumerOffset.json"))
        table["offsetTable"][TOPIC + "@CG"] = {"0": 1000}
        with open(os.path.join(self.config, "consumerOffset.json"), "w") as f:
            json.dump(table, f)
        c.start()
        self.assertRegex(c.output(), f"an offset of topic {TOPIC} queue 0 is 1000, but the queue ends at 8")
        with c.client() as p:
            self.assertEqual(p.need(14, {"consumerGroup": "CG", "topic": TOPIC, "queueId": 0}).ext["offset"], "8")

    def test_files_of_an_older_version_are_read(self):
        c = self.stopped()
        old = {"topics.json": {"dataVersion": {"counter": 3, "timestamp": 1600000000000}, "topicConfigTable": {
                   t: {"order": False, "perm": 6, "readQueueNums": 4, "topicFilterType": "SINGLE_TAG", "topicName": t,
                       "topicSysFlag": 0, "writeQueueNums": 4} for t in (TOPIC, "More3")}},
               "subscriptionGroup.json": {"dataVersion": {"counter": 1, "timestamp": 1600000000000}, "subscriptionGroupTable": {
                   "G3": {"brokerId": 0, "consumeBroadcastEnable": True, "consumeEnable": True, "consumeFromMinEnable": True,
                          "groupName": "G3", "notifyConsumerIdsChangedEnable": True, "retryMaxTimes": 3, "retryQueueNums": 1,
                          "whichBrokerWhenConsumeSlowly": 1}}}}
        for name, table in old.items():
            with open(os.path.join(self.config, name), "w") as f:
                json.dump(table, f)
        with open(os.path.join(self.config, "consumerOffset.json"), "w") as f:      # bare numbers as keys
            f.write('{"offsetTable":{"%s@CG":{0:5,1:0\n\t}\n}}' % TOPIC)
        c.start()
        self.all_is_there(c)


if __name__ == "__main__":
    unittest.main(verbosity=2)
