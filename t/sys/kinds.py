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
    """Writes all kinds, each body beginning with `mark`. `five`: the broker is of 5.x.

    What comes by itself within seconds is in `due`, what comes later, by these levels and this time, in `pending`, what must never
    come in `never`: (topic, body) each. `asked_for`: halves without an end. `sent`: everything else that stands in a topic.
    """

    def __init__(self, client, five=True, mark="", start=0, levels=(7, 8), timer_ms=200000, timers_due=True):
        self.c, self.five, self.mark, self.serial = client, five, mark, start
        self.levels, self.timer_ms, self.timers_due = levels, timer_ms, timers_due
        self.due, self.pending, self.asked_for, self.never, self.sent = [], [], [], [], []

    def key(self):
        self.serial += 1
        return uniq(self.serial)

    def text(self, body):
        return (self.mark + body).encode()

    def send(self, topic, body, queue=0, props=None, to=None):
        """`to`: the list that it goes to; `sent` if none is given."""
        answer = self.c.send(topic, body, queue, {"UNIQ_KEY": self.key(), **(props or {})})
        (self.sent if to is None else to).append((topic, body.decode()))
        return answer

    def all(self):
        self.tables()
        for part in (self.keyed, self.batch, self.odd, self.delayed, self.timed, self.transactions, self.back, self.plain, self.offsets):
            part()
        self.wait_due()

    def wait_due(self):
        for topic in sorted({t for t, _ in self.due}):
            want = {b for t, b in self.due if t == topic}
            until(f"{topic}: {want}", lambda t=topic, w=want: w <= set(bodies(self.c, t)), 30)

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
            self.c.need(401, {}, json.dumps({"topic": "Keyed", "consumerGroup": "CG2", "mode": "POP", "popShareQueueNum": 2}).encode())

    # ---- plain ones: enough for several segments and queue files

    def plain(self):
        for i in range(260):
            self.send("Plain", self.text("plain %d " % i) * (1 + i % 7 * 40), i % 4, {"TAGS": "t%d" % (i % 3)})
        self.c.send("Plain", self.text("without any property"), 1)
        self.sent.append(("Plain", self.mark + "without any property"))
        self.send("L" * 127, self.text("a long topic"))

    def keyed(self):
        for i in range(220):
            self.send("Keyed", self.text("keyed %d" % i), i % 2, {"KEYS": f"k{i} all{i % 5}", "TAGS": "x"})
        for key in ("Aa", "BB", "C#", "Bb"):     # Aa and BB, C# and Bb have the same hash
            self.send("Keyed", self.text(key), 0, {"KEYS": key})

    def batch(self):
        for queue, count in ((0, 12), (1, 3)):
            texts = [self.text("batch %d %d" % (queue, i)) for i in range(count)]
            body = b"".join(self.part(t, {"KEYS": f"b{i}", "UNIQ_KEY": self.key()}, i) for i, t in enumerate(texts))
            self.c.need(320, self.header("Batch", queue, {"UNIQ_KEY": self.key()}, m=True), body)
            self.sent += [("Batch", t.decode()) for t in texts]

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
        for i, props in enumerate(({"TAGS": "\U0001F680"}, {"TAGS": "TagB", "\u00fcml": "\u4e2d\u6587 \u0645\u0631\u062d\u0628\u0627"},
                                   {"quote": "a\"b\\c", "lines": "a\nb\tc\r", "equals": "a=b&c"}, {"long": "v" * 9000},
                                   {"empty": ""}, {"KEYS": "\U0001F511 \u00e9"}, {"control": "\x03\x1f\x7f"})):
            self.send("Odd", self.text("odd %d" % i), 0, props)
        for body, more in ((zlib.compress(self.text("packed ") * 400), {"f": 1}), (self.text("") + bytes(range(256)) * 4, {"h": -7, "j": 3})):
            self.c.need(310, self.header("Odd", 1, {"UNIQ_KEY": self.key()}, **more), body)
            self.sent.append(("Odd", body.decode("latin-1")))

    # ---- later ones

    def delayed(self):
        for i in range(4):
            self.send("Delayed", self.text("came %d" % i), i % 2, {"DELAY": "1"}, self.due)
        for i, level in enumerate((*self.levels, *self.levels)):
            self.send("Delayed", self.text("later %d" % i), i % 2, {"DELAY": str(level)}, self.pending)

    def timed(self):
        if not self.five:
            return
        for i in range(4 if self.timers_due else 0):
            self.send("Delayed", self.text("timed came %d" % i), i % 2, {"TIMER_DELAY_MS": "1500"}, self.due)
        for i in range(4):
            self.send("Delayed", self.text("timed later %d" % i), i % 2, {"TIMER_DELIVER_MS": str(now_ms() + self.timer_ms + i * 700)},
                      self.pending)
        recalled = self.send("Delayed", self.text("recalled"), 0, {"TIMER_DELAY_MS": str(self.timer_ms)}, self.never)
        self.c.need(370, {"producerGroup": "PG", "topic": "Delayed", "recallHandle": recalled["recallHandle"]})

    # ---- transactions

    def end(self, sent, how, key):
        self.c.need(37, {"producerGroup": "PG", "tranStateTableOffset": sent["queueOffset"],
                         "commitLogOffset": int(sent["msgId"][16:], 16), "commitOrRollback": how, "msgId": sent["msgId"],
                         "transactionId": key})

    def transactions(self):
        for i in range(9):
            body, key = self.text("half %d" % i), self.key()
            sent = self.c.send("Paid", body, 0, {"TRAN_MSG": "true", "PGROUP": "PG", "UNIQ_KEY": key, "KEYS": "half"})
            if i % 3 < 2:
                self.end(sent, (COMMIT, ROLLBACK)[i % 3], key)
            (self.due, self.never, self.asked_for)[i % 3].append(("Paid", body.decode()))

    # ---- what consumers send back

    def back(self):
        texts = [self.text("back %d" % i) for i in range(6)]
        for text in texts:
            self.send("Back", text)
        found = until("they can be read", lambda: (lambda m: len(m) == 6 and m)([m for m in read_queue(self.c, "Back", 0) if m["body"] in texts]))
        for i, (group, level) in enumerate((("CG1", 1), ("CG1", -1), ("CG1", self.levels[0]), ("CG2", -1),
                                            (LONG_GROUP if self.five else "CG2", 1))):
            self.c.need(36, {"offset": found[i]["physical"], "group": group, "delayLevel": level, "originMsgId": "x",
                             "originTopic": "Back", "unitMode": False, "maxReconsumeTimes": 16})
            to = self.sent if level < 0 else self.due if level == 1 else self.pending
            to.append((("%DLQ%" if level < 0 else "%RETRY%") + group, texts[i].decode()))

    def offsets(self):
        for group, topic, queue, offset in (("CG1", "Plain", 0, 17), ("CG1", "Plain", 3, 64), ("CG2", "Plain", 1, 1),
                                            ("CG1", "%RETRY%CG1", 0, 0), ("CG2", "Keyed", 1, 110)):
            self.c.need(15, {"consumerGroup": group, "topic": topic, "queueId": queue, "commitOffset": offset})


