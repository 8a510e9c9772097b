"""raftkvctl against a stand-in daemon: what it prints, its exit codes, and what it leaves behind."""

import base64
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import ctl_fake  # noqa: E402

CTL = os.path.join(os.environ.get("top_builddir", "."), "raftkvctl")

A, B, C = "00000000000000a1", "00000000000000b2", "00000000000000c3"


def member(name, member_id, role="voter", port=2380):
    return {"id": member_id, "name": name, "role": role, "peer_address": f"{name}:{port}",
            "client_url": f"https://{name}:2379"}


def members(*rows, leader=A):
    return {"cluster_id": "00000000000000ff", "leader_id": leader, "members": list(rows)}


THREE = members(member("alpha", A), member("beta", B), member("gamma", C))


def status(**changes):
    s = {"name": "alpha", "member_id": A, "cluster_id": "00000000000000ff", "version": "0.1.0", "role": "leader",
         "member_role": "voter", "term": 7, "leader_id": A, "leader_name": "alpha", "commit_index": 1240,
         "applied_index": 1240, "first_index": 1000, "last_index": 1240, "revision": 998, "keys": 12,
         "data_bytes": 3 << 20, "free_bytes": 5 << 30, "low_space": False, "uptime_s": 90061, "flushes": 3,
         "entries_flushed": 9, "join": {"state": "none", "message": ""}, "problems": [],
         "peers": [{"id": B, "name": "beta", "match": 1240, "mode": "replicate", "lag": 0, "active_ms": 40},
                   {"id": C, "name": "gamma", "match": 1230, "mode": "replicate", "lag": 10, "active_ms": 50}]}
    s.update(changes)
    return s


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


class CtlTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="raftkvctl-test-")
        self.socket = os.path.join(self.dir, "admin.sock")
        self.server = ctl_fake.Server(self.socket)

    def tearDown(self):
        self.server.stop()
        shutil.rmtree(self.dir)

    def env(self):
        env = dict(os.environ, RAFTKV_SOCKET=self.socket, LC_ALL="C")
        env["http_proxy"] = env["ALL_PROXY"] = "http://127.0.0.1:1"  # must not matter
        return env

    def ctl(self, *args, stdin=b"", env=None):
        p = subprocess.run([CTL, *args], input=stdin, capture_output=True, timeout=30, env=env or self.env())
        return Result(p.returncode, p.stdout, p.stderr.decode())

    def expect(self, code, *args, **kwargs):
        r = self.ctl(*args, **kwargs)
        self.assertEqual(r.code, code, (args, r.out, r.err))
        return r

    def json(self, *args, **kwargs):
        return json.loads(self.expect(0, *args, "--json", **kwargs).out)

    def terminal(self, *args, code=0):
        """The command with a terminal of 200 columns for stdout and stderr."""
        try:
            main, other = pty.openpty()
        except OSError as problem:
            self.skipTest(f"no pseudo-terminals here: {problem}")
        import fcntl
        import struct
        import termios
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        p = subprocess.Popen([CTL, *args], stdin=subprocess.DEVNULL, stdout=other, stderr=other, env=self.env())
        os.close(other)
        out = b""
        while select.select([main], [], [], 20)[0]:
            try:
                piece = os.read(main, 65536)
            except OSError:
                break
            if not piece:
                break
            out += piece
        os.close(main)
        self.assertEqual(p.wait(20), code, out)
        return out.decode().replace("\r\n", "\n")


