"""Runs a lane's processes against the sink, and measures them."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from lanes import NODE, RELEASE

SIGNALS = 3
# In seconds: more than any peer takes, so that a peer that hangs is found.
TIMEOUT = 300

# What went wrong, for the report
left_out = []


def warn(message):
    print(f"\n*** LEFT OUT: {message}\n", file=sys.stderr)
    left_out.append(message.splitlines()[0])


class Sink:
    def __init__(self, directory, *port):
        self.directory = directory
        self.process = subprocess.Popen(
            [str(RELEASE / "sink"), str(directory), *map(str, port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.mtls_port, self.plaintext_port = (self.line(), self.line())

    def line(self):
        return int(self.process.stdout.readline())

    def counts(self):
        """What was counted since the last call."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        names = ["connections", "handshakes", "requests", "items", "bytes", "first", "last"]
        return dict(zip(names, map(int, self.process.stdout.readline().split()), strict=True))

    def environment(self, lane):
        """All that a peer is told beside its arguments; of this process's own environment, it gets the path."""
        port = self.mtls_port if lane.mtls else self.plaintext_port
        environment = {
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(NODE / "node_modules"),
            "OTEL_SERVICE_NAME": "checkout",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http{'s' if lane.mtls else ''}://localhost:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if lane.protocol == "grpc" else "http/protobuf",
        }
        # So that a flush is all that starts an export, in every SDK
        for processor in ["BSP", "BLRP"]:
            environment |= {
                f"OTEL_{processor}_MAX_QUEUE_SIZE": str(4 * lane.batch),
                f"OTEL_{processor}_MAX_EXPORT_BATCH_SIZE": str(2 * lane.batch),
                f"OTEL_{processor}_SCHEDULE_DELAY": "60000",
            }
        if lane.compression:
            environment["OTEL_EXPORTER_OTLP_COMPRESSION"] = lane.compression
        if lane.keeps_heap:
            # Of glibc's, in bytes: more than a peer has
            environment |= {"MALLOC_TRIM_THRESHOLD_": "16777216", "MALLOC_MMAP_THRESHOLD_": "16777216"}
        if lane.mtls:
            directory = Path(self.directory)
            environment |= {
                "OTEL_EXPORTER_OTLP_CERTIFICATE": str(directory / "ca.crt"),
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(directory / "client.crt"),
                "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(directory / "client.key"),
            }
        return environment

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def execute(sink, lane, command):
    """One process, from its start to its end, and what the sink saw of it."""
    sink.counts()
    with tempfile.TemporaryFile("w+") as errors:
        began = time.time_ns()
        process = subprocess.Popen(
            command,
            env=sink.environment(lane),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        watchdog = threading.Timer(TIMEOUT, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        warm = 0.0
        if line == "warm\n":
            # The peer waits meanwhile.
            warm = cpu_of(process.pid)
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
        done = line == "done\n"
        ended = time.time_ns()
        cpu_when_warm = cpu_of(process.pid) - warm if done else 0.0
        # `ru_maxrss` would not do: it begins with the size of the process that forked.
        memory = peak_memory(process.pid) if done else 0
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        watchdog.cancel()
        if not done or process.returncode != 0:
            errors.seek(0)
            raise RuntimeError(f"{lane.name} ended with {process.returncode}\n{errors.read()}")
    counts = sink.counts()
    return {
        "cpu": usage.ru_utime + usage.ru_stime,
        # From the end of the warm-up to that of the work
        "cpu_when_warm": cpu_when_warm,
        "wall": (ended - began) / 1e9,
        "memory": memory,
        "faults": usage.ru_minflt,
        "connections": counts["connections"],
        "handshakes": counts["handshakes"],
        "requests": counts["requests"],
        "items": counts["items"],
        "bytes": counts["bytes"],
        "first": (counts["first"] - began) / 1e9,
        "last": (counts["last"] - began) / 1e9,
    }


def cpu_of(pid):
    """In seconds, of all threads, by the clock that clock_getcpuclockid() returns."""
    return time.clock_gettime(~pid << 3 | 2)


def peak_memory(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not show VmHWM")


def send(sink, lane, exports):
    """Two processes: one that sends as little as it can, for the start, and one for the rest."""
    items = exports * lane.items
    start = execute(sink, lane, lane.call(lane.smallest))
    if start["items"] != (lane.smallest if lane.protocol != "none" else 0):
        raise RuntimeError(f"{lane.name}: not the work that was asked for: {start['items']} items at the start")
    whole = work(sink, lane, exports)
    return {
        # Without the start, the handshake and the end
        "cpu": (whole["cpu"] - start["cpu"]) / (items - lane.smallest),
        # By the sink's clock, between the first batch and the last
        "speed": (items - lane.items) / max(whole["last"] - whole["first"], 1e-9),
        "wall": whole["wall"],
        "memory": whole["memory"],
        "faults": whole["faults"],
        "bytes": whole["bytes"] / items,
        "connections": whole["connections"],
        "handshakes": whole["handshakes"],
        "first": start["first"],
        "start_wall": start["wall"],
        "start_cpu": start["cpu"],
    }


def send_warm(sink, lane, exports):
    """One process, measured once it has warmed up."""
    whole = work(sink, lane, lane.warm_up + exports)
    return {"cpu": whole["cpu_when_warm"] / (exports * lane.items), "memory": whole["memory"]}


def work(sink, lane, exports):
    """One process that sends so many batches, all of which must arrive."""
    items = exports * lane.items
    whole = execute(sink, lane, lane.call(items))
    expected = (items, exports) if lane.protocol != "none" else (0, 0)
    if (whole["items"], whole["requests"]) != expected:
        sent = f"{whole['items']} of {items} items in {whole['requests']} of {exports} requests"
        raise RuntimeError(f"{lane.name}: not the work that was asked for: {sent}")
    return whole


def serve(sink, lane):
    """A service that sends each signal once."""
    service = execute(sink, lane, lane.command)
    # A request for each signal; ours have metrics about the exporters in them, too.
    if service["requests"] != SIGNALS or service["items"] < SIGNALS:
        raise RuntimeError(f"{lane.name}: not {SIGNALS} signals: {service}")
    return service


def interleaved(lanes, rounds, measure, skipped=1):
    """The measurements of each lane, round by round, after as many rounds as are skipped."""
    results = {lane: [] for lane in lanes}
    for number in range(skipped + rounds):
        # The order alternates, so that no lane always runs after the same other one.
        turns = list(results) if number % 2 else list(reversed(results))
        for lane in turns:
            try:
                result = measure(lane)
            except RuntimeError as error:
                warn(str(error))
                del results[lane]
                continue
            if number >= skipped:
                results[lane].append(result)
        print(f"\rround {number + 1} of {skipped + rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results
