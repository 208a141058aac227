"""Messages of every kind, and a listing of all that a broker answers about them.

One scenario, run against the original to record its stores (t/data/make-java-stores), and against this broker when the original is
to open ours (interop/run, part `store`). listing() asks a broker for everything; two listings are compared piece by piece.
"""

import json
import struct
import time
import zlib

from rmq import PULL_FOUND, PULL_MOVED, PULL_NOT_FOUND, PULL_RETRY, RemotingError, messages, until

# Small files, so that there are many: segments, queue files of 50 units, index files of 300 entries on 40 slots.
SETTINGS = {"mappedFileSizeCommitLog": 64 << 10, "mappedFileSizeConsumeQueue": 1000, "maxIndexNum": 300, "maxHashSlotNum": 40,
            "maxMessageSize": 32 << 10}
TOPICS = {"Plain": 4, "Keyed": 2, "Batch": 2, "Odd": 2, "Delayed": 2, "Paid": 1, "Back": 1, "L" * 127: 1}
LONG_GROUP = "G" * 130      # its retry topic is longer than 127: a record of the second form (5.x only)
HALF, OP, SCHEDULE, WHEEL = "RMQ_SYS_TRANS_HALF_TOPIC", "RMQ_SYS_TRANS_OP_HALF_TOPIC", "SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer"
COMMIT, ROLLBACK = 8, 12
DUE_MS = 300000            # all that is pending in a recording is due this long after it
TOMORROW = 1 << 60          # end of any time range


def now_ms():
    return int(time.time() * 1000)


def uniq(n):
    return "%032X" % n


