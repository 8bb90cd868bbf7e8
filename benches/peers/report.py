"""What `run` has measured, as tables."""

import re
from dataclasses import dataclass

from figures import column, median, ratios, spread, table
from lanes import LANGUAGES


# Measured once, with time stamps in the program: `run` does not do that.
FIRST_STEPS = """\
Within ours, by gRPC over mutual TLS: time stamps in the fastest of 100 processes, on the machine above, before the entropy was
gathered ahead. Of 424.5 million instructions (valgrind), AWS-LC's entropy takes 419.0, the rest of the I/O thread 3.6, and
`from_env()` 0.9.

| step | ms | whose |
| --- | ---: | --- |
| the start of the process | 1.44 | the kernel, the dynamic linker |
| the service's tokio runtime | 0.25 | the service |
| `Exporters::from_env()`: variables, files, certificates, key | 0.27 | this crate |
| `span_exporter()`: the I/O thread | 0.10 | this crate |
| the SDK's provider and its thread, one span, its flush | 0.39 | the SDK |
| from `export()` to the dial | 0.06 | this crate |
| name resolution | 0.19 | the C library, its thread |
| TCP | 0.16 | the kernel |
| the first random bytes, for which AWS-LC gathers entropy from the CPU's jitter | 30.81 | AWS-LC |
| the TLS handshake | 1.12 | rustls, AWS-LC, the sink |
| the wait for the server's SETTINGS, so that a rejected certificate is reported as such | 0.34 | this crate |
| the request and its acknowledgement | 0.20 | HTTP/2, the sink |

This crate now requests the first random bytes when it creates the first exporter, on another thread, instead of in the first
handshake. That does not help a process that sends its first span at once, as here. If a process works for 100 ms before its first
span, that span is acknowledged after 2.4 ms in the fastest of 60 processes, instead of 33.4 ms; the medians, on a busy machine, are
4.0 and 76.4 ms. AWS-LC gathers no such entropy if it is built with `AWS_LC_SYS_NO_JITTER_ENTROPY=1`, nor does ring."""


@dataclass
class Measured:
    """Runs by lane (traffic: spans, by every peer; signals: the others, by the Rust peers; warmed_up: spans, by peers
    that are compiled while they run), builds by service."""

    traffic: dict
    signals: dict
    warmed_up: dict
    services: dict
    built: dict
    # The table of the bench `allocations`
    allocations: str
    left_out: list


@dataclass
class Goal:
    words: str
    # Ratios, or figures in the unit that `words` names
    values: list
    limit: float
    # What explains the value where it is over the limit
    because: str = ""

    @property
    def holds(self):
        return median(self.values) <= self.limit

    def row(self):
        digits = 0 if self.limit > 100 else 3
        verdict = "holds" if self.holds else "**does not hold**"
        because = f", because {self.because}" if self.because and not self.holds else ""
        limit = f"≤ {self.limit:,.0f}" if self.limit > 100 else f"≤ {self.limit:.3g}"
        return [self.words, spread(self.values, digits=digits), limit, verdict + because]


def find(results, peer, protocol, mtls=True, keeps_heap=False, signal="traces"):
    for lane, runs in results.items():
        way = (lane.peer, lane.protocol, lane.mtls, lane.keeps_heap, lane.signal)
        if way == (peer, protocol, mtls, keeps_heap, signal):
            return runs
    return None


