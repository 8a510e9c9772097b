"""A follower that was away for long: the log has been cut meanwhile, so it gets a snapshot, and then the rest."""

import threading

import cluster as c
import conftest
import load

ENTRIES = 50000
PIPES = 8

three = conftest.shared(3, raft={"snapshot_entries": 2000, "log_keep_entries": 500})


def write_many(node, count, size=20):
    """count entries, one a key, over a few connections at once."""
    failed = []

    def one(part):
        pipe = node.pipe()
        try:
            pairs = [(f"many/{i:06d}", str(i).encode().ljust(size, b".")) for i in range(part, count, PIPES)]
            answers = pipe.put_all(pairs)
            if answers != {200: len(pairs)}:
                failed.append(answers)
        except Exception as error:  # pylint: disable=broad-except
            failed.append(repr(error))
        finally:
            pipe.close()

    threads = [threading.Thread(target=one, args=(part,)) for part in range(PIPES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


def test_a_follower_away_for_50000_writes_catches_up_by_snapshot(three):
    away = three.follower()
    leader = three.await_leader()
    last = away.status()["last_index"]
    away.kill()
    write_many(leader, ENTRIES)
    status = leader.status()
    assert status["last_index"] >= last + ENTRIES
    c.until("the log is cut beyond what the follower has", lambda: leader.status()["first_index"] > last + 1)
    assert leader.status()["last_index"] - leader.status()["first_index"] < 10000, "the log was not cut"
    begun = away.log_size()
    away.start()
    away.await_log("installed a snapshot from the leader", begun)
    three.await_serving()
    rows = three.check_equal_data("many/")
    assert len(rows) == ENTRIES
    assert rows[4711][:2] == ("many/004711", "4711".ljust(20, "."))
    assert away.status()["first_index"] > last
    away.restart()  # what was installed lasts
    three.await_serving()
    assert away.ctl("keys", "--limit", "1", "--level", "stale", "many/").out == "many/000000\n"


def test_a_snapshot_travels_while_writes_go_on_and_survives_the_kill_of_its_receiver(three):
    away = three.follower()
    away.kill()
    with load.Load(three, nodes=[n for n in three.nodes if n is not away]) as under:
        write_many(three.await_leader(), 6000, size=2000)
        for _ in range(3):
            away.launch()
            c.until("it runs", lambda: "is ready as" in away.log(away.mark))
            away.kill()
        away.start()
        c.until("it has caught up", lambda: away.healthy() and three.await_leader().status()["last_index"]
                - away.status()["applied_index"] < 1000, 60)
        under.await_progress(50)
    three.await_serving()
    under.check()
    three.check_equal_data()


def test_a_learner_gets_all_of_it(three):
    fourth = three.add("node4")
    fourth.start()
    c.until("it leads itself", fourth.healthy)
    fourth.ctl("join", three[0].peer)
    rows = three.check_equal_data("many/")
    assert len(rows) == ENTRIES
    fourth.ctl("leave")
    fourth.stop()
    fourth.check_log()
    three.nodes.remove(fourth)
