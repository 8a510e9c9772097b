"""Clusters of real daemons for the tests: certificates, configuration, processes, and what their logs must not say.

The binaries come from the environment, RAFTKVD and RAFTKVCTL. Every daemon is a child of this process and is ended
by its own pid. Waiting is always for a condition with a deadline (until()); RAFTKV_SLOW multiplies the deadlines."""

import contextlib
import copy
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import rest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
DAEMON = os.path.abspath(os.environ.get("RAFTKVD") or os.path.join(TOP, "raftkvd"))
CTL = os.path.abspath(os.environ.get("RAFTKVCTL") or os.path.join(TOP, "raftkvctl"))
SLOW = float(os.environ.get("RAFTKV_SLOW", "1"))

# A daemon that was hurt says so in one of these ways.
WOUNDS = re.compile(r"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|ThreadSanitizer|runtime error:"
                    r"|assertion|Assertion|==\d+==ERROR|definitely lost: [1-9]")
ELECTION_MS, HEARTBEAT_MS = 300, 50


def until(what, condition, seconds=20.0, pause=0.02):
    """Waits for condition() to be true and returns its value. what: for the message when it never is."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"never came true within {seconds * SLOW:.0f} s: {what}")
        time.sleep(pause)


used_ports = set()


def free_port():
    """A port below the ephemeral ones, so that no outgoing connection takes it while a daemon is down."""
    while True:
        port = random.SystemRandom().randrange(12000, 30000)
        if port in used_ports:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        used_ports.add(port)
        return port


def run(*args, check=True, timeout=60, **more):
    """Runs a command that must succeed; returns the finished process."""
    done = subprocess.run(args, capture_output=True, timeout=timeout * SLOW, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{args}: exit {done.returncode}\n{done.stdout!r}\n{done.stderr.decode(errors='replace')}")
    return done


class Pki:
    """An authority in a directory, and certificates of its making."""

    def __init__(self, path):
        self.path = str(path)
        os.makedirs(self.path, exist_ok=True)
        self.ca_dir = os.path.join(self.path, "ca")
        run(CTL, "pki", "init", self.ca_dir)
        self.ca = os.path.join(self.ca_dir, "ca.crt")

    def issue(self, name, *more, out=None):
        """Returns (certificate, key). Members get the loopback names."""
        out = out or os.path.join(self.path, f"{name}-{random.randrange(1 << 40):x}")
        hosts = [] if "--client" in more else ["--host", "localhost", "--ip", "127.0.0.1", "--ip", "::1"]
        run(CTL, "pki", "issue", "--ca", self.ca_dir, "--name", name, *hosts, *more, out)
        return os.path.join(out, name + ".crt"), os.path.join(out, name + ".key")


def conf_text(options, indent=""):
    """A dict as libconfig's text."""
    lines = []
    for name, value in options.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{name}: {{\n{conf_text(value, indent + '    ')}{indent}}};\n")
        elif isinstance(value, bool):
            lines.append(f"{indent}{name} = {'true' if value else 'false'};\n")
        elif isinstance(value, int):
            lines.append(f"{indent}{name} = {value};\n")
        elif isinstance(value, (list, tuple)):
            lines.append(f"{indent}{name} = [{', '.join(json.dumps(v) for v in value)}];\n")
        else:
            lines.append(f"{indent}{name} = {json.dumps(value)};\n")
    return "".join(lines)


def merge(into, more):
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value
    return into


