"""The services under load, one process for each peer."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target")
GO = TARGET / "peers" / "go"
SERVERS = REPOSITORY / "target" / "servers"

SPANS_PER_SECOND = 200
# In milliseconds: five exports a second
SCHEDULE_DELAY = 200
# In seconds: more than any peer takes to shut down, so that one that hangs is found
TIMEOUT = 60


@dataclass(frozen=True)
class Peer:
    name: str
    protocol: str
    command: tuple[str, ...]
    # Each dials an address of its own, by which its connections are counted.
    address: str

    @property
    def id(self):
        """Its service.name."""
        return f"{self.name}-{self.protocol}".lower()

    @property
    def host(self):
        """The host of its endpoint."""
        return f"{self.id}.collector.test"


def _peers():
    rust = TARGET / "release"
    commands = {
        ("ours", "grpc"): (rust / "faults-ours",),
        ("ours", "http"): (rust / "faults-ours",),
        ("hand-wired", "grpc"): (rust / "faults-hand-wired-grpc",),
        ("hand-wired", "http"): (rust / "faults-hand-wired-http",),
        ("Go", "grpc"): (GO / "grpc", "load"),
        ("Go", "http"): (GO / "http", "load"),
    }
    for number, ((name, protocol), command) in enumerate(commands.items(), start=1):
        yield Peer(name, protocol, tuple(map(str, command)), f"127.0.1.{number}")


PEERS = list(_peers())


def build():
    """All that the suite runs. The Rust peers one by one: see ../peers/Cargo.toml."""
    cargo = ["cargo", "build", "--release", "--manifest-path", str(HERE / "Cargo.toml")]
    for peer in ["ours", "hand-wired-grpc", "hand-wired-http"]:
        subprocess.run([*cargo, "--features", peer, "--bin", f"faults-{peer}"], check=True)
    for source, output, packages in [
        (HERE.parent / "peers" / "go", GO, ["./grpc", "./http"]),
        (HERE / "server", GO, ["."]),
        (REPOSITORY / "tests" / "servers" / "collector", SERVERS, ["./..."]),
    ]:
        output.mkdir(parents=True, exist_ok=True)
        go = ["go", "build", "-buildvcs=false", "-o", f"{output}/", *packages]
        subprocess.run(go, cwd=source, check=True)


class Service:
    """A running peer."""

    def __init__(self, peer, port, certificates, environment, prefix):
        self.peer = peer
        self.errors = tempfile.TemporaryFile("w+")
        protocol = "grpc" if peer.protocol == "grpc" else "http/protobuf"
        self.process = subprocess.Popen(
            [*prefix, *peer.command, str(SPANS_PER_SECOND)],
            env={
                "PATH": os.environ["PATH"],
                "OTEL_SERVICE_NAME": peer.id,
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_BSP_SCHEDULE_DELAY": str(SCHEDULE_DELAY),
                "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://{peer.host}:{port}",
                "OTEL_EXPORTER_OTLP_CERTIFICATE": f"{certificates}/ca.crt",
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": f"{certificates}/client.crt",
                "OTEL_EXPORTER_OTLP_CLIENT_KEY": f"{certificates}/client.key",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    @property
    def pid(self):
        return self.process.pid

    def wait_until_started(self):
        self.process.stdout.readline()

    def terminate(self):
        """Tells it to shut down; `outcome` waits for that."""
        # Popen would reap a process that has ended, and `outcome` would not know its CPU time.
        os.kill(self.pid, signal.SIGTERM)

    def outcome(self):
        """What it printed, and the CPU time that it took."""
        watchdog = threading.Timer(TIMEOUT, self.process.kill)
        watchdog.start()
        printed = self.process.stdout.read()
        _, status, usage = os.wait4(self.pid, 0)
        watchdog.cancel()
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.process.stdout.close()
        self.errors.seek(0)
        if self.process.returncode != 0:
            print(f"{self.peer.id} ended with {self.process.returncode}:", file=sys.stderr)
            print(self.errors.read()[-2000:], file=sys.stderr)
        lines = printed.splitlines()
        told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None
        return told, usage.ru_utime + usage.ru_stime