class Keys(CtlTest):
    def test_set_get_del(self):
        self.assertEqual(self.expect(0, "set", "a", "1").out, b"")
        self.assertEqual(self.expect(0, "get", "a").out, b"1\n")
        self.assertEqual(self.expect(0, "get", "--raw", "a").out, b"1")
        self.assertEqual(self.expect(0, "get", "a", "-n").out, b"1")
        self.assertEqual(self.expect(0, "del", "a").out, b"")
        self.assertIn("there is no key a", self.expect(3, "del", "a").err)
        self.assertIn("there is no key a", self.expect(3, "get", "a").err)

    def test_revisions_with_json_and_verbose(self):
        self.assertEqual(self.json("set", "a", "1"), {"revision": 2})
        self.assertEqual(self.expect(0, "-v", "set", "a", "2").out, b"revision 3\n")
        self.assertEqual(self.json("get", "a"), {"key": "a", "value": "2", "mod_revision": 3, "version": 2})
        self.assertEqual(self.json("del", "a"), {"revision": 4})

    def test_set_reads_standard_input(self):
        blob = bytes(range(256)) * 5000
        self.expect(0, "set", "a", stdin=blob)
        self.assertEqual(self.expect(0, "get", "-n", "a").out, blob)
        self.expect(0, "set", "a", "-", stdin=b"x\n")
        self.assertEqual(self.server.kvs[b"a"][0], b"x\n")
        self.expect(0, "set", "a", "")
        self.assertEqual(self.server.kvs[b"a"][0], b"")
        self.expect(0, "set", "a", stdin=b"")
        self.assertEqual(self.expect(0, "get", "a").out, b"\n")

    def test_value_larger_than_a_request_is_refused_here(self):
        self.assertIn("larger than 1536 KiB", self.expect(1, "set", "a", stdin=b"x" * (1536 * 1024 + 1)).err)
        self.assertEqual(self.server.requests, [])

    def test_arguments_that_begin_with_a_dash(self):
        self.expect(2, "set", "a", "-5")
        self.expect(0, "set", "a", "--", "-5")
        self.assertEqual(self.expect(0, "get", "a").out, b"-5\n")

    def test_keys_of_any_bytes_arrive_as_they_are(self):
        for key in ("a/../b", "./x", "//", "a b?c#d%41", "/lead", "ключ", "+"):
            self.expect(0, "set", "--", key, "v" + key)
            self.assertEqual(self.server.kvs[key.encode()][0], ("v" + key).encode())
            self.assertEqual(self.expect(0, "get", "--", key).out, ("v" + key + "\n").encode())

    def test_binary_keys_are_given_encoded(self):
        self.expect(0, "set", "--encoded", "a%00%ff/b", "x")
        self.assertEqual(self.server.kvs, {b"a\0\xff/b": (b"x", 2, 2, 1)})
        got = self.json("get", "--encoded", "a%00%FF%2Fb")
        self.assertEqual(base64.b64decode(got["key_base64"]), b"a\0\xff/b")
        self.expect(0, "del", "--encoded", "a%00%ff/b")
        self.assertIn("percent-encoded", self.expect(2, "get", "--encoded", "a%0").err)

    def test_binary_values_in_json(self):
        for value in (b"\xff", b"\xff\xfe", b"\xff\xfe\xfd", b"\xff" * 100):
            self.expect(0, "set", "a", stdin=value)
            self.assertEqual(base64.b64decode(self.json("get", "a")["value_base64"]), value)
            kv = self.json("keys", "--values")["kvs"][0]
            self.assertEqual(base64.b64decode(kv["value_base64"]), value)
        self.expect(0, "set", "a", stdin=b"nul\0inside")
        self.assertEqual(self.json("get", "a")["value"], "nul\0inside")

    def test_bad_keys(self):
        self.assertIn("at least one byte", self.expect(2, "get", "").err)
        self.assertIn("1024 bytes at most", self.expect(2, "get", "x" * 1025).err)

    def test_levels(self):
        self.server.kvs[b"a"] = (b"1", 1, 1, 1)
        for level, query in (("consistent", "raw"), ("default", "raw&level=default"), ("stale", "raw&level=stale")):
            self.expect(0, "get", "a", "--level", level)
            self.assertEqual(self.server.requests[-1][1], "/key/a?" + query)
        self.assertIn("consistent, default or stale", self.expect(2, "get", "a", "--level", "x").err)

    def test_a_change_is_never_sent_twice(self):
        def close(request):
            request.break_off()
        self.server.routes[("PUT", "/key/a")] = close
        r = self.expect(6, "set", "a", "1")
        self.assertIn("may or may not have been made", r.err)
        self.assertIn("Look whether it was done", r.err)
        self.assertEqual([r[:2] for r in self.server.requests if r[1] != "/session"], [("PUT", "/key/a")])

    def test_a_numbered_change_is_sent_again_until_it_is_answered(self):
        seen = []

        def answer(request):
            seen.append((request.headers["Raftkv-Session"], request.headers["Raftkv-Sequence"]))
            if len(seen) < 3:
                request.break_off()
            else:
                request.answer(200, {"revision": 5})
        self.server.json_at("POST", "/session", {"session": "00000000000000ab", "ttl": 120})
        self.server.json_at("DELETE", "/session/00000000000000ab", {})
        self.server.routes[("PUT", "/key/a")] = answer
        self.expect(0, "set", "a", "1")
        self.assertEqual(seen, 3 * [("00000000000000ab", "1")])
        self.assertEqual(self.server.requests[-1][:2], ("DELETE", "/session/00000000000000ab"))

    def test_no_answer_in_time(self):
        self.server.routes[("PUT", "/key/a")] = lambda request: time.sleep(2)
        start = time.monotonic()
        self.expect(6, "--timeout", "0.3", "set", "a", "1")
        self.assertLess(time.monotonic() - start, 1.9)
        self.expect(2, "--timeout", "never", "set", "a", "1")
        self.expect(2, "--timeout", "0", "set", "a", "1")


