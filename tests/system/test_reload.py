"""SIGHUP: new certificates for new connections, while those that are open go on; what is broken changes nothing."""

import os
import shutil
import signal
import socket
import ssl

import pytest

import cluster as c
import conftest
import rest

three = conftest.shared(3)


def replace_files(node, pki, name=None):
    """New certificate and key under the old names. Returns the new serial number."""
    cert, key = pki.issue(name or node.name)
    shutil.copy(key, node.key + ".new")
    shutil.copy(cert, node.cert + ".new")
    os.rename(node.key + ".new", node.key)
    os.rename(node.cert + ".new", node.cert)
    return serial_of_file(node.cert)


def serial_of_file(path):
    text = c.run("openssl", "x509", "-noout", "-serial", "-in", path).stdout.decode()
    return int(text.strip().split("=")[1], 16)


def serial_seen(port, pki, member=None):
    ctx = rest.context(pki.ca, *(member or ()))
    with ctx.wrap_socket(socket.create_connection(("127.0.0.1", port), 10 * c.SLOW), server_hostname="localhost") as made:
        return int(made.getpeercert()["serialNumber"], 16)


def hang_up(node, *words):
    """SIGHUP, and waits until the daemon has said each of words."""
    since = node.log_size()
    node.signal(signal.SIGHUP)
    for word in words:
        node.await_log(word, since)
    return node.log(since)


GOOD = ("client port: certificate read again", "peer port: certificate read again",
        "outgoing peer connections: certificate read again")
BAD = tuple(line.replace("certificate read again", "the old certificate stays in use") for line in GOOD)


@pytest.fixture()
def member(pki):
    return pki.issue("visitor")


def test_new_handshakes_get_the_new_certificate_and_an_open_connection_goes_on(three, pki, member):
    node = three[0]
    client = node.rest()
    client.put("reload", "1")
    open_socket = client.conn.sock
    old = serial_seen(node.client_port, pki)
    new = replace_files(node, pki)
    assert old != new and serial_seen(node.client_port, pki) == old, "read without being asked"
    hang_up(node, *GOOD)
    assert serial_seen(node.client_port, pki) == new
    assert serial_seen(node.peer_port, pki, member) == new
    assert client.get("reload").body == b"1" and client.conn.sock is open_socket
    client.close()


def test_a_whole_cluster_changes_its_certificates_without_an_election(three, pki):
    term = three.await_leader().status()["term"]
    for node in three.nodes:
        replace_files(node, pki)
        hang_up(node, *GOOD)
    assert three.await_leader().status()["term"] == term
    follower = three.follower()
    follower.restart()  # its connections are made anew, with the new certificates on both sides
    three.await_serving()
    follower.ctl("set", "renewed", "1")
    assert three.await_leader().status()["term"] == term


@pytest.mark.parametrize("what", ["garbage", "empty", "missing", "another key", "cut off"])
def test_broken_files_keep_the_old_certificate_and_say_so(three, pki, what):
    node = three[0]
    before = serial_seen(node.client_port, pki)
    kept = {path: open(path, "rb").read() for path in (node.cert, node.key)}
    if what == "another key":
        shutil.copy(pki.issue(node.name)[1], node.key)
    elif what == "missing":
        os.unlink(node.cert)
    else:
        with open(node.cert, "wb") as file:
            file.write({"garbage": b"\xff\0 not a certificate", "empty": b"", "cut off": kept[node.cert][:300]}[what])
    said = hang_up(node, *BAD)
    assert node.cert in said or node.key in said, said
    assert serial_seen(node.client_port, pki) == before
    node.ctl("set", "still", what)
    for path, text in kept.items():
        with open(path, "wb") as file:
            file.write(text)
    hang_up(node, *GOOD)
    assert serial_seen(node.client_port, pki) == before


def test_the_log_level_changes_at_once_and_other_options_say_that_they_wait(three):
    node = three[0]
    text = c.conf_text(dict(node.conf, log_level="debug", raft=dict(node.conf["raft"], heartbeat_ms=20), workers=3))
    with open(node.conf_path, "w", encoding="utf-8") as file:
        file.write(text)
    said = hang_up(node, *GOOD)
    assert "raft.heartbeat_ms" in said and "workers" in said and "log_level" not in said, said
    node.write_conf()
    hang_up(node, *GOOD)


def test_a_broken_configuration_changes_nothing_and_is_told_with_its_line(three):
    node = three[0]
    with open(node.conf_path, "a", encoding="utf-8") as file:
        file.write("\nwrokers = 3;\n")
    said = hang_up(node, "the configuration stays as it was", *GOOD)
    assert f"{node.conf_path}:" in said and "wrokers" in said
    node.ctl("set", "still", "here")
    node.write_conf()
    hang_up(node, *GOOD)


def test_an_old_authority_can_be_replaced_step_by_step(three, pki, tmp_path):
    """A file of both authorities first, then certificates of the new one: no moment without a majority."""
    fresh = c.Pki(tmp_path / "fresh")
    both = tmp_path / "both.crt"
    both.write_bytes(open(pki.ca, "rb").read() + open(fresh.ca, "rb").read())
    node = three.follower()
    for each in three.nodes:
        each.conf["peer"]["ca"] = str(both)
        each.restart()
        three.await_serving()
    replace_files(node, fresh)
    hang_up(node, *GOOD)
    node.restart()
    three.await_serving()
    three.await_equal()
    ctx = ssl.create_default_context(cafile=fresh.ca)
    with ctx.wrap_socket(socket.create_connection(("127.0.0.1", node.client_port)), server_hostname="localhost") as made:
        assert made.getpeercert()["issuer"]
    replace_files(node, pki)
    hang_up(node, *GOOD)
