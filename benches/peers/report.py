"""What `run` has measured, as a table and as a plot."""

import math

PEERS = ["ours", "hand-wired", "Node", "Python"]


def quartiles(values):
    values = sorted(values)
    return [values[round((len(values) - 1) * share)] for share in (0.25, 0.5, 0.75)]


def spread(values, scale=1.0, digits=1):
    low, middle, high = (f"{value * scale:,.{digits}f}" for value in quartiles(values))
    return f"{middle} ({low}–{high})" if low != high else middle


def column(runs, key):
    return [run[key] for run in runs]


def ratios(ours, theirs, key):
    """Round by round: what else the machine does changes from round to round, less within one."""
    return [a / b for a, b in zip(column(ours, key), column(theirs, key), strict=True)]


def table(heading, rows):
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def find(results, peer, protocol, mtls=True, keeps_heap=False):
    for lane, runs in results.items():
        way = (lane.peer, lane.protocol, lane.mtls, lane.keeps_heap)
        if way == (peer, protocol, mtls, keeps_heap):
            return runs
    return None


def goals(traffic, services, built):
    """Each as words, ratios, and the limit."""
    for protocol in ["grpc", "http"]:
        ours = find(traffic, "ours", protocol)
        mtls = find(traffic, "hand-wired", protocol)
        plaintext = find(traffic, "hand-wired", protocol, mtls=False)
        if not (ours and mtls and plaintext):
            continue
        yield f"CPU per span, {protocol}", ratios(ours, mtls, "cpu"), 1.0
        kept = [find(traffic, peer, protocol, keeps_heap=True) for peer in ["ours", "hand-wired"]]
        if all(kept):
            yield f"CPU per span, {protocol}, heap kept", ratios(*kept, "cpu"), 1.0
        against = f"CPU per span, {protocol}, against hand-wired *plaintext* (stretch)"
        yield against, ratios(ours, plaintext, "cpu"), 1.0
        yield f"first acknowledged span, {protocol}", ratios(ours, mtls, "first"), 0.9
        yield f"peak memory, {protocol}", ratios(ours, mtls, "memory"), 1.0
    ours, hand_wired = find(services, "ours", "grpc"), find(services, "hand-wired", "grpc")
    if ours and hand_wired:
        yield "three signals: handshakes", ratios(ours, hand_wired, "handshakes"), 1 / 3
        yield "three signals: first acknowledged", ratios(ours, hand_wired, "first"), 0.9
        yield "three signals: peak memory", ratios(ours, hand_wired, "memory"), 1.0
    for (features, side), ours in built.items():
        if side == "ours":
            theirs = built[features, "hand-wired"]
            yield f"crates, `{features}`", ratios(ours, theirs, "crates"), 0.75
            yield f"clean build, wall, `{features}`", ratios(ours, theirs, "wall"), 0.8
            yield f"clean build, CPU, `{features}`", ratios(ours, theirs, "cpu"), 0.8