class Lists(CtlTest):
    def fill(self, count):
        for i in range(count):
            self.server.kvs[b"k/%04d" % i] = (b"v%d" % i, 2, 2, 1)
        self.server.kvs[b"other"] = (b"", 2, 2, 1)

    def test_pages_until_the_end(self):
        self.fill(25)
        self.server.page_max = 10
        lines = self.expect(0, "keys", "k/").out.decode().splitlines()
        self.assertEqual(lines, ["k/%04d" % i for i in range(25)])
        self.assertEqual(len(self.server.requests), 3)
        self.assertTrue(all("keys_only" in path for _, path, _ in self.server.requests))
        self.assertEqual(len(self.expect(0, "keys").out.splitlines()), 26)
        self.assertEqual(self.expect(0, "keys", "nothing").out, b"")

    def test_limit(self):
        self.fill(25)
        self.server.page_max = 10
        self.assertEqual(len(self.expect(0, "keys", "--limit", "12").out.splitlines()), 12)
        listing = self.json("keys", "--limit", "12")
        self.assertEqual((len(listing["kvs"]), listing["more"], listing["revision"]), (12, True, 1))
        self.assertFalse(self.json("keys", "--limit", "26")["more"])
        self.expect(2, "keys", "--limit", "0")
        self.expect(2, "keys", "--limit", "-1")

    def test_json(self):
        self.fill(2)
        self.server.page_max = 1
        self.assertEqual(self.json("keys", "k/", "--values")["kvs"],
                         [{"key": "k/0000", "value": "v0", "create_revision": 2, "mod_revision": 2, "version": 1},
                          {"key": "k/0001", "value": "v1", "create_revision": 2, "mod_revision": 2, "version": 1}])
        self.assertNotIn("value", self.json("keys", "k/")["kvs"][0])
        self.assertEqual(self.json("keys", "none"), {"revision": 1, "kvs": [], "more": False})

    def test_values_are_tab_separated_or_aligned(self):
        self.fill(1)
        self.assertEqual(self.expect(0, "keys", "--values").out, b"k/0000\tv0\nother\t\n")
        self.assertEqual(self.terminal("keys", "--values"), "KEY     VALUE\nk/0000  v0\nother   \n")

    def test_what_is_not_printable_is_escaped(self):
        self.server.kvs = {b"a\x1b[31m\n\tb\\\xff": (b"v", 2, 2, 1), "ключ".encode(): (b"\xc2\x9b", 2, 2, 1),
                           "\u202egnp".encode(): (b"", 2, 2, 1)}
        self.assertEqual(self.expect(0, "keys").out.decode().splitlines(),
                         ["a\\x1b[31m\\n\\tb\\\\\\xff", "ключ", "\\xe2\\x80\\xaegnp"])
        self.assertEqual(self.expect(0, "keys", "--values", "ключ").out.decode(), "ключ\t\\xc2\\x9b\n")

    def test_encoded_listing_can_be_given_back(self):
        self.server.kvs = {b"a\0\xff b": (b"v", 2, 2, 1)}
        listed = self.expect(0, "keys", "--encoded").out.decode().strip()
        self.assertEqual(listed, "a%00%FF%20b")
        self.assertEqual(self.expect(0, "get", "--encoded", listed).out, b"v\n")
        self.assertEqual(self.expect(0, "keys", "--encoded", "a%00").out.decode().strip(), listed)

    def test_prefix_and_after_are_encoded(self):
        self.server.kvs = {b"a&b=%d" % i: (b"", 2, 2, 1) for i in range(3)}
        self.server.page_max = 1
        self.assertEqual(len(self.expect(0, "keys", "a&b=").out.splitlines()), 3)

    def test_broken_lists(self):
        for body in ({}, {"kvs": [{}], "more": False}, {"kvs": [], "more": True}, [],
                     {"kvs": [{"key_base64": "!!!!"}], "more": False}, {"kvs": [{"key_base64": "YQ="}]}):
            self.server.json_at("GET", "/key", body)
            self.expect(1, "keys")

    def test_full_output_device(self):
        self.fill(1)
        with open("/dev/full", "wb") as full:
            p = subprocess.run([CTL, "keys"], stdout=full, stderr=subprocess.PIPE, env=self.env(), timeout=30)
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"cannot write the output: No space left", p.stderr)


