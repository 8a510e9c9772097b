"""Bytes on a disk that changed by themselves: the cluster serves, and the host ends with what the others have."""

import os
import shutil

import pytest

import cluster as c

PAGE = 4096


@pytest.fixture()
def cluster(pki, tmp_path):
    with c.running(tmp_path / "c", count=3, pki=pki) as made:
        yield made


def supervise(node, what, condition, seconds=40):
    """As the unit does it: a host that stops with a failure is started again. Returns how often that was."""
    starts = 0

    def step():
        nonlocal starts
        if not node.running:
            assert node.process.returncode == 1, node.log()[-3000:]
            assert starts < 5, node.log()[-3000:]
            starts += 1
            node.launch()
        return condition()
    c.until(what, step, seconds)
    return starts


def flip(path, pages=None):
    """One bit in each page, or in those that pages(content) chooses; returns how many."""
    count = 0
    with open(path, "r+b") as file:
        for at in range(0, os.path.getsize(path), PAGE):
            file.seek(at)
            page = bytearray(file.read(PAGE))
            if pages and not pages(page):
                continue
            page[201] ^= 4
            file.seek(at)
            file.write(page)
            count += 1
    return count


def fill(node, tag, count=200):
    client = node.rest()
    for i in range(count):
        assert client.call("PUT", f"/key/{tag}/{i:04}", b"x" * 200).status == 200
    client.close()


def is_well(node):
    status = node.try_status()
    return status and not status["rebuilding"] and not status["problems"] and node.healthy()


def test_rows_that_rotted_while_the_host_was_down_come_from_a_peer(cluster):
    victim = cluster.follower()
    fill(cluster[0], "a")
    cluster.await_equal()
    victim.stop()
    assert flip(os.path.join(victim.data, "rows", "data.db")) > 5
    victim.launch()
    fill(cluster.await_leader(among=[n for n in cluster.running() if n is not victim]), "b")
    supervise(victim, "it has its rows again", lambda: is_well(victim))
    assert "rebuilding the rows from a peer" in victim.log()
    assert "the rows have been rebuilt from a peer" in victim.log()
    assert not os.path.exists(os.path.join(victim.data, "rows.damaged"))
    assert len(cluster.check_equal_data()) == 400


def test_rot_in_a_page_that_nobody_asks_for_is_found_and_healed(cluster):
    """A start does not look at it. All rows are read in the background."""
    victim = cluster.follower()
    fill(cluster[0], "a")
    cluster.await_equal()
    victim.stop()
    assert flip(os.path.join(victim.data, "rows", "data.db"), lambda page: b"a/0100\0\1" in page) > 0
    victim.launch()
    c.until("it stops", lambda: not victim.running)
    assert "rebuilds them from another member" in victim.log()
    assert supervise(victim, "it has its rows again", lambda: is_well(victim)) == 1
    assert len(cluster.check_equal_data()) == 200


def test_the_leader_of_rotten_rows_gives_way(cluster):
    fill(cluster[0], "a")
    cluster.await_equal()
    victim = cluster.await_leader()
    victim.kill()
    flip(os.path.join(victim.data, "rows", "data.db"))
    victim.launch()
    fill(cluster.await_leader(among=[n for n in cluster.running() if n is not victim]), "b")
    supervise(victim, "it has its rows again", lambda: is_well(victim))
    assert len(cluster.check_equal_data()) == 400


def test_members_say_that_they_are_equal(cluster):
    fill(cluster[0], "a")
    last = cluster.await_equal()
    check = c.until("they have been compared", lambda: (lambda s: s["check"]["equal_index"] >= last and s["check"])(
        cluster.await_leader().status()))
    assert check["mismatches"] == 0 and not check["corrupt"] and check["compared"] > 0
    for node in cluster.nodes:
        c.until("all rows were read", lambda node=node: node.status()["check"]["scrubs"] > 0)


def test_an_operator_may_have_the_rows_rebuilt(cluster):
    victim = cluster.follower()
    fill(cluster[0], "a")
    victim.stop()
    victim.start("--rebuild-rows")
    c.until("it has its rows again", lambda: is_well(victim), 40)
    assert "started with --rebuild-rows" in victim.log()
    assert len(cluster.check_equal_data()) == 200


def test_a_log_that_rotted_comes_from_the_leader(cluster):
    victim = cluster.follower()
    fill(cluster[0], "a")
    cluster.await_equal()
    victim.stop()
    assert flip(os.path.join(victim.data, "log", "data.db")) > 5
    victim.launch()
    fill(cluster.await_leader(among=[n for n in cluster.running() if n is not victim]), "b")
    supervise(victim, "its log is whole again", lambda: is_well(victim))
    assert "has been repaired from the leader" in victim.log()
    assert not os.path.exists(os.path.join(victim.data, "log.damaged"))
    cluster.check_equal_data()
    third = next(n for n in cluster.nodes if n is not victim and n is not cluster.await_leader())
    third.stop()
    fill(victim, "c")  # a majority needs it, and has it
    assert len(cluster.check_equal_data()) == 600


def test_a_wiped_disk_does_not_vote_and_joins_as_somebody_new(pki, tmp_path):
    with c.running(tmp_path / "c", count=3, pki=pki, form=False) as cluster:
        members = [f"{node.name}={node.peer}" for node in cluster.nodes]
        for node in cluster.nodes:
            node.conf["initial_members"] = members
        cluster[0].launch()
        cluster[1].launch()
        for node in cluster.nodes[:2]:
            node.await_ready()
            c.until("it waits", lambda node=node: "waits until all hosts" in str(node.status()["problems"]))
        cluster[2].start()
        cluster.await_serving()
        fill(cluster[0], "a", 50)
        c.until("all vote", lambda: all(not node.status()["problems"] for node in cluster.nodes))
        victim = cluster.follower()
        victim.stop()
        shutil.rmtree(victim.data)
        victim.start()
        victim.await_log("its cluster has a history")
        c.until("it says what to do", lambda: "member remove" in str(victim.status()["problems"]))
        cluster.await_leader().ctl("member", "remove", victim.name)
        c.until("it knows", lambda: victim.status()["role"] == "removed")
        victim.ctl("join", cluster.await_leader().peer, "--discard-data")
        c.until("it is well", lambda: is_well(victim) and victim.status()["member_role"] == "voter", 40)
        assert len(cluster.check_equal_data()) == 50


def test_a_host_alone_says_what_to_do(pki, tmp_path):
    with c.running(tmp_path / "c", count=1, pki=pki) as cluster:
        node = cluster[0]
        fill(node, "a")
        node.stop()
        flip(os.path.join(node.data, "rows", "data.db"))
        said = node.fails_to_start()
        assert "only member" in said and "restore a snapshot" in said
