"""Load with a memory: writers and readers that record what they were told, and the checks of those records.

Two kinds of keys, both with a single writer that never has two writes under way:
 - registers: written over and over with increasing numbers and read all the time. As each key has one writer, one
   reader, and no number is written twice, the check below is exact: the history of a key is linearizable if and
   only if it passes.
 - unique keys: written once each. In the end every acknowledged one must be there, and its version must be 1: a
   write that was forwarded and tried again inside the cluster must not have been applied twice.

A write is acknowledged (200), refused (it must never show), or uncertain (504, or the connection broke): it may show
at any time after it began, or never."""

import random
import threading
import time

import rest

ACKED, UNCERTAIN, REFUSED = "acked", "uncertain", "refused"
REFUSALS = (429, 503, 507)


class Write:
    __slots__ = ("number", "begun", "ended", "outcome")

    def __init__(self, number):
        self.number, self.begun, self.ended, self.outcome = number, time.monotonic(), None, UNCERTAIN

    def __repr__(self):
        return f"<write {self.number}: {self.outcome}>"


class Read:
    __slots__ = ("number", "begun", "ended")

    def __init__(self, number, begun):
        self.number, self.begun, self.ended = number, begun, time.monotonic()  # number 0: no such key

    def __repr__(self):
        return f"<read {self.number}>"


class Load:
    """with Load(cluster) as load: ... - the load runs inside the block; load.check() afterwards."""

    def __init__(self, cluster, writers=4, registers=2, readers=2, pause=0.0, nodes=None):
        self.cluster, self.pause, self.nodes = cluster, pause, nodes or cluster.nodes
        self.stop_event = threading.Event()
        self.tag = f"{random.randrange(1 << 32):08x}"
        self.writes, self.reads, self.unique = {}, {}, {}
        self.last_ack = time.monotonic()
        self.errors = []
        self.threads = [threading.Thread(target=self._guard, args=(self._write, i, registers), daemon=True)
                        for i in range(writers)]
        for i in range(writers):
            for j in range(registers):
                self.writes[self._register(i, j)], self.reads[self._register(i, j)] = [], []
        keys = sorted(self.writes)
        self.threads += [threading.Thread(target=self._guard, args=(self._read, keys[i::readers]), daemon=True)
                         for i in range(readers)]

    def _register(self, i, j):
        return f"load/{self.tag}/r/{i}/{j}"

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop_event.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a client hangs"
        assert not self.errors, self.errors

    @property
    def acked(self):
        return sum(w.outcome == ACKED for ws in list(self.writes.values()) + [list(self.unique.values())] for w in ws)

    def await_progress(self, writes=10, seconds=20, cluster_until=None):
        """Waits until so many more writes have been acknowledged; returns the seconds that took."""
        import cluster as c
        begun, base = time.monotonic(), self.acked
        c.until(f"{writes} more writes are acknowledged", lambda: self.acked >= base + writes or self.errors, seconds)
        assert not self.errors, self.errors
        return time.monotonic() - begun

    # ---- the threads

    def _guard(self, body, *args):
        clients = [node.rest(timeout=8) for node in self.nodes]
        try:
            body(clients, *args)
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(repr(error))
        finally:
            for client in clients:
                client.close()

    def _put(self, client, key, write):
        """Returns whether this client is worth asking again at once."""
        try:
            answer = client.put(key, str(write.number))
        except rest.NotSent:
            write.outcome, write.ended = REFUSED, time.monotonic()
            return False
        except rest.Lost:
            return False
        if answer.status == 200:
            write.outcome, write.ended = ACKED, time.monotonic()
            self.last_ack = write.ended
            return True
        if answer.status in REFUSALS:
            write.outcome, write.ended = REFUSED, time.monotonic()
        elif answer.status != 504:
            raise AssertionError(f"PUT {key}: {answer}")
        return False

    def _write(self, clients, i, registers):
        number, at = 0, i
        while not self.stop_event.is_set():
            number += 1
            kind = number % (registers + 1)
            write = Write(number)
            if kind == registers:
                key = f"load/{self.tag}/u/{i}/{number}"
                self.unique[key] = write
            else:
                key = self._register(i, kind)
                self.writes[key].append(write)
            if not self._put(clients[at % len(clients)], key, write):
                at += 1
                self.stop_event.wait(0.01)
            elif self.pause:
                self.stop_event.wait(self.pause)

    def _read(self, clients, keys):
        at = 0
        while not self.stop_event.is_set():
            at += 1
            self.read_once(clients[random.randrange(len(clients))], keys[at % len(keys)])
            if self.pause:
                self.stop_event.wait(self.pause)

    def read_once(self, client, key):
        begun = time.monotonic()
        try:
            answer = client.get(key, level="consistent")
        except (rest.Lost, rest.NotSent):
            self.stop_event.wait(0.01)
            return
        if answer.status in (200, 404):
            self.reads[key].append(Read(int(answer.body) if answer.status == 200 else 0, begun))
        elif answer.status in (429, 503, 504):
            self.stop_event.wait(0.01)
        else:
            raise AssertionError(f"GET {key}: {answer}")

    # ---- the checks

    def check(self):
        """Of everything, once the cluster is well again; returns (acknowledged, uncertain, reads)."""
        for node in self.cluster.running():
            client = node.rest(60)
            for key in self.writes:
                self.read_once(client, key)
            client.close()
        for key, writes in self.writes.items():
            check_register(key, writes, self.reads[key])
        self._check_unique()
        every = [w for ws in self.writes.values() for w in ws] + list(self.unique.values())
        return (sum(w.outcome == ACKED for w in every), sum(w.outcome == UNCERTAIN for w in every),
                sum(len(r) for r in self.reads.values()))

    def _check_unique(self):
        client = next(iter(self.cluster.running())).rest(60)
        rows = {key: (value, version) for key, value, _, version in client.range(f"load/{self.tag}/u/")}
        client.close()
        lost = [key for key, w in self.unique.items() if w.outcome == ACKED and key not in rows]
        assert not lost, f"{len(lost)} acknowledged writes are lost, such as {lost[:3]}"
        for key, (value, version) in rows.items():
            assert int(value) == self.unique[key].number, (key, value)
            assert version == 1, f"{key} was applied {version} times"
            assert self.unique[key].outcome != REFUSED, f"{key} was refused, yet it is there"


def check_register(key, writes, reads):
    """writes in the order of their making, reads in theirs; each list belongs to one client."""
    by_number = {w.number: w for w in writes}
    done = [w for w in writes if w.outcome == ACKED]
    at, newest = 0, 0  # newest: the last write that had happened before the read at hand began
    past, last = set(), 0  # past: what readers have already seen replaced
    for read in reads:
        while at < len(done) and done[at].ended < read.begun:
            newest = max(newest, done[at].number)
            at += 1
        if read.number != last:
            past.add(last)
            last = read.number
        assert read.number not in past, f"{key}: {read} was seen before, and was replaced: {reads[-5:]}"
        if read.number == 0:
            assert newest == 0, f"{key}: gone, though write {newest} was acknowledged"
            continue
        write = by_number.get(read.number)
        assert write, f"{key}: {read} was never written"
        assert write.outcome != REFUSED, f"{key}: {write} was refused, yet it is there"
        assert write.begun <= read.ended, f"{key}: {read} before it was written"
        if write.outcome == ACKED:
            assert read.number >= newest, f"{key}: {read} is stale, write {newest} was there before it began"
        newest = max(newest, read.number)  # all that was acknowledged before this one began has been replaced
