"""Writes docs/reliability.md."""

import math
import platform
import subprocess

from peers import SCHEDULE_DELAY, SPANS_PER_SECOND

OURS = "ours"
# In seconds: the longest window between two dials of an unreachable server, and the interval between two exports
LONGEST_RECOVERY = 5 + SCHEDULE_DELAY / 1000
# Of an export without a backlog. The part of it that a fault hits depends on when it happens.
BATCH = SPANS_PER_SECOND * SCHEDULE_DELAY // 1000

INTRODUCTION = """\
What becomes of spans when something fails: this crate beside hand-wired opentelemetry-otlp and Go's exporters, as real processes.
Written by `benches/faults/run` on {machine}."""

NOTES = f"""\
- **The work.** Each peer is a process that emits {SPANS_PER_SECOND} numbered spans a second through its SDK's batch processor, which
  exports every {SCHEDULE_DELAY} ms (`OTEL_BSP_SCHEDULE_DELAY`). Its queue holds 2,048 spans and its batches at most 512; timeouts and
  retries are the peer's defaults. All peers run at the same time against the same server, over mutual TLS. At the end each gets
  SIGTERM, and 5 s to shut its provider down. The server is a real Collector that writes what it acknowledges to a file, unless the
  fault is the server's.
- **Lost** are emitted spans that the server has not accepted. **Reported** are the lost spans of which the service was told by
  number: `status()` in ours; for hand-wired, what the SDK logs at its shutdown about its queue. Go has no number. **Messages** are
  warnings and errors for the operator, each about one export or more. **Duplicated** are spans that were accepted again.
- **Recovery** is the time from the end of the fault to the first delivery after it; the longest, if the fault is repeated. A
  Collector that starts counts as a fault until it says that it is ready.
- **Dials** are TCP connections, including refused ones. **CPU** is of the whole process, with its start.
- **Peers.** Ours is `otlp_mtls::init()`. Hand-wired is opentelemetry-otlp with tonic, and with reqwest's blocking client, as its
  documentation says. Go's are otlptracegrpc and otlptracehttp."""


def markdown(results):
    parts = [
        "# Reliability",
        INTRODUCTION.format(machine=machine()),
        "## Goals",
        goals(results),
        "Where one does not hold:",
        "\n".join(f"- **{scenario.name}:** {scenario.why}" for scenario in results if scenario.why),
        "## Lost spans",
        "In parentheses: how many of them the service was told of by number.",
        overview(results),
        "## What happens",
        "\n".join(f"- **{scenario.name}:** {scenario.what}" for scenario in results),
        "## How it is measured",
        NOTES,
        "## All figures",
        details(results),
    ]
    return "\n\n".join(parts) + "\n"


def machine():
    rustc, go = (
        subprocess.run(command, capture_output=True, text=True).stdout.strip()
        for command in [["rustc", "--version"], ["go", "version"]]
    )
    return f"{platform.system()}, {' '.join(rustc.split()[:2])}, {go.removeprefix('go version ')}"


def goals(results):
    ours = [
        (scenario, peer, outcome, outcomes)
        for scenario, outcomes in results.items()
        for peer, outcome in outcomes.items()
        if peer.name == OURS
    ]
    rows = [["", "holds"]]

    def goal(text, failures):
        rows.append([text, "yes" if not failures else f"**no:** {'; '.join(failures)}"])

    goal(
        "Nothing is lost that a retry within the default timeout of an export can save.",
        [
            f"{name(scenario, peer)}, {lost(outcome)}"
            for scenario, peer, outcome, _ in ours
            if scenario.savable and outcome.lost != 0
        ],
    )
    goal(
        "What is lost is reported, to the item.",
        [
            f"{name(scenario, peer)}, {outcome.reported} of {lost(outcome)}"
            for scenario, peer, outcome, _ in ours
            if outcome.lost is None or outcome.lost != outcome.reported
        ],
    )
    goal(
        f"No span is lost that a peer saves; if both lose some, up to {BATCH} more are by chance, as many as an export has.",
        [
            f"{name(scenario, peer)}, {lost(outcome)}; {other.name}, {lost(theirs)}"
            for scenario, peer, outcome, outcomes in ours
            for other, theirs in outcomes.items()
            if other.protocol == peer.protocol and fewer(theirs, outcome)
        ],
    )
    goal(
        "Delivery resumes with the first export after the fault, or when the window between two dials ends, of at most 5 s.",
        [
            f"{name(scenario, peer)}, {seconds(outcome.recovery)} s"
            for scenario, peer, outcome, _ in ours
            if outcome.recovery is not None and outcome.recovery > LONGEST_RECOVERY
        ],
    )
    return table(rows)


def fewer(theirs, ours):
    if theirs.lost is None or ours.lost is None:
        return theirs.lost is not None
    return ours.lost > theirs.lost + (BATCH if theirs.lost else 0)


def overview(results):
    peers = list(dict.fromkeys(peer for outcomes in results.values() for peer in outcomes))
    rows = [["", *(f"{peer.name}, {peer.protocol}" for peer in peers)]]
    for scenario, outcomes in results.items():
        cells = [summary(outcomes[peer]) if peer in outcomes else "" for peer in peers]
        rows.append([scenario.name, *cells])
    return table(rows)


def summary(outcome):
    if outcome.lost == 0:
        return "0"
    return f"**{lost(outcome)}** ({outcome.reported})" if outcome.lost else lost(outcome)


def details(results):
    titles = ["emitted", "lost", "reported", "messages", "duplicated", "recovery, s", "dials", "CPU, ms"]
    rows = [["", "peer", *titles]]
    for scenario, outcomes in results.items():
        for peer, outcome in outcomes.items():
            told = [outcome.emitted, lost(outcome), outcome.reported, outcome.messages]
            figures = ["" if figure is None else figure for figure in told]
            figures += [outcome.duplicated, seconds(outcome.recovery), outcome.dials]
            cpu = f"{outcome.cpu * 1000:.0f}"
            rows.append([scenario.name, f"{peer.name}, {peer.protocol}", *map(str, figures), cpu])
    return table(rows)


def name(scenario, peer):
    return f"{scenario.name} ({peer.protocol})"


def lost(outcome):
    return "crashed" if outcome.lost is None else str(outcome.lost)


def seconds(recovery):
    if recovery is None:
        return ""
    return "never" if math.isinf(recovery) else f"{recovery:.1f}"


def table(rows):
    header, *body = rows
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
