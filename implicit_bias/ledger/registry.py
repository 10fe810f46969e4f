"""The registry: an entry for every statement of the documents, with the study that tests it.

What a statement says, its kind and its criterion stand in the study that owns it; where it is tested,
from which size on it can be decided, what would turn the verdict and the literature stand in
``registry.yaml`` beside this file. An entry is both together.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, get_args

from implicit_bias.errors import UserError, unknown
from implicit_bias.results.claims import Claim, Kind

Document = Literal["johannsen", "dhand", "chapter11"]
Scale = Literal["smoke", "laptop", "full"]

DOCUMENTS: Mapping[Document, str] = {
    "johannsen": (
        "Johannsen (2026), Implicit regularization and generalization in overparameterized neural "
        "networks, arXiv 2604.07603, and a review of it"
    ),
    "dhand": (
        "Dhand, Implicit regularization in overparameterized neural networks: a mathematical perspective"
    ),
    "chapter11": "Implicit bias, flat vs sharp minima, and generalization: chapter 11 of a book",
}
"""The documents, by the word that ids begin with (``ch11`` for the chapter)."""

SCALES: tuple[Scale, ...] = get_args(Scale)
"""Sizes of runs, smallest first."""


@dataclass(frozen=True)
class Entry:
    """A statement of a document, and how it is tested.

    Attributes:
        id: Its name, e.g. ``"johannsen.batch-size"``.
        document: Which document.
        place: Where in it.
        sentence: What it says, in our own words.
        kind: How it is judged; see ``results.claims``.
        published: What it publishes; None where it gives no value.
        criterion: What its verdict demands, fixed before the run.
        smallest_effect: The smallest effect that matters, in ``unit``; None where there is none.
        unit: Unit of the effect.
        study: The study that owns it.
        decided_from: The smallest size at which it can be decided; None where no size can.
        configs: The config that judges it at each size.
        flips: The condition under which the verdict would be another one.
        needs: Where no size decides it: what would.
        figure: Name of the study's figure that shows it; empty for none of its own.
        literature: References, in full.
        follow_ups: Ids of claims of our own that follow from it.
    """

    id: str
    document: Document
    place: str
    sentence: str
    kind: Kind
    published: float | str | None
    criterion: str
    smallest_effect: float | None
    unit: str
    study: str
    decided_from: Scale | None
    configs: Mapping[Scale, str]
    flips: str
    needs: str
    figure: str
    literature: tuple[str, ...]
    follow_ups: tuple[str, ...] = ()


def document_of(id: str) -> Document:
    """Return the document of an id.

    Raises:
        UserError: No document's ids begin like this.
    """
    head = id.partition(".")[0]
    for name in DOCUMENTS:
        if head == ("ch11" if name == "chapter11" else name):
            return name
    raise unknown("document", head, ("johannsen", "dhand", "ch11"))


@functools.cache
def registry() -> Mapping[str, Entry]:
    """Return all entries by id, in the order of the documents.

    Raises:
        ValueError: The file and the studies do not fit together: an id without a claim, or without a field.
    """
    content = _file()
    claims, owners = _claims()
    references: dict[str, str] = content["references"]
    shipped = _shipped(set(owners.values()))
    entries = {}
    for id, given in content["entries"].items():
        if id not in claims:
            raise ValueError(f"registry.yaml has {id}, which is a claim of no study")
        entries[id] = _entry(claims[id], owners[id], given, references, shipped, claims, content)
    return entries


def get(id: str) -> Entry:
    """Return an entry; the id of a follow-up gives the entry that it follows from.

    Raises:
        UserError: There is no such id.

    Example:
        >>> get("ch11.A.4").study
        'minimum-norm'
    """
    known = registry()
    if id in known:
        return known[id]
    for candidate in _parents(id):
        if candidate in known and id in known[candidate].follow_ups:
            return known[candidate]
    lower = {name.lower(): name for name in known}
    close = [lower[one] for one in difflib.get_close_matches(id.lower(), lower, n=3, cutoff=0.5)]
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    every = f"`implicit-bias explain` without an id lists all {len(known)}"
    if not close:  # perhaps a claim of a study of one's own, which no document knows
        every += (
            " of the documents; a claim of a study of your own is told by `implicit-bias list "
            "FILE.py:STUDY`, its verdict by `implicit-bias report DIR`"
        )
    raise UserError(f"unknown claim {id!r}{hint} ({every})")


def select(
    documents: Iterable[str] = (), ids: Iterable[str] = (), studies: Iterable[str] = ()
) -> tuple[Entry, ...]:
    """Choose entries; what is left empty chooses all.

    Args:
        documents: Names of documents.
        ids: Ids.
        studies: Names of studies.

    Raises:
        UserError: A name is not known.

    Example:
        >>> [entry.id for entry in select(["dhand"], studies=["stability", "mirror-descent"])]
        ['dhand.mirror', 'dhand.coord']
    """
    documents, ids, studies = tuple(documents), tuple(ids), tuple(studies)
    for name in documents:
        if name not in DOCUMENTS:
            raise unknown("source", name, DOCUMENTS)
    known = registry()
    owners = sorted({entry.study for entry in known.values()})
    for name in studies:
        if name not in owners:
            raise unknown("study", name, owners)
    wanted = {get(id).id for id in ids}
    return tuple(
        entry
        for entry in known.values()
        if (not documents or entry.document in documents)
        and (not wanted or entry.id in wanted)
        and (not studies or entry.study in studies)
    )


def _file() -> dict[str, Any]:
    import yaml

    text = resources.files("implicit_bias.ledger").joinpath("registry.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def _claims() -> tuple[dict[str, Claim], dict[str, str]]:
    """Return every study's claims, and who owns each."""
    from implicit_bias import studies

    claims: dict[str, Claim] = {}
    owners: dict[str, str] = {}
    for name in studies.names():
        for claim in studies.get(name).claims:
            if claim.id in claims:
                raise ValueError(f"claim {claim.id} is in {owners[claim.id]} and in {name}")
            claims[claim.id], owners[claim.id] = claim, name
    return claims, owners


