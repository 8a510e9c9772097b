"""A data directory whose disk is full: writes are refused with a sentence, reads go on, nothing crashes, and writes
resume by themselves when there is room again. The disk is a small tmpfs, so this needs root."""

import os
import threading
import time

import pytest

import cluster as c
import load
import rest

DISK_MB, LOW_MB, RESERVE_MB = 96, 16, 4
STORE = {"reserve_mb": RESERVE_MB, "low_space_mb": LOW_MB, "checkpoint_mb": 4, "rows_cache_mb": 8}
SENTENCE = "disk is nearly full"


class Disk:
    """A file system of its own, and a ballast on it."""

    def __init__(self, path):
        self.path = str(path)
        os.makedirs(self.path)
        c.run("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "raftkv-test", self.path)
        self.ballast = os.path.join(self.path, "ballast")

    def free_mb(self):
        st = os.statvfs(self.path)
        return st.f_bavail * st.f_frsize / (1 << 20)

    def fill(self, leave_mb=0.0):
        """To the last byte, or until so much is left."""
        with open(self.ballast, "ab", buffering=0) as file:
            size = 1 << 20
            while size >= 512:
                if self.free_mb() - size / (1 << 20) < leave_mb:
                    size //= 2
                    continue
                try:
                    if file.write(b"\xaa" * size) < size:
                        size //= 2
                except OSError:
                    size //= 2

    def empty(self):
        os.unlink(self.ballast)

    def close(self):
        c.run("umount", "-l", self.path)


@pytest.fixture()
def disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "disk"
    try:
        made = Disk(path)
    except AssertionError as problem:
        pytest.skip(f"cannot mount a small file system here: {problem}")
    yield made
    made.close()


@pytest.fixture()
def host(pki, tmp_path, disk):
    with c.running(tmp_path / "one", count=0, pki=pki, form=False, store=STORE) as cluster:
        node = cluster.add(data=os.path.join(disk.path, "data"))
        node.start()
        c.until("it leads itself", node.healthy)
        yield node


def await_refusal(node, key="x"):
    """The write is refused as it should; returns the answer."""
    client = node.rest()

    def refused():
        answer = client.put(key, "x" * 100)
        assert answer.status in (200, 507, 503, 504), answer
        return answer if answer.status == 507 else None
    try:
        return c.until("writes are refused", refused)
    finally:
        client.close()


def await_writes(node, key="again"):
    client = node.rest()

    def written():
        try:
            return client.put(key, "1").status == 200
        except rest.Lost:
            return False
    try:
        c.until("writes are accepted again", written)
    finally:
        client.close()


def test_a_nearly_full_disk_refuses_writes_and_goes_on_reading(host, disk):
    client = host.rest()
    client.put("kept", "1")
    disk.fill(leave_mb=LOW_MB / 2)
    refused = await_refusal(host)
    assert refused.code == "no_space" and SENTENCE in refused.message, refused
    for level in ("consistent", "default", "stale"):
        assert client.get("kept", level=level).body == b"1"
    assert client.call("GET", "/health").status == 200
    status = host.status()
    assert status["low_space"] is True and status["free_bytes"] < LOW_MB << 20
    assert SENTENCE in " ".join(status["problems"])
    told = host.ctl("set", "kept", "2", check=1)
    assert "disk" in told.err and "Free some space" in told.err
    assert "problems\t0" not in host.ctl("status").out
    host.await_log("the disk is nearly full")
    disk.empty()
    await_writes(host)
    host.await_log("there is room on the disk again")
    assert host.status()["problems"] == [] and client.get("kept").body == b"1"
    client.close()


def stuff(node, stop, acked, odd):
    """Writes as fast as it goes; a value of 5000 bytes each, so that the disk fills."""
    client, number = node.rest(), 0
    while not stop.is_set():
        number += 1
        try:
            answer = client.put(f"stuff/{number % 400}", str(number).ljust(5000, "."))
        except (rest.Lost, rest.NotSent) as problem:
            odd.append(repr(problem))
            return
        if answer.status == 200:
            acked[number % 400] = number
        elif answer.status == 507:
            time.sleep(0.01)
        else:
            odd.append(answer)
    client.close()


def test_a_disk_filled_to_the_last_byte_while_writing_loses_nothing(host, disk):
    stop, acked, odd = threading.Event(), {}, []
    writer = threading.Thread(target=stuff, args=(host, stop, acked, odd))
    writer.start()
    try:
        c.until("it writes", lambda: len(acked) > 100)
        disk.fill()
        assert disk.free_mb() < 1
        await_refusal(host)
        disk.fill()  # what the reserve gave back, too
        time.sleep(1)  # checkpoints and polls meet the full disk
        assert host.running, host.log()[-3000:]
        assert host.healthy()
        refused = await_refusal(host)
        assert SENTENCE in refused.message or "full" in refused.message
    finally:
        stop.set()
        writer.join()
    assert not odd, odd[:3]
    client = host.rest()
    for slot, number in acked.items():
        assert client.get(f"stuff/{slot}").body.decode().rstrip(".") == str(number)
    client.close()
    disk.empty()
    await_writes(host)
    host.kill()
    host.start()
    c.until("it leads itself", host.healthy)
    client = host.rest()
    for slot, number in acked.items():
        assert client.get(f"stuff/{slot}").body.decode().rstrip(".") == str(number)
    client.close()


def fill_with_keys(node):
    client = node.rest()
    for i in range(200):
        assert client.put(f"k/{i}", str(i) * 50).status == 200
    client.close()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restart_on_a_full_disk_serves_reads(host, disk, how):
    """Somebody else's file has taken all but the reserve, which is what a start then needs."""
    fill_with_keys(host)
    disk.fill(leave_mb=LOW_MB / 2)
    await_refusal(host)
    getattr(host, how)()
    disk.fill()
    host.start()
    c.until("it leads itself", host.healthy)
    assert host.ctl("get", "k/7").out == "7" * 50 + "\n"
    assert SENTENCE in await_refusal(host).message
    disk.empty()
    await_writes(host)
    assert host.ctl("get", "k/199").out == "199" * 50 + "\n"


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restart_without_one_byte_left_says_why_or_serves_and_loses_nothing(host, disk, how):
    """Even the reserve has been used and taken by others. Nothing may speak of damage or ask for a wipe."""
    fill_with_keys(host)
    disk.fill()
    await_refusal(host)
    c.until("the reserve is given back and used up", lambda: disk.fill() or disk.free_mb() == 0)
    getattr(host, how)()
    disk.fill()
    host.launch()
    c.until("it has decided", lambda: not host.running or "is ready as" in host.log(host.mark))
    if not host.running:
        said = host.log(host.mark)
        assert host.process.returncode == 1 and "No space left" in said, said
        assert "ipe this host" not in said and "damaged" not in said, said
        disk.empty()
        host.start()
    else:
        disk.empty()
    c.until("it leads itself", host.healthy)
    await_writes(host)
    for i in (0, 7, 199):
        assert host.ctl("get", f"k/{i}").out == str(i) * 50 + "\n"


def test_the_leader_of_three_with_a_full_disk_refuses_and_another_can_take_over(pki, tmp_path, disk):
    with c.running(tmp_path / "three", count=0, pki=pki, form=False, store=STORE) as three:
        full = three.add(data=os.path.join(disk.path, "data"))
        three.add()
        three.add()
        three.form()
        assert three.await_leader() is full
        three[1].ctl("set", "kept", "1")
        with load.Load(three, pause=0.002) as under:
            under.await_progress(50)
            disk.fill()
            for node in three.nodes:
                assert "leader's disk" in await_refusal(node).message
            assert three.await_leader() is full
            for node in three.nodes:
                assert node.ctl("get", "kept").out == "1\n"
            three[1].ctl("transfer-leader", three[1].name)
            under.await_progress(50)  # two of three have room
            assert full.running
            disk.empty()
            under.await_progress(50)
        three.await_serving()
        c.until("there is room again", lambda: not full.status()["low_space"])
        under.check()
        three.check_equal_data()
        full.ctl("transfer-leader", full.name)
        await_writes(full)
