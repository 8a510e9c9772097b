"""One host out of the box: raftkvctl, every REST path and each of its errors, the configuration's complaints."""

import base64
import json
import os
import shutil
import urllib.parse

import pytest

import cluster as c
import conftest

one = conftest.shared(1)


@pytest.fixture()
def client(one):
    made = one[0].rest()
    yield made
    made.close()


def test_a_fresh_host_serves_its_administrator_without_any_configuration_of_ports(pki, tmp_path):
    """No certificate: only the admin socket is open, and the host says why."""
    with c.running(tmp_path / "c", count=1, pki=pki, form=False) as made:
        node = made[0]
        del node.conf["peer"], node.conf["client"]
        node.start()
        c.until("it leads itself", node.healthy)
        node.ctl("set", "k", "v")
        assert node.ctl("get", "k").out == "v\n"
        log = node.log()
        assert "the peer port stays closed" in log and "the client port stays closed" in log
        refused = node.ctl("join", "localhost:1", check=7)
        assert "holds keys" in refused.err or "no peer port" in refused.err
        assert node.ctl("leave", check=7).err


def test_status_names_this_host_as_leader_without_problems(one):
    node = one[0]
    text = node.ctl("status").out
    assert "problems\t0" in text and "leader\tnode1, this host" in text, text
    status = json.loads(node.ctl("status", "--json").out)
    assert status["role"] == "leader" and status["member_role"] == "voter" and status["problems"] == []
    assert status["name"] == "node1" and status["leader_id"] == status["member_id"] and status["peers"] == []
    assert status["join"] == {"state": "none", "message": ""}
    for number in ("term", "commit_index", "applied_index", "first_index", "last_index", "revision", "keys", "data_bytes",
                   "free_bytes", "uptime_s", "flushes", "entries_flushed"):
        assert isinstance(status[number], int), number
    assert client_paths(node, "/status").json["cluster_id"] == status["cluster_id"]


def client_paths(node, path, method="GET", body=None, admin=False):
    rest = node.admin() if admin else node.rest()
    try:
        return rest.call(method, path, body)
    finally:
        rest.close()


def test_set_get_del_and_keys_by_hand(one):
    node = one[0]
    node.ctl("set", "hand/a", "1")
    assert node.ctl("set", "-v", "hand/b", "2").out.startswith("revision ")
    assert node.ctl("get", "hand/a").out == "1\n"
    assert node.ctl("get", "-n", "hand/a").out == "1"
    assert node.ctl("keys", "hand/").out == "hand/a\nhand/b\n"
    assert node.ctl("keys", "--values", "hand/").out.splitlines()[-1].split() == ["hand/b", "2"]
    assert node.ctl("keys", "--limit", "1", "hand/").out == "hand/a\n"
    assert node.ctl("get", "hand/none", check=3).out == ""
    node.ctl("del", "hand/a")
    assert "there is no key" in node.ctl("del", "hand/a", check=3).err
    assert "there is no key" in node.ctl("get", "hand/a", check=3).err
    for level in ("consistent", "default", "stale"):
        assert node.ctl("get", "--level", level, "hand/b").out == "2\n"


def test_a_value_from_standard_input_is_kept_to_the_byte(one):
    node = one[0]
    value = bytes(range(256)) * 40
    node.ctl("set", "stdin", stdin=value)
    assert node.ctl("get", "-n", "stdin").stdout == value
    node.ctl("set", "stdin", "-", stdin=b"")
    assert node.ctl("get", "-n", "stdin").stdout == b""


def test_json_of_each_command_can_be_read(one):
    node = one[0]
    revision = json.loads(node.ctl("--json", "set", "j", "x").out)["revision"]
    got = json.loads(node.ctl("--json", "get", "j").out)
    assert got == {"key": "j", "value": "x", "mod_revision": revision, "version": 1}
    listed = json.loads(node.ctl("--json", "keys", "--values", "j").out)
    assert [kv["key"] for kv in listed["kvs"]] == ["j"] and listed["more"] is False
    assert [m["name"] for m in json.loads(node.ctl("--json", "members").out)["members"]] == ["node1"]
    error = json.loads(node.ctl("--json", "get", "none", check=3).err)
    assert error["code"] == "not_found" and error["message"]
    assert json.loads(node.ctl("--json", "del", "j").out)["revision"] == revision + 1


