"""`wsikit doctor`: whether this machine can do the work."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where a store would be written.")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Check libraries, codecs, GPU and disk; exit 1 if something is not fit for work."""
    from wsikit.stages.inspection.diagnosis import diagnose

    findings = diagnose(folder)
    healthy = all(finding.ok for finding in findings)
    if as_json:
        document = {"ok": healthy, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(document, indent=1))
    else:
        for finding in findings:
            print(f"{'ok ' if finding.ok else 'BAD'}  {finding.name:<18} {finding.detail}")
    raise typer.Exit(0 if healthy else 1)
