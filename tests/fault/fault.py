#!/usr/bin/python3
"""fault.py - one life of a node for each fault: the n-th allocation, disk call or read fails; what is left is judged.

A life (fault_driver run SCENARIO) runs under the preloaded fault_shim.c and says on a pipe what was acknowledged. It
may end well, or as the daemon would: with a sentence. It may not hang, and may not stop going on without a word. Then
a second process without faults opens what is there: everything acknowledged must be there, and new writes must work.

    fault.py --build DIR                a sample of all kinds, in seconds: what `make check` runs
    fault.py --build DIR --all          every one of them
    fault.py --build DIR --scenario one --kind alloc --error 12 --from 100 --to 200 --step 1
    ... --keep                          leaves the directories of runs that were not good
"""
import argparse
import collections
import concurrent.futures
import errno
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

KINDS = {"alloc": 0, "io": 1, "open": 2, "read": 3}
SHORT = -1
SCENARIOS = ["one", "install", "rebuild", "repair"]
# kind, error: in `make check`, how many lives of each scenario
PLAN = [("alloc", errno.ENOMEM, {"one": 20, "install": 5, "rebuild": 5, "repair": 5}),
        ("io", errno.EIO, {"one": 16, "install": 4, "rebuild": 4, "repair": 4}),
        ("io", errno.ENOSPC, {"one": 8, "install": 2, "rebuild": 2, "repair": 2}),
        ("io", SHORT, {"one": 4}),
        ("open", errno.EMFILE, {"one": 6}),
        ("read", errno.EIO, {"one": 12, "install": 2, "rebuild": 2, "repair": 4})]
LIFE_S, JUDGE_S = 45, 60
STATUS = {0: "carried on", 3: "ended with its sentence", 4: "start refused with a sentence"}
BAD = {5: "refused without a sentence", 6: "stuck", 7: "lost"}


def name_of(error):
    return "SHORT" if error == SHORT else errno.errorcode[error]


class Fault:
    def __init__(self, scenario, kind, error, n, count=1):
        self.scenario, self.kind, self.error, self.n, self.count = scenario, kind, error, n, count

    def __str__(self):
        more = "" if self.count == 1 else f" and the {self.count - 1} after it"
        return f"{self.scenario}: {self.kind} {name_of(self.error)} at {self.n}{more}"


class Lives:
    def __init__(self, build, keep):
        self.driver = os.path.join(build, "tests/fault/fault_driver")
        self.shim = os.path.abspath(os.path.join(build, "tests/fault/libfault.so"))
        self.keep = keep
        self.top = tempfile.mkdtemp(prefix="raftkv-fault-")

    def close(self):
        if not self.keep:
            shutil.rmtree(self.top, ignore_errors=True)

    def environment(self, fault, directory, tally):
        env = dict(os.environ, LD_PRELOAD=self.shim, FAULT_WAIT="1", FAULT_TALLY=tally, FAULT_DIR=directory,
                   FAULT_KIND=fault.kind, FAULT_N=str(fault.n), FAULT_COUNT=str(fault.count),
                   FAULT_ERRNO=str(fault.error))
        # A library that leaks on an error of its own is not ours to judge.
        env["ASAN_OPTIONS"] = "verify_asan_link_order=0:detect_leaks=0:allocator_may_return_null=1"
        return env

    def live(self, fault):
        """Returns (outcome, counts of each kind, failures dealt out, text)."""
        place = tempfile.mkdtemp(prefix=f"{fault.scenario}-{fault.kind}-{fault.n}-", dir=self.top)
        directory, tally = os.path.join(place, "data"), os.path.join(place, "tally")
        os.mkdir(directory)
        with open(tally, "wb") as f:
            f.write(bytes(64))
        outcome, said, text = self.run_life(fault, directory, tally)
        with open(tally, "rb") as f:
            counts = struct.unpack("=5Q", f.read(40))
        verdict = self.judge(fault, directory, said)
        if verdict:
            outcome, text = "BAD: " + verdict[0], text + "\n---- judge:\n" + verdict[1]
        if not outcome.startswith("BAD") or not self.keep:
            shutil.rmtree(place, ignore_errors=True)
        else:
            with open(os.path.join(place, "said"), "wb") as f:
                f.write(said)
            text += "\n(" + place + ")"
        return outcome, counts[:4], counts[4], text

    def run_life(self, fault, directory, tally):
        try:
            done = subprocess.run([self.driver, "run", fault.scenario, directory], timeout=LIFE_S, check=False,
                                  env=self.environment(fault, directory, tally), stdin=subprocess.DEVNULL,
                                  capture_output=True)
        except subprocess.TimeoutExpired as e:
            return "BAD: hung", e.stdout or b"", (e.stderr or b"").decode(errors="replace")
        text = done.stderr.decode(errors="replace")
        return outcome_of(done.returncode, text), done.stdout, text

    def judge(self, fault, directory, said):
        env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        try:
            done = subprocess.run([self.driver, "verify", fault.scenario, directory], input=said, timeout=JUDGE_S,
                                  env=env, capture_output=True, check=False)
        except subprocess.TimeoutExpired as e:
            return "hung at the next start", (e.stderr or b"").decode(errors="replace")
        if done.returncode == 0:
            return None
        text = done.stderr.decode(errors="replace")
        return "next start: " + BAD.get(done.returncode, STATUS.get(done.returncode, str(done.returncode))), text


