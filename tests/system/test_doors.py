"""Every door under strangers: certificates that are wrong, none, garbage, silence, and half of a request.

The client port of these hosts demands a client's certificate, the peer port always does. Whatever is tried, others
are served meanwhile, and memory and descriptors stay where they were."""

import os
import random
import resource
import shutil
import socket
import ssl
import stat
import subprocess
import tempfile
import time

import pytest

import cluster as c
import rest

DOORS = ("peer", "client", "admin")
FLAT_KB = 24 * 1024


@pytest.fixture(scope="module")
def certs(pki, tmp_path_factory):
    """name -> (certificate, key, CA to trust) for each kind of caller."""
    path = tmp_path_factory.mktemp("certs")
    other = c.Pki(path / "other")
    made = {"client": pki.issue("alice", "--client"), "member": pki.issue("stranger"),
            "unknown CA": other.issue("node1"), "unknown CA's client": other.issue("alice", "--client"),
            "expired": expired(pki, path), "none": (None, None)}
    return made


def expired(pki, path):
    """A member's certificate of the right authority whose time is over."""
    path = str(path)
    conf = os.path.join(path, "ca.conf")
    with open(conf, "w", encoding="ascii") as file:
        file.write(f"[ca]\ndefault_ca = d\n[d]\ndatabase = {path}/index\nnew_certs_dir = {path}\nrand_serial = yes\n"
                   f"default_md = sha256\npolicy = p\nx509_extensions = x\n[p]\ncommonName = supplied\n"
                   f"[x]\nkeyUsage = digitalSignature\nextendedKeyUsage = serverAuth, clientAuth\n"
                   f"subjectAltName = DNS:localhost, URI:raftkv:member:old\n")
    open(os.path.join(path, "index"), "w", encoding="ascii").close()
    key, request, cert = (os.path.join(path, "old." + end) for end in ("key", "csr", "crt"))
    c.run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
          "-out", request, "-subj", "/CN=old")
    c.run("openssl", "ca", "-batch", "-config", conf, "-cert", pki.ca, "-keyfile", os.path.join(pki.ca_dir, "ca.key"),
          "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-notext", "-in", request, "-out", cert)
    return cert, key


