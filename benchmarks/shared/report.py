"""What every benchmark has in common: its options, its bars, its table and its JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def options(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with `--small` and `--json`; a benchmark adds its own.

    Args:
        doc: the benchmark's docstring, whose first line is its description.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="quick; bars are not judged")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser


def line(name: str, value: float, unit: str, digits: int = 2) -> Row:
    """Return one line of the table."""
    return {"name": name, "value": round(value, digits), "unit": unit}


def at_most(name: str, value: float, limit: float) -> Row:
    """Return a bar: a ratio that must not exceed a limit."""
    return {"name": name, "value": value, "at_most": limit, "ok": bool(value <= limit)}


def at_least(name: str, value: float, limit: float) -> Row:
    """Return a bar: a ratio that must reach a limit."""
    return {"name": name, "value": value, "at_least": limit, "ok": bool(value >= limit)}


def report(
    rows: Sequence[Row], bars: Sequence[Row], asked: argparse.Namespace, **machine: Any
) -> None:
    """Print rows and bars, and with `--json` write them.

    Args:
        rows: from `line`.
        bars: from `at_most` and `at_least`; printed unjudged with `--small`.
        asked: the parsed options.
        machine: what else to say of the machine in the JSON.
    """
    width = max(len(one["name"]) for one in (*rows, *bars))
    for one in rows:
        print(f"{one['name']:<{width}} {one['value']:>10} {one['unit']}")
    for one in bars:
        limit = f"<= {one['at_most']}" if "at_most" in one else f">= {one['at_least']}"
        verdict = "" if asked.small else ("ok" if one["ok"] else "MISSED")
        print(f"{one['name']:<{width}} {one['value']:>10.2f} {limit} {verdict}")
    if asked.json:
        cores = len(os.sched_getaffinity(0))
        found = {
            "machine": {"cpu": platform.machine(), "cores": cores, **machine},
            "rows": list(rows),
            "bars": list(bars),
        }
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
