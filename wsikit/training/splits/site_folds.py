"""Deal whole sites out to folds, so that a model is tested at hospitals it has not seen.

Slides of one hospital share stain, scanner and kind of patients, and a network recognises them.
Where a site is on both sides of a split, a label that differs between sites looks learnt when only
the site was (Howard et al. 2021). They solve a quadratic programme for folds of equal class counts;
here many greedy deals are drawn and the most even is kept, which for the few sites of a cohort
comes as close (a test compares with all deals there are) and needs no solver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from wsikit.errors import CohortError
from wsikit.training.splits.own_split import blank

DEALS = 300
"""Deals drawn."""

AS_YOU_ARE = "--set train.site_preserved=false"


class SiteGroups(NamedTuple):
    """Sites as they can be dealt.

    Attributes:
        group: (N,) which group each row of the cohort is in: a site, or sites that share patients.
        patients: (groups, classes) how many patients of each class.
        classes: the labels, sorted.
        sites: how many sites there are.
    """

    group: NDArray[np.intp]
    patients: NDArray[np.intp]
    classes: tuple[str, ...]
    sites: int


def site_groups(table: pd.DataFrame) -> SiteGroups:
    """Gather the slides of each site; sites that share a patient cannot be parted.

    Args:
        table: `slide_id`, `patient_id`, `label`, `site`.

    Raises:
        CohortError: a slide has no site.
    """
    empty = table.loc[blank(table["site"]), "slide_id"]
    if len(empty):
        raise CohortError(f"slide '{empty.iloc[0]}' has no site", f"fill it in, or {AS_YOU_ARE}")
    site, names = pd.factorize(table["site"], sort=True)
    patient, _ = pd.factorize(table["patient_id"], sort=True)
    nodes = len(names) + patient.max() + 1
    edges = coo_array((np.ones(len(table)), (site, len(names) + patient)), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    group = pd.factorize(component[site], sort=True)[0]
    pairs = table.assign(group=group).drop_duplicates(["patient_id", "label"])
    counts = pd.crosstab(pairs["group"], pairs["label"])
    return SiteGroups(group, counts.to_numpy(np.intp), tuple(counts.columns), len(names))


def deal_sites(
    groups: SiteGroups, shares: Sequence[float], tested: Sequence[bool], seed: int
) -> NDArray[np.intp]:
    """Deal sites out to parts that hold about so large a share of every class.

    Args:
        groups: the sites.
        shares: the share of patients each part should have; they sum to one.
        tested: for each part, whether it is once held out: every class is then in it, and two
            patients of every class are outside it.
        seed: the same seed and sites give the same deal.

    Returns:
        (N,) the part of each row of the cohort.

    Raises:
        CohortError: sites or classes do not suffice; the message says what would.
    """
    _check(groups, sum(tested))
    totals = groups.patients.sum(axis=0)
    weights = groups.patients / totals  # (groups, classes)
    rng = np.random.default_rng(seed)
    best, least = None, np.inf
    for _ in range(DEALS):
        part = _deal(weights, np.asarray(shares), rng)
        held = np.stack([groups.patients[part == k].sum(axis=0) for k in range(len(shares))])
        out = held[np.asarray(tested)]
        if not ((out >= 1).all() and (totals - out >= 2).all()):
            continue
        unevenness = float(np.abs(held / totals - np.asarray(shares)[:, None]).max())
        if unevenness < least:
            best, least = part, unevenness
    if best is None:
        raise CohortError(
            f"no {DEALS} deals gave every fold patients of every class with sites kept apart",
            f"use fewer folds, or {AS_YOU_ARE}",
        )
    return np.asarray(best[groups.group])


def _deal(
    weights: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Deal one site after another, about the largest first, to the part that lacks it most."""
    size = weights.sum(axis=1)
    order = np.argsort(-size * rng.uniform(0.3, 1.0, len(size)))
    held = np.zeros((len(shares), weights.shape[1]))
    part = np.empty(len(size), np.intp)
    for group in order:
        now = ((held - shares[:, None]) ** 2).sum(axis=1)
        then = ((held + weights[group] - shares[:, None]) ** 2).sum(axis=1)
        part[group] = int(np.argmin(then - now + rng.uniform(0, 1e-9, len(shares))))
        held[part[group]] += weights[group]
    return part


def _check(groups: SiteGroups, folds: int) -> None:
    """Refuse what no deal can give."""
    needed = max(folds, 2)
    count = len(groups.patients)
    fix = f"use --folds {{}} or fewer, or {AS_YOU_ARE}"
    if count < needed:
        many = f"{groups.sites} site{'' if groups.sites == 1 else 's'}"
        linked = "" if count == groups.sites else f" ({count} after joining those sharing patients)"
        raise CohortError(
            f"the cohort has {many}{linked}, and keeping sites apart in folds={folds} needs "
            f"{needed}",
            AS_YOU_ARE if count < 2 else fix.format(count),
        )
    at = (groups.patients > 0).sum(axis=0)
    fewest = int(np.argmin(at))
    if at[fewest] < needed:
        many = f"{at[fewest]} site{'' if at[fewest] == 1 else 's'}"
        raise CohortError(
            f"class '{groups.classes[fewest]}' occurs at {many}, and keeping sites apart in "
            f"folds={folds} needs {needed}",
            AS_YOU_ARE if at[fewest] < 2 else fix.format(at[fewest]),
        )
