"""The core path with every worker under valgrind: no leak, no bad access, in any of them."""

import glob
import os
import shutil
import sys

import rmq


def main():
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing: install the Debian package valgrind")
    c = rmq.Cluster()
    log = os.path.join(c.dir, "valgrind.%p")
    wrapper = os.path.join(c.dir, "supervisor")
    with open(wrapper, "w") as f:
        f.write("#!/bin/sh\nexec valgrind -q --leak-check=full --show-leak-kinds=definite,indirect,possible --trace-children=yes "
                f"--errors-for-leak-kinds=definite,indirect,possible --error-exitcode=77 --log-file={log} {c.binary} \"$@\"\n")
    os.chmod(wrapper, 0o755)
    c.binary = wrapper
    try:
        c.start(wait=False)
        c.wait_ready(120)
        work(c)
        status = c.stop(120)
        found, logs = [], sorted(glob.glob(os.path.join(c.dir, "valgrind.*")))
        if len(logs) < 8:
            sys.exit(f"valgrind watched only {len(logs)} processes: {logs}")
        for path in logs:
            with open(path) as f:
                text = f.read()
            if text.strip():
                found.append(text)
        if status != 0 or found:
            sys.exit("\n".join(found) + f"\nthe supervisor ended with {status}\n" + c.output())
        print("no leak and no error in any process")
    finally:
        c.close()


def work(c):
    with c.client() as p, c.client() as consumer, rmq.Client(c.ns) as ns:
        p.create_topic("T", 4)
        heartbeat = (b'{"clientID":"c@1","producerDataSet":[{"groupName":"PG"}],"consumerDataSet":[{"groupName":"CG",'
                     b'"consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET",'
                     b'"subscriptionDataSet":[{"topic":"T","subString":"A || B","tagsSet":["A","B"],"codeSet":[65,66],'
                     b'"subVersion":1,"expressionType":"TAG"}]}]}')
        consumer.need(34, {}, heartbeat)
        for i in range(300):
            p.send("T", b"x" * (i + 1), i % 4, {"TAGS": "AB"[i % 2], "KEYS": f"k{i}", "UNIQ_KEY": "%032X" % i})
        p.send("Auto", b"x")
        for q in range(4):
            assert len(rmq.until("dispatched", lambda q=q: (lambda g: g if len(g) == 75 else None)(p.pull_queue("T", q))))
            consumer.need(15, {"consumerGroup": "CG", "topic": "T", "queueId": q, "commitOffset": 5})
        held = consumer.post(11, {"consumerGroup": "CG", "topic": "T", "queueId": 0, "queueOffset": 75, "maxMsgNums": 32,
                                  "sysFlag": 2, "commitOffset": 0, "suspendTimeoutMillis": 10000, "subscription": "",
                                  "subVersion": 0})
        p.send("T", b"woken", 0, {"TAGS": "A"})
        consumer.answer(held)
        for code, ext, body in ((12, {"topic": "T", "key": "k7", "maxNum": 10, "beginTimestamp": 0, "endTimestamp": 1 << 60}, b""),
                                (28, {}, b""), (26, {}, b""), (21, {}, b""), (201, {}, b""), (202, {"topic": "T"}, b""),
                                (208, {"consumerGroup": "CG"}, b""), (203, {"consumerGroup": "CG"}, b""),
                                (38, {"consumerGroup": "CG"}, b""), (300, {"topic": "T"}, b""), (317, {"isOrder": False}, b""),
                                (29, {"topic": "T", "queueId": 0, "timestamp": 0}, b""), (35, {"clientID": "c@1", "consumerGroup": "CG"}, b""),
                                (215, {"topic": "Auto"}, b"")):
            p.need(code, ext, body)
        ns.need(106)
        ns.need(206)
        c.status()
        c.get("/metrics")


main()
