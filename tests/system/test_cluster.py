"""Three hosts made from one by joining: every member serves everything; members come, go, and hand over leadership."""

import json
import shutil
import time
import urllib.parse

import pytest

import cluster as c
import conftest

three = conftest.shared(3)


@pytest.fixture(autouse=True)
def whole(three):
    """Each test gets three voters and leaves them; one that failed leaves ruins."""
    try:
        assert len(three.running()) == 3
        three.await_serving(5)
        assert roles(three) == {"node1": "voter", "node2": "voter", "node3": "voter"}
    except AssertionError:
        three.rebuild()


def roles(cluster, node=None):
    admin = (node or cluster.await_leader()).admin()
    members = admin.call("GET", "/members").json["members"]
    admin.close()
    return {m["name"]: m["role"] for m in members}


def await_roles(cluster, wanted, node=None):
    c.until(f"the members are {wanted}", lambda: roles(cluster, node) == wanted)


def member_id(node):
    return node.status()["member_id"]


def test_each_member_sets_gets_and_deletes_for_the_whole_cluster(three):
    for writer in three.nodes:
        writer.ctl("set", f"by/{writer.name}", writer.name)
        for reader in three.nodes:
            assert reader.ctl("get", f"by/{writer.name}").out == writer.name + "\n"
    for node in three.nodes:
        client = node.rest()
        revision = client.put("rest", node.name).json["revision"]
        assert client.get("rest").headers["raftkv-revision"] == str(revision)
        both = client.call("POST", "/key", json.dumps({"t/1": node.name, "t/2": node.name}))
        assert both.json["revision"] == revision + 1
        assert [row[1] for row in client.range("t/")] == [node.name] * 2
        client.close()
    deleter = three.follower()
    deleter.ctl("del", "rest")
    for node in three.nodes:
        node.ctl("get", "rest", check=3)
    assert three.check_equal_data()


def test_errors_of_the_leader_come_back_through_a_follower(three):
    client = three.follower().rest()
    assert client.get("none").status == 404
    assert client.put("x" * 1025, "v").status == 413
    assert client.delete("none").json["deleted"] == 0
    client.close()


def test_read_levels(three):
    """A stale read is served by this host alone; the others go to the leader."""
    follower = three.follower()
    follower.ctl("set", "level", "1")
    for node in three.nodes:
        for level in ("consistent", "default"):
            assert node.ctl("get", "--level", level, "level").out == "1\n"
        c.until("a stale read follows",
                lambda n=node: n.ctl("get", "--level", "stale", "level", check=None).out == "1\n")
    others = [node for node in three.nodes if node is not follower]
    for node in others:
        node.pause()
    try:
        client = follower.rest()
        assert client.get("level", level="stale").body == b"1"
        c.until("the follower sees that nobody leads", lambda: not follower.healthy())
        begun = time.monotonic()
        lonely = client.get("level", level="consistent")
        assert lonely.status in (503, 504) and lonely.code in ("no_leader", "timeout"), lonely
        assert time.monotonic() - begun < 8 * c.SLOW
        refused = client.put("level", "2")
        assert refused.status in (503, 504), refused
        assert "no leader" in " ".join(follower.status()["problems"])
        assert follower.ctl("get", "level", check=None).returncode in (5, 6)
        client.close()
    finally:
        for node in others:
            node.resume()


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not there")
def test_redirect_sends_a_client_to_the_leader(three):
    leader, follower = three.await_leader(), three.follower()
    client = follower.rest()
    answer = client.call("PUT", "/key/re%20d?redirect", b"1")
    assert answer.status == 307
    target = urllib.parse.urlsplit(answer.headers["location"])
    assert target[:3] == ("https", f"localhost:{leader.client_port}", "/key/re%20d")
    client.close()
    curl = ["curl", "-sS", "-L", "--cacert", three.pki.ca]
    assert b"revision" in c.run(*curl, "-X", "PUT", "-d", "2", f"{follower.url}/key/red?redirect").stdout
    assert c.run(*curl, f"{follower.url}/key/red?redirect&raw").stdout == b"2"


def test_members_and_status_are_told_alike_by_all(three):
    leader = three.await_leader()
    tables = []
    for node in three.nodes:
        client = node.rest()
        answer = client.call("GET", "/members").json
        client.close()
        assert answer["leader_id"] == member_id(leader)
        tables.append(sorted((m["id"], m["name"], m["role"], m["peer_address"], m["client_url"])
                             for m in answer["members"]))
    assert tables[0] == tables[1] == tables[2]
    assert {row[1:] for row in tables[0]} == {(n.name, "voter", n.peer, n.url) for n in three.nodes}
    status = leader.status()
    assert {p["name"] for p in status["peers"]} == {n.name for n in three.nodes if n is not leader}
    for node in three.nodes:
        text = node.ctl("status").out
        assert "problems\t0" in text and "voters\t3" in text, text
        assert sum(line.startswith("member\t") for line in text.splitlines()) == 3
        assert all(n.name in node.ctl("members").out for n in three.nodes)