def _shipped(studies: set[str]) -> dict[str, set[str]]:
    from implicit_bias.studies.config import sizes

    return {name: set(sizes(name)) for name in studies}


def _entry(
    claim: Claim,
    study: str,
    given: Mapping[str, Any],
    references: Mapping[str, str],
    shipped: Mapping[str, set[str]],
    claims: Mapping[str, Claim],
    content: Mapping[str, Any],
) -> Entry:
    configs: dict[Scale, str] = {}
    for scale in SCALES:
        name = str(given.get("configs", {}).get(scale, scale))
        if name in shipped[study]:
            configs[scale] = name
        elif name != scale:
            raise ValueError(f"{claim.id}: study {study} has no config {name}")
    missing = [key for key in given.get("literature", ()) if key not in references]
    if missing:
        raise ValueError(f"{claim.id}: unknown references {missing}")
    from_scale = given["decided_from"]
    if from_scale is None and not given.get("needs"):
        raise ValueError(f"{claim.id} cannot be decided, and does not say what it needs")
    if from_scale is not None and from_scale not in configs:
        raise ValueError(f"{claim.id} is decided from {from_scale}, of which {study} has no config")
    entries = content["entries"]
    follow_ups = tuple(
        other for other in claims if other.startswith(f"{claim.id}.") and other not in entries
    )
    return Entry(
        id=claim.id,
        document=document_of(claim.id),
        place=claim.source,
        sentence=claim.sentence,
        kind=claim.kind,
        published=claim.published,
        criterion=claim.criterion,
        smallest_effect=claim.smallest_effect,
        unit=claim.unit,
        study=study,
        decided_from=from_scale,
        configs=configs,
        flips=given["flips"],
        needs=given.get("needs", ""),
        figure=given.get("figure", ""),
        literature=tuple(references[key] for key in given.get("literature", ())),
        follow_ups=follow_ups,
    )


def _parents(id: str) -> list[str]:
    parts = id.split(".")
    return [".".join(parts[:count]) for count in range(len(parts) - 1, 1, -1)]
