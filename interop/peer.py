"""The original's broker on a store of its own or of ours, in a temporary folder."""

import fcntl
import glob
import os
import re
import shutil
import signal
import subprocess

import rmq

# 4.9 reaches into the JDK when it unmaps files, and insists on settings of its log
OPENED = ("--add-exports=java.base/sun.nio.ch=ALL-UNNAMED --add-opens=java.base/java.nio=ALL-UNNAMED "
          "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED")
LOGBACK = """<configuration><appender name="file" class="ch.qos.logback.core.FileAppender"><file>{}</file>
<encoder><pattern>%d %p %t - %m%n</pattern></encoder></appender><root level="WARN"><appender-ref ref="file"/></root></configuration>
"""
# What its store also says of files of its own: the zeros behind the log's end, queues that are right and are found built already when
# it was killed, a read at the end of a segment, an index file that is full.
USUAL = re.compile(r"illegal magic code 0x0$|maxPhyOffsetOfConsumeQueue\((\d+)\) >= processOffset\(\1\)|"
                   r"build consume queue repeatedly|Offset not matched\. Request offset: (\d+), .* lastOffset: \2,|"
                   r"Over index file capacity|is full, trying to create another|Unknown boundary type|"
                   r"Load default HA Service|putMessage cost|Create mapped file|in os page cache|shutdown")


class JavaBroker:
    """Apache's broker `version` with its store in `store` (made if it is not there)."""

    def __init__(self, peer, folder, store, version="5.3.3", conf=None, name="broker-a", port=None):
        self.peer, self.folder, self.store, self.version = os.path.abspath(peer), folder, store, version
        self.port = port or rmq.free_ports(6) + 3
        self.addr = f"127.0.0.1:{self.port}"
        self.label = f"{version}-{self.port}"
        os.makedirs(store, exist_ok=True)
        self.keys = {"brokerClusterName": "DefaultCluster", "brokerName": name, "brokerId": 0, "brokerIP1": "127.0.0.1",
                     "listenPort": self.port, "haListenPort": self.port + 1, "storePathRootDir": store,
                     "storePathCommitLog": os.path.join(store, "commitlog"),
                     "namesrvAddr": "127.0.0.1:1",   # nobody listens there, and 4.9 insists on one
                     "recallMessageEnable": True, "waitTimeMillsInSendQueue": 20000, **(conf or {})}

    def home(self):
        return os.path.join(self.folder, "peer", f"broker-{self.label}")

    def run(self, *args):
        env = {**os.environ, "PEER_HOME": os.path.join(self.folder, "peer"), "RMQ_VERSION": self.version, "BROKER_HEAP": "384m"}
        if self.version.startswith("4."):
            env["JAVA_TOOL_OPTIONS"] = OPENED
        jars = os.environ.get("RMQ_JARS")   # a folder with lib-VERSION of an earlier run
        os.makedirs(os.path.join(self.home(), "conf"), exist_ok=True)
        with open(os.path.join(self.home(), "conf", "logback_broker.xml"), "w") as f:
            f.write(LOGBACK.format(os.path.join(self.home(), "logs", "broker.log")))
        link = os.path.join(self.folder, "peer", f"lib-{self.version}")
        if jars and not os.path.exists(link):
            os.symlink(os.path.join(jars, f"lib-{self.version}"), link)
        subprocess.run([os.path.join(self.peer, "apache"), *args], env=env, check=True, stdout=subprocess.DEVNULL)

    def start(self):
        conf = os.path.join(self.folder, f"broker-{self.label}.conf")
        with open(conf, "w") as f:
            f.writelines(f"{k}={str(v).lower() if isinstance(v, bool) else v}\n" for k, v in self.keys.items())
        self.run("broker", "start", self.label, conf)
        rmq.until("the original answers", self.answers, 60, 0.05)
        return self

    def answers(self):
        with self.client() as c:
            return c.ask(28).code == 0

    def pid(self):
        with open(os.path.join(self.home(), "pid")) as f:
            return int(f.read())

    def stop(self):
        """SIGTERM, and waits."""
        self.run("broker", "stop", self.label)

    def kill(self):
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        rmq.until("its lock is free", self.lock_is_free)
        os.unlink(os.path.join(self.home(), "pid"))

    def lock_is_free(self):
        """The last of its threads is gone, then."""
        with open(os.path.join(self.store, "lock"), "r+") as f:
            fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        return True

    def client(self):
        return rmq.Client(self.addr)

    def complaints(self):
        """Lines of its logs that tell of broken files."""
        out = []
        for path in glob.glob(os.path.join(self.home(), "logs", "**", "*.log"), recursive=True):
            if os.path.basename(path) not in ("store.log", "storeerror.log"):
                continue
            with open(path, errors="replace") as f:
                out += [f"{os.path.basename(path)}: {line.rstrip()}" for line in f
                        if re.search(r" (WARN|ERROR) ", line) and not USUAL.search(line.rstrip())]
        return out

    def forget_logs(self):
        shutil.rmtree(os.path.join(self.home(), "logs"), ignore_errors=True)
