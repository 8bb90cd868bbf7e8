"""docs/soak.md and its plot."""

import re
from collections import Counter

import plot
from figures import median, table

TITLES = {"grpc": "gRPC", "http": "HTTP"}
STYLES = {"grpc": "ours", "http": "floor"}
# Key, name, and how many of the kernel's units make one of ours
QUANTITIES = [
    ("anonymous", "Anonymous memory, MiB", 1024),
    ("resident", "Resident memory, MiB", 1024),
    ("threads", "Threads", 1),
    ("descriptors", "Open descriptors", 1),
    ("connections", "Established TCP connections", 1),
]
# In seconds: by then each fault has happened once, so that queues and buffers have reached their sizes.
WARM = 240
FLAT = """\
- **Connections and descriptors**: one connection for all three signals, or none while the Collector is down or has just been
  restarted. A rotation moves the connection to the new credentials and leaves none behind.
- **Threads**: the I/O thread, the SDK's thread for each signal, the service's two (`program`), and up to two that tokio starts to
  read certificate files and to resolve names (`tokio-rt-worker`), and that end after 10 s without work.
- **Memory** rises in the first outage, in which the SDK's queues fill up for the first time. What they held is freed, but glibc keeps
  it: by its `mallinfo2`, 2.4 MiB are in use outside outages and 5.5 MiB at the end of one. The slow rise afterwards is glibc's, too:
  freed blocks that it caches for each thread, and gaps between blocks. With cycles of 30 s instead of a minute, anonymous memory rises from
  the 10th to the 20th minute by 848 (gRPC) and 1,081 KiB (HTTP) per hour, and by 63 and 478 without these caches
  (`GLIBC_TUNABLES=glibc.malloc.tcache_count=0`).
- **What the service holds** does not grow. Measured separately at 5 items a second, without these caches, the median in use is 482 kB
  in the second minute and 481 (gRPC) and 483 kB (HTTP) in the last of ten, after 120 rotations and 60 failures. Under valgrind, what is
  reachable is 1.23 MB after 90 s and 1.22 MB 5 minutes later (`vgdb leak_check full reachable changed`)."""
LOSS = """\
The queues of the SDK hold 2,048 items, 4 s at this rate, and an export is retried for at most 10 s; the longer outages exceed both. An
item that is received and reported as lost was in a request that the Collector wrote, but did not acknowledge in time."""
LEFT = """\
The blocks that are left are in statics, and do not depend on the duration: a run of 30 s leaves the same. They are the standard
library's (the buffer of stdin, 8 KiB, and the bounds of a thread's stack), the SDK's (a resource, names of headers, an attribute),
OpenTelemetry's globals (propagators, no-op providers), and this crate's: the names of its components, by which its metrics are
numbered, and the weak reference to its I/O thread. *Possibly lost* are blocks to which there is only a pointer into the middle: the
attributes of that resource, as a hash table points behind its first entry (4 blocks), and the standard library's handle of the main
thread (1)."""
OUTAGES = {"suspended": "resumed", "down": "up"}


def values(hour, service, key, since=0.0):
    return [(sample["at"], sample[service][key]) for sample in hour["samples"] if sample["at"] >= since]


def slope(points):
    """Of the line of least squares, per second."""
    time, value = (sum(each) / len(points) for each in zip(*points))
    product = sum((t - time) * (v - value) for t, v in points)
    return product / sum((t - time) ** 2 for t, _ in points)


def quantities(hour):
    for key, name, unit in QUANTITIES:
        digits = 2 if unit > 1 else 0
        for service, title in TITLES.items():
            series = [value / unit for _, value in values(hour, service, key, WARM)]
            figures = [series[0], min(series), median(series), max(series), series[-1]]
            yield [name, title, *(f"{figure:.{digits}f}" for figure in figures)]


def threads(hour):
    """How many of each name there were at once, in each service."""
    most = {}
    for sample in hour["samples"]:
        for service in TITLES:
            for name, number in Counter(sample[service]["names"]).items():
                counts = most.setdefault(name, dict.fromkeys(TITLES, 0))
                counts[service] = max(counts[service], number)
    return [[f"`{name}`", *map(str, most[name].values())] for name in sorted(most)]