def test_keys_of_any_bytes_work_percent_encoded(one, client):
    node = one[0]
    for key in (b"a/b/c", b"\x00", b"a\x00b", b"\xff\xfe", b"sp ace?&#%=+", "käse".encode(), b"x" * 1024, b"/", b"//a/../b"):
        path = "/key/" + urllib.parse.quote(key, safe="/")
        assert client.call("PUT", path, b"v:" + key).status == 200, key
        assert client.call("GET", path + "?raw").body == b"v:" + key
        answer = client.call("GET", path).json
        try:
            named = key.decode() if b"\0" not in key else None
        except UnicodeDecodeError:
            named = None
        if named is not None:
            assert answer == {named: "v:" + named}
        else:
            assert base64.b64decode(answer["key_base64"]) == key, answer
        encoded = urllib.parse.quote(key, safe="")
        assert node.ctl("get", "-n", "--encoded", encoded).stdout == b"v:" + key
        assert client.call("DELETE", path).json["deleted"] == 1
        assert client.call("GET", path).status == 404


def test_put_get_delete_tell_revisions_and_versions(client):
    first = client.put("rev", "1").json["revision"]
    assert client.put("rev", "2").json == {"revision": first + 1}
    raw = client.get("rev")
    assert raw.body == b"2" and raw.headers["content-type"] == "application/octet-stream"
    assert raw.headers["raftkv-revision"] == str(first + 1) and raw.headers["raftkv-version"] == "2"
    assert client.call("GET", "/key/rev").json == {"rev": "2"}
    assert client.call("HEAD", "/key/rev").body == b""
    assert client.delete("rev").json == {"deleted": 1, "revision": first + 2}
    assert client.delete("rev").json == {"deleted": 0, "revision": first + 2}
    client.put("bin", b"\xff\x00")
    assert client.call("GET", "/key/bin").json == {"bin": {"base64": base64.b64encode(b"\xff\x00").decode()}}


def test_post_writes_all_keys_in_one_transaction(client):
    answer = client.call("POST", "/key", json.dumps({f"txn/{i:03d}": str(i) for i in range(128)}))
    revision = answer.json["revision"]
    rows = client.range("txn/")
    assert len(rows) == 128 and {row[2] for row in rows} == {revision}
    assert rows[7][:2] == ("txn/007", "7")


def test_a_range_comes_in_pages_that_fit_together(client):
    client.call("POST", "/key", json.dumps({f"page/{i:02d}": "v" for i in range(50)}))
    seen, after = [], ""
    while True:
        page = client.call("GET", f"/key?prefix=page/&limit=7&keys_only{after}").json
        assert all("value" not in kv for kv in page["kvs"])
        seen += [kv["key"] for kv in page["kvs"]]
        if not page["more"]:
            break
        assert len(page["kvs"]) == 7
        after = "&after=" + seen[-1]
    assert seen == [f"page/{i:02d}" for i in range(50)]
    kv = client.call("GET", "/key?prefix=page/00").json["kvs"][0]
    assert kv["version"] == 1 and kv["create_revision"] == kv["mod_revision"] and kv["value"] == "v"


