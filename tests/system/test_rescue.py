"""Snapshot files looked at and restored; a cluster that has lost its majority."""

import json
import os
import shutil

import pytest

import cluster as c


IN_USE = "is in use by another process"


@pytest.fixture
def three(pki, tmp_path):
    with c.running(tmp_path / "cluster", 3, pki) as cluster:
        yield cluster


def ctl(node, *args, check=0):
    """raftkvctl on the configuration of a host whose daemon need not run."""
    return node.ctl(*args, "-c", node.conf_path, check=check)


def fill(node, count=200):
    for i in range(count):
        assert node.rest().put(f"k{i % 50}", f"value {i}").status == 200


def save(node, path):
    node.ctl("snapshot", "save", str(path))
    return str(path)


def test_status_says_what_a_file_holds(three, tmp_path):
    leader = three.await_leader()
    fill(leader)
    path = save(leader, tmp_path / "snap")
    status = json.loads(leader.ctl("--json", "snapshot", "status", path).out)
    now = leader.status()
    assert status["keys"] == 50 and status["revision"] == now["revision"] and status["index"] <= now["applied_index"]
    assert status["bytes"] == os.path.getsize(path)
    assert sorted(status["members"]) == ["node1", "node2", "node3"]
    assert len(status["hash"]) == 16 and status["cluster"] in leader.ctl("snapshot", "status", path).out


def test_a_damaged_file_is_found_and_not_restored(three, tmp_path):
    leader = three.await_leader()
    fill(leader, 50)
    path = save(leader, tmp_path / "snap")
    whole = open(path, "rb").read()
    for at in (0, 20, len(whole) // 2, len(whole) - 1):
        with open(path, "wb") as file:
            file.write(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        assert "damaged" in leader.ctl("snapshot", "status", path, check=1).err, at
    for part in (b"", whole[:-1], whole[:len(whole) // 2], whole + b"x"):
        with open(path, "wb") as file:
            file.write(part)
        assert "damaged" in leader.ctl("snapshot", "status", path, check=1).err
    node = three.add("fresh")
    node.write_conf()
    assert "damaged" in ctl(node, "snapshot", "restore", path, check=1).err
    assert not os.path.exists(os.path.join(node.data, "identity"))
    assert "No such file" in leader.ctl("snapshot", "status", path + "x", check=1).err


def test_a_snapshot_is_restored_into_a_new_cluster_that_others_join(three, tmp_path):
    leader = three.await_leader()
    fill(leader)
    path = save(leader, tmp_path / "snap")
    before = json.loads(leader.ctl("--json", "snapshot", "status", path).out)
    fill(leader, 10)
    rows = [row[:3] for row in three[0].rest().range("k")]
    assert IN_USE in ctl(leader, "snapshot", "restore", path, check=1).err
    for node in three.nodes:
        node.stop()
    assert "holds the data of" in ctl(leader, "snapshot", "restore", path, check=1).err
    for node in three.nodes:
        shutil.rmtree(node.data)
    first, second = three[0], three[1]
    done = json.loads(ctl(first, "--json", "snapshot", "restore", path).out)
    assert done["new_cluster"] != before["cluster"] and done["revision"] == before["revision"]
    first.start()
    c.until("it leads", first.healthy)
    status = first.status()
    assert status["cluster_id"] == done["new_cluster"], status
    assert status["revision"] == before["revision"] and status["keys"] == 50
    answer = first.rest().put("after", "x")
    assert answer.json["revision"] == before["revision"] + 1
    second.start()
    second.ctl("join", first.peer)
    assert second.rest().get("k7").body == first.rest().get("k7").body
    assert second.rest().put("both", "x").json["revision"] == before["revision"] + 2
    assert len(rows) == 50
    first.restart()
    c.until("they serve again", lambda: first.healthy() and second.healthy())
    assert second.rest().get("after").body == b"x"


def test_recover_after_two_of_three_are_lost(three):
    leader = three.await_leader()
    fill(leader)
    three.await_equal()
    rows = three[0].rest().range("k")
    survivor = three[2]
    assert IN_USE in ctl(survivor, "recover", check=1).err
    assert IN_USE in ctl(survivor, "recover", "--force", check=1).err
    for node in three.nodes:
        node.kill()
    shown = ctl(survivor, "recover").out
    assert "last_index" in shown and "--force" in shown
    status = json.loads(ctl(survivor, "--json", "recover").out)
    assert sorted(status["members"]) == ["node1", "node2", "node3"] and status["voter"] == 1
    again = json.loads(ctl(survivor, "--json", "recover").out)
    assert again == status  # looking changes nothing
    survivor.launch()
    c.until("it runs, and cannot serve", lambda: "is ready as" in survivor.log(survivor.mark))
    assert not survivor.healthy()
    survivor.stop()
    done = json.loads(ctl(survivor, "--json", "recover", "--force").out)
    assert done["new_cluster"] != done["cluster"] == status["cluster"]
    survivor.start()
    c.until("it serves alone", survivor.healthy)
    assert survivor.rest().range("k") == rows
    assert survivor.rest().put("alone", "x").status == 200
    # The old members with their old data are another cluster, and not let in.
    three[0].start()
    three[1].start()
    c.until("the two agree", lambda: three[0].healthy() and three[1].healthy())
    assert three[0].rest().get("alone").status == 404
    assert survivor.healthy() and survivor.rest().get("alone").body == b"x"
    assert len(survivor.ctl("members").out.splitlines()) == 1
    three[0].stop()
    shutil.rmtree(three[0].data)
    three[0].start()
    three[0].ctl("join", survivor.peer)
    assert three[0].rest().get("alone").body == b"x"
    survivor.restart()
    c.until("both serve", lambda: survivor.healthy() and three[0].healthy())


def test_recover_needs_data(three):
    node = three.add("fresh")
    node.write_conf()
    for args in ([], ["--force"]):
        assert "nothing to recover" in ctl(node, "recover", *args, check=1).err