class Node:
    """One host: its directory, configuration and, while it runs, its process."""

    def __init__(self, cluster, name, data=None, **options):
        self.cluster, self.name = cluster, name
        os.makedirs(cluster.path, exist_ok=True)
        self.dir = os.path.join(cluster.path, name)
        while os.path.exists(self.dir):
            self.dir += "-again"
        os.makedirs(self.dir)
        self.data = data or os.path.join(self.dir, "data")
        self.socket = os.path.join(self.dir, "admin.sock")
        self.conf_path = os.path.join(self.dir, "raftkv.conf")
        self.log_path = os.path.join(self.dir, "log")
        self.peer_port, self.client_port = free_port(), free_port()
        self.cert, self.key = cluster.pki.issue(name)
        self.process, self.environ, self.wrapper, self.checked = None, {}, [], 0
        self.conf = merge({
            "name": name,
            "data_directory": self.data,
            "workers": 2,
            "admin": {"socket": self.socket},
            "peer": {"listen": f"127.0.0.1:{self.peer_port}", "advertise": self.peer,
                     "certificate": self.cert, "key": self.key, "ca": cluster.pki.ca},
            "client": {"listen": f"127.0.0.1:{self.client_port}", "advertise": f"https://localhost:{self.client_port}",
                       "certificate": self.cert, "key": self.key},
            "raft": {"election_timeout_ms": int(ELECTION_MS * SLOW), "heartbeat_ms": int(HEARTBEAT_MS * SLOW)},
            "store": {"reserve_mb": 1, "low_space_mb": 1, "rows_cache_mb": 16},
        }, options)

    def __repr__(self):
        return f"<{self.name}{'' if self.running else ' down'}>"

    @property
    def peer(self):
        return f"localhost:{self.peer_port}"

    @property
    def url(self):
        return f"https://localhost:{self.client_port}"

    # ---- the process

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def write_conf(self):
        with open(self.conf_path, "w", encoding="utf-8") as file:
            file.write(conf_text(self.conf))

    def launch(self, *args):
        """Starts the daemon without waiting for anything."""
        assert not self.running
        self.write_conf()
        environ = dict(os.environ, ASAN_OPTIONS="quarantine_size_mb=8:malloc_context_size=20",
                       UBSAN_OPTIONS="print_stacktrace=1",
                       LSAN_OPTIONS="print_suppressions=0:suppressions="
                                    + os.path.join(os.path.dirname(os.path.abspath(__file__)), "lsan.supp"),
                       **self.environ)
        self.mark = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.wrapper, DAEMON, "-c", self.conf_path, *args], env=environ,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir)

    def start(self, *args):
        """Starts the daemon and waits until it says that it serves."""
        self.launch(*args)
        self.await_ready()
        return self

    def await_ready(self, seconds=30):
        def ready():
            if not self.running:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log()[-3000:]}")
            return "is ready as" in self.log(self.mark)
        until(f"{self.name} is ready", ready, seconds)

    def fails_to_start(self, *args):
        """Starts the daemon, which must end by itself with exit 1; returns what it said."""
        self.launch(*args)
        try:
            code = self.process.wait(30 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} runs, but must not:\n{self.log(self.mark)}") from None
        assert code == 1, (code, self.log(self.mark))
        return self.log(self.mark)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9."""
        if self.process is None:
            return
        self.process.kill()
        code = self.process.wait()
        assert code in (-signal.SIGKILL, 0), f"{self.name} had ended by itself with {code}:\n{self.log()[-3000:]}"

    def stop(self, seconds=20):
        """SIGTERM: it must end with 0. Returns how long it took."""
        if not self.running:
            return 0.0
        begun = time.monotonic()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not stop:\n{self.log()[-3000:]}") from None
        assert code == 0, f"{self.name} ended with {code}:\n{self.log()[-5000:]}"
        return time.monotonic() - begun

    def restart(self, *args):
        self.stop()
        return self.start(*args)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def log(self, since=0):
        with open(self.log_path, "rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace")

    def log_size(self):
        return os.path.getsize(self.log_path)

    def await_log(self, text, since=0, seconds=20):
        until(f"{self.name} logs {text!r}", lambda: text in self.log(since), seconds)

    def check_log(self):
        """Nothing in the log that tells of a bug. Looked at once."""
        if not os.path.exists(self.log_path):
            return
        text = self.log(self.checked)
        self.checked = self.log_size()
        wound = WOUNDS.search(text)
        if wound:
            raise AssertionError(f"{self.name} is hurt:\n{text[max(0, wound.start() - 500):wound.start() + 5000]}")

    def rss_kb(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # ---- talking to it

    def rest(self, timeout=15, **tls):
        ctx = rest.context(self.cluster.pki.ca, **tls)
        return rest.Rest(lambda: http.client.HTTPSConnection("localhost", self.client_port, timeout=timeout * SLOW,
                                                             context=ctx))

    def admin(self, timeout=30):
        return rest.Rest(lambda: rest.UnixConnection(self.socket, timeout * SLOW))

    def pipe(self, timeout=60):
        return rest.Pipe("127.0.0.1", self.client_port, rest.context(self.cluster.pki.ca), timeout * SLOW)

    def ctl(self, *args, check=0, stdin=b"", timeout=60):
        """raftkvctl; check: the exit code that is right, None for any. Returns the finished process, with text."""
        done = run(CTL, "--socket", self.socket, *args, check=False, input=stdin, timeout=timeout)
        done.out, done.err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check is not None:
            assert done.returncode == check, f"raftkvctl {args}: exit {done.returncode}\n{done.out}{done.err}"
        return done

    def status(self):
        admin = self.admin()
        try:
            answer = admin.call("GET", "/status")
            assert answer.status == 200, answer
            return answer.json
        finally:
            admin.close()

    def try_status(self):
        """None while it cannot be had."""
        if not self.running:
            return None
        try:
            return self.status()
        except (rest.Lost, rest.NotSent):
            return None

    def healthy(self):
        admin = self.admin()
        try:
            return admin.call("GET", "/health").status == 200
        except (rest.Lost, rest.NotSent):
            return False
        finally:
            admin.close()


live = set()  # clusters that have not been closed: a failed test shows the end of their logs


class Cluster:
    """Hosts node1 .. nodeN below path, each a cluster of its own until they are joined."""

    def __init__(self, path, count=3, pki=None, **options):
        self.path = str(path)
        os.makedirs(self.path, exist_ok=True)
        self.pki = pki or Pki(os.path.join(self.path, "pki"))
        self.options, self.nodes = options, []
        self.first_count = count
        live.add(self)
        for _ in range(count):
            self.add()

    def __getitem__(self, index):
        return self.nodes[index]

    def add(self, name=None, data=None, **options):
        """One more host, not started."""
        node = Node(self, name or f"node{len(self.nodes) + 1}", data, **merge(copy.deepcopy(self.options), options))
        self.nodes.append(node)
        return node

    def form(self):
        """Starts all and joins them to the first."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.await_ready()
        until("the first host leads itself", self.nodes[0].healthy)
        for node in self.nodes[1:]:
            node.ctl("join", self.nodes[0].peer)
        self.await_serving()
        return self

    def running(self):
        return [node for node in self.nodes if node.running]

    def leader(self, among=None):
        """The host that leads in the highest term, when a majority of those that run agrees; else None."""
        seen = [(s, node) for node in among or self.running() for s in [node.try_status()] if s]
        if not seen:
            return None
        status, node = max(seen, key=lambda pair: (pair[0]["term"], pair[0]["role"] == "leader"))
        agreed = [s for s, _ in seen if s["leader_id"] == status["member_id"]]
        return node if status["role"] == "leader" and len(agreed) * 2 > len(seen) else None

    def await_leader(self, among=None, seconds=20):
        return until("there is a leader", lambda: self.leader(among), seconds)

    def follower(self):
        leader = self.await_leader()
        return next(node for node in self.running() if node is not leader)

    def await_serving(self, seconds=20):
        """Every host that runs knows a leader."""
        until("all hosts are healthy", lambda: all(node.healthy() for node in self.running()), seconds)
        return self.await_leader()

    def await_equal(self, seconds=30, among=None):
        """Every host that runs has applied the same entries; returns their number."""
        def equal():
            seen = [node.try_status() for node in among or self.running()]
            if not all(seen):
                return None
            applied = {s["applied_index"] for s in seen} | {s["commit_index"] for s in seen}
            return applied.pop() if len(applied) == 1 else None
        return until("all hosts have applied the same", equal, seconds)

    def check_equal_data(self, prefix=""):
        """Each host's own state, read without asking anybody, is the same; returns it."""
        self.await_equal()
        data = {}
        for node in self.running():
            client = node.rest(60)
            data[node.name] = client.range(prefix, level="stale")
            client.close()
        first = next(iter(data.values()))
        for name, rows in data.items():
            assert rows == first, f"{name} differs: {set(rows) ^ set(first)}"
        return first

    def check_logs(self):
        for node in self.nodes:
            node.check_log()

    def close(self):
        """Stops everything, which must go well, and looks at the logs."""
        problems = []
        for node in self.nodes:
            if node.running:
                node.signal(signal.SIGCONT)
                node.signal(signal.SIGTERM)
        for node in self.nodes:
            try:
                node.stop()
                if node.process is not None and node.process.returncode not in (0, 1, -signal.SIGKILL):
                    raise AssertionError(f"{node.name} ended with {node.process.returncode}:\n{node.log()[-3000:]}")
                node.check_log()
            except AssertionError as problem:
                problems.append(str(problem))
            shutil.rmtree(node.data, ignore_errors=True)
        live.discard(self)
        assert not problems, "\n".join(problems)

    def abandon(self):
        """After a failed test: nothing is proven any more, but nothing may stay behind either."""
        for node in self.nodes:
            if node.running:
                node.process.kill()
                node.process.wait()

    def rebuild(self):
        """In place, after a test that failed: new hosts with the old names, formed."""
        self.abandon()
        count, self.nodes = self.first_count, []
        for _ in range(count):
            self.add()
        return self.form()


@contextlib.contextmanager
def running(*args, form=True, **options):
    """with running(path) as cluster: - formed, and closed with all checks."""
    cluster = Cluster(*args, **options)
    try:
        if form:
            cluster.form()
        yield cluster
    except BaseException:
        cluster.abandon()
        raise
    cluster.close()