def test_transfer_leader_moves_it_to_the_one_that_is_named_or_the_best(three):
    target = three.follower()
    for asked in three.nodes:
        target = next(n for n in three.nodes if n is not three.await_leader())
        begun = time.monotonic()
        assert target.name in asked.ctl("transfer-leader", target.name).out
        assert time.monotonic() - begun < 3 * c.SLOW
        assert three.await_leader() is target
    by_id = next(n for n in three.nodes if n is not target)
    target.ctl("transfer-leader", member_id(by_id))
    assert three.await_leader() is by_id
    by_id.ctl("transfer-leader")
    after = three.await_leader()
    assert after is not by_id
    assert "no member" in three[0].ctl("transfer-leader", "nobody", check=3).err


def test_a_second_join_and_the_join_of_a_member_are_refused(three):
    refused = three[1].ctl("join", three[0].peer, check=7)
    assert "leave" in refused.err


def leave_and_return(three, node, by_invitation=False):
    old_id = member_id(node)
    node.ctl("set", "before", "1")
    node.ctl("leave")
    rest = [n for n in three.nodes if n is not node]
    three.await_leader(among=rest)
    await_roles(three, {n.name: "voter" for n in rest}, rest[0])
    assert rest[0].ctl("get", "before").out == "1\n"
    rest[0].ctl("set", "meanwhile", node.name)
    status = node.status()
    assert status["role"] == "removed" and status["member_role"] == "none", status
    assert "removed" in " ".join(status["problems"])
    client = node.rest()
    assert client.get("before", level="consistent").status == 503
    assert client.put("before", "2").status == 503
    assert client.call("GET", "/health").status == 503
    client.close()
    assert "holds keys" in node.ctl("join", rest[1].peer, check=7).err
    node.ctl("join", "--discard-data", rest[1].peer)
    await_roles(three, {n.name: "voter" for n in three.nodes})
    assert member_id(node) != old_id
    assert node.ctl("get", "meanwhile").out == node.name + "\n"
    three.check_equal_data()


def test_a_follower_leaves_and_returns_with_its_data_discarded(three):
    leave_and_return(three, three.follower())


def test_the_leader_hands_over_before_it_leaves(three):
    leader = three.await_leader()
    leave_and_return(three, leader)


def is_calm(three, nodes):
    """Nobody disturbs the leader of nodes. A machine too busy for small timeouts may, so it is watched three times."""
    for _ in range(3):
        leader = three.await_leader(among=nodes)
        term = leader.status()["term"]
        time.sleep(4 * c.ELECTION_MS / 1000 * c.SLOW)  # time for several elections, if anybody wanted one
        after = leader.status()
        if (after["term"], after["role"]) == (term, "leader"):
            return True
    return False


def test_a_removed_host_stops_campaigning_and_is_told(three):
    """Removed while it is down and cannot hear of it; then started: the term of the rest does not grow."""
    victim = three.follower()
    victim.kill()
    rest = [n for n in three.nodes if n is not victim]
    leader = three.await_leader(among=rest)
    leader.ctl("member", "remove", victim.name)
    await_roles(three, {n.name: "voter" for n in rest}, leader)
    assert "no member" in leader.ctl("member", "remove", victim.name, check=3).err
    victim.start()
    c.until("the removed host knows", lambda: victim.status()["role"] == "removed")
    assert is_calm(three, rest)
    victim.restart()
    assert victim.status()["role"] == "removed"
    assert is_calm(three, rest)
    victim.ctl("join", "--discard-data", leader.peer)
    await_roles(three, {n.name: "voter" for n in three.nodes})


def test_remove_of_a_running_leader_by_a_follower(three):
    leader, asker = three.await_leader(), three.follower()
    asker.ctl("member", "remove", member_id(leader))
    rest = [n for n in three.nodes if n is not leader]
    three.await_leader(among=rest)
    c.until("the removed host knows", lambda: leader.status()["role"] == "removed")
    asker.ctl("set", "after", "1")
    leader.ctl("join", "--discard-data", asker.peer)
    await_roles(three, {n.name: "voter" for n in three.nodes}, asker)


