"""Who sends what, and how: the lanes that `run` measures."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target")
RELEASE = TARGET / "release"
PYTHON = TARGET / "peers" / "python"
NODE = TARGET / "peers" / "node"
GO = TARGET / "peers" / "go"
JAVA = TARGET / "peers" / "java"

# Of an export, as the SDKs have it by default
BATCH = 512
# See work.rs.
SERIES = 10_000
# Those in other languages than Rust send spans alone.
LANGUAGES = ["Go", "Java", "Node", "Python"]


@dataclass(frozen=True)
class Lane:
    """A peer, what it is to send, and how."""

    peer: str
    protocol: str
    command: tuple[str, ...]
    # Behind the arguments that say what to send
    flags: tuple[str, ...] = ()
    mtls: bool = True
    # Whether its allocator gives no memory back to the system
    keeps_heap: bool = False
    signal: str = "traces"
    batch: int = BATCH
    attributes: int = 8
    compression: str = ""
    # How many batches it sends before it is measured
    warm_up: int = 0

    @property
    def name(self):
        ways = ["" if self.mtls else ", plaintext", ", heap kept" if self.keeps_heap else ""]
        return f"{self.peer}, {self.protocol}" + "".join(ways)

    @property
    def smallest(self):
        """As few items as a process can send."""
        return SERIES if self.signal == "metrics" else 1

    @property
    def items(self):
        """Of one export"""
        return SERIES if self.signal == "metrics" else self.batch

    def call(self, items):
        what = (items, self.signal, self.batch, self.attributes, self.warm_up * self.batch)
        return [*self.command, *map(str, what), *self.flags]


def rust(program):
    return (str(RELEASE / program),)


HAND_WIRED = {"grpc": rust("hand-wired-grpc"), "http": rust("hand-wired-http")}
ALONE = Lane("SDK alone", "none", rust("discard"))


JAVA_PEER = (
    "java",
    "-Dotel.metrics.exporter=none",
    "-Dotel.logs.exporter=none",
    "--class-path",
    f"{JAVA / 'classes'}:{JAVA / 'libraries'}/*",
    "Peer",
)
NODE_PEER = ("node", str(HERE / "node" / "peer.js"))
PYTHON_PEER = (str(PYTHON / "bin" / "python"), str(HERE / "python" / "peer.py"))


def traffic():
    """Spans, by every peer."""
    lanes = [ALONE]
    for protocol, hand_wired in HAND_WIRED.items():
        lanes.append(Lane("floor", protocol, rust("floor")))
        lanes.append(Lane("floor on ring", protocol, rust("floor-ring")))
        for mtls, keeps_heap in [(True, False), (True, True), (False, False)]:
            lanes.append(Lane("ours", protocol, rust("ours"), (), mtls, keeps_heap))
            lanes.append(Lane("hand-wired", protocol, hand_wired, (), mtls, keeps_heap))
        if protocol == "http":
            lanes.append(Lane("hand-wired (HTTP/1.1)", protocol, hand_wired, ("http1",)))
        lanes.append(Lane("Go", protocol, (str(GO / protocol),)))
        lanes.append(Lane("Java", protocol, JAVA_PEER))
        lanes.append(Lane("Node", protocol, NODE_PEER))
        lanes.append(Lane("Python", protocol, PYTHON_PEER))
    return lanes


def warmed_up(batches):
    """Spans after a warm-up of so many batches, by the peers that are compiled while they run, and by ours."""
    return [
        Lane(peer, protocol, command, warm_up=batches)
        for protocol in HAND_WIRED
        for peer, command in [("ours", rust("ours")), ("Java", JAVA_PEER), ("Node", NODE_PEER)]
    ]


def other_signals():
    """Log records and metrics, by the Rust peers."""
    for signal in ["logs", "metrics"]:
        yield replace(ALONE, signal=signal)
        for protocol, hand_wired in HAND_WIRED.items():
            for peer, command in [
                ("floor", rust("floor")),
                ("ours", rust("ours")),
                ("hand-wired", hand_wired),
            ]:
                yield Lane(peer, protocol, command, signal=signal)


def services():
    """Three signals, once each, by the services in `../minimal`."""
    ours = (str(TARGET / "stripped" / "minimal-ours"),)
    hand_wired = (str(TARGET / "stripped" / "minimal-hand-wired"),)
    return [
        Lane("ours", "grpc", ours),
        Lane("hand-wired", "grpc", hand_wired),
        Lane("ours", "http", ours),
    ]


def growth(batch, attributes):
    """Spans, in batches of this size and with as many attributes, by gRPC."""
    peers = [
        ALONE,
        Lane("floor", "grpc", rust("floor")),
        *(
            Lane(peer, "grpc", command, compression=compression)
            for compression in ["", "gzip", "zstd"]
            for peer, command in [("ours", rust("ours")), ("hand-wired", HAND_WIRED["grpc"])]
        ),
    ]
    return [replace(lane, batch=batch, attributes=attributes) for lane in peers]