def growth(hour):
    """Of anonymous memory over the second half, in KiB per hour."""
    half = hour["events"][-1]["at"] / 2
    return {
        title: slope(values(hour, service, "anonymous", half)) * 3600 for service, title in TITLES.items()
    }


def outcome(result):
    """By service and signal, all of it in items."""
    received = {(each["service"], each["signal"]): each for each in result["received"]}
    for service, last in result["last"].items():
        for export in last["status"]["exports"]:
            if (service, export["signal"]) in received:
                yield service, export, last["emitted"], received[service, export["signal"]]


def problems(result):
    """What a soak must not show."""
    for service, export, emitted, received in outcome(result):
        what = f"{service}, {export['signal']}"
        lost = export["rejected"] + export["dropped"] + export["queued"]
        if emitted != export["delivered"] + lost:
            yield f"{what}: {emitted} emitted, {export['delivered']} delivered and {lost} reported lost"
        if emitted - received["items"] > lost:
            yield f"{what}: {emitted - received['items']} not received, but {lost} reported lost"
    for service, last in result["last"].items():
        metrics = next(each for each in last["status"]["exports"] if each["signal"] == "metrics")
        if metrics["succeeded"] + metrics["failed"] != last["collected"]:
            yield f"{service}: {last['collected']} collections of metrics, but {metrics}"


def items(hour):
    for service, export, emitted, received in outcome(hour):
        figures = [
            emitted,
            export["delivered"],
            export["queued"],
            export["dropped"] + export["rejected"],
            received["items"],
            received["twice"],
        ]
        yield [TITLES[service], export["signal"], *(f"{figure:,}" for figure in figures)]


def svg(hour):
    left, top, wide, high, apart = 46, 58, 640, 110, 50
    minutes = hour["events"][-1]["at"] / 60
    x = plot.Scale([minutes], left, left + wide, logarithmic=False)
    x.last = minutes
    parts = [plot.text(4, 16, "A service by gRPC and one by HTTP", "title")]
    at = left
    for service, title in TITLES.items():
        parts.append(plot.stroke(at, 32, at + 28, 32, STYLES[service]))
        parts.append(plot.text(at + 36, 36, title, STYLES[service]))
        at += 100
    parts.append(f'<rect class="outage" x="{at}" y="24" width="14" height="16"/>')
    parts.append(plot.text(at + 22, 36, "the Collector is suspended or down"))
    panels = [quantity for quantity in QUANTITIES if quantity[0] != "resident"]
    for index, (key, name, unit) in enumerate(panels):
        upper = top + index * (high + apart) + 20
        lower = upper + high
        series = {service: [(t / 60, v / unit) for t, v in values(hour, service, key)] for service in TITLES}
        y = plot.Scale([2, *(v for each in series.values() for _, v in each)], lower, upper, False)
        parts.append(plot.text(left, upper - 8, name, "title"))
        parts += [
            f'<rect class="outage" x="{x(start):.1f}" y="{upper}" width="{x(end) - x(start):.1f}" height="{high}"/>'
            for start, end in outages(hour)
        ]
        for mark in [0, y.last / 2, y.last]:
            parts.append(plot.stroke(left, y(mark), left + wide, y(mark), "grid"))
            parts.append(plot.text(left - 6, y(mark) + 4, f"{mark:g}", anchor="end"))
        for service, points in series.items():
            line = " L".join(f"{x(t):.1f},{y(v):.1f}" for t, v in points)
            parts.append(f'<path class="thin {STYLES[service]}" d="M{line}"/>')
        for part in range(7):
            parts.append(
                plot.text(x(minutes * part / 6), lower + 16, f"{minutes * part / 6:g}", anchor="middle")
            )
    bottom = top + len(panels) * (high + apart)
    parts.append(plot.text(left + wide, bottom, "minutes", anchor="end"))
    return plot.svg(
        left + wide + 20, bottom + 12, "Memory, threads, descriptors and connections over time", parts
    )


def outages(hour):
    """In minutes."""
    starts = [event for event in hour["events"] if event["what"] in OUTAGES]
    for start in starts:
        over = OUTAGES[start["what"]]
        later = (event["at"] for event in hour["events"] if event["what"] == over)
        yield start["at"] / 60, next(at for at in later if at > start["at"]) / 60