def outcome_of(status, text):
    if status in STATUS:
        return STATUS[status]
    if status in BAD:
        return "BAD: " + BAD[status]
    if "assertion failed" in text:
        return "ended by an assertion"
    if re.search(r"AddressSanitizer: CHECK failed: (asan|sanitizer)_", text):
        return "ended by the sanitizer's runtime"
    frames = crash_frames(text)
    if status in (-signal.SIGSEGV, -signal.SIGBUS) and frames:
        return "crashed inside Berkeley DB" if "libdb" in frames[0] else "BAD: crashed"
    return f"BAD: status {status}"


def crash_frames(text):
    """What fault_shim.c said: innermost first, without the handler and the signal's own frame."""
    frames = re.findall(r"^(\S+)\((\S*?)(?:\+0x[0-9a-f]+)?\)\[0x[0-9a-f]+\]$", text, re.MULTILINE)
    frames = [f"{os.path.basename(where)}:{name}" for where, name in frames]
    return [frame for frame in frames if not frame.startswith(("libfault.so", "libc.so", "libasan"))]


def sample(total, count):
    """count numbers from 1 to total, denser at neither end, and not the same for totals that differ a little."""
    if count >= total:
        return list(range(1, total + 1))
    return sorted({1 + (i * total + total // 2) // count % total for i in range(count)})


def plan(lives, options, say):
    totals, faults = {}, []
    for scenario in SCENARIOS:
        if options.scenario and scenario != options.scenario:
            continue
        outcome, counts, _, text = lives.live(Fault(scenario, "", errno.EIO, 0))
        if outcome != "carried on":
            raise SystemExit(f"{scenario} does not even work without a fault: {outcome}\n{text}")
        totals[scenario] = counts
        say(f"{scenario}: " + ", ".join(f"{counts[i]} {kind}" for kind, i in KINDS.items()))
    for kind, error, sizes in PLAN:
        if options.kind and kind != options.kind or options.error and error != options.error:
            continue
        for scenario, counts in totals.items():
            total = counts[KINDS[kind]]
            if options.all or options.step:
                numbers = range(options.first, min(options.to or total, total) + 1, options.step or 1)
            else:
                numbers = sample(total, sizes.get(scenario, 0))
            # Berkeley DB tries to read its log a hundred times.
            count = options.count or (300 if kind == "read" else 1)
            faults += [Fault(scenario, kind, error, n, count) for n in numbers]
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=".")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--scenario", choices=SCENARIOS)
    parser.add_argument("--kind", choices=list(KINDS))
    parser.add_argument("--error", type=int)
    parser.add_argument("--from", dest="first", type=int, default=1)
    parser.add_argument("--to", type=int)
    parser.add_argument("--step", type=int)
    parser.add_argument("--count", type=int, help="how many fail in a row")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    # Lives mostly sleep: a timer here, an election there.
    parser.add_argument("--jobs", type=int, default=4 * (os.cpu_count() or 1))
    options = parser.parse_args()
    lives = Lives(options.build, options.keep)
    began = time.monotonic()
    table, bad, crashes = collections.Counter(), [], collections.Counter()
    try:
        faults = plan(lives, options, print)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for fault, (outcome, _, fired, text) in zip(faults, pool.map(lives.live, faults)):
                if fired == 0 and not outcome.startswith("BAD"):
                    outcome = "not reached"
                table[(fault.kind, name_of(fault.error), outcome)] += 1
                if options.verbose:
                    print(f"{fault}: {outcome}", flush=True)
                if outcome.startswith("crashed"):
                    crashes[" < ".join(crash_frames(text)[:4])] += 1
                if outcome.startswith("BAD"):
                    bad.append(fault)
                    print(f"FAIL {fault}: {outcome}\n{text[-6000:]}", flush=True)
    finally:
        lives.close()
    for (kind, error, outcome), count in sorted(table.items()):
        print(f"{kind:6} {error:8} {count:6}  {outcome}")
    for frames, count in crashes.most_common():
        print(f"crash  {count:6}  {frames}")
    print(f"{sum(table.values())} lives, {len(bad)} bad, {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