class Scenario:
    """Writes all kinds. `five`: the broker is of 5.x. What is to come later, by these levels and times, is in `pending`: (topic, body)."""

    def __init__(self, client, five=True, start=0, levels=(7, 8), timer_ms=200000):
        self.c, self.five, self.serial, self.levels, self.timer_ms = client, five, start, levels, timer_ms
        self.pending, self.asked_for, self.never = [], [], []

    def key(self):
        self.serial += 1
        return uniq(self.serial)

    def send(self, topic, body, queue=0, props=None, **how):
        return self.c.send(topic, body, queue, {"UNIQ_KEY": self.key(), **(props or {})}, **how)

    def all(self):
        self.tables()
        for part in (self.keyed, self.batch, self.odd, self.delayed, self.timed, self.transactions, self.back, self.plain, self.offsets):
            part()
        self.wait_delivered()

    # ---- tables

    def group(self, name, **more):
        self.c.need(200, {}, json.dumps({"groupName": name, "consumeEnable": True, "consumeFromMinEnable": True,
                                         "consumeBroadcastEnable": True, "retryQueueNums": 1, "retryMaxTimes": 16, "brokerId": 0,
                                         "whichBrokerWhenConsumeSlowly": 1, **more}).encode())

    def tables(self):
        for name, queues in TOPICS.items():
            self.c.create_topic(name, queues)
        self.group("CG1")
        self.group("CG2", retryMaxTimes=2, retryQueueNums=2)
        if self.five:
            self.group(LONG_GROUP)

    # ---- plain ones: enough for several segments and queue files

    def plain(self):
        for i in range(260):
            self.send("Plain", (b"plain %d " % i) * (1 + i % 7 * 40), i % 4, {"TAGS": "t%d" % (i % 3)})
        self.c.send("Plain", b"without any property", 1)
        self.c.send("L" * 127, b"a long topic", 0)

    def keyed(self):
        for i in range(220):
            self.send("Keyed", b"keyed %d" % i, i % 2, {"KEYS": f"k{i} all{i % 5}", "TAGS": "x"})
        for key in ("Aa", "BB", "C#", "Bb"):     # Aa and BB, C# and Bb have the same hash
            self.send("Keyed", key.encode(), 0, {"KEYS": key})

    def batch(self):
        for queue, count in ((0, 12), (1, 3)):
            body = b"".join(self.part(b"batch %d" % i, {"KEYS": f"b{i}", "UNIQ_KEY": self.key()}, i) for i in range(count))
            self.c.need(320, self.header("Batch", queue, {"UNIQ_KEY": self.key()}, m=True), body)

    @staticmethod
    def part(body, props, flag):
        text = "".join(f"{k}\x01{v}\x02" for k, v in props.items()).encode()
        item = struct.pack(">iiii", 0, 0, flag, len(body)) + body + struct.pack(">h", len(text)) + text
        return struct.pack(">i", len(item) + 4) + item

    @staticmethod
    def header(topic, queue, props, **more):
        return {"a": "PG", "b": topic, "c": "TBW102", "d": 4, "e": queue, "f": 0, "g": now_ms(), "h": 0,
                "i": "".join(f"{k}\x01{v}\x02" for k, v in props.items()), "j": 0, "k": False, "m": False, **more}

    def odd(self):
        for props in ({"TAGS": "\U0001F680"}, {"TAGS": "TagB", "\u00fcml": "\u4e2d\u6587 \u0645\u0631\u062d\u0628\u0627"},
                      {"quote": "a\"b\\c", "lines": "a\nb\tc\r", "equals": "a=b&c"}, {"long": "v" * 9000},
                      {"empty": ""}, {"KEYS": "\U0001F511 \u00e9"}, {"control": "\x03\x1f\x7f"}):
            self.send("Odd", b"odd", 0, props)
        self.c.need(310, self.header("Odd", 1, {"UNIQ_KEY": self.key()}, f=1), zlib.compress(b"packed " * 400))
        self.c.need(310, self.header("Odd", 1, {"UNIQ_KEY": self.key()}, h=-7, j=3), bytes(range(256)) * 4)

    # ---- later ones

    def later(self, topic, body, queue, props):
        self.pending.append((topic, body.decode()))
        return self.send(topic, body, queue, props)

    def delayed(self):
        for i in range(4):
            self.send("Delayed", b"came %d" % i, i % 2, {"DELAY": "1"})
        for i, level in enumerate((*self.levels, *self.levels)):
            self.later("Delayed", b"later %d" % i, i % 2, {"DELAY": str(level)})

    def timed(self):
        if not self.five:
            return
        for i in range(4):
            self.send("Delayed", b"timed came %d" % i, i % 2, {"TIMER_DELAY_MS": "1500"})
        for i in range(4):
            self.later("Delayed", b"timed later %d" % i, i % 2, {"TIMER_DELIVER_MS": str(now_ms() + self.timer_ms + i * 700)})
        recalled = self.send("Delayed", b"recalled", 0, {"TIMER_DELAY_MS": str(self.timer_ms)})
        self.c.need(370, {"producerGroup": "PG", "topic": "Delayed", "recallHandle": recalled["recallHandle"]})
        self.never.append(("Delayed", "recalled"))

    # ---- transactions

    def end(self, sent, how, key):
        self.c.need(37, {"producerGroup": "PG", "tranStateTableOffset": sent["queueOffset"],
                         "commitLogOffset": int(sent["msgId"][16:], 16), "commitOrRollback": how, "msgId": sent["msgId"],
                         "transactionId": key})

    def half(self, body):
        key = self.key()
        return self.c.send("Paid", body, 0, {"TRAN_MSG": "true", "PGROUP": "PG", "UNIQ_KEY": key, "KEYS": "half"}), key

    def transactions(self):
        for i in range(9):
            sent, key = self.half(b"half %d" % i)
            if i % 3 < 2:
                self.end(sent, (COMMIT, ROLLBACK)[i % 3], key)
            if i % 3 == 1:
                self.never.append(("Paid", "half %d" % i))
            if i % 3 == 2:
                self.asked_for.append("half %d" % i)

    # ---- what consumers send back

    def back(self):
        for i in range(6):
            self.send("Back", b"back %d" % i)
        found = until("they can be read", lambda: (lambda m: len(m) >= 6 and m)(read_queue(self.c, "Back", 0)))
        for i, (group, level) in enumerate((("CG1", 1), ("CG1", -1), ("CG1", self.levels[0]), ("CG2", -1), (LONG_GROUP if self.five else "CG2", 1))):
            self.c.need(36, {"offset": found[i]["physical"], "group": group, "delayLevel": level, "originMsgId": "x",
                             "originTopic": "Back", "unitMode": False, "maxReconsumeTimes": 16})
            if level == self.levels[0]:
                self.pending.append(("%RETRY%" + group, "back %d" % i))

    def offsets(self):
        for group, topic, queue, offset in (("CG1", "Plain", 0, 17), ("CG1", "Plain", 3, 64), ("CG2", "Plain", 1, 1),
                                            ("CG1", "%RETRY%CG1", 0, 0), ("CG2", "Keyed", 1, 110)):
            self.c.need(15, {"consumerGroup": group, "topic": topic, "queueId": queue, "commitOffset": offset})

    def wait_delivered(self):
        """Until all is delivered that is due by now."""
        each = (2, 2) if not self.five else (4, 4)
        for queue, count in enumerate(each):
            until(f"what was delayed is in queue {queue}", lambda q=queue, n=count: queue_end(self.c, "Delayed", q) == n, 30)
        until("the retry", lambda: queue_end(self.c, "%RETRY%CG1", 0) == 1, 30)
        long_retry = "%RETRY%" + (LONG_GROUP if self.five else "CG2")
        until("the other retry", lambda: sum(queue_end(self.c, long_retry, q) for q in range(1 if self.five else 2)) == 1, 30)


