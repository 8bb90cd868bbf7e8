"""Writes docs/reliability.md."""


def markdown(results):
    return details(results)


def details(results):
    rows = [["fault", "peer", "emitted", "lost", "reported", "duplicated", "recovery, s", "dials", "CPU, ms"]]
    for scenario, outcomes in results.items():
        for peer, outcome in outcomes.items():
            rows.append([scenario.name, f"{peer.name}, {peer.protocol}", *cells(outcome)])
    return table(rows)


def cells(outcome):
    recovery = "never" if outcome.recovery is None else f"{outcome.recovery:.1f}"
    reported = f"{outcome.reported} items, {outcome.messages} messages"
    values = [outcome.emitted, outcome.lost, reported, outcome.duplicated, recovery, outcome.dials]
    return [*map(str, values), f"{outcome.cpu * 1000:.0f}"]


def table(rows):
    header, *body = rows
    lines = [header, ["---"] * 2 + ["---:"] * (len(header) - 2), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