def markdown(traffic, services, built, left_out, what):
    parts = [
        "# Ours beside others",
        f"Written by `benches/peers/run`: {what}.",
        "![CPU per span, peak memory and time to the first acknowledged span](benchmarks.svg)",
        *(f"**Left out:** {message}" for message in left_out),
        "Medians, and in parentheses quartiles. Everything is over mutual TLS where it does not "
        "say plaintext.",
        "## Goals, as ratios to hand-wired opentelemetry-otlp",
        table(
            ["", "ratio", "goal", "holds"],
            [
                [
                    words,
                    spread(values, digits=3),
                    f"≤ {limit:.2f}",
                    "yes" if quartiles(values)[1] <= limit else "**no**",
                ]
                for words, values, limit in goals(traffic, services, built)
            ],
        ),
        "## Spans",
        table(
            [
                "",
                "CPU, µs per span",
                "÷ hand-wired",
                "spans/s",
                "wall, s",
                "peak memory, MiB",
                "page faults",
                "connections",
                "handshakes",
                "first acknowledged, ms",
                "CPU of the start, ms",
            ],
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
        "- **Heap kept:** glibc is told to give nothing back to the system "
        "(`MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`). Otherwise it gives back what is free "
        "at the end of a heap once that is twice the largest block that it has unmapped, here the "
        "body of a batch, and a batch of this size frees as much: on which side of the threshold a "
        "process falls is luck, and costs a fault for each page of each batch.\n"
        "- **Ours** is `Exporters::from_env()`. **Hand-wired** is opentelemetry-otlp with tonic "
        "(`grpc-tonic`, `tls-aws-lc`), and with reqwest's blocking client, which is its default "
        "(its asynchronous one panics in the SDK's batch processor: no reactor), with and without "
        "HTTP/2. All are on aws-lc-rs and in a process that has a tokio runtime. **Python** and **Node** are the SDKs' OTLP "
        "exporters from the registries, configured by the same variables.",
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
                for lane, runs in services.items()
            ],
        ),
        "A span, a metric point and a log record, by the services in `minimal/` as they are built "
        "by default.",
    ]
    if built:
        parts += [
            "## Footprint of that service",
            table(
                ["", "crates", "clean build, s", "its CPU, s", "stripped program, MiB"],
                [
                    [
                        f"{side}, `{features}`",
                        spread(column(runs, "crates"), digits=0),
                        spread(column(runs, "wall")),
                        spread(column(runs, "cpu")),
                        spread(column(runs, "size"), 2**-20, 2),
                    ]
                    for (features, side), runs in sorted(
                        built.items(), key=lambda item: list(built).index(item[0])
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


def span_row(traffic, lane, runs):
    hand_wired = find(traffic, "hand-wired", lane.protocol, lane.mtls, lane.keeps_heap)
    sent = lane.protocol != "none"
    return [
        lane.name if sent else lane.peer,
        spread(column(runs, "cpu"), 1e6, 2),
        spread(ratios(runs, hand_wired, "cpu"), digits=2) if hand_wired else "",
        spread(column(runs, "speed"), digits=0) if sent else "",
        spread(column(runs, "wall"), digits=2),
        spread(column(runs, "memory"), 2**-20),
        spread(column(runs, "faults"), digits=0),
        spread(column(runs, "connections"), digits=0) if sent else "",
        spread(column(runs, "handshakes"), digits=0) if sent else "",
        spread(column(runs, "first"), 1e3) if sent else "",
        spread(column(runs, "start_cpu"), 1e3),
    ]


# Dots on a logarithmic axis, for one peer may be a hundred times another; a bar would have no foot.
PANELS = [
    ("CPU, µs per span", "cpu", 1e6),
    ("Peak memory, MiB", "memory", 2**-20),
    ("First acknowledged span, ms", "first", 1e3),
]
LABELS, PANEL, GAP, ROW, TOP = 150, 215, 20, 24, 46

# Readable on light and dark, also where the reader's preference is not known.
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #59636e }
  .title { font-weight: 600 }
  .ours text, .ours { font-weight: 600; fill: #1a7f37 }
  .ours line { stroke: #1a7f37 }
  circle { fill: #768390 }
  .ours circle { fill: #1a7f37 }
  line { stroke: #768390; stroke-width: 2 }
  .grid { stroke: #768390; stroke-opacity: .3; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #b1bac4 }
    .ours text, .ours { fill: #57ab5a }
    .ours line { stroke: #57ab5a }
    .ours circle { fill: #57ab5a }
  }
"""


def plot(traffic):
    rows = []
    for protocol, title in [("grpc", "OTLP/gRPC"), ("http", "OTLP/HTTP")]:
        rows.append((title, None))
        for peer in PEERS:
            if runs := find(traffic, peer, protocol):
                rows.append((peer, runs))
    height = TOP + ROW * len(rows) + 30
    width = LABELS + len(PANELS) * (PANEL + GAP)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        "<title>Over mutual TLS: medians and quartiles on logarithmic axes</title>",
        f"<style>{STYLE}</style>",
    ]
    for index, (name, runs) in enumerate(rows):
        style = "title" if runs is None else name
        svg.append(f'<text class="{style}" x="{4 if runs is None else 16}" y="{y(index) + 4}">')
        svg.append(f"{name}</text>")
    for index, panel in enumerate(PANELS):
        svg += draw(panel, LABELS + index * (PANEL + GAP), rows, height)
    return "\n".join([*svg, "</svg>"]) + "\n"


def y(row):
    return TOP + ROW * row + ROW // 2


def draw(panel, left, rows, height):
    title, key, scale = panel
    measured = [
        (row, name, [value * scale for value in quartiles(column(runs, key))])
        for row, (name, runs) in enumerate(rows)
        if runs is not None
    ]
    smallest = min(low for _, _, (low, _, _) in measured)
    largest = max(high for _, _, (_, _, high) in measured)
    steps = [step * 10**power for power in range(-3, 7) for step in (1, 2, 5)]
    first = max(step for step in steps if step <= smallest)
    last = min(step for step in steps if step >= largest)

    def x(value):
        # Room for the number beside the last dot.
        share = math.log(value / first) / math.log(last / first)
        return left + 4 + share * (PANEL - 48)

    yield f'<text class="title" x="{left}" y="16">{title}</text>'
    marks = [step for step in steps if first <= step <= last]
    if len(marks) > 5:
        marks = [step for step in marks if f"{step:e}"[0] == "1" or step in (first, last)]
    for mark in marks:
        at = f"{x(mark):.1f}"
        yield f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP - 8}" y2="{height - 24}"/>'
        yield f'<text x="{at}" y="{height - 8}" text-anchor="middle">{mark:g}</text>'
    for row, name, (low, middle, high) in measured:
        yield f'<g class="{name}">'
        yield f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y(row)}" y2="{y(row)}"/>'
        yield f'<circle cx="{x(middle):.1f}" cy="{y(row)}" r="4.5"/>'
        number = f"{middle:.1f}" if middle < 100 else f"{middle:,.0f}"
        beside = max(x(middle) + 9, x(high) + 5)
        yield f'<text x="{beside:.1f}" y="{y(row) + 4}">{number}</text></g>'
