# SPDX-License-Identifier: MIT
#
# What the drivers of servers under load share: bench/echo/run, bench/http/run, bench/kv/run.
"""Contestants in turns: servers that are started and stopped, medians, tables, JSON.

Each figure comes from a server of its own; contestants take turns (forwards, then backwards), so
that drift of the machine hits all alike; shown is the median of the turns. From the environment:
QUICK, ROUNDS, SECONDS, ONLY and CPUS, as the head of each driver says.
"""
import datetime
import json
import os
import platform
import resource
import signal
import socket
import statistics
import subprocess
import tempfile
import time

START_S, TIMEOUT_S = 5, 120


def setting(name, default=""):
    return os.environ.get(name) or default


def names_of(text):
    return [name for name in text.split(",") if name]


QUICK = bool(setting("QUICK"))
ROUNDS = int(setting("ROUNDS", "1" if QUICK else "5"))
BUILD = setting("BUILD", f"build/{platform.machine()}")
ALLOWED = sorted(os.sched_getaffinity(0))


class Skip(Exception):
    pass


# ------------------------------------------------------------------ processes


def cpus_of(which):
    """The server's processors, then the client's: one each, as far as there are two."""
    text = setting("CPUS", f"{ALLOWED[-1]}:{ALLOWED[0]}")
    return {int(cpu) for cpu in text.split(":")[which].split(",")}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def last_words(text):
    lines = [line for line in text.strip().splitlines() if line]
    return lines[-1][:120] if lines else "no word"


class Running:
    """A server that runs, until the end of the block; several processes may be it."""

    PROBE = b"L" * 64  # what it answers when it serves

    def __init__(self, server, workers, cpus, **command):
        self.server, self.cpus, self.workers, self.more = server, cpus, workers, command

    def __enter__(self):
        if self.server.missing():
            raise Skip(self.server.missing())
        self.port = free_port()
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.server.command(self.workers, self.port, **self.more),
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, self.cpus),
        )
        self.pid = self.process.pid
        end = time.monotonic() + START_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise Skip("does not serve: " + self.words())
            time.sleep(0.02)
        self.pids = [int(p) for p in os.listdir("/proc") if p.isdigit() and self.owns(p)]
        return self

    def owns(self, pid):
        try:
            return os.getpgid(int(pid)) == self.pid
        except ProcessLookupError:
            return False

    def words(self):
        self.errors.seek(0)
        return last_words(self.errors.read())

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as s:
                s.settimeout(2)
                s.sendall(self.PROBE)
                return s.recv(64) != b""
        except OSError:
            return False

    def __exit__(self, *_):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def cpu_us(self):
        """Of all its threads, also of the kernel's for it; clock_getcpuclockid() by hand."""
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids) * 1e6


class Figures:
    """What one contestant did in one cell, turn by turn."""

    def __init__(self):
        self.turns, self.why = [], None

    def median(self, key):
        values = [turn[key] for turn in self.turns if turn.get(key) is not None]
        return statistics.median(values) if values else None


def in_turns(servers, measure, rounds):
    """Calls measure(server) in turns; who has once said why not is not asked again."""
    figures = {server.name: Figures() for server in servers}
    asked = list(servers)
    for turn in range(rounds):
        for server in asked if turn % 2 == 0 else asked[::-1]:
            try:
                figures[server.name].turns.append(measure(server))
            except (Skip, subprocess.TimeoutExpired) as why:
                figures[server.name].why = str(why)
                asked = [s for s in asked if s is not server]
    return figures


# ------------------------------------------------------------------ tables


def number(value):
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


class Report:
    """Prints, and keeps what it prints and the figures for a folder."""

    def __init__(self, folder, part):
        self.folder, self.part, self.lines = folder, part, []

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def table(self, title, names, columns, value):
        """value(name, column) is a text."""
        width = max(12, *(len(c) + 2 for c in columns))
        self.say(f"\n{title}")
        self.say(" " * 14 + "".join(f"{c:>{width}}" for c in columns))
        for name in names:
            self.say(f"  {name:12}" + "".join(f"{value(name, c):>{width}}" for c in columns))

    def skipped(self, results):
        seen = set()
        for column, figures in results.items():
            for name, f in figures.items():
                if f.why and (name, f.why) not in seen:
                    seen.add((name, f.why))
                    self.say(f"  {name}: skipped from {column} on: {f.why}")

    def write(self, results):
        rows = [
            {"cell": column, "contestant": name, "turns": f.turns, "skipped": f.why}
            for column, figures in results.items()
            for name, f in figures.items()
        ]
        data = {"part": self.part, "machine": machine(), "rounds": ROUNDS, "rows": rows}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{self.part}.json").write_text(json.dumps(data, indent=1) + "\n")
        (self.folder / f"{self.part}.txt").write_text("\n".join(self.lines) + "\n")
        return [f for figures in results.values() for f in figures.values()]


def machine():
    model = "unknown processor"
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "processor": model,
        "cpus": len(ALLOWED),
        "kernel": platform.release().split("-")[0],
        "tcp": open("/proc/sys/net/ipv4/tcp_congestion_control").read().strip(),
        "date": datetime.date.today().isoformat(),
    }


def answering(figures, key):
    return {n: f.median(key) for n, f in figures.items() if f.median(key) is not None}


def raise_files():
    """As many as the kernel allows anybody, if we may; what we start has as many."""
    most = int(open("/proc/sys/fs/nr_open").read())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, PermissionError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