class Errors(CtlTest):
    def test_exit_codes_of_the_servers_errors(self):
        cases = ((400, "bad_request", 1), (403, "forbidden", 7), (404, "not_found", 3), (405, "method_not_allowed", 1),
                 (409, "conflict", 7), (413, "too_large", 1), (429, "busy", 5), (500, "internal", 1),
                 (503, "no_leader", 5), (504, "timeout", 6), (507, "no_space", 1), (302, "moved", 1))
        for http_status, code, exit_code in cases:
            self.server.error_at("PUT", "/key/a", http_status, code, "the server's own sentence")
            r = self.expect(exit_code, "set", "a", "1")
            self.assertIn(f"the server's own sentence ({code})", r.err)
            r = self.expect(exit_code, "set", "a", "1", "--json")
            self.assertEqual((json.loads(r.err)["code"], json.loads(r.err)["message"]), (code, "the server's own sentence"))

    def test_daemon_is_not_there(self):
        missing = os.path.join(self.dir, "none.sock")
        r = self.expect(4, "--socket", missing, "status")
        self.assertIn("systemctl status raftkvd", r.err)
        self.assertIn("--socket", r.err)
        self.assertIn(missing, r.err)
        open(missing, "w").close()
        self.expect(4, "status", "--socket", missing)
        self.expect(4, "status", "--socket", "/" + "x" * 200)

    @unittest.skipIf(os.geteuid() != 0, "needs root to become somebody else")
    def test_permission_denied(self):
        os.chmod(self.dir, 0o755)

        def drop():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        copy = os.path.join(self.dir, "raftkvctl")
        shutil.copy(CTL, copy)
        p = subprocess.run([copy, "status"], capture_output=True, env=self.env(), preexec_fn=drop, timeout=30)
        self.assertEqual(p.returncode, 4, p.stderr)
        self.assertIn(b"member of group raftkv", p.stderr)

    def test_something_else_listens(self):
        for body in (b"hello", b"", b"[1]", b"{\"a\":"):
            self.server.routes[("GET", "/status")] = lambda request: request.answer(200, body)
            self.assertIn("Is this the socket", self.expect(1, "status").err)

    def test_endless_answer(self):
        def endless(request):
            request.begin_chunked()
            for _ in range(40):
                request.chunk(b" " * (1 << 20))
            request.chunk(b"")
        self.server.routes[("GET", "/status")] = endless
        self.assertIn("larger than", self.expect(1, "status").err)

    def test_server_cannot_write_to_the_terminal(self):
        self.server.error_at("GET", "/status", 503, "no\x1b[0m", "\x1b]0;title\x07 sentence")
        err = self.expect(5, "status").err
        self.assertNotIn("\x1b", err)
        self.assertIn("sentence", err)

    def test_usage(self):
        for args in ((), ("nothing",), ("member",), ("member", "x"), ("get",), ("get", "a", "b"), ("set",), ("del",),
                     ("set", "a", "b", "c"), ("join",), ("join", "host"), ("join", "::1:2380"), ("join", "h:0"),
                     ("join", "h:65536"), ("member", "add", ":1"), ("member", "remove"), ("snapshot", "save"),
                     ("status", "x"), ("--nope",), ("status", "--json=1"), ("--timeout",), ("help", "nothing")):
            r = self.expect(2, *args)
            self.assertIn("raftkvctl", r.err)
            self.assertEqual(r.out, b"")
        self.assertEqual(self.server.requests, [])

    def test_help_and_version(self):
        everything = self.expect(0, "--help").out
        self.assertEqual(everything, self.expect(0, "help").out)
        for command in ("status", "member add", "snapshot save", "pki", "transfer-leader"):
            self.assertIn(b"  " + command.encode(), everything)
            self.assertIn(f"Usage: raftkvctl {command}", self.expect(0, "help", *command.split()).out.decode())
        self.assertIn(b"--level", self.expect(0, "get", "--help").out)
        self.assertIn(b"member promote", self.expect(0, "member", "--help").out)
        self.assertTrue(self.expect(0, "--version").out.startswith(b"raftkvctl "))


