"""Hosts killed under load: nothing acknowledged is lost, nothing stale is read, nothing is done twice, service returns.

RAFTKV_KILLS sets how many random kills there are (20). One round takes about half a second, and KILL_SECONDS at most:
1000 take about ten minutes."""

import os
import random
import time

import pytest

import cluster as c
import conftest
import load

three = conftest.shared(3)

KILLS = int(os.environ.get("RAFTKV_KILLS", "20"))
KILL_SECONDS = 15  # for the slowest round, on a busy machine with sanitizers
BACK_SECONDS = 10 * c.ELECTION_MS / 1000  # a few election timeouts


@pytest.fixture(autouse=True)
def whole(three):
    for node in three.nodes:
        if not node.running:
            node.start()
    three.await_serving()


def test_a_killed_leader_costs_a_few_election_timeouts_and_no_acknowledged_write(three):
    with load.Load(three) as under:
        under.await_progress(100)
        for _ in range(3):
            leader = three.await_leader()
            leader.kill()
            seconds = under.await_progress(20)
            assert seconds < BACK_SECONDS * c.SLOW, f"service was back after {seconds:.1f} s only"
            assert three.await_leader() is not leader
            leader.start()
            c.until("it is back", leader.healthy)
        under.await_progress(100)
    three.await_serving()
    acked, _, reads = under.check()
    assert acked > 100 and reads > 100  # there was a load; how much is the machine's affair
    three.check_equal_data()


def test_all_killed_at_once_come_back_with_everything(three):
    with load.Load(three) as under:
        under.await_progress(100)
        for _ in range(2):
            for node in three.nodes:
                node.kill()
            for node in three.nodes:
                node.launch()
            for node in three.nodes:
                node.await_ready()
            under.await_progress(50)
    three.await_serving()
    under.check()
    three.check_equal_data()


def test_a_paused_leader_is_replaced_and_serves_nothing_stale_when_it_wakes(three):
    with load.Load(three) as under:
        under.await_progress(100)
        leader = three.await_leader()
        leader.pause()
        try:
            under.await_progress(50)
            assert three.await_leader(among=[n for n in three.nodes if n is not leader])
        finally:
            leader.resume()
        under.await_progress(100)
        c.until("the old leader follows", lambda: leader.status()["role"] == "follower")
    three.await_serving()
    under.check()
    three.check_equal_data()


def strike(three, rng):
    """One random kill, one host down at a time, now and then all of them."""
    victims = three.nodes if rng.random() < 0.05 else [rng.choice(three.nodes)]
    time.sleep(rng.uniform(0.05, 0.25))
    for node in victims:
        node.kill()
    time.sleep(rng.choice((0, 0.05, 0.4)))
    for node in victims:
        node.launch()
    for node in victims:
        node.await_ready()


def test_random_kills_under_load(three):
    seed = int(os.environ.get("RAFTKV_SEED", random.randrange(1 << 32)))
    print(f"RAFTKV_SEED={seed}")
    rng = random.Random(seed)
    with load.Load(three, pause=0.002 if KILLS > 100 else 0) as under:
        for number in range(KILLS):
            begun = time.monotonic()
            strike(three, rng)
            if number % 10 == 9:
                under.await_progress(10, KILL_SECONDS)
                three.check_logs()
            assert time.monotonic() - begun < 2 * KILL_SECONDS * c.SLOW
            assert not under.errors, under.errors
        three.await_serving()
        under.await_progress(100)
    acked, uncertain, reads = under.check()
    print(f"{KILLS} kills: {acked} writes acknowledged, {uncertain} uncertain, {reads} reads")
    three.check_equal_data()
