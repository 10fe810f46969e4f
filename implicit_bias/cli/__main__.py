"""Lets ``python -m implicit_bias.cli`` stand in for the command."""

from __future__ import annotations

from implicit_bias.cli import command

command()