class Status(CtlTest):
    def show(self, members_answer=THREE, **changes):
        self.server.json_at("GET", "/status", status(**changes))
        self.server.json_at("GET", "/members", members_answer)
        lines = [line.split("\t") for line in self.expect(0, "status").out.decode().splitlines()]
        return {line[0]: line[1] for line in lines}, [line[1:] for line in lines if line[0] == "problem"], lines

    def test_all_is_well(self):
        facts, problems, lines = self.show()
        self.assertEqual(problems, [])
        self.assertEqual(facts["problems"], "0")
        self.assertEqual(facts["leader"], f"alpha, this host, id {A}, in term 7")
        self.assertEqual(facts["this host"], "leader, a voter")
        self.assertEqual(facts["voters"], "3, of which 3 in contact; changes need 2")
        self.assertEqual(facts["data"], "12 keys in 3.0 MiB, revision 998")
        self.assertEqual(facts["running for"], "1 d 1 h")
        self.assertIn(["member", "gamma", C, "voter", "in contact", "10", "gamma:2380"], lines)
        self.assertIn(["member", "alpha", A, "leader", "this host", "-", "alpha:2380"], lines)

    def test_on_a_terminal_the_verdict_comes_first(self):
        self.show()
        text = self.terminal("status")
        self.assertTrue(text.startswith("No problem found.\n"), text)
        self.assertRegex(text, r"\n  MEMBER +ID +ROLE +STATE +ENTRIES BEHIND +PEER ADDRESS\n")
        self.assertRegex(text, rf"\n  gamma +{C} +voter +in contact +10 +gamma:2380\n")
        self.show(leader_id=None, leader_name=None, role="follower")
        text = self.terminal("status")
        self.assertTrue(text.startswith("1 PROBLEM:\n  * there is no leader"), text)
        self.assertIn("systemctl status raftkvd", text)

    def test_silent_member(self):
        peers = status()["peers"]
        peers[1]["active_ms"] = 75000
        _, problems, lines = self.show(peers=peers)
        self.assertEqual(problems[0][0], "2 of 3 voters are in contact: one more failure stops all changes")
        self.assertEqual(problems[1][0], "gamma has not been heard of for 1 min 15 s")
        self.assertIn(f"raftkvctl member remove {C}", problems[1][1])
        self.assertIn(["member", "gamma", C, "voter", "silent for 1 min 15 s", "10", "gamma:2380"], lines)
        peers[0]["active_ms"] = None
        facts, problems, _ = self.show(peers=peers)
        self.assertEqual(problems[0][0], "only 1 of 3 voters are in contact, and changes need 2")
        self.assertEqual(problems[1][0], "beta has not answered since this host leads")
        self.assertEqual(facts["voters"], "3, of which 1 in contact; changes need 2")

    def test_snapshot_and_lag(self):
        peers = status()["peers"]
        peers[0]["mode"] = "snapshot"
        peers[1]["lag"] = 20000
        _, problems, _ = self.show(peers=peers)
        self.assertIn("beta receives the whole state", problems[0][0])
        self.assertIn("gamma is 20000 entries behind", problems[1][0])

    def test_each_trouble_is_told_once(self):
        peers = status()["peers"]
        peers[1]["active_ms"] = 75000
        _, problems, _ = self.show(peers=peers, low_space=True, problems=[
            "the disk is nearly full (1 MiB free): writes are refused",
            "gamma at gamma:2380 has not answered the leader for a while"])
        self.assertEqual(len(problems), 3)
        _, problems, _ = self.show(role="follower", leader_id=None, problems=["there is no leader: wait"])
        self.assertEqual(problems, [["there is no leader: wait", "-"]])

    def test_follower_does_not_guess(self):
        facts, problems, lines = self.show(role="follower", leader_id=B, leader_name="beta", peers=[])
        self.assertEqual(problems, [])
        self.assertEqual(facts["leader"], f"beta, id {B}, in term 7")
        self.assertEqual(facts["voters"], "3; changes need 2")
        self.assertIn(["member", "gamma", C, "voter", "see the leader", "-", "gamma:2380"], lines)

    def test_disk_join_removed_and_apply(self):
        self.assertIn("nearly full", self.show(low_space=True)[1][0][0])
        facts, problems, _ = self.show(join={"state": "failed", "message": "nobody answers"})
        self.assertEqual((facts["join"], problems[0][0]), ("failed: nobody answers", "joining failed: nobody answers"))
        self.assertIn("removed", self.show(role="removed", member_role="none", leader_id=None)[1][0][0])
        facts, problems, _ = self.show(applied_index=10, commit_index=20011)
        self.assertIn("20001 committed entries", problems[0][0])
        self.assertEqual(facts["applied"], "entry 10 of 20011 committed: 20001 to go")

    def test_json_is_the_servers(self):
        self.server.json_at("GET", "/status", status())
        self.assertEqual(self.json("status"), status())

    def test_nearly_empty_answer(self):
        facts, _, _ = self.show(members_answer={}, **{k: None for k in status()})
        self.assertEqual(facts["version"], "unknown")

    def test_members_that_cannot_be_had(self):
        self.server.json_at("GET", "/status", status())
        self.server.error_at("GET", "/members", 503, "unavailable", "wait")
        r = self.expect(5, "status")
        self.assertIn(b"leader\talpha", r.out)