@pytest.mark.parametrize("method, path, body, status, code", [
    ("GET", "/key/none", None, 404, "not_found"),
    ("GET", "/nothing", None, 404, "not_found"),
    ("GET", "/key/a?level=fresh", None, 400, "bad_request"),
    ("GET", "/key?limit=many", None, 400, "bad_request"),
    ("GET", "/key?limit=999999999", None, 400, "bad_request"),
    ("GET", "/key/%zz", None, 400, "bad_request"),
    ("GET", "/key?prefix=%4", None, 400, "bad_request"),
    ("POST", "/key", "{", 400, "bad_request"),
    ("POST", "/key", "[1]", 400, "bad_request"),
    ("POST", "/key", '{"a": 1}', 400, "bad_request"),
    ("POST", "/key", '{"": "1"}', 400, "bad_request"),
    ("POST", "/key", '{"a": "1", "a": "2"}', 400, "bad_request"),
    ("POST", "/key", json.dumps({f"k{i}": "" for i in range(129)}), 400, "bad_request"),
    ("POST", "/key", "{}", 400, "bad_request"),
    ("PUT", "/key", "x", 405, "method_not_allowed"),
    ("POST", "/key/a", "x", 405, "method_not_allowed"),
    ("PATCH", "/status", None, 405, "method_not_allowed"),
    ("PUT", "/key/" + "x" * 1025, "v", 413, "too_large"),
    ("GET", "/key/" + "x" * 1025, None, 413, "too_large"),
    ("POST", "/cluster/join", '{"address": "localhost:1"}', 403, "forbidden"),
    ("POST", "/cluster/leave", "{}", 403, "forbidden"),
    ("POST", "/cluster/members", '{"address": "localhost:1"}', 403, "forbidden"),
    ("DELETE", "/cluster/members/node1", None, 403, "forbidden"),
    ("POST", "/cluster/members/node1/promote", None, 403, "forbidden"),
    ("POST", "/cluster/transfer", "{}", 403, "forbidden"),
    ("GET", "/snapshot", None, 403, "forbidden"),
    ("POST", "/snapshot", None, 403, "forbidden"),
])
def test_each_error_has_its_status_a_code_and_a_sentence(client, method, path, body, status, code):
    answer = client.call(method, path, body)
    assert answer.status == status, answer
    assert answer.code == code and len(answer.message) > 10, answer
    assert answer.headers["content-type"] == "application/json"
    assert client.call("GET", "/version").status == 200  # the connection is as good as before


@pytest.mark.parametrize("method, path, body, status, code", [
    ("POST", "/cluster/leave", "{}", 409, "conflict"),
    ("DELETE", "/cluster/members/nobody", None, 404, "not_found"),
    ("DELETE", "/cluster/members/node1", None, 409, "conflict"),
    ("POST", "/cluster/members/nobody/promote", None, 404, "not_found"),
    ("POST", "/cluster/transfer", '{"member": "nobody"}', 404, "not_found"),
    ("POST", "/cluster/transfer", '{"member": 5}', 400, "bad_request"),
    ("POST", "/cluster/transfer", "{}", 409, "conflict"),
    ("POST", "/cluster/join", "{}", 400, "bad_request"),
    ("POST", "/cluster/join", '{"address": ""}', 400, "bad_request"),
    ("POST", "/cluster/members", '{"address": ' + json.dumps("x" * 400) + "}", 400, "bad_request"),
])
def test_each_error_of_the_administrators_paths(one, method, path, body, status, code):
    answer = client_paths(one[0], path, method, body, admin=True)
    assert (answer.status, answer.code) == (status, code), answer
    assert len(answer.message) > 10


def test_a_join_of_a_host_that_holds_keys_is_a_conflict(one, client):
    client.put("held", "1")
    answer = client_paths(one[0], "/cluster/join", "POST", '{"address": "localhost:1"}', admin=True)
    assert (answer.status, answer.code) == (409, "conflict") and "keys" in answer.message


def test_a_value_over_the_limit_is_refused_and_one_at_the_limit_is_kept(one, client):
    large = b"x" * (1536 * 1024)
    refused = client.put("large", large + b"x")
    assert refused.status == 413 and refused.code.endswith("too_large"), refused
    fits = client.put("large", large[:1024 * 1024])
    assert fits.status == 200 and len(client.get("large").body) == 1024 * 1024
    client.delete("large")


def test_health_version_and_members(one, client):
    assert client.call("GET", "/health").json == {"health": "true"}
    assert client.call("GET", "/version").json["raftkv"]
    members = client.call("GET", "/members").json
    assert [(m["name"], m["role"], m["peer_address"], m["client_url"]) for m in members["members"]] == \
        [("node1", "voter", one[0].peer, one[0].url)]
    assert members["leader_id"] == members["members"][0]["id"]


