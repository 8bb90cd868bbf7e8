"""The plots, as SVG."""

import math

from figures import column, quartiles
from growth import by_attributes, by_batch, costs

# Readable on light and dark, also where the reader's preference is not known
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #59636e }
  .title { font-weight: 600 }
  .mark { stroke: #768390; fill: #768390 }
  .ours { stroke: #1a7f37; fill: #1a7f37 }
  .floor, .alone { stroke: #9a6700; fill: #9a6700 }
  text.mark, text.ours, text.floor, text.alone { stroke: none }
  text.ours { font-weight: 600 }
  line, path { stroke-width: 2 }
  path { fill: none !important }
  path.thin { stroke-width: 1.2 }
  .outage { fill: #768390; fill-opacity: .18 }
  .dashed { stroke-dasharray: 5 3 }
  .dotted { stroke-dasharray: 1.5 3 }
  .grid { stroke: #768390; stroke-opacity: .3; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #b1bac4 }
    .ours { stroke: #57ab5a; fill: #57ab5a }
    .floor, .alone { stroke: #c69026; fill: #c69026 }
  }
"""


def svg(width, height, title, parts):
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">',
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def text(x, y, words, style="", anchor="start"):
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def stroke(x1, y1, x2, y2, style):
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


class Scale:
    """Of an axis: from values to positions. Logarithmic ones end on 1, 2 or 5 times a power of ten."""

    def __init__(self, values, start, end, logarithmic):
        self.start, self.end, self.logarithmic = start, end, logarithmic
        steps = [step * 10**power for power in range(-4, 8) for step in (1, 2, 5)]
        largest = max(values)
        self.last = min(step for step in steps if step >= largest)
        if logarithmic:
            smallest = min(value for value in values if value > 0)
            self.first = max(step for step in steps if step <= smallest)
            self.marks = [step for step in steps if self.first <= step <= self.last]
            if len(self.marks) > 7:
                ends = (self.first, self.last)
                self.marks = [mark for mark in self.marks if f"{mark:e}"[0] == "1" or mark in ends]
        else:
            self.first = 0
            self.marks = [self.last * part / 5 for part in range(6)]

    def __call__(self, value):
        if self.logarithmic:
            share = math.log(value / self.first) / math.log(self.last / self.first)
        else:
            share = value / self.last
        return self.start + share * (self.end - self.start)


LABELS, PANEL, GAP, ROW, TOP = 150, 215, 20, 24, 46
PEERS = ["floor", "ours", "hand-wired", "Go", "Java", "Node", "Python"]
# On logarithmic axes, for one peer may be a hundred times another
PANELS = [
    ("CPU, µs per span", "cpu", 1e6),
    ("Peak memory, MiB", "memory", 2**-20),
    ("First acknowledged span, ms", "first", 1e3),
]


def peers(traffic):
    """A dot for each peer over mutual TLS."""
    rows = []
    for protocol, title in [("grpc", "OTLP/gRPC"), ("http", "OTLP/HTTP")]:
        rows.append((title, None))
        for lane, runs in traffic.items():
            if lane.protocol == protocol and lane.peer in PEERS and lane.mtls and not lane.keeps_heap:
                rows.append((lane.peer, runs))
    bottom = TOP + ROW * len(rows)
    width = LABELS + len(PANELS) * (PANEL + GAP)
    parts = []
    for index, (name, runs) in enumerate(rows):
        kind = "title" if runs is None else style(name)
        parts.append(text(4 if runs is None else 16, middle_of(index) + 4, name, kind))
    for index, panel in enumerate(PANELS):
        parts += dots(panel, LABELS + index * (PANEL + GAP), rows, bottom)
    note = "Left is better. Dot: median; line: quartiles. Logarithmic axes."
    parts.append(text(4, bottom + 46, note))
    return svg(width, bottom + 56, "Whole processes that send spans over mutual TLS", parts)


def style(name):
    return {"ours": "ours", "floor": "floor", "SDK alone": "alone"}.get(name, "mark")


def middle_of(row):
    return TOP + ROW * row + ROW // 2


def dots(panel, left, rows, bottom):
    title, key, scale = panel
    measured = [
        (row, name, [value * scale for value in quartiles(column(runs, key))])
        for row, (name, runs) in enumerate(rows)
        if runs is not None
    ]
    values = [value for _, _, three in measured for value in three]
    # Room for the number beside the last dot
    x = Scale(values, left + 4, left + PANEL - 44, logarithmic=True)
    yield text(left, 16, title, "title")
    marks = x.marks if len(x.marks) <= 5 else [mark for mark in x.marks if f"{mark:e}"[0] == "1"]
    for mark in marks:
        yield stroke(x(mark), TOP - 8, x(mark), bottom + 6, "grid")
        yield text(x(mark), bottom + 22, f"{mark:g}", anchor="middle")
    for row, name, (low, middle, high) in measured:
        y = middle_of(row)
        yield stroke(x(low), y, x(high), y, style(name))
        yield f'<circle class="{style(name)}" cx="{x(middle):.1f}" cy="{y}" r="4"/>'
        number = f"{middle:.2f}" if middle < 10 else f"{middle:.1f}" if middle < 100 else f"{middle:,.0f}"
        yield text(max(x(middle) + 9, x(high) + 5), y + 4, number, style(name))


# Name, peer, compression, dashes
SERIES = [
    ("hand-wired, zstd", "hand-wired", "zstd", "dotted"),
    ("hand-wired, gzip", "hand-wired", "gzip", "dashed"),
    ("hand-wired", "hand-wired", "", ""),
    ("ours, zstd", "ours", "zstd", "dotted"),
    ("ours, gzip", "ours", "gzip", "dashed"),
    ("ours", "ours", "", ""),
    ("floor: encoded in advance", "floor", "", ""),
    ("SDK alone: not sent", "SDK alone", "", "dashed"),
]


def growth(results):
    """CPU per span, by the size of a batch and by the number of attributes."""
    left, top, wide, high, apart = 56, 58, 300, 300, 70
    panels = [
        ("Spans per batch, of 8 attributes each (logarithmic)", by_batch(), 0, True),
        ("Attributes per span, in batches of 512 (linear)", by_attributes(), 1, False),
    ]
    parts = [text(4, 16, "CPU of the whole process, µs per span", "title")]
    parts.append(text(4, 34, "Lower is better. Point: median; bar: quartiles. Spans by gRPC over mutual TLS."))
    for index, (title, shapes, axis, logarithmic) in enumerate(panels):
        start = left + index * (wide + apart)
        lines = [(each, costs(results, each[1], each[2], shapes)) for each in SERIES]
        values = [v * 1e6 for _, points in lines for each in points.values() for v in quartiles(each)]
        x = Scale([shape[axis] for shape in shapes], start, start + wide, logarithmic)
        y = Scale(values, top + high, top, logarithmic)
        marks = sorted({shape[axis] for shape in shapes})
        for mark in marks:
            parts.append(stroke(x(mark), top, x(mark), top + high, "grid"))
            parts.append(text(x(mark), top + high + 18, f"{mark:,}", anchor="middle"))
        for mark in y.marks:
            parts.append(stroke(start, y(mark), start + wide, y(mark), "grid"))
            parts.append(text(start - 6, y(mark) + 4, f"{mark:g}", anchor="end"))
        parts.append(text(start + wide / 2, top + high + 38, title, "title", "middle"))
        for (_, peer, _, dashes), points in lines:
            parts += curve(points, axis, x, y, f"{style(peer)} {dashes}")
    legend = left + 2 * wide + apart + 24
    for row, (name, peer, _, dashes) in enumerate(SERIES):
        at = top + 12 + row * 22
        parts.append(stroke(legend, at, legend + 28, at, f"{style(peer)} {dashes}"))
        parts.append(text(legend + 36, at + 4, name, style(peer)))
    return svg(legend + 200, top + high + 50, "How the cost of an export grows", parts)


def curve(points, axis, x, y, style):
    places = []
    for shape, values in points.items():
        low, middle, high = (y(value * 1e6) for value in quartiles(values))
        at = x(shape[axis])
        places.append(f"{at:.1f},{middle:.1f}")
        solid = style.split()[0]
        yield stroke(at, low, at, high, solid)
        yield f'<circle class="{solid}" cx="{at:.1f}" cy="{middle:.1f}" r="2.5"/>'
    if places:
        yield f'<path class="{style}" d="M{" L".join(places)}"/>'
