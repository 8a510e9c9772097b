"""Exactly once: a write that is sent again, after its answer was lost, through any member, is applied once."""

import threading
import time

import pytest

import cluster as c
import conftest
import rest

three = conftest.shared(3, raft={"snapshot_entries": 500, "log_keep_entries": 50})


@pytest.fixture(autouse=True)
def whole(three):
    for node in three.nodes:
        if not node.running:
            node.start()
    three.await_serving()


class Session:
    def __init__(self, node, ttl=600):
        answer = node.rest().call("POST", "/session", f'{{"ttl": {ttl}}}')
        assert answer.status == 200, answer
        assert answer.json["ttl"] == ttl
        self.id = answer.json["session"]

    def put(self, node, number, key, value):
        client = node.rest()
        try:
            return client.call("PUT", "/key/" + key, value,
                               {"Raftkv-Session": self.id, "Raftkv-Sequence": str(number)})
        finally:
            client.close()


def version(node, key):
    """How often the key was written since it was created."""
    answer = node.rest().get(key)
    assert answer.status == 200, answer
    return int(answer.headers["raftkv-version"])


def test_a_write_sent_again_through_each_member_is_applied_once(three):
    session = Session(three[0])
    answers = [session.put(node, 1, "once", "value") for node in three.nodes for _ in range(3)]
    assert {a.status for a in answers} == {200}, answers
    assert len({a.json["revision"] for a in answers}) == 1
    assert version(three[1], "once") == 1
    assert session.put(three[2], 1, "once", "another").code == "sequence_reused"
    assert session.put(three[2], 2, "once", "another").status == 200
    assert version(three[0], "once") == 2


def test_a_write_in_flight_when_the_leader_is_killed_is_applied_once(three):
    session = Session(three.await_leader())
    stop, revisions, failures = threading.Event(), {}, []

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            end = time.monotonic() + 60 * c.SLOW
            while number not in revisions:
                node = three.nodes[(number + len(failures)) % 3]
                try:
                    answer = session.put(node, number, "counted", str(number))
                except (rest.Lost, rest.NotSent) as error:
                    failures.append(error)
                    continue
                if answer.status == 200:
                    revisions[number] = answer.json["revision"]
                else:
                    failures.append(answer)
                    assert answer.status in (429, 503, 504), answer
                assert time.monotonic() < end

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(4):
            count = len(revisions)
            c.until("writes go on", lambda: len(revisions) > count + 20)  # pylint: disable=cell-var-from-loop
            leader = three.await_leader()
            leader.kill()
            count = len(revisions)
            c.until("writes go on without it", lambda: len(revisions) > count + 5)
            leader.start()
    finally:
        stop.set()
        thread.join()
    assert failures, "nothing was ever in flight"
    three.await_serving()
    assert len(set(revisions.values())) == len(revisions)
    assert version(three[0], "counted") == len(revisions)
    three.check_equal_data()


def test_a_session_survives_a_snapshot_and_a_restart_of_all(three):
    session = Session(three[0])
    first = session.put(three[0], 1, "kept", "value")
    away = three.follower()
    away.kill()
    leader = three.await_leader()
    pipe = leader.pipe()
    assert pipe.put_all([(f"fill/{i}", b"x") for i in range(2000)]) == {200: 2000}
    pipe.close()
    begun = away.log_size()
    away.start()
    away.await_log("installed a snapshot from the leader", begun)
    three.await_serving()
    # Whoever leads answers from its own table: let it be the one that got the snapshot.
    three.await_leader().ctl("transfer-leader", away.name)
    c.until("it leads", lambda: three.await_leader() is away)
    assert session.put(away, 1, "kept", "value").body == first.body
    for node in three.nodes:
        node.stop()
    for node in three.nodes:
        node.launch()
    for node in three.nodes:
        node.await_ready()
    three.await_serving()
    assert session.put(three[1], 1, "kept", "value").body == first.body
    assert version(three[0], "kept") == 1


def test_a_session_expires_when_it_is_not_used(three):
    used, unused = Session(three[0], ttl=10), Session(three[1], ttl=10)
    time.sleep(2)
    assert used.put(three[0], 1000, "used", "x").status == 200
    number = 1000
    begun = time.monotonic()

    def expired():
        nonlocal number
        number += 1
        assert used.put(three[2], number, "used", "x").status == 200
        return three.await_leader().status()["sessions"] < before

    before = three.await_leader().status()["sessions"]
    c.until("the unused one has expired", expired, 40, 0.5)
    assert time.monotonic() - begun > 7
    assert unused.put(three[0], 1, "unused", "x").code == "no_session"
    assert used.put(three[1], number, "used", "x").status == 200
    assert three[0].rest().get("unused").status == 404


def test_set_says_what_was_done_while_its_host_is_killed_again_and_again(three):
    host, stop, codes = three.follower(), threading.Event(), []

    def write():
        while not stop.is_set():
            codes.append(host.ctl("--timeout", "20", "set", f"ctl/{len(codes)}", "x", check=None).returncode)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(4):
            count = codes.count(0)
            c.until("sets go on", lambda: codes.count(0) > count + 5)  # pylint: disable=cell-var-from-loop
            host.kill()
            host.start()
    finally:
        stop.set()
        thread.join()
    three.await_serving()
    made = {key: int(version) for key, _, _, version in three[0].rest().range("ctl/")}
    assert set(made.values()) == {1}, made
    for i, code in enumerate(codes):
        if code == 0:
            assert f"ctl/{i}" in made
        elif code in (4, 5):  # nothing was done
            assert f"ctl/{i}" not in made
        else:
            assert code == 6, codes
    assert codes.count(0) > 10
