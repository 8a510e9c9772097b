"""The cables between the hosts of a cluster, in the tests' hands: a relay in front of each peer port.

A host advertises its relay's port, so whatever another host says to it passes here. Which host opened a connection is
found by its socket, in /proc. A cable is cut in one direction: what one host says to another is held, as by a network
that lost its packets, and goes on its way when the cable is whole again. Needs no root.

Each host sends its messages over the connection that it has opened and hears the others' over those that they have
opened, so a cut in one direction stops one half of the talk on both."""

import os
import selectors
import socket
import threading

CHUNK = 65536


def inode_of(port, peer_port):
    """Of the loopback socket from port to peer_port; None when it is gone."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                ends = [int(end.rsplit(":", 1)[1], 16) for end in fields[1:3]]
                if ends == [port, peer_port] and fields[9] != "0":
                    return fields[9]
    return None


def has_socket(pid, inode):
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]":
                    return True
            except OSError:
                pass
    except OSError:
        pass
    return False


class Flow:
    """One direction of one connection. Nothing is read from a flow that is held: its sender feels it in time."""

    def __init__(self, source, sink, way):
        self.source, self.sink, self.way, self.waiting, self.ended = source, sink, way, b"", False


class Wires:
    """with Wires(cluster) as wires: - before the cluster is formed."""

    def __init__(self, cluster):
        self.cluster, self.lock = cluster, threading.Lock()
        self.selector, self.flows, self.cuts = selectors.DefaultSelector(), {}, set()
        self.doors = {}
        for node in cluster.nodes:
            door = socket.create_server(("127.0.0.1", 0), backlog=64)
            door.setblocking(False)
            self.doors[door] = node
            self.selector.register(door, selectors.EVENT_READ)
            node.conf["peer"]["advertise"] = f"localhost:{door.getsockname()[1]}"
        self.bell, self.ring = socket.socketpair()
        self.selector.register(self.bell, selectors.EVENT_READ)
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.ring.send(b"x")
        self.thread.join(10)
        for one in [*self.doors, *self.flows, self.bell, self.ring]:
            one.close()

    # ---- the tests' side

    def set_cuts(self, pairs):
        """From now on exactly these (from, to) are cut."""
        with self.lock:
            self.cuts = {(a.name, b.name) for a, b in pairs}
        self.ring.send(b"x")

    def heal(self):
        self.set_cuts([])

    def part(self, *groups):
        """Hosts of different groups do not hear each other; one that is in several is a bridge between them."""
        def together(a, b):
            return any(a in group and b in group for group in groups)
        self.set_cuts([(a, b) for a in self.cluster.nodes for b in self.cluster.nodes if a is not b
                       and not together(a, b)])

    # ---- the thread

    def _who(self, connection, door):
        inode = inode_of(connection.getpeername()[1], door.getsockname()[1])
        for node in self.cluster.nodes:
            if inode and node.running and has_socket(node.pid, inode):
                return node
        return None

    def _accept(self, door):
        try:
            inside, _ = door.accept()
        except OSError:
            return
        to, by = self.doors[door], self._who(inside, door)
        try:
            if by is None:
                raise OSError("gone already")
            outside = socket.create_connection(("127.0.0.1", to.peer_port), timeout=5)
        except OSError:
            inside.close()
            return
        for one in (inside, outside):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.flows[inside] = Flow(inside, outside, (by.name, to.name))
        self.flows[outside] = Flow(outside, inside, (to.name, by.name))
        for one in (inside, outside):
            self._watch(one)

    def _watch(self, one):
        """Registers what can go on: reading what may pass, writing what waits for room."""
        events = 0
        mine, other = self.flows.get(one), None
        if mine is None:
            return
        other = self.flows.get(mine.sink)
        if not mine.waiting and not mine.ended and mine.way not in self.cuts:
            events |= selectors.EVENT_READ
        if other and other.waiting:
            events |= selectors.EVENT_WRITE
        try:
            known = self.selector.get_key(one)
        except KeyError:
            known = None
        if known and events:
            self.selector.modify(one, events)
        elif known:
            self.selector.unregister(one)
        elif events:
            self.selector.register(one, events)

    def _drop(self, one):
        mine = self.flows.get(one)
        for each in (one, mine.sink) if mine else ():
            self.flows.pop(each, None)
            try:
                self.selector.unregister(each)
            except KeyError:
                pass
            each.close()

    def _move(self, one, events):
        mine = self.flows.get(one)
        if mine is None:
            return
        other = self.flows[mine.sink]
        try:
            if events & selectors.EVENT_WRITE and other.waiting:
                other.waiting = other.waiting[one.send(other.waiting):]
            if events & selectors.EVENT_READ and mine.way not in self.cuts:
                mine.waiting = one.recv(CHUNK)
                if not mine.waiting:
                    raise OSError("the end")
                mine.waiting = mine.waiting[mine.sink.send(mine.waiting):]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(one)
            return
        self._watch(one)
        self._watch(mine.sink)

    def _run(self):
        while not self.stopping:
            for key, events in self.selector.select():
                with self.lock:
                    if key.fileobj is self.bell:
                        self.bell.recv(CHUNK)
                        for one in list(self.flows):
                            self._watch(one)
                    elif key.fileobj in self.doors:
                        self._accept(key.fileobj)
                    else:
                        self._move(key.fileobj, events)
