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

    def test_message_that_is_put_off_comes_at_its_new_time_and_wakes_a_waiting_pop(self):
        self.send(1, queue=2)
        (m,) = drain(self.c, self.topic, 1, invisible=800)
        later = put_off(self.c, m, 2500)
        began = now_ms()
        with self.cluster.client() as other:
            (again,) = drain(other, self.topic, 1, poll=8000)
        self.assertGreaterEqual(now_ms() - began, 2400)
        self.assertLess(now_ms() - began, 3500)
        self.assertEqual(again["reconsume"], 1)
        a = self.c.ask(INVISIBLE, m.ext("PG", invisibleTime=1000))
        self.assertEqual(a.code, NO_MESSAGE, "its old handle is worth nothing")
        self.assertEqual(self.c.ask(ACK, later.ext("PG")).code, 0, "an ack that comes too late does no harm")
        ack(self.c, again)
        again_off = self.c.ask(INVISIBLE, again.ext("PG", invisibleTime=10))
        self.assertEqual(again_off.code, NO_MESSAGE, "what is acked cannot be put off")
        self.assertEqual(pop(self.c, self.topic, poll=1500), [])

    def test_message_put_off_to_now_comes_at_once_though_its_pop_was_long(self):
        self.send(1)
        (m,) = drain(self.c, self.topic, 1, invisible=600000)
        with self.cluster.client() as other:
            waiting = other.post(POP, pop_ext(self.topic, "PG", poll=10000))
            until("it waits", lambda: self.c.need(POLLING, {"consumerGroup": "PG", "topic": self.topic, "queueId": -1}).ext["pollingNum"] == "1")
            began = now_ms()
            put_off(self.c, m, 1)
            (again,) = handles(self.topic, "PG", other.answer(waiting))
            self.assertLess(now_ms() - began, 1000)
            ack(other, again)

    def test_acks_in_a_list_are_acks(self):
        self.send(8, queue=0)
        got = drain(self.c, self.topic, 8, queue=0, invisible=1500)
        start, pop_ms, invisible, revive = got[0]["handle"].split(" ")[:4]
        bits = bytearray(1)
        for m in got[:6]:
            bits[0] |= 1 << (m["offset"] - int(start))
        one = {"c": "PG", "t": self.topic, "r": "0", "so": int(start), "q": 0, "rq": int(revive), "pt": int(pop_ms), "it": int(invisible),
               "b": base64.b64encode(bits).decode()}
        self.c.need(BATCH_ACK, {}, json.dumps({"brokerName": "broker-a", "acks": [one]}).encode())
        again = drain(self.c, self.topic, 2)
        self.assertEqual({m["body"] for m in again}, {m["body"] for m in got[6:]})
        retried = [{"c": "PG", "t": self.topic, "r": "1", "so": m["handle"].split(" ")[0], "q": 0, "rq": m["handle"].split(" ")[3],
                    "pt": m["handle"].split(" ")[1], "it": 60000,
                    "b": base64.b64encode(bytes([1 << (m["handle_offset"] - int(m["handle"].split(" ")[0]))])).decode()} for m in again]
        before = self.status()["inFlight"]
        self.c.need(BATCH_ACK, {}, json.dumps({"acks": retried}).encode())
        self.assertEqual(until("fewer are in flight", lambda: self.status()["inFlight"] < before), True)
        self.assertEqual(self.c.ask(BATCH_ACK, {}, b'{"acks":[]}').code, NO_MESSAGE)
        self.assertEqual(self.c.ask(BATCH_ACK, {}, b'{"acks":[{"b":"*"}]}').code, 1)
        self.assertEqual(self.c.ask(BATCH_ACK, {}, b'no json').code, 1)

    def test_only_what_the_filter_lets_through_is_popped(self):
        self.send(20, queue=0, props=lambda i: {"TAGS": "red" if i % 5 == 0 else "blue", "n": i})
        got = drain(self.c, self.topic, 4, "TAGS", exp="red", invisible=1000)
        self.assertEqual([m["body"] for m in got], [b"0", b"5", b"10", b"15"])
        again = drain(self.c, self.topic, 4, "TAGS", exp="red", invisible=9000)
        self.assertEqual({m["reconsume"] for m in again}, {1})
        got = drain(self.c, self.topic, 3, "SQL", exp="n > 16 AND TAGS = 'blue'", expType="SQL92")
        self.assertEqual([m["body"] for m in got], [b"17", b"18", b"19"])
        self.assertEqual(pop(self.c, self.topic, "SQL", exp="n > 16", expType="SQL92"), [])
        self.assertEqual(self.c.ask(POP, pop_ext(self.topic, "SQL", exp="n >", expType="SQL92")).code, 23)

    def test_waiting_pops_each_get_what_comes(self):
        with self.cluster.client() as a, self.cluster.client() as b:
            waits = [(x, x.post(POP, pop_ext(self.topic, "PG", poll=10000))) for x in (a, b, a)]
            until("they wait", lambda: self.c.need(POLLING, {"consumerGroup": "PG", "topic": self.topic, "queueId": -1}).ext["pollingNum"] == "3")
            began = now_ms()
            self.send(3)
            bodies = [m["body"] for x, o in waits for m in handles(self.topic, "PG", x.answer(o))]
            self.assertLess(now_ms() - began, 2000)
            self.assertEqual(sorted(bodies), [b"0", b"1", b"2"])
            began = now_ms()
            self.assertEqual(a.answer(a.post(POP, pop_ext(self.topic, "PG", poll=700))).code, TIMEOUT)
            self.assertTrue(500 <= now_ms() - began < 1500, now_ms() - began)
            self.assertEqual(a.ask(POP, pop_ext(self.topic, "PG", poll=100, bornTime=now_ms() - 5000)).code, TIMEOUT)

    def test_notification_says_when_there_is_something(self):
        ask = {"consumerGroup": "PG", "topic": self.topic, "queueId": -1, "pollTime": 8000, "bornTime": 0}
        waiting = self.c.post(NOTICE, ask)
        with self.cluster.client() as other:
            until("it waits", lambda: other.need(POLLING, {"consumerGroup": "PG", "topic": self.topic, "queueId": -1}).ext["pollingNum"] == "1")
            other.send(self.topic, b"x", 3)
        self.assertEqual(self.c.answer(waiting).ext["hasMsg"], "true")
        self.assertEqual(self.c.need(NOTICE, ask).ext["hasMsg"], "true")
        drain(self.c, self.topic, 1)
        self.assertEqual(self.c.need(NOTICE, {**ask, "pollTime": 200}).ext["hasMsg"], "false")

    def test_a_look_takes_nothing(self):
        self.send(5, queue=1)
        ask = {"topic": self.topic, "queueId": 1, "maxMsgNums": 3, "consumerGroup": "PG"}
        for _ in range(2):
            a = self.c.need(PEEK, ask)
            self.assertEqual([m["body"] for m in messages(a.body)], [b"0", b"1", b"2"])
            self.assertEqual(a.ext["restNum"], "5")
        drain(self.c, self.topic, 5)
        self.assertEqual(self.c.ask(PEEK, ask).code, 19)

    def test_ordered_queue_is_blocked_until_its_batch_is_acked(self):
        self.send(6, queue=0)
        how = {"order": True, "queue": 0, "count": 3, "invisible": 1500}
        first = pop(self.c, self.topic, attemptId="a1", **how)
        self.assertEqual([m["body"] for m in first], [b"0", b"1", b"2"])
        self.assertEqual(pop(self.c, self.topic, attemptId="a2", **how), [])
        same = pop(self.c, self.topic, attemptId="a1", **how)
        self.assertEqual([m["body"] for m in same], [b"0", b"1", b"2"], "the same attempt gets its batch again")
        ack(self.c, same[0])
        self.assertEqual(self.c.ask(ACK, {**same[2].ext("PG"), "offset": 5}).code, 13)
        a = self.c.ask(POP, pop_ext(self.topic, "PG", poll=5000, attemptId="a3", **how))
        again = handles(self.topic, "PG", a)
        self.assertEqual([m["body"] for m in again], [b"1", b"2", b"3"], "what was not acked is visible again")
        self.assertIn("0 qo0%1 1", a.ext["orderCountInfo"])
        for m in again:
            ack(self.c, m)
        rest = pop(self.c, self.topic, poll=2000, attemptId="a4", **how)
        self.assertEqual([m["body"] for m in rest], [b"4", b"5"])
        began = now_ms()
        ext = self.c.need(INVISIBLE, rest[0].ext("PG", invisibleTime=2500)).ext
        self.assertEqual(ext["reviveQid"], "999")
        ack(self.c, rest[1])
        last = pop(self.c, self.topic, poll=8000, attemptId="a5", **how)
        self.assertEqual([m["body"] for m in last], [b"4", b"5"])
        self.assertGreaterEqual(now_ms() - began, 2400)

    def test_reset_offset_is_where_pops_go_on(self):
        self.send(4, queue=0)
        for m in drain(self.c, self.topic, 4):
            ack(self.c, m)
        self.c.need(222, {"topic": self.topic, "group": "PG", "queueId": 0, "offset": 1, "timestamp": -1, "isForce": "true"})
        self.assertEqual([m["body"] for m in drain(self.c, self.topic, 3)], [b"1", b"2", b"3"])

    def test_what_cannot_be_is_refused_with_the_original_s_codes(self):
        self.send(1, queue=0)
        refused = {29: {"count": 33}, 17: {"topic": "none"}}
        for code, how in refused.items():
            self.assertEqual(self.c.ask(POP, pop_ext(how.pop("topic", self.topic), "PG", **how)).code, code)
        self.assertEqual(self.c.ask(POP, pop_ext(self.topic, "PG", queue=9)).code, 29)
        (m,) = drain(self.c, self.topic, 1)
        for field, value, code in (("queueId", 9, 13), ("offset", 70, 208), ("topic", "none", 17), ("extraInfo", "1 2 x", 1),
                                   ("extraInfo", "0 1 1 77 0 broker-a 0 0", 1)):
            self.assertEqual(self.c.ask(ACK, {**m.ext("PG"), field: value}).code, code, field)
        ack(self.c, m)
        ack(self.c, m)


if __name__ == "__main__":
    unittest.main(verbosity=2)
