"""A small client of raftkvd's REST paths: http.client and ssl from the standard library, kept-alive connections.

One Rest belongs to one thread. An error of the transport is a Lost: whether the request took effect is unknown.
Pipe is for volume: many requests of one connection in flight at once."""

import http.client
import json
import re
import socket
import ssl
import urllib.parse


class Lost(Exception):
    """The connection failed after the request may have left: the outcome is unknown."""


class NotSent(Exception):
    """No connection could be made: nothing has happened."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json["code"]

    @property
    def message(self):
        return self.json["message"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def context(ca, cert=None, key=None):
    ctx = ssl.create_default_context(cafile=ca)
    if cert:
        ctx.load_cert_chain(cert, key)
    return ctx


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def quote(key):
    """A key, text or bytes, as it stands in a path."""
    return urllib.parse.quote(key.encode() if isinstance(key, str) else key, safe="/")


class Rest:
    """connect() makes an unconnected http.client connection."""

    def __init__(self, connect):
        self.connect, self.conn = connect, None

    def close(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    def _open(self):
        if self.conn:
            return
        conn = self.connect()
        try:
            conn.connect()
            if conn.sock.family != socket.AF_UNIX:
                conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            conn.close()
            raise NotSent(str(error)) from error
        self.conn = conn

    def call(self, method, path, body=None, headers=None):
        self._open()
        try:
            self.conn.request(method, path, body=body, headers=headers or {})
            response = self.conn.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Lost(f"{method} {path}: {error!r}") from error
        if response.will_close:
            self.close()
        return answer

    def put(self, key, value):
        return self.call("PUT", "/key/" + quote(key), value.encode() if isinstance(value, str) else value)

    def get(self, key, level=None, more=""):
        query = "?raw" + (f"&level={level}" if level else "") + more
        return self.call("GET", "/key/" + quote(key) + query)

    def delete(self, key):
        return self.call("DELETE", "/key/" + quote(key))

    def range(self, prefix="", level=None):
        """All keys below prefix as [(key, value, mod_revision, version)], page by page."""
        rows, after = [], None
        while True:
            query = {"prefix": prefix, "limit": "5000"}
            if level:
                query["level"] = level
            if after is not None:
                query["after"] = after
            answer = self.call("GET", "/key?" + urllib.parse.urlencode(query))
            if answer.status != 200:
                raise AssertionError(f"cannot list {prefix!r}: {answer}")
            page = answer.json
            rows += [(kv["key"], kv.get("value", kv.get("value_base64")), kv["mod_revision"], kv["version"])
                     for kv in page["kvs"]]
            if not page["more"]:
                return rows
            after = rows[-1][0]


class Pipe:
    """Pipelined HTTP/1.1: sends PUTs in windows and counts the answers."""

    WINDOW = 60
    STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")

    def __init__(self, host, port, ctx, timeout):
        plain = socket.create_connection((host, port), timeout)
        self.sock = ctx.wrap_socket(plain, server_hostname="localhost")

    def put_all(self, pairs):
        """pairs: (key, value bytes) each; returns {status: count}. Every one of them was answered."""
        counts = {}
        for at in range(0, len(pairs), self.WINDOW):
            window = pairs[at:at + self.WINDOW]
            self.sock.sendall(b"".join(
                b"PUT /key/%s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
                % (quote(key).encode(), len(value), value) for key, value in window))
            text, seen = b"", []
            # An answer is whole when its line of JSON is: each body ends with "}\n".
            while len(seen) < len(window) or text.count(b"}\n") < len(window):
                piece = self.sock.recv(65536)
                if not piece:
                    raise Lost("the connection ended in the middle")
                text += piece
                seen = self.STATUS.findall(text)
            for status in seen:
                counts[int(status)] = counts.get(int(status), 0) + 1
        return counts

    def close(self):
        self.sock.close()
