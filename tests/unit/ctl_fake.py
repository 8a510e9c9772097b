"""A small stand-in for raftkvd: HTTP and JSON over a Unix socket, keys in memory.

The tests of raftkvctl change what it answers: `server.routes[(method, path)]` is a function that takes
the request and answers it; everything else is served as raftkvd would serve it."""

import base64
import http.server
import json
import os
import socketserver
import threading
import urllib.parse


def text_or_base64(name, data):
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {name + "_base64": base64.b64encode(data).decode()}


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fake"

    def address_string(self):
        return "local"

    def log_message(self, *args):
        pass

    def answer(self, status, body, headers=()):
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def error(self, status, code, message):
        self.answer(status, {"code": code, "message": message})

    def begin_chunked(self, headers=()):
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def break_off(self):
        self.wfile.flush()
        self.close_connection = True

    def any_method(self):
        path, _, query = self.path.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True, encoding="latin-1"))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, self.body))
        route = self.server.routes.get((self.command, path))
        if route:
            route(self)
        elif path.startswith("/key/"):
            self.one_key(urllib.parse.unquote_to_bytes(path[len("/key/"):]))
        elif path == "/key" and self.command == "GET":
            self.list_keys()
        else:
            self.error(404, "not_found", "there is nothing at this path")

    do_GET = do_PUT = do_POST = do_DELETE = any_method

    def one_key(self, key):
        kvs = self.server.kvs
        if self.command == "PUT":
            self.server.revision += 1
            old = kvs.get(key)
            create, version = (old[1], old[3] + 1) if old else (self.server.revision, 1)
            kvs[key] = (self.body, create, self.server.revision, version)
            self.answer(200, {"revision": self.server.revision})
        elif self.command == "DELETE":
            deleted = 1 if kvs.pop(key, None) else 0
            self.server.revision += deleted
            self.answer(200, {"deleted": deleted, "revision": self.server.revision})
        elif key not in kvs:
            self.error(404, "not_found", "there is no such key")
        else:
            value, _, mod, version = kvs[key]
            assert "raw" in self.query
            self.answer(200, value, [("raftkv-revision", str(mod)), ("raftkv-version", str(version))])

    def list_keys(self):
        prefix = self.query.get("prefix", "").encode("latin-1")
        after = self.query.get("after", "").encode("latin-1")
        limit = min(int(self.query.get("limit", "1000")), self.server.page_max)
        keys = sorted(k for k in self.server.kvs if k.startswith(prefix) and k > after)
        items = []
        for key in keys[:limit]:
            value, create, mod, version = self.server.kvs[key]
            item = text_or_base64("key", key)
            if "keys_only" not in self.query:
                item.update(text_or_base64("value", value))
            item.update(create_revision=create, mod_revision=mod, version=version)
            items.append(item)
        self.answer(200, {"revision": self.server.revision, "more": len(keys) > limit, "kvs": items})


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path):
        self.routes, self.requests, self.kvs = {}, [], {}
        self.revision, self.page_max = 1, 1000
        super().__init__(path, Request)
        os.chmod(path, 0o600)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that goes away in the middle is a test, not an error

    def json_at(self, method, path, body, status=200):
        """Always the same answer."""
        self.routes[(method, path)] = lambda request: request.answer(status, body)

    def sequence_at(self, method, path, bodies):
        """One answer after the other; the last one for ever."""
        left = list(bodies)
        self.routes[(method, path)] = lambda request: request.answer(200, left.pop(0) if len(left) > 1 else left[0])

    def error_at(self, method, path, status, code, message):
        self.routes[(method, path)] = lambda request: request.error(status, code, message)

    def stop(self):
        self.shutdown()
        self.server_close()