def test_redirect_on_the_leader_itself_is_served(client):
    assert client.call("PUT", "/key/redirect?redirect", b"1").status == 200


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not there")
@pytest.mark.parametrize("version, spoken", [("--http2", "2"), ("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")])
def test_curl_is_served_over_http_1_and_2(one, version, spoken):
    node = one[0]
    made = c.run("curl", "-sS", version, "--cacert", one.pki.ca, "-T", "-", f"{node.url}/key/curl", "-w", " %{http_version}",
                 input=b"over the wire")
    assert made.stdout.endswith(b" " + spoken.encode()) and b'"revision"' in made.stdout, made.stdout
    got = c.run("curl", "-sS", version, "--cacert", one.pki.ca, f"{node.url}/key/curl?raw")
    assert got.stdout == b"over the wire"
    got = c.run("curl", "-sS", version, "--unix-socket", node.socket, "http://localhost/key/curl?raw")
    assert got.stdout == b"over the wire"


def test_what_was_set_is_there_after_kill_and_after_stop(one):
    node = one[0]
    node.ctl("set", "lasting", "1")
    node.kill()
    node.start()
    c.until("it leads again", node.healthy)
    assert node.ctl("get", "lasting").out == "1\n"
    node.ctl("set", "lasting", "2")
    node.restart()
    c.until("it leads again", node.healthy)
    assert node.ctl("get", "lasting").out == "2\n"


def test_check_config_tells_every_problem_with_its_line(tmp_path):
    path = tmp_path / "bad.conf"
    path.write_text('name = "n1";\nraft: {\n  election_timeout_ms = 3;\n  hartbeat_ms = 50;\n};\nclient: { tls = "no"; };\n')
    done = c.run(c.DAEMON, "--check-config", "-c", str(path), check=False)
    text = done.stderr.decode()
    assert done.returncode == 1
    for line, word in ((3, "election_timeout_ms"), (4, "hartbeat_ms"), (6, "tls")):
        assert any(l.startswith(f"{path}:{line}:") and word in l for l in text.splitlines()), text
    missing = c.run(c.DAEMON, "--check-config", "-c", str(tmp_path / "none.conf"), check=False)
    assert missing.returncode == 1 and "none.conf" in missing.stderr.decode()
    good = tmp_path / "good.conf"
    good.write_text('name = "n1";\n')
    assert c.run(c.DAEMON, "--check-config", "-c", str(good)).stderr == b""


def test_print_config_prints_what_is_in_force_and_can_be_read_again(tmp_path):
    path, again = tmp_path / "a.conf", tmp_path / "b.conf"
    path.write_text('name = "n1";\nraft: { heartbeat_ms = 77; };\n')
    text = c.run(c.DAEMON, "--print-config", "-c", str(path)).stdout
    assert b"heartbeat_ms = 77;" in text and b"election_timeout_ms = 1000;" in text
    again.write_bytes(text)
    assert c.run(c.DAEMON, "--print-config", "-c", str(again)).stdout == text


def test_wrong_arguments_are_told_and_the_version_is_printed():
    assert c.run(c.DAEMON, "--wrong", check=False).returncode == 2
    assert c.run(c.DAEMON, "extra", check=False).returncode == 2
    assert c.run(c.DAEMON, "--version").stdout.startswith(b"raftkvd ")
    assert b"--check-config" in c.run(c.DAEMON, "--help").stdout


def test_raftkvctl_says_when_no_daemon_is_there(tmp_path):
    done = c.run(c.CTL, "--socket", str(tmp_path / "none.sock"), "status", check=False)
    assert done.returncode == 4 and b"Is raftkvd running?" in done.stderr


def test_snapshot_trigger_cuts_the_log_and_save_writes_a_file(one, tmp_path):
    node = one[0]
    index = json.loads(node.ctl("--json", "snapshot", "trigger").out)["index"]
    assert index > 0
    path = tmp_path / "snap"
    node.ctl("snapshot", "save", str(path))
    assert path.stat().st_size > 100 and (path.stat().st_mode & 0o777) == 0o600
    assert "exists already" in node.ctl("snapshot", "save", str(path), check=7).err
    assert os.listdir(tmp_path) == ["snap"]
