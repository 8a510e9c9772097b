"""Partitions of every shape under load: no stale read, no lost or doubled write, and service for whoever has a majority.

The cables are wires.py's. Clients reach every host all the time, also the one that is cut off: it may refuse, it may
not lie. Each scenario says how soon service must be back, while the cut lasts (a majority that is connected serves) and
after it (any host serves)."""

import contextlib
import os
import random
import time

import pytest

import cluster as c
import load
import wires

SERVE_S = 20 * c.ELECTION_MS / 1000  # elections, with a few that are lost
RNG = random.Random(int(os.environ.get("RAFTKV_SEED", "7")))
OPTIONS = {"limits": {"request_timeout_ms": 1000}}


def votes(cluster):
    admin = cluster.await_leader().admin()
    roles = [member["role"] for member in admin.call("GET", "/members").json["members"]]
    admin.close()
    return roles == ["voter"] * len(cluster.nodes)


@contextlib.contextmanager
def wired(path, pki, count):
    cluster = c.Cluster(path, count=count, pki=pki, **OPTIONS)
    try:
        with wires.Wires(cluster) as cables:
            cluster.form()
            c.until("all vote", lambda: votes(cluster))
            cluster.wires = cables
            yield cluster
            cables.heal()
            cluster.close()
    except BaseException:
        cluster.abandon()
        raise


@pytest.fixture(scope="module")
def three(pki, tmp_path_factory):
    with wired(tmp_path_factory.mktemp("three"), pki, 3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def five(pki, tmp_path_factory):
    with wired(tmp_path_factory.mktemp("five"), pki, 5) as cluster:
        yield cluster


@contextlib.contextmanager
def under_load(cluster):
    """The load runs inside; afterwards all is whole, service is back in time, and the histories are right."""
    cluster.wires.heal()
    cluster.await_serving()
    with load.Load(cluster, writers=3, readers=2, pause=0.003) as under:
        under.await_progress(20)
        try:
            yield under
        finally:
            cluster.wires.heal()
            for node in cluster.running():
                node.resume()
        under.await_progress(20, SERVE_S)
        cluster.await_serving(SERVE_S)
    under.check()
    cluster.check_equal_data(f"load/{under.tag}/")
    cluster.check_logs()


def others(cluster, *but):
    return [node for node in cluster.nodes if node not in but]


def await_new_leader(cluster, old, among):
    return c.until("a majority has a leader of its own", lambda: leads_among(cluster, old, among), SERVE_S)


def leads_among(cluster, old, among):
    leader = cluster.leader(among)
    return leader if leader and leader is not old else None


def test_an_isolated_leader_is_replaced_and_serves_nothing_stale(three):
    with under_load(three) as under:
        leader = three.await_leader()
        rest = others(three, leader)
        three.wires.part([leader], rest)
        await_new_leader(three, leader, rest)
        under.await_progress(20, SERVE_S)
        c.until("the old leader has given up", lambda: leader.status()["role"] != "leader", SERVE_S)


def test_a_leader_that_is_not_heard_is_replaced(three):
    with under_load(three) as under:
        leader = three.await_leader()
        rest = others(three, leader)
        three.wires.set_cuts([(leader, node) for node in rest])
        await_new_leader(three, leader, rest)
        under.await_progress(20, SERVE_S)


def test_a_leader_that_hears_nobody_gives_up_and_is_replaced(three):
    with under_load(three) as under:
        leader = three.await_leader()
        rest = others(three, leader)
        three.wires.set_cuts([(node, leader) for node in rest])
        await_new_leader(three, leader, rest)
        under.await_progress(20, SERVE_S)


def test_a_follower_that_hears_nobody_disturbs_nobody(three):
    with under_load(three) as under:
        leader = three.await_leader()
        deaf = others(three, leader)[0]
        term = leader.status()["term"]
        three.wires.set_cuts([(node, deaf) for node in others(three, deaf)])
        time.sleep(5 * c.ELECTION_MS / 1000 * c.SLOW)
        under.await_progress(20, SERVE_S)
        assert (three.await_leader(among=others(three, deaf)), leader.status()["term"]) == (leader, term)
    assert three.leader() is leader and leader.status()["term"] == term


def test_with_a_bridge_between_two_hosts_the_cluster_serves(three):
    with under_load(three) as under:
        leader = three.await_leader()
        bridge, far = others(three, leader)
        three.wires.part([leader, bridge], [bridge, far])
        for _ in range(3):
            time.sleep(c.ELECTION_MS / 1000 * c.SLOW)
            under.await_progress(10, SERVE_S)


def test_links_that_flap_do_not_stop_the_cluster_for_good(three):
    with under_load(three):
        deadline = time.monotonic() + 4 * c.SLOW
        while time.monotonic() < deadline:
            pairs = [(a, b) for a in three.nodes for b in three.nodes if a is not b]
            three.wires.set_cuts(RNG.sample(pairs, RNG.randrange(len(pairs))))
            time.sleep(RNG.uniform(0.05, 0.5))


def test_hosts_that_freeze_in_turn_serve_nothing_stale_when_they_wake(three):
    with under_load(three) as under:
        for frozen in range(1, 3):
            leader = three.await_leader()
            asleep = [leader, *others(three, leader)][:frozen]
            for node in asleep:
                node.pause()
            time.sleep(3 * c.ELECTION_MS / 1000 * c.SLOW)
            for node in asleep:
                node.resume()
            under.await_progress(20, SERVE_S)


def test_the_larger_part_of_five_serves_and_the_smaller_catches_up(five):
    with under_load(five) as under:
        leader = five.await_leader()
        smaller = [leader, others(five, leader)[0]]
        larger = others(five, *smaller)
        five.wires.part(smaller, larger)
        second = await_new_leader(five, leader, larger)
        under.await_progress(20, SERVE_S)
        # and the majority moves: the one who led now is on the smaller side
        smaller = [second, others(five, second, *smaller)[0]]
        five.wires.part(smaller, others(five, *smaller))
        await_new_leader(five, second, others(five, *smaller))
        under.await_progress(20, SERVE_S)


def test_a_bridge_between_two_halves_of_five_keeps_them_serving(five):
    with under_load(five) as under:
        leader = five.await_leader()
        a, b, x, bridge = others(five, leader)
        five.wires.part([leader, a, bridge], [b, x, bridge])
        time.sleep(4 * c.ELECTION_MS / 1000 * c.SLOW)
        under.await_progress(20, SERVE_S)


def test_a_leader_that_reaches_one_host_only_does_not_keep_five_from_serving(five):
    """The others hear each other, and the one that hears both must not keep the old leader alive."""
    with under_load(five) as under:
        leader = five.await_leader()
        friend = others(five, leader)[0]
        five.wires.part([leader, friend], others(five, leader))
        await_new_leader(five, leader, others(five, leader))
        under.await_progress(20, SERVE_S)


def test_a_ring_of_five_serves(five):
    """Each host hears its two neighbours only: three hosts are a majority around the one in their middle."""
    with under_load(five) as under:
        n = five.nodes
        five.wires.part(*[[n[i], n[(i + 1) % 5]] for i in range(5)])
        time.sleep(4 * c.ELECTION_MS / 1000 * c.SLOW)
        under.await_progress(10, 2 * SERVE_S)


def test_flapping_cuts_of_five_lose_nothing(five):
    with under_load(five):
        deadline = time.monotonic() + 5 * c.SLOW
        while time.monotonic() < deadline:
            five.wires.part(*[RNG.sample(five.nodes, RNG.randrange(1, 5)) for _ in range(RNG.randrange(1, 4))])
            time.sleep(RNG.uniform(0.1, 0.8))