class Members(CtlTest):
    def test_members(self):
        self.server.json_at("GET", "/members", members(member("alpha", A), member("bêta", B), member("c", C, "learner")))
        self.assertEqual(self.expect(0, "members").out.decode().splitlines()[0],
                         f"alpha\t{A}\tleader\talpha:2380\thttps://alpha:2379")
        text = self.terminal("members").splitlines()
        self.assertEqual([line.index("0000") for line in text[1:]], [7, 7, 7])
        self.assertEqual(text[0], "NAME   ID                ROLE     PEER ADDRESS  CLIENT URL")
        self.assertEqual(self.json("members")["members"][2]["role"], "learner")

    def test_names_cannot_break_lines(self):
        self.server.json_at("GET", "/members", members(member("a\nb\tc", A)))
        self.assertTrue(self.expect(0, "members").out.startswith(b"a\\nb\\tc\t"))

    def test_join_until_this_host_votes(self):
        self.server.json_at("POST", "/cluster/join", {"state": "contacting"}, 202)
        steps = [status(join={"state": s, "message": m}) for s, m in
                 (("contacting", "alpha:2380"), ("contacting", "alpha:2380"), ("catching_up", "10 %"),
                  ("catching_up", "90 %"), ("done", ""))]
        self.server.sequence_at("GET", "/status", steps)
        r = self.expect(0, "join", "alpha:2380")
        self.assertEqual(json.loads(self.server.requests[0][2]), {"address": "alpha:2380", "discard_data": False})
        self.assertEqual(r.err.splitlines(), ["contacting the cluster: alpha:2380", "catching up with the leader: 10 %"])
        self.assertIn(b"joined: this host is a voter", r.out)
        self.server.sequence_at("GET", "/status", steps)
        self.assertEqual(self.json("join", "alpha:2380", "--discard-data")["state"], "done")
        self.assertTrue(json.loads([b for m, p, b in self.server.requests if m == "POST"][-1])["discard_data"])

    def test_join_on_a_terminal_rewrites_one_line(self):
        self.server.json_at("POST", "/cluster/join", {"state": "contacting"}, 202)
        self.server.sequence_at("GET", "/status", [status(join={"state": s, "message": "x" * 300}) for s in
                                                   ("contacting", "catching_up", "done")])
        text = self.terminal("join", "alpha:2380")
        lines = text.split("\n")
        self.assertEqual(len(lines), 2, text)
        self.assertEqual(lines[0].count("\r\x1b[K"), 3)
        self.assertLess(max(len(part) for part in lines[0].split("\r\x1b[K")), 200)
        self.assertTrue(lines[0].split("\r\x1b[K")[-1].startswith("joined: "))

    def test_join_fails(self):
        self.server.error_at("POST", "/cluster/join", 409, "conflict", "this host holds keys")
        r = self.expect(7, "join", "alpha:2380")
        self.assertIn("this host holds keys (conflict)", r.err)
        self.assertIn("--discard-data", r.err)
        self.server.json_at("POST", "/cluster/join", {"state": "contacting"}, 202)
        self.server.json_at("GET", "/status", status(join={"state": "failed", "message": "certificate of another CA"}))
        r = self.expect(1, "join", "alpha:2380")
        self.assertIn("the join failed: certificate of another CA", r.err)
        self.assertIn("raftkvctl join alpha:2380", r.err)
        self.server.json_at("GET", "/status", status(member_role="none"))
        self.assertIn("was it restarted", self.expect(1, "join", "alpha:2380").err)

    def test_join_without_waiting(self):
        self.server.json_at("POST", "/cluster/join", {"state": "contacting"}, 202)
        self.expect(0, "join", "[::1]:2380", "--no-wait")
        self.assertEqual(len(self.server.requests), 1)

    def test_leave(self):
        self.server.json_at("POST", "/cluster/leave", {})
        self.assertEqual(self.expect(0, "leave").out, b"this host has left its cluster\n")
        self.assertEqual(self.json("leave")["result"], "this host has left its cluster")
        self.server.error_at("POST", "/cluster/leave", 409, "conflict", "this host is the only voter")
        self.assertIn("only voter", self.expect(7, "leave").err)

    def test_add_waits_for_the_vote(self):
        self.server.json_at("POST", "/cluster/members", {"message": "invited"}, 202)
        two = [member("alpha", A), member("beta", B)]
        self.server.sequence_at("GET", "/members", [members(*two), members(*two),
                                                    members(*two, member("gamma", C, "learner")),
                                                    members(*two, member("gamma", C))])
        r = self.expect(0, "member", "add", "gamma:2380")
        self.assertEqual(r.out.decode(), f"gamma is a member and votes, with id {C}\n")
        self.assertEqual(len(r.err.splitlines()), 2)
        self.assertEqual([json.loads(b) for m, p, b in self.server.requests if m == "POST"], [{"address": "gamma:2380"}])

    def test_add_gives_up_on_a_host_that_never_appears(self):
        self.server.json_at("POST", "/cluster/members", {"message": "invited"}, 202)
        self.server.json_at("GET", "/members", THREE)
        r = self.expect(1, "member", "add", "delta:2380", "--wait", "0.3")
        self.assertIn("delta:2380 has been invited but has not become a member", r.err)
        self.assertIn("journalctl", r.err)
        self.expect(0, "member", "add", "delta:2380", "--no-wait")

    def test_remove_and_promote(self):
        self.server.json_at("DELETE", "/cluster/members/beta", {})
        self.server.json_at("DELETE", "/cluster/members/a%20b%2F", {})
        self.server.json_at("POST", f"/cluster/members/{C}/promote", {})
        self.expect(0, "member", "remove", "beta")
        self.expect(0, "member", "remove", "a b/")
        self.expect(0, "member", "promote", C)
        self.assertIn("raftkvctl members lists", self.expect(3, "member", "remove", "nobody").err)
        self.server.error_at("POST", f"/cluster/members/{C}/promote", 409, "conflict", "not caught up")
        self.assertIn("how far behind", self.expect(7, "member", "promote", C).err)

    def test_demote_priority_and_abort(self):
        self.server.json_at("POST", "/cluster/members/beta/demote", {})
        self.server.json_at("POST", "/cluster/members/beta/priority", {})
        self.expect(0, "member", "demote", "beta")
        self.expect(0, "member", "priority", "beta", "0")
        self.assertEqual(json.loads(self.server.requests[-1][2]), {"priority": 0})
        self.expect(2, "member", "priority", "beta", "101")
        self.expect(2, "member", "priority", "beta")
        self.server.error_at("POST", "/cluster/abort", 409, "conflict", "no replacement of members is under way")
        self.assertIn("no replacement", self.expect(7, "member", "abort").err)

    def test_replace_invites_hosts_as_learners_and_waits_for_the_end(self):
        two = [member("alpha", A), member("beta", B)]
        here = members(*two, member("gamma", C, "learner"))
        self.server.json_at("POST", "/cluster/members", {"message": "invited"}, 202)
        self.server.json_at("POST", "/cluster/replace", {})
        self.server.json_at("GET", "/status", status())
        address = here["members"][2]["peer_address"]
        planned = members(*two, dict(member("gamma", C, "learner"), replaces="beta"))
        self.server.sequence_at("GET", "/members", [members(*two), members(*two), here, planned,
                                                    members(two[0], member("gamma", C))])
        r = self.expect(0, "member", "replace", f"beta={address}")
        self.assertEqual(r.out.decode(), "the member is replaced\n")
        posts = [json.loads(b) for m, p, b in self.server.requests if m == "POST"]
        self.assertEqual(posts, [{"address": address, "learner": True}, {"replace": [{"old": B, "new": C}]}])
        # A learner that is there already is not invited again; given up is said, with what is left.
        self.server.requests.clear()
        self.server.sequence_at("GET", "/members", [here, planned, here])
        r = self.expect(1, "member", "replace", "beta", "gamma")
        self.assertIn("given up", r.err)
        self.assertEqual([p for m, p, b in self.server.requests if m == "POST"], ["/cluster/replace"])

    def test_replace_of_nobody_or_by_nobody(self):
        self.server.json_at("GET", "/members", THREE)
        self.expect(2, "member", "replace")
        self.expect(2, "member", "replace", "alpha")
        self.expect(2, "member", "replace", "alpha=")
        self.assertIn("no member nobody", self.expect(3, "member", "replace", "nobody=delta:2380").err)
        self.assertIn("no member nobody", self.expect(3, "member", "replace", "alpha=nobody").err)

    def test_transfer(self):
        self.server.json_at("POST", "/cluster/transfer", {"leader": B, "name": "beta"})
        self.assertEqual(self.expect(0, "transfer-leader").out.decode(), f"beta leads now, with id {B}\n")
        self.assertEqual(json.loads(self.server.requests[-1][2]), {})
        self.assertEqual(self.json("transfer-leader", "beta")["leader"], B)
        self.assertEqual(json.loads(self.server.requests[-1][2]), {"member": "beta"})