# ---- asking

def queue_end(c, topic, queue):
    return int(c.need(30, {"topic": topic, "queueId": queue}).ext["offset"])


def read_queue(c, topic, queue, sub="*"):
    """All messages of a queue, also where an answer ends at the end of a queue file."""
    out = []
    offset, end = (int(c.need(code, {"topic": topic, "queueId": queue}).ext["offset"]) for code in (31, 30))
    while offset < end:
        a = c.pull(topic, queue, offset, sub=sub, group="LISTING")
        if a.code == PULL_FOUND:
            out += messages(a.body)
        elif a.code not in (PULL_NOT_FOUND, PULL_RETRY, PULL_MOVED):
            raise RemotingError(a.code, a.remark)
        offset = int(a.ext["nextBeginOffset"])
    return out


def plain_message(m):
    """As JSON has it; the record itself by its CRC."""
    return {**{k: m[k] for k in ("offset", "physical", "born", "stored", "flag", "sysflag", "reconsume", "props")},
            "body": m["body"].decode("latin-1"), "crc": zlib.crc32(m["raw"])}


def topics_of(c):
    return json.loads(c.need(21).body)["topicConfigTable"]


def list_queues(c):
    """Every queue that holds something: {"topic queue": {min, max, messages}}."""
    out = {}
    for topic, conf in sorted(topics_of(c).items()):
        if topic in ("BenchmarkTest", "TBW102"):
            continue
        for queue in range(conf["writeQueueNums"]):
            end = queue_end(c, topic, queue)
            if end > 0:
                out[f"{topic} {queue}"] = {"min": int(c.need(31, {"topic": topic, "queueId": queue}).ext["offset"]), "max": end,
                                           "messages": [plain_message(m) for m in read_queue(c, topic, queue)]}
    return out


def query(c, topic, key, begin=0, end=TOMORROW, unique=False):
    a = c.ask(12, {"topic": topic, "key": key, "maxNum": 32, "beginTimestamp": begin, "endTimestamp": end,
                   **({"_UNIQUE_KEY_QUERY": "true"} if unique else {})})
    return sorted(m["physical"] for m in messages(a.body)) if a.code == 0 else []