def goals(measured):
    traffic = measured.traffic
    for protocol, limit in [("grpc", 0.40), ("http", 0.50)]:
        ours, floor = find(traffic, "ours", protocol), find(traffic, "floor", protocol)
        hand_wired = find(traffic, "hand-wired", protocol)
        plaintext = find(traffic, "hand-wired", protocol, mtls=False)
        if not (ours and floor and hand_wired and plaintext):
            continue

        def against(theirs, key, words, floor=floor):
            return f"the floor is {median(ratios(floor, theirs, key)):.2f} of {words}"

        yield Goal(
            f"CPU per span, {protocol} ÷ hand-wired",
            ratios(ours, hand_wired, "cpu"),
            limit,
            against(hand_wired, "cpu", "hand-wired"),
        )
        yield Goal(
            f"CPU per span, {protocol} ÷ hand-wired *plaintext*",
            ratios(ours, plaintext, "cpu"),
            0.60,
            against(plaintext, "cpu", "hand-wired plaintext, and does TLS"),
        )
        yield Goal(
            f"CPU per span, {protocol} ÷ the floor",
            ratios(ours, floor, "cpu"),
            1.30,
            f"encoding and all else that is ours takes {gap(ours, floor, 'cpu', 1e6):.2f} µs per span more",
        )
        yield Goal(
            f"peak memory, {protocol} ÷ hand-wired",
            ratios(ours, hand_wired, "memory"),
            1.00,
            against(hand_wired, "memory", "hand-wired"),
        )
        yield Goal(
            f"page faults, {protocol}",
            column(ours, "faults"),
            3_000,
            f"the floor takes {median(column(floor, 'faults')):,.0f}",
        )
        yield Goal(
            f"first acknowledged span, {protocol} ÷ the floor",
            ratios(ours, floor, "first"),
            1.05,
            f"ours comes {gap(ours, floor, 'first', 1e3):.1f} ms later",
        )
    yield from signal_goals(measured.signals)
    for language in LANGUAGES:
        for protocol in ["grpc", "http"]:
            ours, theirs = find(traffic, "ours", protocol), find(traffic, language, protocol)
            if ours and theirs:
                yield Goal(f"CPU per span, {protocol} ÷ {language}", ratios(ours, theirs, "cpu"), 2 / 3)
            ours, theirs = find(measured.warmed_up, "ours", protocol), find(measured.warmed_up, language, protocol)
            if ours and theirs:
                words = f"CPU per span, {protocol} ÷ {language}, both warmed up"
                yield Goal(words, ratios(ours, theirs, "cpu"), 2 / 3)
    ours, hand_wired = (find(measured.services, peer, "grpc") for peer in ["ours", "hand-wired"])
    if ours and hand_wired:
        yield Goal(
            "three signals: handshakes ÷ hand-wired", ratios(ours, hand_wired, "handshakes"), 1 / 3
        )
    yield from allocation_goals(measured.allocations)
    yield from crate_goals(measured.built)


def gap(ours, theirs, key, scale):
    differences = [a - b for a, b in zip(column(ours, key), column(theirs, key), strict=True)]
    return median(differences) * scale


def signal_goals(signals):
    for signal in ["logs", "metrics"]:
        alone = find(signals, "SDK alone", "none", signal=signal)
        for protocol in ["grpc", "http"]:
            ours, floor, hand_wired = (
                find(signals, peer, protocol, signal=signal) for peer in ["ours", "floor", "hand-wired"]
            )
            if ours and floor and hand_wired and alone:
                yield Goal(
                    f"CPU per item, {signal}, {protocol} ÷ hand-wired",
                    ratios(ours, hand_wired, "cpu"),
                    0.50,
                    f"the floor is {median(ratios(floor, hand_wired, 'cpu')):.2f} of hand-wired, and "
                    f"the SDK alone {median(ratios(alone, hand_wired, 'cpu')):.2f}",
                )


def allocation_goals(text):
    """A line has the name, the allocations of exports of several sizes, and those per item and bytes per item."""
    for line in text.splitlines():
        if found := re.match(r"(ours, .+?)\s{2,}.*\s([\d.]+)\s+\d+$", line):
            yield Goal(f"allocations per item: {found.group(1)}", [float(found.group(2))], 0.005)


def crate_goals(built):
    for choice, limit in [("documented", 0.60), ("aws-lc-rs", 0.90), ("ring", 0.90)]:
        if (choice, "ours") not in built:
            continue
        ours, theirs = (built[choice, side][0]["crates"] for side in ["ours", "hand-wired"])
        alone = ", ".join(sorted(f"`{name.split()[0]}`" for name in ours - theirs))
        yield Goal(
            f"crates, `{choice}` ÷ hand-wired",
            [len(ours) / len(theirs)],
            limit,
            f"ours alone has {alone}",
        )