@pytest.fixture(scope="module")
def three(pki, tmp_path_factory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with c.running(tmp_path_factory.mktemp("doors"), count=3, pki=pki,
                   client={"ca": pki.ca, "require_certificate": True}) as made:
        yield made
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture()
def good(three, certs):
    """An honest client of the host that the strangers come to; it must be served all the time."""
    made = three[0].rest(cert=certs["client"][0], key=certs["client"][1])
    made.put("door", "open")
    yield made
    serves(made)
    three.await_serving()
    made.close()


def serves(client):
    begun = time.monotonic()
    assert client.put("door", "open").status == 200
    assert client.get("door").body == b"open"
    assert time.monotonic() - begun < 3 * c.SLOW


def plain(node, door):
    """A connection without TLS."""
    if door == "admin":
        made = socket.socket(socket.AF_UNIX)
        made.connect(node.socket)
    else:
        made = socket.create_connection(("127.0.0.1", node.peer_port if door == "peer" else node.client_port))
    made.settimeout(15 * c.SLOW)
    return made


def dressed(node, door, pki, cert, key):
    """A TLS connection whose handshake seems done to us; the other side may still refuse it (TLS 1.3)."""
    ctx = rest.context(pki.ca, *((cert, key) if cert else ()))
    return ctx.wrap_socket(plain(node, door), server_hostname="localhost")


def is_refused(node, door, pki, cert, key):
    """Tries to talk HTTP, or anything, over TLS; True when the other side ends it without an answer."""
    try:
        with dressed(node, door, pki, cert, key) as made:
            if door == "client":
                made.sendall(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
            return made.recv(100) == b""
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.mark.parametrize("who", ["unknown CA", "unknown CA's client", "expired", "none", "client"])
def test_the_peer_port_refuses(three, good, pki, certs, who):
    assert is_refused(three[0], "peer", pki, *certs[who])


@pytest.mark.parametrize("who", ["unknown CA", "unknown CA's client", "expired", "none"])
def test_the_client_port_refuses(three, good, pki, certs, who):
    assert is_refused(three[0], "client", pki, *certs[who])


def test_a_client_without_certificate_hears_of_it_and_one_with_one_is_served(three, good, pki, certs):
    with pytest.raises((rest.Lost, rest.NotSent)):
        three[0].rest().call("GET", "/version")
    assert not is_refused(three[0], "client", pki, *certs["client"])


def test_a_client_sees_when_the_host_is_the_wrong_one(three, certs, tmp_path):
    """The client's side of it: another CA, another name."""
    other = c.Pki(tmp_path / "other")
    for ctx, host in ((rest.context(other.ca, *certs["client"]), "localhost"),
                      (rest.context(three.pki.ca, *certs["client"]), "elsewhere.example")):
        with pytest.raises(ssl.SSLCertVerificationError):
            ctx.wrap_socket(plain(three[0], "client"), server_hostname=host)


def garbage(size=3000):
    return random.Random(size).randbytes(size)


def until_closed(sock):
    """Reads to the end, which must come by itself; returns what was read."""
    text = b""
    try:
        while piece := sock.recv(65536):
            text += piece
    except ConnectionError:
        pass
    except ssl.SSLError:
        pass
    return text


@pytest.mark.parametrize("door", DOORS)
def test_garbage_instead_of_a_handshake_or_a_request_ends_the_connection(three, good, door):
    for bytes_ in (garbage(), b"\x16\x03\x01\xff\xff" + garbage(200), b"\0" * 5000, b"GET / HTTP/9.9\r\n\r\n",
                   b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + garbage()):
        with plain(three[0], door) as made:
            made.sendall(bytes_)
            made.shutdown(socket.SHUT_WR)
            until_closed(made)
        serves(good)


@pytest.mark.parametrize("who, door", [("client", "client"), ("member", "peer")])
def test_garbage_behind_a_good_handshake_ends_the_connection(three, good, pki, certs, who, door):
    for bytes_ in (garbage(), b"\xff" * 100, b"\0\0\0\x10" + garbage(16), b"\x7f\xff\xff\xff" + garbage(50000),
                   b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + garbage(50000)):
        with dressed(three[0], door, pki, *certs[who]) as made:
            try:
                made.sendall(bytes_)
            except (ssl.SSLError, ConnectionError):
                pass
            until_closed(made)
        serves(good)


@pytest.mark.parametrize("request_", [
    b"GET / HTTP/1.1\r\n\r\n",  # no host
    b"GET /version HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    b"POST /key HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    b"PUT /key/a HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 500 + b"\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 50000 + b"\r\n\r\n",
    b"PUT /key/a HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n",
])
def test_a_request_that_is_malformed_is_answered_and_closed(three, good, request_):
    with plain(three[0], "admin") as made:
        made.sendall(request_)
        answer = until_closed(made)
    assert answer.startswith(b"HTTP/1.1 4"), answer[:200]


@pytest.mark.parametrize("door", DOORS)
def test_silent_connections_do_not_keep_others_out(three, good, door):
    """More half-open ones than both workers allow handshakes at once; all of them go on doing nothing."""
    node, silent = three[0], []
    try:
        for _ in range(1200 if door != "admin" else 300):
            silent.append(plain(node, door))
        serves(good)
        newcomer = node.rest(cert=good_cert(three)[0], key=good_cert(three)[1])
        serves(newcomer)
        newcomer.close()
        if door == "admin":
            assert node.status()["name"] == node.name
        if door == "peer":  # another member must get in, too
            other = three[1]
            other.restart()
            three.await_serving()
            c.until("it can forward", lambda: other.ctl("set", "through", "1", check=None).returncode == 0)
    finally:
        for made in silent:
            made.close()


def good_cert(three):
    if not hasattr(three, "good_cert"):
        three.good_cert = three.pki.issue("newcomer", "--client")
    return three.good_cert


@pytest.mark.parametrize("door", ["client", "admin"])
def test_half_sent_requests_do_not_keep_others_out(three, good, pki, certs, door):
    node, half = three[0], []
    head = b"PUT /key/half HTTP/1.1\r\nhost: x\r\n"
    pieces = (b"G", head, head + b"content-length: 100\r\n\r\nab",
              b"PRI * HTTP/2.0\r\n\r\nSM", b"POST /key HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nff\r\n")
    try:
        for at in range(100):
            made = plain(node, door) if door == "admin" else dressed(node, door, pki, *certs["client"])
            made.sendall(pieces[at % len(pieces)])
            half.append(made)
        serves(good)
        assert node.status()["name"] == node.name
    finally:
        for made in half:
            made.close()
    assert good.get("half").status == 404, "half a request was carried out"


def abuse(node, pki, certs):
    for door in DOORS:
        for _ in range(30):
            with plain(node, door) as made:
                made.sendall(garbage(500))
        silent = [plain(node, door) for _ in range(50)]
        for made in silent:
            made.close()
    for who in ("unknown CA", "expired", "none"):
        for _ in range(5):
            is_refused(node, "peer", pki, *certs[who])
            is_refused(node, "client", pki, *certs[who])
    for _ in range(20):
        with dressed(node, "client", pki, *certs["client"]) as made:
            made.sendall(b"PUT /key/half HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 200000)
        with dressed(node, "peer", pki, *certs["member"]) as made:
            try:
                made.sendall(garbage(20000))
            except (ssl.SSLError, ConnectionError):
                pass


def test_memory_and_descriptors_stay_flat(three, good, pki, certs):
    node = three[0]
    fds = node.fd_count()
    for _ in range(2):
        abuse(node, pki, certs)
    before = node.rss_kb()
    for _ in range(6):
        abuse(node, pki, certs)
        serves(good)
    assert node.rss_kb() - before < FLAT_KB, f"{before} kB before, {node.rss_kb()} kB after"
    c.until("the descriptors are given back", lambda: node.fd_count() <= fds + 2, 30)


def test_a_member_of_another_cluster_is_refused_and_says_so(three, pki, tmp_path):
    """Its certificate is good, but its cluster is another one: nothing of ours is touched."""
    three[0].ctl("set", "ours", "1")
    with c.running(tmp_path / "other", count=1, pki=pki) as other:
        other[0].ctl("set", "theirs", "1")
        refused = other[0].ctl("join", three[0].peer, check=7)
        assert "keys" in refused.err
    assert [m["name"] for m in three[0].rest(cert=good_cert(three)[0], key=good_cert(three)[1])
            .call("GET", "/members").json["members"]].count("node1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_is_refused_at_the_admin_socket_with_a_sentence(pki):
    path = tempfile.mkdtemp(prefix="raftkv-", dir="/tmp")
    try:
        os.chmod(path, 0o755)
        ctl = shutil.copy(c.CTL, os.path.join(path, "raftkvctl"))
        os.chmod(ctl, 0o755)
        with c.running(os.path.join(path, "c"), count=1, pki=pki, form=False) as cluster:
            node = cluster[0]
            os.chmod(cluster.path, 0o755)
            node.conf["admin"]["socket"] = os.path.join(path, "admin.sock")
            node.socket = node.conf["admin"]["socket"]
            node.start()
            assert stat.S_IMODE(os.stat(node.socket).st_mode) == 0o660

            def as_nobody():
                return subprocess.run([ctl, "--socket", node.socket, "status"], capture_output=True, user=65534,
                                      group=65534, extra_groups=[], timeout=30 * c.SLOW, cwd="/", check=False)
            refused = as_nobody()
            assert refused.returncode == 4 and b"root" in refused.stderr, refused
            os.chmod(node.socket, 0o666)  # even when the file lets them in, the daemon does not
            refused = as_nobody()
            assert refused.returncode != 0 and b"admin" in refused.stderr and b"only root" in refused.stderr, refused
            node.await_log("refused")
            assert node.ctl("status")
    finally:
        shutil.rmtree(path, ignore_errors=True)


def test_a_client_that_never_reads_its_answers_is_bounded(three, good, pki, certs):
    """It asks for megabytes over and over and reads none: it is stopped, not fed from memory without end."""
    node = three[0]
    good.put("big", b"x" * 1000000)
    before = node.rss_kb()
    made = dressed(node, "client", pki, *certs["client"])
    made.settimeout(2)
    try:
        for _ in range(400):
            made.sendall(b"GET /key/big?raw HTTP/1.1\r\nhost: x\r\n\r\n")
    except (OSError, ssl.SSLError):
        pass
    for _ in range(5):
        serves(good)
        time.sleep(0.1)
    grown = node.rss_kb() - before
    made.close()
    assert grown < 200 * 1024, f"grew by {grown} kB"
