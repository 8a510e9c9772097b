"""A data directory is of one host, one daemon, one machine and one version; the rest is refused with a sentence."""

import os
import re

import pytest

import cluster as c


@pytest.fixture()
def node(pki, tmp_path):
    with c.running(tmp_path / "c", count=1, pki=pki) as cluster:
        cluster[0].ctl("set", "k", "v")
        yield cluster[0]


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def edit_identity(node, pattern, replacement):
    """With a checksum that is right."""
    path = os.path.join(node.data, "identity")
    with open(path, "rb") as file:
        text = file.read()
    body = re.sub(rb"crc32c=.*\n", b"", text)
    assert text == body + b"crc32c=%08x\n" % crc32c(body)
    changed = re.sub(pattern, replacement, body)
    assert changed != body
    with open(path, "wb") as file:
        file.write(changed + b"crc32c=%08x\n" % crc32c(changed))


def comes_back(node, *args):
    node.start(*args)
    c.until("it leads itself", node.healthy)
    assert node.ctl("get", "k").out == "v\n"


def test_another_name_is_refused(node):
    node.stop()
    node.conf["name"] = "other"
    said = node.fails_to_start()
    assert 'belongs to the member node1' in said and 'name = "node1"' in said
    node.conf["name"] = "node1"
    comes_back(node)


def test_another_machine_is_refused_until_its_data_is_adopted(node):
    if not os.path.exists("/etc/machine-id"):
        pytest.skip("this machine has no id")
    node.stop()
    edit_identity(node, rb"machine=.*\n", b"machine=0123456789abcdef0123456789abcdef\n")
    said = node.fails_to_start()
    assert "another machine" in said and "--adopt-data" in said
    comes_back(node, "--adopt-data")
    node.stop()
    comes_back(node)


def test_a_newer_format_is_refused(node):
    node.stop()
    edit_identity(node, rb"format=1\n", b"format=2\n")
    assert "newer version" in node.fails_to_start()
    edit_identity(node, rb"format=2\n", b"format=1\n")
    comes_back(node)


def test_a_damaged_identity_is_refused(node):
    node.stop()
    path = os.path.join(node.data, "identity")
    with open(path, "r+b") as file:
        file.seek(12)
        file.write(b"!")
    assert "identity is damaged" in node.fails_to_start()


def test_a_directory_open_to_others_is_refused(node):
    node.stop()
    os.chmod(node.data, 0o755)
    assert "chmod 0700" in node.fails_to_start()
    os.chmod(node.data, 0o700)
    comes_back(node)


def test_a_second_daemon_on_the_same_directory_is_refused(node):
    second = node.cluster.add("node1", data=node.data)
    said = second.fails_to_start()
    assert "in use by another process" in said and str(node.pid) in said
    assert node.ctl("get", "k").out == "v\n"


def test_a_second_daemon_on_the_same_ports_or_socket_is_refused(node):
    second = node.cluster.add("node2")
    second.conf["client"]["listen"] = node.conf["client"]["listen"]
    assert str(node.client_port) in second.fails_to_start()
    second.conf["client"]["listen"] = f"127.0.0.1:{second.client_port}"
    second.conf["admin"]["socket"] = node.socket
    assert node.socket in second.fails_to_start()
    assert node.ctl("get", "k").out == "v\n"


def test_a_damaged_log_is_told_and_never_guessed(node):
    """Rot in the middle of the stored entries: the host refuses to start rather than forget what it acknowledged."""
    for i in range(50):
        node.ctl("set", f"rot/{i}", "x" * 100)
    node.kill()
    top = os.path.join(node.data, "log")
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names]
    for path in paths:
        with open(path, "r+b") as file:
            text = bytearray(file.read())
            if b"rot/25" not in text:
                continue
            at = text.index(b"rot/25")
            file.seek(at)
            file.write(b"ROT")
    node.launch()
    c.until("it has decided", lambda: not node.running or "is ready as" in node.log(node.mark))
    if node.running:  # the damage was in a part that recovery replaces
        c.until("it leads itself", node.healthy)
        for i in range(50):
            assert node.ctl("get", f"rot/{i}").out == "x" * 100 + "\n"
    else:
        assert node.process.returncode == 1
        assert re.search(r"damaged|corrupt|checksum", node.log(node.mark)), node.log(node.mark)
