"""Members are replaced, several in one step, while the cluster serves; and a replacement is given up."""

import threading

import cluster as c


def rows(node):
    admin = node.admin()
    answer = admin.call("GET", "/members").json
    admin.close()
    return {m["name"]: m for m in answer["members"]}


def test_three_of_five_are_replaced_with_one_command(tmp_path):
    with c.running(tmp_path, count=5) as five:
        leader = five.await_leader()
        leaving = [leader] + [n for n in five.nodes if n is not leader][:2]
        staying = [n for n in five.nodes if n not in leaving]
        coming = [five.add() for _ in leaving]
        for node in coming:
            node.start()
            c.until("it leads itself", node.healthy)
        staying[0].ctl("set", "before", "1")
        written, over = [], threading.Event()

        def write():
            while not over.is_set():
                key = f"k{len(written)}"
                if staying[1].ctl("set", key, "v", check=None).returncode == 0:
                    written.append(key)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            pairs = [f"{old.name}={new.peer}" for old, new in zip(leaving, coming)]
            assert "replaced" in staying[0].ctl("member", "replace", *pairs).out
        finally:
            over.set()
            writer.join()
        assert {n: r["role"] for n, r in rows(staying[0]).items()} == {n.name: "voter" for n in staying + coming}
        for node in leaving:
            c.until(f"{node.name} knows", lambda node=node: node.status()["role"] == "removed")
            node.stop()
            five.nodes.remove(node)
        assert coming[0].ctl("get", "before").out == "1\n"
        for key in written:
            assert coming[1].ctl("get", key).out == "v\n"
        assert len(written) > 0
        five.check_equal_data()


def test_a_replacement_by_a_host_that_is_away_is_aborted(tmp_path):
    with c.running(tmp_path, count=3) as three:
        fourth = three.add()
        fourth.start()
        c.until("it leads itself", fourth.healthy)
        asker = three.follower()
        assert "learner" in asker.ctl("member", "add", "--learner", fourth.peer).out
        assert rows(asker)["node4"]["role"] == "learner"
        c.until("it is a learner", lambda: fourth.status()["join"]["state"] == "done")
        fourth.stop()
        c.until("the leader misses it", lambda: any(
            p["name"] == "node4" and (p["active_ms"] is None or p["active_ms"] > 3000)
            for p in three.await_leader().status()["peers"]))
        refused = asker.ctl("member", "promote", "node4", check=7).err
        assert "has not caught up" in refused
        asker.ctl("member", "replace", "--no-wait", "node1", "node4")
        assert rows(asker)["node4"]["replaces"] == "node1"
        asker.ctl("member", "abort")
        assert {n: r["role"] for n, r in rows(asker).items()} == {
            "node1": "voter", "node2": "voter", "node3": "voter", "node4": "learner"}
        assert rows(asker)["node4"]["replaces"] is None
        asker.ctl("member", "abort", check=7)
        asker.ctl("member", "remove", "node4")
        three.nodes.remove(fourth)
