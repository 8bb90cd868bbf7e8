"""What a small service costs to build: crates, time, size."""

import os
import shutil
import subprocess
import sys
import time

from lanes import HERE, TARGET

# See the manifest of the services.
CHOICES = ["documented", "aws-lc-rs", "ring"]
SIDES = ["ours", "hand-wired"]


def cargo(package, *arguments, target=TARGET, **options):
    return subprocess.run(
        ["cargo", arguments[0], "--locked", *arguments[1:]],
        cwd=HERE.parent / package,
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        check=True,
        **options,
    )


def measure(rounds):
    """Each service, built from nothing in turn, on two jobs."""
    results = {}
    services = [(choice, side) for choice in CHOICES for side in SIDES]
    cargo("minimal", "fetch")
    for number in range(rounds):
        for choice, side in services if number % 2 == 0 else reversed(services):
            target = TARGET / "peers" / "clean"
            shutil.rmtree(target, ignore_errors=True)
            chosen = ["--features", f"{side}-{choice}", "--bin", f"minimal-{side}"]
            began, used = time.monotonic(), os.times()
            quiet = ["--profile", "stripped", "--quiet", "--offline", "-j2"]
            cargo("minimal", "build", *quiet, *chosen, target=target)
            wall, after = time.monotonic() - began, os.times()
            results.setdefault((choice, side), []).append(
                {
                    "crates": crates(side, choice),
                    "wall": wall,
                    "cpu": after.children_user + after.children_system
                    - used.children_user - used.children_system,
                    "size": (target / "stripped" / f"minimal-{side}").stat().st_size,
                }
            )
            shutil.rmtree(target)
            print(f"footprint: {side}, {choice}: {wall:.0f} s", file=sys.stderr)
    return results


def crates(side, choice):
    """Those in the program, without its own."""
    shape = ["--edges", "normal", "--prefix", "none", "--format", "{p}"]
    tree = cargo(
        "minimal", "tree", *shape, "--features", f"{side}-{choice}", capture_output=True, text=True
    )
    names = {" ".join(line.split()[:2]) for line in tree.stdout.splitlines() if line}
    return {name for name in names if not name.startswith("otlp-mtls-bench-minimal ")}
