"""Medians, quartiles and tables of what was measured."""


def quartiles(values):
    values = sorted(values)
    return [values[round((len(values) - 1) * share)] for share in (0.25, 0.5, 0.75)]


def median(values):
    return quartiles(values)[1]


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
