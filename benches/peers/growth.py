"""How the cost of an export grows with its spans and their attributes, and what compression adds."""

import lanes
from figures import column, median, spread, table
from measure import interleaved, send

BATCHES = [1, 8, 64, 512, 2_048, 8_192]
ATTRIBUTES = [0, 8, 32, 128]
# As everywhere else
BATCH, EIGHT = lanes.BATCH, 8
SHAPES = [(batch, EIGHT) for batch in BATCHES] + [(BATCH, n) for n in ATTRIBUTES if n != EIGHT]


def measure(sink, rounds, share):
    """By batch, attributes, peer and compression."""
    results = {}
    for batch, attributes in SHAPES:
        # About equally long runs, but for the smallest batches
        spans = 65_536 * share / (1 + attributes / EIGHT) * 2
        exports = int(min(max(spans / batch, 16), 2_000 * share))
        measured = interleaved(
            lanes.growth(batch, attributes), rounds, lambda lane: send(sink, lane, exports)
        )
        for lane, runs in measured.items():
            results[batch, attributes, lane.peer, lane.compression] = runs
    return results


def costs(results, peer, compression, shapes):
    """Quartiles come from these: seconds of CPU per span, by batch and attributes."""
    return {
        shape: column(results[*shape, peer, compression], "cpu")
        for shape in shapes
        if (*shape, peer, compression) in results
    }


def by_batch():
    return [(batch, EIGHT) for batch in BATCHES]


def by_attributes():
    return [(BATCH, attributes) for attributes in ATTRIBUTES]


def line(points):
    """Intercept and slope, by the smallest relative errors, and each point's relative error."""
    # Each point counts by its relative error, or the largest would be all that counts.
    weighted = [(x, y, 1 / y**2) for x, y in points]
    total = sum(w for _, _, w in weighted)
    mean_x = sum(w * x for x, _, w in weighted) / total
    mean_y = sum(w * y for _, y, w in weighted) / total
    slope = sum(w * (x - mean_x) * (y - mean_y) for x, y, w in weighted) / sum(
        w * (x - mean_x) ** 2 for x, _, w in weighted
    )
    intercept = mean_y - slope * mean_x
    return intercept, slope, {x: y / (intercept + slope * x) - 1 for x, y in points}


def fitted(results, name, peer, compression):
    batches = costs(results, peer, compression, by_batch())
    attributes = costs(results, peer, compression, by_attributes())
    if len(batches) < 3 or len(attributes) < 3:
        return None
    per_export = [(batch, batch * median(values)) for (batch, _), values in batches.items()]
    per_span = [(count, median(values)) for (_, count), values in attributes.items()]

    def farthest(errors):
        at = max(errors, key=lambda x: abs(errors[x]))
        return f"{errors[at]:+.0%} at {at:,}"

    fixed, each, errors = line(per_export)
    bare, attribute, more_errors = line(per_span)
    return [
        name,
        f"{fixed * 1e6:,.0f}",
        f"{each * 1e6:.2f}",
        farthest(errors),
        f"{bare * 1e6:.2f}",
        f"{attribute * 1e9:,.0f}",
        farthest(more_errors),
    ]


COLUMNS = [
    ("SDK alone", "SDK alone", ""),
    ("floor", "floor", ""),
    *(
        (f"{peer}, {compression}" if compression else peer, peer, compression)
        for compression in ["", "gzip", "zstd"]
        for peer in ["ours", "hand-wired"]
    ),
]


def row(results, shape):
    batch, attributes = shape

    def cell(peer, compression, key, *how):
        runs = results.get((*shape, peer, compression))
        return spread(column(runs, key), *how) if runs else ""

    sizes = [cell("ours", compression, "bytes", 1, 0) for compression in ["", "gzip", "zstd"]]
    return [
        f"{batch:,} × {attributes}",
        " / ".join(sizes),
        *(cell(peer, compression, "cpu", 1e6, 2) for _, peer, compression in COLUMNS),
    ]


def markdown(results, what):
    names = [name for name, _, _ in COLUMNS]
    fits = (fitted(results, *each) for each in COLUMNS)
    parts = [
        "# What an export costs, and how that grows",
        f"Written by `benches/peers/run`: {what}.",
        "![CPU per span by the size of a batch, and by the number of attributes](cost.svg)",
        "Spans by gRPC over mutual TLS, one batch at a time. CPU is user and kernel time of the whole process without its "
        "start, in µs per span: less is better. Medians, and in parentheses quartiles.",
        table(
            ["spans × attributes", "bytes per span: plain / gzip / zstd", *names],
            [row(results, shape) for shape in SHAPES],
        ),
        "- **SDK alone** makes the same spans and discards them: what no exporter can save.\n"
        "- The **floor** sends requests that were encoded in advance, by the plainest client over the same TLS: what no "
        "encoder can save.\n"
        "- **Hand-wired** is opentelemetry-otlp on tonic. **gzip** and **zstd** are `OTEL_EXPORTER_OTLP_COMPRESSION`.",
        "## Is it linear?",
        "A line through the medians, each point weighted so that relative errors count equally, and the point that is "
        "farthest from it. By the number of spans, a line is what an export costs and what each of its spans adds; by the number of "
        "attributes, what a span costs without any and what each attribute adds.",
        table(
            ["", "µs per export", "+ µs per span", "farthest, spans"]
            + ["µs per span", "+ ns per attribute", "farthest, attributes"],
            [fit for fit in fits if fit],
        ),
        "What an export costs in itself is the wake-ups of the threads between which it passes, a request's headers and "
        "frames, and the system calls: the larger the batch, the less of it falls to each span.",
        "In the largest batches each span costs more in every lane, already with the **SDK alone**, which executes as many "
        "instructions per span there as in batches of 512 (2 % more, by valgrind's count): 8,192 spans, as the SDK keeps them "
        "until the export, are larger than the second-level cache.",
    ]
    return "\n\n".join(parts) + "\n"
