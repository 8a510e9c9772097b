"""The checks of load.py themselves: a history that is wrong must be found."""

import pytest

import load


def history(*events):
    """'w1 ok', 'w2 ?', 'w3 no', 'r1': one after another, none at the same time as another."""
    writes, reads = [], []
    for at, event in enumerate(events):
        what, *outcome = event.split()
        number = int(what[1:])
        if what[0] == "w":
            write = load.Write(number)
            write.begun, write.ended = at, at + 0.5
            write.outcome = {"ok": load.ACKED, "?": load.UNCERTAIN, "no": load.REFUSED}[outcome[0]]
            writes.append(write)
        else:
            read = load.Read(number, at)
            read.ended = at + 0.5
            reads.append(read)
    return "key", writes, reads


@pytest.mark.parametrize("events", [
    ["r0", "w1 ok", "r1", "r1", "w2 ok", "r2"],
    ["w1 ok", "w2 ?", "r1", "r2", "w3 ok", "r3"],
    ["w1 ok", "w2 ?", "w3 ok", "r3", "r2"],  # the uncertain one took effect late
    ["w1 ok", "w2 no", "r1"],
])
def test_a_good_history_passes(events):
    load.check_register(*history(*events))


@pytest.mark.parametrize("events", [
    ["w1 ok", "r0"],  # lost
    ["w1 ok", "w2 ok", "r1"],  # stale
    ["w1 ok", "w2 no", "r2"],  # refused, yet done
    ["w1 ok", "w2 ?", "r2", "r1"],  # back in time
    ["w1 ok", "w2 ?", "r2", "w3 ok", "r3", "r2"],  # applied twice
    ["w1 ok", "r7"],  # never written
])
def test_a_bad_history_is_found(events):
    with pytest.raises(AssertionError):
        load.check_register(*history(*events))