def markdown(measured, what):
    traffic, left_out = measured.traffic, measured.left_out
    parts = [
        "# Ours beside others",
        f"Written by `benches/peers/run`: {what}.",
        "![CPU per span, peak memory and time to the first acknowledged span](benchmarks.svg)",
        *(f"**Left out:** {message}" for message in left_out),
        "Medians, and in parentheses quartiles. Everything is over mutual TLS where it does not "
        "say plaintext. How cost grows with batches, attributes and compression is in "
        "[cost.md](cost.md).",
        "## Goals",
        table(["", "measured", "goal", ""], [goal.row() for goal in goals(measured)]),
        "Ratios are medians of the rounds' ratios.",
        "## Spans",
        table(
            ["", "CPU, µs per span", "÷ hand-wired", "÷ floor", "spans/s", "wall, s"]
            + ["peak memory, MiB", "page faults", "connections", "handshakes"]
            + ["first acknowledged, ms", "CPU of the start, ms"],
            [span_row(traffic, lane, runs) for lane, runs in traffic.items()],
        ),
        "- **The work.** Each run is a process that makes spans of 8 attributes with its SDK's "
        "tracer, and flushes the SDK's batch processor after each 512 of them: the same batches in "
        "every language, one export at a time, and nothing is dropped. The sink counts what it "
        "acknowledges, and a run that falls short is no result.\n"
        "- **CPU** is user and kernel time of the whole process (`wait4`), *less* that of a "
        "process that sends one span, which is the start's; it includes making the spans "
        "(SDK alone). **Spans/s** is what one thread that waits for each batch reaches. "
        "**Memory** is `VmHWM`. **First acknowledged** is from before the process is started until "
        "the sink answers its one span.\n"
        "- **The floor** does the same work, but its requests are encoded in advance (once, from the first batch), "
        "and sent by the plainest client: a thread for I/O as ours has it, hyper on one connection over rustls and "
        "aws-lc-rs, without retries, deadlines or rotation.\n"
        "- **Heap kept:** glibc is told to give nothing back to the system "
        "(`MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`). Otherwise it gives back what is free "
        "at the end of a heap once that is twice the largest block that it has unmapped, here the "
        "body of a batch, and a batch of this size frees as much: on which side of the threshold a "
        "process falls is luck, and costs a fault for each page of each batch.\n"
        "- **Ours** is `Exporters::from_env()`. **Hand-wired** is opentelemetry-otlp with tonic "
        "(`grpc-tonic`, `tls-aws-lc`), and with reqwest's blocking client, which is its default "
        "(its asynchronous one panics in the SDK's batch processor: no reactor), with and without "
        "HTTP/2. All are on aws-lc-rs and in a process that has a tokio runtime.\n"
        "- **Go**, **Java**, **Node** and **Python** are the SDKs' OTLP exporters from the registries, configured by "
        "the same variables; Java's by the SDK's autoconfiguration, on OkHttp and with the JVM's defaults. The CPU of Java and "
        "Node includes compilation at run time, which a run as short as this charges to few spans: see the next table. "
        "Java's spans/s and wall time are those of OkHttp, which leaves Nagle's algorithm on: the end of a request waits "
        "40 ms for the acknowledgement of what precedes it.",
        "## Spans, after a warm-up",
        *warm_section(measured.warmed_up),
        "## Logs and metrics",
        table(
            ["", "CPU, µs per item", "÷ hand-wired", "÷ floor", "peak memory, MiB", "page faults"],
            [item_row(measured.signals, lane, runs) for lane, runs in measured.signals.items()],
        ),
        "Log records have a body, a severity and 8 attributes, and go in batches of 512. Metrics are "
        "10,000 series of 3 attributes, of counters, gauges and histograms, and each export has them all: an item is a data "
        "point. The SDK alone collects them.",
        "## Where the time to the first acknowledged span goes",
        table(["", "ms", "what the step adds"], first_rows(traffic)),
        FIRST_STEPS,
        "## A service that sends three signals once",
        table(
            ["", "connections", "handshakes", "first acknowledged, ms", "all, ms", "CPU, ms"]
            + ["peak memory, MiB"],
            [
                [
                    lane.name,
                    spread(column(runs, "connections"), digits=0),
                    spread(column(runs, "handshakes"), digits=0),
                    spread(column(runs, "first"), 1e3),
                    spread(column(runs, "last"), 1e3),
                    spread(column(runs, "cpu"), 1e3),
                    spread(column(runs, "memory"), 2**-20),
                ]
                for lane, runs in measured.services.items()
            ],
        ),
        "A span, a metric point and a log record, by the services in `benches/minimal` as they are built "
        "by default.",
        "## Allocations",
        f"```text\n{measured.allocations}\n```",
        "By `cargo bench --manifest-path benches/export/Cargo.toml --bench allocations`; it says what is counted.",
    ]
    if measured.built:
        parts += [
            "## Footprint of that service",
            table(
                ["", "crates", "clean build, s", "its CPU, s", "stripped program, MiB"],
                [
                    [
                        f"{side}, `{choice}`",
                        str(len(runs[0]["crates"])),
                        spread(column(runs, "wall")),
                        spread(column(runs, "cpu")),
                        spread(column(runs, "size"), 2**-20, 2),
                    ]
                    for (choice, side), runs in sorted(
                        measured.built.items(), key=lambda item: list(measured.built).index(item[0])
                    )
                ],
            ),
            "`documented` is what each crate's documentation says to write: ours with its default "
            "features, opentelemetry-otlp with its default features, `grpc-tonic` and "
            "`tls-aws-lc`. `aws-lc-rs` and `ring` are no more than gRPC and the three signals on "
            "either cryptography. Crates are those of `cargo tree --edges normal`; builds are in "
            "release mode on two jobs, from nothing but downloaded sources.",
        ]
    return "\n\n".join(parts) + "\n"


