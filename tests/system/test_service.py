"""What a service manager sees: readiness, status, watchdog, reload, and an end that hands leadership over first."""

import os
import signal
import socket
import threading
import time

import pytest

import cluster as c
import load
import rest


class Manager:
    """A fake service manager: a datagram socket that remembers what it was told."""

    def __init__(self, path):
        self.path = str(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.sock.setblocking(False)
        self.heard = []

    def lines(self):
        while True:
            try:
                self.heard += self.sock.recv(65536).decode().split("\n")
            except BlockingIOError:
                return [line for line in self.heard if line]

    def values(self, name):
        return [line.split("=", 1)[1] for line in self.lines() if line.startswith(name + "=")]

    def await_line(self, start, count=1, seconds=20):
        c.until(f"{start} is heard", lambda: sum(line.startswith(start) for line in self.lines()) >= count, seconds)


@pytest.fixture()
def manager(tmp_path):
    made = Manager(tmp_path / "notify")
    yield made
    made.sock.close()


def test_ready_status_watchdog_reload_and_stop_are_told(pki, tmp_path, manager):
    with c.running(tmp_path / "c", count=1, pki=pki, form=False) as cluster:
        node = cluster[0]
        node.environ = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": str(int(3000000 * c.SLOW))}
        node.start()
        manager.await_line("READY=1")
        manager.await_line("WATCHDOG=1", 3)
        c.until("the status says who leads", lambda: any("leader node1" in line for line in manager.values("STATUS")))
        node.signal(signal.SIGHUP)
        manager.await_line("RELOADING=1")
        manager.await_line("MONOTONIC_USEC=")
        manager.await_line("READY=1", 2)
        lines = manager.lines()
        assert lines.index("RELOADING=1") < len(lines) - 1 - lines[::-1].index("READY=1")
        assert "STOPPING=1" not in lines
        node.stop()
        manager.await_line("STOPPING=1")


def test_ready_is_told_only_when_requests_are_served(pki, tmp_path, manager):
    with c.running(tmp_path / "c", count=1, pki=pki, form=False) as cluster:
        node = cluster[0]
        node.environ = {"NOTIFY_SOCKET": manager.path}
        node.launch()
        manager.await_line("READY=1")
        assert node.status()["name"] == "node1"  # at once, without another try


def test_a_start_that_fails_never_says_ready(pki, tmp_path, manager):
    with c.running(tmp_path / "c", count=1, pki=pki, form=False) as cluster:
        node = cluster[0]
        node.environ = {"NOTIFY_SOCKET": manager.path}
        node.conf["peer"]["certificate"] = str(tmp_path / "none.crt")
        assert "none.crt" in node.fails_to_start()
        assert "READY=1" not in manager.lines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_comes_within_a_second_or_so_and_says_0(pki, tmp_path, number):
    with c.running(tmp_path / "c", count=1, pki=pki) as cluster:
        node = cluster[0]
        begun = time.monotonic()
        node.signal(number)
        assert node.process.wait(20 * c.SLOW) == 0
        assert time.monotonic() - begun < 4 * c.SLOW
        assert not os.path.exists(node.socket)


@pytest.fixture(scope="module")
def patient(pki, tmp_path_factory):
    """Three hosts that would wait long for a lost leader: a hand-over cannot be mistaken for an election."""
    with c.running(tmp_path_factory.mktemp("patient"), count=3, pki=pki,
                   raft={"election_timeout_ms": int(4000 * c.SLOW), "heartbeat_ms": 100}) as made:
        yield made


def test_sigterm_hands_leadership_over_before_the_end(patient):
    for _ in range(2):
        leader = patient.await_leader()
        rest_of = [n for n in patient.nodes if n is not leader]
        begun = time.monotonic()
        leader.signal(signal.SIGTERM)
        successor = patient.await_leader(among=rest_of, seconds=2.5)
        assert time.monotonic() - begun < 2.5 * c.SLOW
        assert leader.process.wait(20 * c.SLOW) == 0
        successor.ctl("set", "after", "1")
        leader.start()
        patient.await_serving()


def test_a_rolling_restart_under_load_costs_no_write(patient):
    """Each host is stopped and started in turn. Clients that try again elsewhere never wait for an election."""
    with load.Load(patient, writers=2, readers=1) as under:
        under.await_progress(50)
        for node in list(patient.nodes):
            node.stop()
            assert under.await_progress(20) < 3 * c.SLOW
            node.start()
            c.until("it is back", node.healthy)
        under.await_progress(50)
    patient.await_serving()
    under.check()
    patient.check_equal_data()


def test_open_connections_are_ended_cleanly_by_a_stop(patient):
    """Requests under way when a host stops are answered, or the connection ends; nobody hangs."""
    node = patient.follower()
    clients = [node.rest() for _ in range(8)]
    done, stop = [], threading.Event()

    def ask(client):
        while not stop.is_set():
            try:
                answer = client.put("stop", "1")
            except (rest.Lost, rest.NotSent):
                break
            if answer.status != 200:
                assert answer.status in (503, 504), answer
                break
        done.append(client)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    seconds = node.stop()
    stop.set()
    for thread in threads:
        thread.join(20 * c.SLOW)
    assert len(done) == len(clients) and seconds < 8 * c.SLOW
    node.start()
    patient.await_serving()


def test_a_host_without_majority_still_stops_at_once(patient):
    one, *others = patient.nodes
    for node in others:
        node.kill()
    client = one.rest(timeout=30)
    lost = threading.Thread(target=lambda: ignore(client.put, "lonely", "1"))
    lost.start()
    time.sleep(0.2)
    assert one.stop() < 9 * c.SLOW
    lost.join(40 * c.SLOW)
    assert not lost.is_alive()
    for node in patient.nodes:
        node.start()
    patient.await_serving()


def ignore(body, *args):
    try:
        body(*args)
    except (rest.Lost, rest.NotSent):
        pass
