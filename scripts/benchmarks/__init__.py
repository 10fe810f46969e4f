"""Parts of ``scripts/benchmark.py``: measuring, and one module for each thing that is measured."""
