"""The shim from the tests' side (t/shim/shim.h): a cluster whose workers' file operations fail when a test says so."""

import os
import unittest

import rmq

LIBRARY = os.environ.get("RMQ_SHIM") or os.path.join(rmq.BUILD, "t", "shim", "shim.so")


def sanitized():
    """The sanitizers want to be the first library themselves."""
    with open(os.path.join(rmq.BUILD, "rmqsupervisor"), "rb") as f:
        return b"__asan_init" in f.read()


class ShimCluster(rmq.Cluster):
    """A Cluster below the shim. rules() switches what fails from now on, for the running processes too."""

    def __init__(self, conf=None, spec=None, env=None, trace=None):
        if sanitized():
            raise unittest.SkipTest("below a sanitizer no other library can be loaded first")
        super().__init__(conf, spec, env=env)
        self.rules_path = os.path.join(self.dir, "rules")
        self.env = {**self.env, "LD_PRELOAD": LIBRARY, "RMQ_SHIM_ROOT": self.dir, "RMQ_SHIM_RULES": self.rules_path}
        if trace:
            self.env["RMQ_SHIM_TRACE"] = trace

    def rules(self, *lines):
        """These rules and no others; none: all is well again."""
        with open(self.rules_path + ".new", "w") as f:
            f.write("".join(line + "\n" for line in lines))
        os.replace(self.rules_path + ".new", self.rules_path)

    def injected(self, *words):
        """What was injected so far: lines "PID OPERATION PATH WHAT" that hold all the words."""
        try:
            with open(self.rules_path + ".log") as f:
                return [line for line in f.read().splitlines() if all(w in line for w in words)]
        except FileNotFoundError:
            return []

    def node(self):
        return self.status()["nodes"][0]

    def restarts(self):
        return {w["name"]: w["restarts"] for w in self.status()["workers"]}
