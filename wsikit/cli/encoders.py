"""`wsikit encoders`: what turns patches into features, and whether it is at hand."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def encoders(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Only these, each in full. Default: all."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """List the encoders: width, input size, licence, and whether the weights are at hand.

    No weights are fetched, and no network is asked; only of an hf-hub: name
    that is not listed, its short config.json is fetched. Beside the names
    listed, --encoder takes timm:NAME, hf-hub:OWNER/NAME and file:PATH. Gated
    weights want a login at the Hugging Face hub, once: accept the licence on
    the model's page, then run hf auth login.

    Examples:

      wsikit encoders

      wsikit encoders virchow2

      wsikit encoders timm:convnext_tiny file:runs/am-softmax --json
    """
    from wsikit.encoders.listing import FORMS, list_encoders

    entries = list_encoders(names or [])
    if as_json:
        print(json.dumps({"encoders": entries, "forms": FORMS}, indent=1))
    elif names:
        for entry in entries:
            _print_whole(entry)
    else:
        _print_table(entries)
        for form, meaning in FORMS.items():
            print(f"{form:<18}{meaning}")


def _print_table(entries: list[dict[str, Any]]) -> None:
    print(f"{'name':<15}{'width':>6}{'px':>6}  {'licence':<21}{'weights':<13}from")
    for entry in entries:
        print(
            f"{entry['name']:<15}{entry['features']:>6}{entry['input_px']:>6}  "
            f"{entry['licence']:<21}{_state(entry):<13}{entry['source']}"
        )


def _state(entry: dict[str, Any]) -> str:
    if entry["at_hand"]:
        return "at hand"
    return "behind login" if entry["gated"] else "to fetch"


def _print_whole(entry: dict[str, Any]) -> None:
    width = entry["features"] or "known once it is built"
    print(entry["name"])
    print(f"  network   {entry['network']}, pooled as {entry['pooling']}")
    print(f"  features  {width}")
    print(f"  picture   {entry['input_px']} px, mean {entry['mean']}, std {entry['std']}")
    print(f"  licence   {entry['licence'] or 'not stated'}")
    print(f"  weights   {_state(entry)}: {entry['weights'] or 'none are published'}")
    if not entry["at_hand"] and entry["files"]:
        print(f"  files     {' or '.join(entry['files'])}")
    if entry["note"]:
        print(f"  note      {entry['note']}")
