"""Lets ``python -m implicit_bias.cli`` stand in for the command."""

from __future__ import annotations

import sys

from implicit_bias.cli import main

sys.exit(main())
