"""Three hosts under valgrind: a write, a lost leader, a hand-over, a clean end, and not one error.

RAFTKV_VALGRIND=1 asks for it; the binary must be one without sanitizers."""

import os
import shutil

import pytest

import cluster as c
import load


def is_sanitized():
    with open(c.DAEMON, "rb") as file:
        return b"__asan_init" in file.read()


@pytest.mark.skipif(os.environ.get("RAFTKV_VALGRIND") != "1", reason="RAFTKV_VALGRIND=1 asks for it")
@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not there")
def test_a_cluster_runs_clean_under_valgrind(pki, tmp_path, monkeypatch):
    if is_sanitized():
        pytest.skip("this raftkvd is built with sanitizers")
    monkeypatch.setattr(c, "SLOW", 10.0)
    with c.running(tmp_path / "c", count=3, pki=pki, form=False) as three:
        for node in three.nodes:
            node.wrapper = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite",
                            "--show-leak-kinds=definite", "--num-callers=25", "--fair-sched=yes",
                            "--suppressions=" + os.path.join(c.HERE, "valgrind.supp")]
            node.conf["raft"].update(snapshot_entries=200, log_keep_entries=50)
        three.form()
        with load.Load(three, writers=2, readers=1) as under:
            under.await_progress(100)
            leader = three.await_leader()
            leader.kill()
            under.await_progress(300)
            leader.start()
            three.await_serving()
            three.nodes[0].ctl("transfer-leader")
            under.await_progress(50)
        three.await_serving()
        under.check()
        three.check_equal_data()
        three[1].ctl("snapshot", "save", str(tmp_path / "snap"))
        three.follower().ctl("leave")
        three.await_leader(among=[n for n in three.nodes if n.status()["role"] != "removed"])
        for node in three.nodes:  # exits 0, not valgrind's 99
            node.stop(60)
            assert "definitely lost" not in node.log() and "== Invalid" not in node.log(), node.log()[-3000:]