class Producer:
    """Answers what the broker asks about its transactions: those with an even number are committed."""

    def __init__(self, client):
        self.c, self.asked = client, set()

    def serve(self):
        self.c.need(34, {}, json.dumps({"clientID": "p@1", "producerDataSet": [{"groupName": "PG"}], "consumerDataSet": []}).encode())
        while self.c.pushed:
            f = self.c.pushed.pop(0)
            if f.code != 39:
                continue
            body = messages(f.body)[0]["body"].decode()
            self.asked.add(body)
            self.c.post(37, {"producerGroup": "PG", "tranStateTableOffset": f.ext["tranStateTableOffset"],
                             "commitLogOffset": f.ext["commitLogOffset"], "fromTransactionCheck": True, "msgId": f.ext["msgId"],
                             "commitOrRollback": COMMIT if commits(body) else ROLLBACK}, oneway=True)


def commits(body):
    return int(body.split()[-1]) % 2 == 0


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


def bodies(c, topic):
    queues = topics_of(c).get(topic, {"readQueueNums": 0})["readQueueNums"]
    return [m["body"].decode("latin-1") for q in range(queues) for m in read_queue(c, topic, q)]


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
        if topic == WHEEL:
            continue    # the original goes on storing there what it puts off
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


def list_modes(c):
    """How the members of a group share a topic's queues (5.x)."""
    a = c.ask(402)
    table = json.loads(a.body or "{}").get("messageRequestModeMap", {}) if a.code == 0 else {}
    return {f"{t}@{g}": [m["mode"], m["popShareQueueNum"]] for t, groups in table.items() for g, m in groups.items()}