def credentials(hour):
    """How often they were replaced, as the runner and each service count."""
    valid, invalid = (
        sum(event["what"] == what for event in hour["events"]) for what in ("rotation", "invalid credentials")
    )
    for service, title in TITLES.items():
        last = hour["last"][service]["status"]["credentials"][0]
        shakes = hour["handshakes"][f"soak-{service}"]
        failed = sum(number for outcome, number in shakes.items() if outcome != "succeeded")
        figures = [valid, last["generation"], invalid, last["refusals"], shakes["succeeded"], failed]
        yield [title, *(f"{figure:,}" for figure in figures)]


def heap(log):
    """Blocks, from valgrind's summary: those allocated, those left at the end, and what has become of these."""
    total = re.search(r"total heap usage: ([\d,]+) allocs", log).group(1)
    size, left = re.search(r"in use at exit: ([\d,]+) bytes in ([\d,]+) blocks", log).groups()
    lost = dict(re.findall(r"(definitely|indirectly|possibly) lost: [\d,]+ bytes in ([\d,]+)", log))
    return {"allocated": total, "left": f"{left} ({size} bytes)", **lost}


def markdown(hour, short, logs, machine):
    """The page: of an hour, and of a shorter soak under valgrind with its logs by service."""
    minutes = {
        each: round(result["events"][-1]["at"] / 60) for each, result in [("hour", hour), ("short", short)]
    }
    rate = {
        each: round(result["last"]["grpc"]["emitted"] / result["events"][-1]["at"])
        for each, result in [("hour", hour), ("short", short)]
    }
    grown = " and ".join(f"{value:+,.0f} ({title})" for title, value in growth(hour).items())
    return f"""\
# An hour of failures

Written by `benches/soak/run`: two services with `init()` and mutual TLS, one by gRPC and one by HTTP, for {minutes["hour"]} minutes.
Each emits {rate["hour"]:,} spans and as many log records a second, and metrics, to the OpenTelemetry Collector. On {machine}.

Each minute:

- The client's certificate, key and CA are replaced twice, as Kubernetes replaces a mounted Secret. Every other minute, invalid ones
  come first: a key of another certificate, a truncated certificate, a CA file without a certificate.
- The Collector fails, in turn: SIGKILL and a restart; SIGTERM and a restart; SIGSTOP for 20 s; SIGTERM, and 15 s until it starts. After
  each restart it has a certificate of a new CA.

## Memory, threads, descriptors, connections

![Memory, threads, descriptors and connections over time](soak.svg)

Sampled every 5 s from `/proc`. In this table, from the fifth minute on, when each fault has happened once:

{table(["", "service", "first", "least", "median", "most", "last"], list(quantities(hour)))}

The slope of anonymous memory in the second half (least squares) is {grown} KiB per hour.

{FLAT}

Threads of each name at once, at most:

{table(["thread", *TITLES.values()], threads(hour))}

## Every item

{table(["service", "signal", "emitted", "acknowledged", "lost: queue full", "lost: export failed", "received", "received twice"], list(items(hour)))}

*Received* counts the different items in the files that the Collector writes; the other columns are from the service's own
`status()`, after its shutdown. Emitted is acknowledged and lost together, to the item, and no item that the Collector does not
have is missing from those reported as lost. Of metrics, which are cumulative, each collection was one export, delivered or reported
as failed.

{LOSS}

The credentials:

{table(["service", "valid replacements", "used", "invalid replacements", "rejected", "handshakes", "failed handshakes"], list(credentials(hour)))}

## Leaks

The same for {minutes["short"]} minutes, with {rate["short"]:,} spans and log records a second, and cycles of 30 s instead of a minute, under
`valgrind --leak-check=full` (`benches/soak/run leaks`). After its shutdown the service replaces OpenTelemetry's global providers, which
would keep memory reachable. Blocks:

{table(["service", "allocated", "left", "definitely lost", "indirectly lost", "possibly lost"], [[TITLES[name], *heap(log).values()] for name, log in logs.items()])}

{LEFT}
"""
