"""Snapshots for files: saved under load, broken off, and the log cut by hand."""

import http.client
import json
import os
import signal
import subprocess
import time

import pytest

import cluster as c
import conftest
import load

three = conftest.shared(3, raft={"log_keep_entries": 100})


@pytest.fixture(scope="module")
def filled(three):
    """About 20 MB of values."""
    pipe = three.await_leader().pipe()
    pairs = [(f"fill/{i:05d}", os.urandom(2000)) for i in range(10000)]
    assert pipe.put_all(pairs) == {200: len(pairs)}
    pipe.close()
    three.await_equal()
    return three


def test_save_under_load_writes_whole_files(filled, tmp_path):
    with load.Load(filled, writers=2, readers=1) as under:
        under.await_progress(20)
        sizes = []
        for i, node in enumerate(filled.nodes * 2):
            path = tmp_path / f"snap{i}"
            node.ctl("snapshot", "save", str(path))
            sizes.append(path.stat().st_size)
        under.await_progress(20)
    assert all(20_000_000 < size < 40_000_000 for size in sizes), sizes
    assert sorted(os.listdir(tmp_path)) == [f"snap{i}" for i in range(6)]
    under.check()


def test_two_hosts_save_the_same_bytes_of_the_same_state(filled, tmp_path):
    filled.await_equal()
    paths = [tmp_path / node.name for node in filled.nodes]
    for node, path in zip(filled.nodes, paths):
        node.ctl("snapshot", "save", str(path))
    assert len({path.read_bytes() for path in paths}) == 1


def test_a_save_that_is_broken_off_leaves_no_file_and_no_trace_in_the_daemon(filled, tmp_path):
    node = filled[0]
    fds = node.fd_count()
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen([c.CTL, "--socket", node.socket, "snapshot", "save", str(tmp_path / "snap")],
                                   stderr=subprocess.DEVNULL)
        until = time.monotonic() + 5
        while not os.listdir(tmp_path) and time.monotonic() < until and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(number)
        process.wait(20 * c.SLOW)
        for name in os.listdir(tmp_path):  # either it was done already, or nothing is left
            assert name == "snap" and process.returncode == 0, name
            os.unlink(tmp_path / name)
    c.until("the descriptors are given back", lambda: node.fd_count() <= fds + 1)
    node.ctl("snapshot", "save", str(tmp_path / "whole"))


def test_readers_that_stop_reading_cost_bounded_memory_and_nobody_elses_time(filled):
    node = filled[0]
    before = node.rss_kb()
    slow = []
    for _ in range(10):
        admin = node.admin()
        admin._open()
        admin.conn.request("GET", "/snapshot")
        slow.append(admin)
    client = node.rest()
    begun = time.monotonic()
    for i in range(50):
        assert client.put("beside", str(i)).status == 200
    assert time.monotonic() - begun < 10 * c.SLOW
    grown = node.rss_kb() - before
    for admin in slow:
        admin.close()
    client.close()
    assert grown < 100 * 1024, f"grew by {grown} kB"
    c.until("it goes on", node.healthy)


def test_the_stream_says_where_it_stands_and_is_cut_when_the_host_stops(filled):
    node = filled.follower()
    admin = node.admin()
    answer = admin.call("GET", "/snapshot")
    assert answer.status == 200 and answer.headers["content-type"] == "application/octet-stream"
    assert int(answer.headers["raftkv-snapshot-index"]) > 10000
    admin.close()
    paused = node.admin()
    paused._open()
    paused.conn.request("GET", "/snapshot")
    response = paused.conn.getresponse()
    response.read(1000)
    node.stop()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):  # it must not look like a whole one
        while response.read(65536):
            pass
    paused.close()
    node.start()
    filled.await_serving()


def test_trigger_cuts_the_log_of_this_host_at_once(filled):
    for node in filled.nodes:
        index = json.loads(node.ctl("--json", "snapshot", "trigger").out)["index"]
        status = node.status()
        assert status["first_index"] == index - 100 + 1, status
        assert status["last_index"] >= index
    filled.await_serving()
    node.kill()
    node.start()
    filled.await_serving()
    filled.check_equal_data("fill/0")