def compared(results, lane, runs):
    """CPU as ratios to hand-wired, in the same way, and to the floor."""
    way = (lane.mtls, lane.keeps_heap, lane.signal)
    hand_wired = find(results, "hand-wired", lane.protocol, *way)
    floor = find(results, "floor", lane.protocol, signal=lane.signal) if lane.mtls else None
    return [
        spread(ratios(runs, other, "cpu"), digits=2) if other else "" for other in [hand_wired, floor]
    ]


def span_row(traffic, lane, runs):
    sent = lane.protocol != "none"
    return [
        lane.name if sent else lane.peer,
        spread(column(runs, "cpu"), 1e6, 2),
        *compared(traffic, lane, runs),
        spread(column(runs, "speed"), digits=0) if sent else "",
        spread(column(runs, "wall"), digits=2),
        spread(column(runs, "memory"), 2**-20),
        spread(column(runs, "faults"), digits=0),
        spread(column(runs, "connections"), digits=0) if sent else "",
        spread(column(runs, "handshakes"), digits=0) if sent else "",
        spread(column(runs, "first"), 1e3) if sent else "",
        spread(column(runs, "start_cpu"), 1e3),
    ]


def warm_section(warmed_up):
    if not warmed_up:
        return
    rows = []
    for lane, runs in warmed_up.items():
        ours = find(warmed_up, "ours", lane.protocol)
        share = spread(ratios(ours, runs, "cpu"), digits=3) if ours else ""
        rows.append([lane.name, spread(column(runs, "cpu"), 1e6, 2), share, spread(column(runs, "memory"), 2**-20)])
    yield table(["", "CPU, µs per span", "ours ÷ it", "peak memory, MiB"], rows)
    lane, runs = next(iter(warmed_up.items()))
    yield (
        f"The same work, but each process sends {lane.warm_up:,} batches before those that are measured, so that most of "
        f"the compilation at run time is done. {len(runs)} rounds. Of processes that live as long as services do, this is "
        "the fairer figure; the table above is what a short-lived one costs."
    )


def item_row(signals, lane, runs):
    name = f"{lane.peer}, {lane.protocol}" if lane.protocol != "none" else lane.peer
    return [
        f"{lane.signal}: {name}",
        spread(column(runs, "cpu"), 1e6, 2),
        *compared(signals, lane, runs),
        spread(column(runs, "memory"), 2**-20),
        spread(column(runs, "faults"), digits=0),
    ]


def first_rows(traffic):
    steps = [
        ("SDK alone", "none", True, "start_wall", "the process, the SDK, one span, the shutdown"),
        ("ours", "grpc", False, "first", "configuration, runtimes, TCP, HTTP/2 and the request, by plaintext"),
        ("floor on ring", "grpc", True, "first", "the plainest client over mutual TLS, on ring"),
        ("floor", "grpc", True, "first", "the same on aws-lc-rs: the difference is AWS-LC's start, most of it its entropy"),
        ("ours", "grpc", True, "first", "this crate over mutual TLS: the difference to the floor is our share"),
        ("hand-wired", "grpc", True, "first", "opentelemetry-otlp over mutual TLS"),
    ]
    rows = []
    for peer, protocol, mtls, key, words in steps:
        if runs := find(traffic, peer, protocol, mtls):
            name = peer if protocol == "none" else f"{peer}, {protocol}{'' if mtls else ', plaintext'}"
            rows.append([name, spread(column(runs, key), 1e3), words])
    return rows