def list_topics(c):
    keys = ("perm", "readQueueNums", "writeQueueNums", "order", "topicSysFlag")
    return {name: {k: t[k] for k in keys} for name, t in topics_of(c).items()}


def listing(c):
    queues = list_queues(c)
    return {"topics": list_topics(c), "groups": list_groups(c), "queues": queues, "offsets": list_offsets(c), "modes": list_modes(c),
            "keys": list_keys(c, queues), "times": list_times(c, queues), "tags": list_tags(c)}


# Queues to which what is pending is added as soon as a broker runs; system topics grow by themselves.
GROWING = ("Delayed", "%RETRY%CG1", "%RETRY%CG2", "%RETRY%" + LONG_GROUP, "Paid", HALF, OP, WHEEL, SCHEDULE)
# Topics that each broker makes for itself.
OWN = ("broker-a", "DefaultCluster", "BenchmarkTest", "TBW102", "SELF_TEST_TOPIC", "OFFSET_MOVED_EVENT", "rmq_sys_", "RMQ_SYS_",
       "SCHEDULE_TOPIC_XXXX", "DefaultCluster_REPLY_TOPIC", "TRANS_CHECK_MAX_TIME_TOPIC")


def differences(want, c, added=None, keys=True):
    """What the broker answers in another way than the listing `want` says: sentences. `added`: messages sent since to each queue."""
    out = []
    for name, q in want["queues"].items():
        topic, queue = name.rsplit(" ", 1)
        first, end = (int(c.need(code, {"topic": topic, "queueId": queue}).ext["offset"]) for code in (31, 30))
        got = [plain_message(m) for m in read_queue(c, topic, int(queue))]
        if first != q["min"] or end < q["max"] or (topic not in GROWING and end != q["max"] + (added or {}).get(name, 0)):
            out.append(f"{name}: offsets {first} to {end}, not {q['min']} to {q['max']}")
        out += [f"{name}: {g}, not {w}" for w, g in zip(q["messages"], got) if w != g]
        if len(got) < end - first or (topic not in GROWING and len(got) != end - first):
            out.append(f"{name}: {len(got)} messages from {first} to {end}")
    topics, groups, offsets = list_topics(c), list_groups(c), list_offsets(c)
    out += [f"topic {t}: {topics.get(t)}, not {w}" for t, w in want["topics"].items() if not t.startswith(OWN) and topics.get(t) != w]
    out += [f"group {g}: {groups.get(g)}, not {w}" for g, w in want["groups"].items() if groups.get(g) != w]
    if (modes := list_modes(c)) != want.get("modes", modes):
        out.append(f"request modes {modes}, not {want['modes']}")
    if offsets != want["offsets"]:
        out.append(f"offsets {offsets}, not {want['offsets']}")
    return out + (key_differences(want, c) if keys else [])


def key_differences(want, c):
    """Above the place where the listing ends stands what came since."""
    end = max(m["physical"] for q in want["queues"].values() for m in q["messages"])
    return [f"key {k['ask']}: {got}, not {k['hits']}" for k in want["keys"]
            if (got := [x for x in query(c, *k["ask"]) if x <= end]) != k["hits"]]