def test_a_removal_that_would_cost_the_majority_is_refused(three):
    down = three.follower()
    down.kill()
    leader = three.await_leader()
    up = next(n for n in three.running() if n is not leader)
    c.until("the leader misses it", lambda: any(p["name"] == down.name and p["active_ms"] > 3 * c.ELECTION_MS * c.SLOW
                                                for p in leader.status()["peers"]))
    for asker in (leader, up):
        refused = asker.ctl("member", "remove", up.name, check=7)
        assert "majority" in refused.err
    assert roles(three) == {n.name: "voter" for n in three.nodes}
    down.start()


def test_join_is_refused_on_a_host_that_holds_keys(three):
    stranger = three.add("stranger")
    try:
        stranger.start()
        c.until("it leads itself", stranger.healthy)
        stranger.ctl("set", "mine", "1")
        refused = stranger.ctl("join", three[0].peer, check=7)
        assert "--discard-data" in refused.err
        assert stranger.ctl("get", "mine").out == "1\n"
        # Nor may it be invited away from its keys.
        invited = three[0].ctl("member", "add", "--wait", "1", stranger.peer, check=None)
        assert invited.returncode != 0 and "keys" in invited.err, invited.err
    finally:
        stranger.stop()
        stranger.check_log()
        three.nodes.remove(stranger)


def test_member_add_invites_a_new_host_and_member_remove_sends_it_away(three):
    fourth = three.add("node4")
    try:
        fourth.start()
        c.until("it leads itself", fourth.healthy)
        asker = three.follower()
        asker.ctl("set", "for-the-fourth", "1")
        assert "votes" in asker.ctl("member", "add", fourth.peer).out
        await_roles(three, {n.name: "voter" for n in three.nodes})
        assert fourth.ctl("get", "for-the-fourth").out == "1\n"
        three.check_equal_data()
        three.follower().ctl("member", "remove", "node4")
        c.until("the fourth knows", lambda: fourth.status()["role"] == "removed")
    finally:
        fourth.stop()
        fourth.check_log()
        three.nodes.remove(fourth)


def test_an_invitation_to_nobody_fails_with_a_sentence(three):
    nobody = f"localhost:{c.free_port()}"
    failed = three[0].ctl("member", "add", "--wait", "2", nobody, check=None)
    assert failed.returncode not in (0, 2) and nobody in failed.err, failed.err


def test_a_join_to_nobody_fails_with_a_sentence_and_keeps_the_host_whole(three, pki, tmp_path):
    with c.running(tmp_path / "lone", count=1, pki=pki) as lone:
        lone[0].ctl("join", "--no-wait", f"localhost:{c.free_port()}")
        c.until("it says that it tries again", lambda: "trying again" in lone[0].status()["join"]["message"])
        assert lone[0].healthy()
        lone[0].ctl("set", "still", "1")


def test_promote_is_refused_while_a_learner_has_not_caught_up(three):
    """The learner is stopped as soon as it is one; promoted by itself once it goes on."""
    fourth = three.add("node4", raft={"promote_lag_entries": 1})
    leader = three.await_leader()
    try:
        fourth.start()
        c.until("it leads itself", fourth.healthy)
        fourth.ctl("join", "--no-wait", leader.peer)
        c.until("it is a member", lambda: "node4" in roles(three, leader), pause=0.001)
        fourth.pause()
        if roles(three, leader)["node4"] == "learner":
            for i in range(150):
                leader.ctl("set", "far", str(i))
            refused = leader.ctl("member", "promote", "node4", check=7)
            assert "caught up" in refused.err
            assert roles(three, leader)["node4"] == "learner"
        fourth.resume()
        await_roles(three, {n.name: "voter" for n in three.nodes}, leader)
        assert "votes now" in leader.ctl("member", "promote", "node4").out  # a voter already: nothing to do
        fourth.ctl("leave")
        await_roles(three, {n.name: "voter" for n in three.nodes if n is not fourth})
    finally:
        if fourth.running:
            fourth.resume()
        fourth.stop()
        fourth.check_log()
        three.nodes.remove(fourth)


def test_a_moved_host_announces_its_new_addresses_itself(three):
    """peer.advertise and client.advertise changed in the file: after a restart the members' list follows."""
    node = three.follower()
    node.conf["client"]["advertise"] = f"https://127.0.0.1:{node.client_port}"
    node.restart()
    c.until("the list has the new address",
            lambda: any(m["client_url"] == f"https://127.0.0.1:{node.client_port}"
                        for m in json.loads(three.await_leader().ctl("--json", "members").out)["members"]))
    node.conf["client"]["advertise"] = node.url
    node.restart()
    c.until("the list has the old address again",
            lambda: all(m["client_url"] != f"https://127.0.0.1:{node.client_port}"
                        for m in json.loads(three.await_leader().ctl("--json", "members").out)["members"]))
