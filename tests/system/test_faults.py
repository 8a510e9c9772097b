"""A daemon whose n-th allocation or disk call fails, wherever that is: libconfig, OpenSSL, HTTP, Berkeley DB.

The library of tests/fault is preloaded. The daemon may refuse to start, end with a sentence, lose a connection, or
carry on; it may not hang, and what it has acknowledged is there at its next start. tests/fault does the same to the
node alone, at far more points. RAFTKV_FAULTS sets how many points of each kind there are (8)."""

import errno
import os
import re
import signal
import struct
import subprocess
import time

import pytest

import cluster as c
import rest

POINTS = int(os.environ.get("RAFTKV_FAULTS", "8"))
KINDS = [("alloc", 0, errno.ENOMEM), ("io", 1, errno.EIO), ("io", 1, errno.ENOSPC), ("read", 3, errno.EIO)]
LIFE_S = 20


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    build = os.path.dirname(c.DAEMON)
    made = os.path.join(build, "tests/fault/libfault.so")
    if not os.path.exists(made):
        made = str(tmp_path_factory.mktemp("shim") / "libfault.so")
        c.run("cc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-g", "-fPIC", "-fno-builtin", "-shared", "-I" + build,
              "-I" + c.TOP, "-o", made, os.path.join(c.TOP, "tests/fault/fault_shim.c"), "-ldl")
    return made


class Life:
    """A host of its own, that is started, asked over TLS and over its admin socket, and stopped."""

    def __init__(self, cluster, shim, kind, error, n):
        self.node = cluster.add(f"host{len(cluster.nodes)}")
        self.acked, self.tally = {}, os.path.join(self.node.dir, "tally")
        with open(self.tally, "wb") as file:
            file.write(bytes(64))
        self.preload = "LD_PRELOAD=" + shim
        self.faults = {"FAULT_KIND": kind, "FAULT_N": str(n), "FAULT_ERRNO": str(error),
                       "FAULT_DIR": self.node.data, "FAULT_TALLY": self.tally}
        if n > 0 and kind == "alloc":  # not the loader's, nor the sanitizer's
            self.faults["FAULT_N"] = str(n + 20)

    def counts(self):
        with open(self.tally, "rb") as file:
            return struct.unpack("=5Q", file.read(40))

    def ask(self, client, i):
        try:
            if client.put(f"k{i}", str(i)).status == 200:
                self.acked[f"k{i}"] = str(i)
            if i % 3 == 0:
                client.get(f"k{i}", level="consistent")
        except (rest.Lost, rest.NotSent):
            pass

    def run(self):
        """Returns how the daemon ended."""
        self.node.environ = dict(self.faults)
        self.node.wrapper = ["env", self.preload,  # env itself has been loaded without it
                             "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0:quarantine_size_mb=8"]
        self.node.launch()
        deadline = time.monotonic() + LIFE_S * c.SLOW
        while self.node.running and "is ready as" not in self.node.log():
            assert time.monotonic() < deadline, f"a start hangs:\n{self.node.log()}"
            time.sleep(0.01)
        clients = [self.node.admin(timeout=3), self.node.rest(timeout=3)]
        for i in range(30):
            if self.node.running:
                self.ask(clients[i % 2], i)
        for client in clients:
            client.close()
        if self.node.running:
            self.node.signal(signal.SIGTERM)
        try:
            return self.node.process.wait(LIFE_S * c.SLOW)
        except subprocess.TimeoutExpired:
            self.node.process.kill()
            self.node.process.wait()
            raise AssertionError(f"it does not end:\n{self.node.log()[-3000:]}") from None

    def judge(self):
        node, since = self.node, self.node.log_size()
        node.environ, node.wrapper = {}, []
        node.start()
        c.until("it serves", node.healthy)
        client = node.rest()
        for key, value in self.acked.items():
            answer = client.get(key, level="consistent")
            assert (answer.status, answer.body.decode()) == (200, value), f"{key} is lost\n{node.log()[-3000:]}"
        client.close()
        node.stop()
        assert not c.WOUNDS.search(node.log(since))

    def explain(self, code):
        """An end that nobody explains is a bug."""
        log = self.node.log()
        if code == 0:
            return "carried on"
        if code == 1:
            assert re.search(r" (ERROR|ALERT|CRITICAL|EMERGENCY) |^raftkvd: ", log, re.M), f"no sentence:\n{log}"
            return "a sentence"
        if code == -signal.SIGABRT and "raftkv: assertion failed: " in log:
            return "an assertion"
        if re.search(r"AddressSanitizer: CHECK failed: (asan|sanitizer)_", log):
            return "the sanitizer's runtime"
        if code in (-signal.SIGSEGV, -signal.SIGBUS):
            frames = re.findall(r"^(/\S+)\(\S*\)\[0x", log, re.M)
            inner = [f for f in frames if not re.search(r"lib(asan|fault|c)\.so", f)][:1]
            if inner and re.match(r"(/usr)?/lib.*/lib\w+", inner[0]):
                return "a crash inside " + os.path.basename(inner[0])
        raise AssertionError(f"it ended with {code}:\n{log[-5000:]}")


def discard(node):
    """Its end was judged: what its first life said is no news for the others."""
    node.checked = node.log_size()


@pytest.mark.parametrize("kind,column,error", KINDS, 
                         ids=[f"{kind}-{errno.errorcode[error]}" for kind, _, error in KINDS])
def test_whatever_fails_the_daemon_says_so_and_keeps_what_it_acknowledged(pki, tmp_path, shim, kind, column, error):
    with c.running(tmp_path, count=0, pki=pki, form=False) as cluster:
        well = Life(cluster, shim, "", 0, 0)
        assert well.explain(well.run()) == "carried on" and len(well.acked) == 30
        well.judge()
        total, ends = well.counts()[column], {}
        assert total > 100
        for i in range(POINTS):
            life = Life(cluster, shim, kind, error, 1 + i * total // POINTS)
            end = life.explain(life.run())
            ends[end] = ends.get(end, 0) + 1
            discard(life.node)
            life.judge()
            discard(life.node)
            life.node.process.returncode = 0
        print(f"{kind} {errno.errorcode[error]}: {total} points, {POINTS} tried: {ends}")