def list_keys(c, queues):
    """Answers to queries by each key of a sample; the times between which is asked are part of the question."""
    asked = []
    for name, queue in queues.items():
        topic = name.rsplit(" ", 1)[0]
        for m in queue["messages"][::5] + queue["messages"][-1:]:
            if "UNIQ_KEY" in m["props"]:
                asked.append([topic, m["props"]["UNIQ_KEY"], 0, TOMORROW, True])
            for key in m["props"].get("KEYS", "").split(" "):
                if key:
                    asked.append([topic, key, 0, TOMORROW, False])
                    asked.append([topic, key, 0, m["stored"] - 2000, False])
    asked += [["Keyed", key, 0, TOMORROW, False] for key in ("Aa", "BB", "C#", "Bb", "all0", "nothing")]
    asked = [list(x) for x in sorted(set(map(tuple, asked)))]
    return [{"ask": x, "hits": query(c, *x)} for x in asked]


def by_time(c, topic, queue, ms, boundary=None):
    ext = {"topic": topic, "queueId": queue, "timestamp": ms, **({"boundaryType": boundary} if boundary else {})}
    return int(c.need(29, ext).ext["offset"])


def list_times(c, queues):
    """Offsets by time, for queues to which nothing is added later."""
    out = []
    for name, queue in queues.items():
        topic, number = name.rsplit(" ", 1)
        if topic not in ("Plain", "Keyed", "Batch", "Odd"):
            continue
        stored = [m["stored"] for m in queue["messages"]]
        for ms in sorted({stored[0] - 1000, stored[0], stored[-1], stored[-1] + 1, *stored[::9], *(x + 1 for x in stored[::13])}):
            for boundary in (None, "LOWER", "UPPER"):
                out.append({"ask": [topic, int(number), ms, boundary], "offset": by_time(c, topic, int(number), ms, boundary)})
    return out


def list_tags(c):
    return {f"{topic} {queue} {tag}": [m["offset"] for m in read_queue(c, topic, queue, sub=tag)]
            for topic, queue, tag in (("Plain", 0, "t0"), ("Plain", 3, "t1 || t2"), ("Odd", 0, "\U0001F680"), ("Odd", 0, "none"))}


def list_offsets(c):
    """What each group has consumed."""
    table = json.loads(fix_keys(c.need(43).body.decode()))["offsetTable"]
    return {k: v for k, v in table.items() if not k.endswith(("@LISTING", "@CID_RMQ_SYS_TRANS"))}


def fix_keys(text):
    """The original prints numbers as keys without quotes."""
    out, at, quoted = [], 0, False
    while at < len(text):
        ch = text[at]
        if ch == '"':
            quoted = not quoted
        if quoted and ch == "\\":
            out.append(text[at:at + 2])
            at += 2
            continue
        if not quoted and ch in "{,":
            end = at + 1
            while end < len(text) and (text[end].isspace() or text[end] == "-" or text[end].isdigit()):
                end += 1
            number = text[at + 1:end].strip()
            if number and text[end:end + 1] == ":":
                out.append(f'{ch}"{number}"')
                at = end
                continue
        out.append(ch)
        at += 1
    return "".join(out)


def list_groups(c):
    table = json.loads(c.need(201).body)["subscriptionGroupTable"]
    keys = ("retryMaxTimes", "retryQueueNums", "consumeEnable", "consumeBroadcastEnable", "whichBrokerWhenConsumeSlowly")
    return {name: {k: g[k] for k in keys} for name, g in table.items() if name != "LISTING"}


def list_topics(c):
    keys = ("perm", "readQueueNums", "writeQueueNums", "order", "topicSysFlag")
    return {name: {k: t[k] for k in keys} for name, t in topics_of(c).items()}


def listing(c):
    queues = list_queues(c)
    return {"topics": list_topics(c), "groups": list_groups(c), "queues": queues, "offsets": list_offsets(c),
            "keys": list_keys(c, queues), "times": list_times(c, queues), "tags": list_tags(c)}