class Snapshots(CtlTest):
    BLOB = os.urandom(300000)
    HEADERS = [("raftkv-snapshot-index", "1240"), ("raftkv-snapshot-revision", "998")]

    def setUp(self):
        super().setUp()
        self.out = os.path.join(self.dir, "out")
        os.mkdir(self.out)
        self.file = os.path.join(self.out, "backup")
        self.serve(self.good)

    def serve(self, function):
        self.server.routes[("GET", "/snapshot")] = function

    def good(self, request):
        request.begin_chunked(self.HEADERS)
        for i in range(0, len(self.BLOB), 65536):
            request.chunk(self.BLOB[i:i + 65536])
        request.chunk(b"")

    def assert_nothing_left(self):
        self.assertEqual(os.listdir(self.out), [])

    def test_save(self):
        r = self.expect(0, "snapshot", "save", self.file)
        self.assertEqual(r.out.decode(), f"saved {self.file}: 300000 bytes, log index 1240, revision 998\n")
        with open(self.file, "rb") as f:
            self.assertEqual(f.read(), self.BLOB)
        self.assertEqual(os.stat(self.file).st_mode & 0o7777, 0o600)
        self.assertEqual(os.listdir(self.out), ["backup"])

    def test_save_json_and_terminal(self):
        self.assertEqual(self.json("snapshot", "save", self.file),
                         {"file": self.file, "bytes": 300000, "index": 1240, "revision": 998})
        self.assertIn("saving: 293.0 KiB", self.terminal("snapshot", "save", self.file + "2"))

    def test_name_without_a_directory(self):
        p = subprocess.run([os.path.abspath(CTL), "snapshot", "save", "here"], cwd=self.out, env=self.env(), timeout=30,
                           capture_output=True)
        self.assertEqual((p.returncode, os.listdir(self.out)), (0, ["here"]), p.stderr)

    def test_existing_file_is_refused_before_anything_is_asked(self):
        with open(self.file, "w") as f:
            f.write("old")
        r = self.expect(7, "snapshot", "save", self.file)
        self.assertIn("exists already", r.err)
        self.assertEqual(self.server.requests, [])
        with open(self.file) as f:
            self.assertEqual(f.read(), "old")
        os.symlink("nowhere", self.file + "2")
        self.expect(7, "snapshot", "save", self.file + "2")

    def test_file_that_appears_meanwhile_is_not_replaced(self):
        def appear(request):
            with open(self.file, "w") as f:
                f.write("somebody's")
            self.good(request)
        self.serve(appear)
        self.expect(7, "snapshot", "save", self.file)
        self.assertEqual(os.listdir(self.out), ["backup"])
        with open(self.file) as f:
            self.assertEqual(f.read(), "somebody's")

    def test_connection_breaks_in_the_middle(self):
        def broken_chunks(request):
            request.begin_chunked(self.HEADERS)
            request.chunk(self.BLOB)
            request.break_off()

        def broken_length(request):
            request.send_response(200)
            request.send_header("Content-Length", "400000")
            request.end_headers()
            request.wfile.write(self.BLOB)
            request.break_off()
        for broken in (broken_chunks, broken_length):
            self.serve(broken)
            r = self.expect(1, "snapshot", "save", self.file)
            self.assertIn("broke off", r.err)
            self.assertIn("nothing is left behind", r.err)
            self.assert_nothing_left()

    def test_an_end_that_cannot_be_seen_is_no_end(self):
        def until_close(request):
            request.send_response(200)
            request.send_header("Connection", "close")
            request.end_headers()
            request.wfile.write(self.BLOB)
            request.break_off()
        self.serve(until_close)
        self.assertIn("did not mark the end", self.expect(1, "snapshot", "save", self.file).err)
        self.assert_nothing_left()

    def test_silent_stream(self):
        def silent(request):
            request.begin_chunked()
            request.chunk(b"x")
            request.wfile.flush()
            time.sleep(4)
        self.serve(silent)
        self.expect(1, "--timeout", "1", "snapshot", "save", self.file)
        self.assert_nothing_left()

    def test_errors_and_empty_streams(self):
        self.server.error_at("GET", "/snapshot", 429, "busy", "another snapshot is being read")
        self.assertIn("another snapshot", self.expect(5, "snapshot", "save", self.file).err)
        self.serve(lambda request: request.answer(200, b""))
        self.assertIn("empty", self.expect(1, "snapshot", "save", self.file).err)
        self.assert_nothing_left()
        self.expect(1, "snapshot", "save", os.path.join(self.out, "none", "backup"))
        self.expect(2, "snapshot", "save", self.out + "/")
        self.expect(1, "snapshot", "save", os.path.join(self.out, "x" * 250))
        self.assert_nothing_left()

    def test_disk_full(self):
        # A file size limit fails a write in the same way: EFBIG.
        import resource
        p = subprocess.run([CTL, "snapshot", "save", self.file], env=self.env(), capture_output=True, timeout=30,
                           preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                                               resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))))
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"File too large", p.stderr)
        self.assert_nothing_left()

    def test_interrupt_removes_the_temporary_file(self):
        def slow(request):
            request.begin_chunked()
            for _ in range(100):
                request.chunk(b"x" * 1000)
                request.wfile.flush()
                time.sleep(0.05)
        self.serve(slow)
        for number in (signal.SIGINT, signal.SIGTERM):
            p = subprocess.Popen([CTL, "snapshot", "save", self.file], env=self.env(), stderr=subprocess.PIPE)
            deadline = time.monotonic() + 20
            while not any(os.stat(os.path.join(self.out, n)).st_size > 0 for n in os.listdir(self.out)):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            self.assertRegex(os.listdir(self.out)[0], r"^backup\.part-[0-9a-f]{16}$")
            p.send_signal(number)
            _, err = p.communicate(timeout=20)
            self.assertEqual(p.returncode, 1, err)
            self.assertIn(b"interrupted", err)
            self.assert_nothing_left()

    def test_trigger(self):
        self.server.json_at("POST", "/snapshot", {"index": 55})
        self.assertEqual(self.expect(0, "snapshot", "trigger").out, b"state written and log cut at index 55\n")
        self.assertEqual(self.json("snapshot", "trigger"), {"index": 55})


if __name__ == "__main__":
    unittest.main(verbosity=1)
