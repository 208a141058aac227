"""rmqadmin against one node: each command does what it says, and says so in its exit status."""

import json
import os
import subprocess
import unittest

import rmq
from rmq import Cluster, until

ADMIN = os.environ.get("RMQ_ADMIN") or os.path.join(rmq.BUILD, "rmqadmin")


class Admin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().start()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.stop()
        cls.cluster.close()

    def run_admin(self, *args, status=0):
        done = subprocess.run([ADMIN, *args], env={**os.environ, "NAMESRV_ADDR": self.cluster.ns}, capture_output=True, text=True,
                              timeout=30)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stderr if status else done.stdout

    def ask(self, *args):
        return json.loads(self.run_admin(*args, "--json"))

    def make_topic(self, name, queues=4):
        self.run_admin("updateTopic", "-c", "DefaultCluster", "-t", name, "-r", str(queues), "-w", str(queues))
        until("the topic has a route", lambda: name in self.ask("topicList"))

    def test_the_cluster_is_listed(self):
        (row,) = self.ask("clusterList")
        self.assertEqual((row["cluster"], row["broker"], row["id"], row["address"], row["active"]),
                         ("DefaultCluster", "broker-a", 0, self.cluster.addr, "true"))
        self.assertIn("#Broker Name", self.run_admin("clusterList"))
        self.assertIn("#InTotalToday", self.run_admin("clusterList", "-m"))

    def test_a_topic_is_made_changed_and_deleted(self):
        self.make_topic("adm-topic", 4)
        self.assertEqual([q["queue"] for q in self.ask("topicStatus", "-t", "adm-topic")], [0, 1, 2, 3])
        self.run_admin("updateTopic", "-b", self.cluster.addr, "-t", "adm-topic", "-r", "2", "-w", "2", "-p", "4")
        until("the route has changed", lambda: self.ask("topicRoute", "-t", "adm-topic", "-l")[0]["perm"] == 4)
        self.assertEqual(self.ask("topicRoute", "-t", "adm-topic")["queueDatas"][0]["readQueueNums"], 2)
        self.run_admin("deleteTopic", "-c", "DefaultCluster", "-t", "adm-topic")
        self.assertIn("TOPIC_NOT_EXIST", self.run_admin("topicStatus", "-t", "adm-topic", status=1))

    def test_a_message_is_sent_read_and_found(self):
        self.make_topic("adm-msg")
        (sent,) = self.ask("sendMessage", "-t", "adm-msg", "-p", 'body "ö"', "-k", "K1", "-c", "TagA", "-b", "broker-a", "-i", "2")
        self.assertEqual((sent["result"], sent["queue"], sent["offset"]), ("SEND_OK", 2, 0))
        until("it is read", lambda: self.ask("consumeMessage", "-t", "adm-msg"))
        (read,) = self.ask("consumeMessage", "-t", "adm-msg", "-b", "broker-a", "-i", "2", "-o", "0", "-c", "1")
        self.assertEqual((read["msgId"], read["body"], read["properties"]["TAGS"]), (sent["msgId"], 'body "ö"', "TagA"))
        for one in (sent["msgId"], read["offsetMsgId"]):
            (found,) = self.ask("queryMsgById", "-t", "adm-msg", "-i", one)
            self.assertEqual(found, read)
        self.assertIn('BODY: body "ö"', self.run_admin("consumeMessage", "-t", "adm-msg"))
        self.run_admin("queryMsgById", "-t", "adm-msg", "-i", "0" * 32, status=1)

    def test_the_first_message_makes_its_topic_whatever_queue_was_picked(self):
        for i in range(12):     # the default topic has eight queues, a topic made by a send four
            (sent,) = self.ask("sendMessage", "-t", f"adm-new-{i}", "-p", "first")
            self.assertEqual((sent["result"], sent["queue"] < 4), ("SEND_OK", True))
            (read,) = self.ask("consumeMessage", "-t", f"adm-new-{i}")     # at once: the quick start does so
            self.assertEqual(read["body"], "first")

    def test_a_group_is_made_reset_watched_and_deleted(self):
        self.make_topic("adm-group")
        for i in range(6):
            self.run_admin("sendMessage", "-t", "adm-group", "-p", "m%d" % i, "-b", "broker-a", "-i", str(i % 4))
        until("all are there", lambda: len(self.ask("consumeMessage", "-t", "adm-group")) == 6)
        self.run_admin("updateSubGroup", "-c", "DefaultCluster", "-g", "ADM-G", "-r", "3")
        self.run_admin("resetOffsetByTime", "-g", "ADM-G", "-t", "adm-group", "-s", "0")
        progress = self.ask("consumerProgress", "-g", "ADM-G", "-t", "adm-group")
        self.assertEqual((progress["diff"], len(progress["queues"])), (6, 4))
        self.run_admin("resetOffsetByTime", "-g", "ADM-G", "-t", "adm-group", "-s", "now")
        self.assertEqual(self.ask("consumerProgress", "-g", "ADM-G", "-t", "adm-group")["diff"], 0)
        self.assertIn("CONSUMER_NOT_ONLINE", self.run_admin("consumerConnection", "-g", "ADM-G", status=1))
        self.run_admin("deleteSubGroup", "-c", "DefaultCluster", "-g", "ADM-G", "-r", "true")

    def test_configuration_is_shown_and_changed(self):
        self.run_admin("updateBrokerConfig", "-b", self.cluster.addr, "-k", "fileReservedTime", "-v", "71")
        self.assertEqual(self.ask("getBrokerConfig", "-b", self.cluster.addr)[self.cluster.addr]["fileReservedTime"], "71")
        self.assertEqual(self.ask("brokerStatus", "-c", "DefaultCluster")[self.cluster.addr]["brokerActive"], "true")

    def test_write_permission_is_taken_and_given_back(self):
        self.make_topic("adm-perm")
        self.run_admin("wipeWritePerm", "-b", "broker-a")
        self.assertEqual(self.ask("topicRoute", "-t", "adm-perm", "-l")[0]["perm"], 4)
        self.run_admin("addWritePerm", "-b", "broker-a")
        self.assertEqual(self.ask("topicRoute", "-t", "adm-perm", "-l")[0]["perm"], 6)

    def test_wrong_command_lines_are_refused(self):
        self.assertIn("did you mean topicList", self.run_admin("topicLst", status=2))
        self.assertIn("-t (--topic) is needed", self.run_admin("topicRoute", status=2))
        self.assertIn("must be a whole number", self.run_admin("updateTopic", "-t", "x", "-b", "y", "-r", "many", status=2))
        self.assertIn("Connection refused", self.run_admin("topicList", "-n", "127.0.0.1:1", status=1))
        self.assertIn("usage:", self.run_admin("help"))


    def test_messages_are_sent_with_properties_and_found_by_key(self):
        self.make_topic("adm-keys", 1)
        for i in range(3):
            self.run_admin("sendMessage", "-t", "adm-keys", "-p", f"m{i}", "-k", f"k{i} all", "--property", f"colour=red,size={i}")
        found = until("all are in the index", lambda: (lambda f: len(f) == 3 and f)(self.ask("queryMsgByKey", "-t", "adm-keys", "-k", "all")))
        self.assertEqual(sorted((m["body"], m["properties"]["colour"], m["properties"]["size"]) for m in found),
                         [(f"m{i}", "red", str(i)) for i in range(3)])
        (one,) = self.ask("queryMsgByKey", "-t", "adm-keys", "-k", "k1")
        self.assertEqual(one["body"], "m1")
        self.assertEqual(self.ask("queryMsgByKey", "-t", "adm-keys", "-k", "k1", "-e", str(one["storeTimestamp"] - 5000)), [])
        self.assertEqual(len(self.ask("queryMsgByKey", "-t", "adm-keys", "-k", "all", "-m", "2")), 2)
        self.assertEqual(self.ask("queryMsgById", "-t", "adm-keys", "-i", one["msgId"])[0]["body"], "m1")
        self.run_admin("sendMessage", "-t", "adm-keys", "-p", "x", "--property", "novalue=", status=2)
        self.run_admin("sendMessage", "-t", "adm-keys", "-p", "later", "--property", "TIMER_DELAY_MS=50")
        until("the timer message has come", lambda: "later" in self.run_admin("consumeMessage", "-t", "adm-keys"))


if __name__ == "__main__":
    unittest.main()
