"""The small print of several panels: what they share is said once."""

from __future__ import annotations

import re
from collections.abc import Mapping


def joint_note(notes: Mapping[str, str]) -> str:
    """Join the notes of a figure's panels.

    Args:
        notes: For each panel its note, in whole sentences.

    Returns:
        Each panel's own sentences after its name; then, once, the sentences that all panels share.
    """
    said = {name: re.split(r"(?<=\.)\s+(?=[A-Z])", text.strip()) for name, text in notes.items()}
    first = next(iter(said.values()), [])
    shared = [one for one in first if all(one in sentences for sentences in said.values())]
    parts = []
    for name, sentences in said.items():
        own = " ".join(sentence for sentence in sentences if sentence not in shared)
        if own:
            parts.append(f"{name}: {own}")
    return " ".join([*parts, *shared])
