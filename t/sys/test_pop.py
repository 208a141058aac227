"""Pop consumption by a plain client: each message once, invisible until acked or its time is over, in order where asked for, also after
a stop. Times are measured: what must not come early is looked at until its time is over.
"""

import base64
import json
import os
import time
import unittest

import rmq
from rmq import Cluster, RemotingError, messages, until

POP, ACK, PEEK, INVISIBLE, NOTICE, POLLING, BATCH_ACK = 200050, 200051, 200052, 200053, 200054, 200055, 200151
TIMEOUT, FULL, NO_MESSAGE = 210, 209, 208
NOTHING = (TIMEOUT, FULL)


def now_ms():
    return int(time.time() * 1000)


def retry_of(topic, group, v2=False):
    return f"%RETRY%{group}{'+' if v2 else '_'}{topic}"


class Popped(dict):
    """A message and its handle, as the Java client makes it of the answer."""

    def ext(self, group, **more):
        return {"consumerGroup": group, "topic": self["real_topic"], "queueId": self["handle_queue"], "extraInfo": self["handle"],
                "offset": self["handle_offset"], **more}


def entries(text):
    return [e.split(" ") for e in text.split(";") if e]


def handles(topic, group, answer):
    """The messages of a pop's answer, each with its handle."""
    ext, out = answer.ext, []
    start = {(f, q): s for f, q, s in entries(ext["startOffsetInfo"])}
    got = messages(answer.body)
    places = [(f, q, int(o)) for f, q, offs in entries(ext["msgOffsetInfo"]) for o in offs.split(",")]
    for m in got:
        if "POP_CK" in m["props"]:
            flag, queue, offset = [m["props"]["POP_CK"].split(" ")[i] for i in (4, 6, 7)]
        else:
            flag, queue, offset = "0", str(m["queue"]), str(m["offset"])
        places.remove((flag, queue, int(offset)))
        name = {"0": topic, "1": retry_of(topic, group), "2": retry_of(topic, group, True)}[flag]
        handle = f"{start[flag, queue]} {ext['popTime']} {ext['invisibleTime']} {ext['reviveQid']} {flag} broker-a {queue} {offset}"
        out.append(Popped(m, real_topic=name, handle=handle, handle_queue=int(queue), handle_offset=int(offset), flag=flag))
    assert not places, f"no message for {places}"
    return out


def pop_ext(topic, group, queue=-1, count=32, invisible=60000, poll=0, **more):
    return {"consumerGroup": group, "topic": topic, "queueId": queue, "maxMsgNums": count, "invisibleTime": invisible, "pollTime": poll,
            "bornTime": now_ms(), "initMode": 0, "exp": "*", "expType": "TAG", "order": False, **more}


def pop(c, topic, group="PG", **how):
    """Popped messages; [] when there are none."""
    ext = pop_ext(topic, group, **how)
    a = c.ask(POP, ext, timeout=ext["pollTime"] / 1000 + 10)
    if a.code in NOTHING:
        return []
    if a.code != 0:
        raise RemotingError(a.code, a.remark)
    return handles(topic, group, a)


def ack(c, m, group="PG"):
    c.need(ACK, m.ext(group))


def drain(c, topic, count, group="PG", timeout=15, **how):
    """Pops until that many have come."""
    got, end = [], time.monotonic() + timeout
    while len(got) < count:
        more = pop(c, topic, group, **{"poll": 500, **how})
        got += more
        if time.monotonic() > end:
            raise AssertionError(f"{len(got)} of {count} messages came: {sorted(m['body'] for m in got)}")
    return got


def put_off(c, m, ms, group="PG"):
    """The message with its new handle."""
    ext = c.need(INVISIBLE, m.ext(group, invisibleTime=ms)).ext
    rest = m["handle"].split(" ")
    handle = [str(m["handle_offset"]), ext["popTime"], ext["invisibleTime"], ext["reviveQid"], *rest[4:]]
    return Popped(m, handle=" ".join(handle))


class OneBroker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster({"enablePropertyFilter": True})
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.serial = 0

    def setUp(self):
        self.c = self.cluster.client()
        self.addCleanup(self.c.close)
        type(self).serial += 1
        self.topic = f"T{self.serial}"
        self.c.create_topic(self.topic, 4)

    def send(self, n, queue=None, props=None):
        for i in range(n):
            self.c.send(self.topic, b"%d" % i, i % 4 if queue is None else queue, {"UNIQ_KEY": f"K{i}", **(props(i) if props else {})})
        return {b"%d" % i for i in range(n)}

    def status(self):
        return self.cluster.status()["nodes"][0]["broker"]["pop"]

    def test_each_message_comes_once_and_acked_ones_never_again(self):
        sent = self.send(40)
        got = drain(self.c, self.topic, 40, invisible=1500)
        self.assertEqual(sorted(m["body"] for m in got), sorted(sent))
        for m in got:
            ack(self.c, m)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            self.assertEqual(pop(self.c, self.topic, poll=200), [])

    def test_message_that_is_not_acked_comes_again_when_its_time_is_over(self):
        self.send(3, queue=1)
        first = drain(self.c, self.topic, 3, queue=1, invisible=1200)
        popped = now_ms()
        ack(self.c, first[1])
        again = drain(self.c, self.topic, 2, invisible=10000)
        late = now_ms() - popped
        self.assertEqual({m["body"] for m in again}, {first[0]["body"], first[2]["body"]})
        self.assertGreaterEqual(late, 1150)
        self.assertLess(late, 2200)
        for m in again:
            self.assertEqual((m["topic"], m["flag"], m["reconsume"]), (self.topic, "1", 1))
            self.assertIn("1ST_POP_TIME", m["props"])
            ack(self.c, m)
        until("nothing is in flight", lambda: self.status()["inFlight"] == 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
