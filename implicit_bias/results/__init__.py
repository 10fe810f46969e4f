"""Results: stored rows, checkpoints, locks, provenance, statistics, claims, figures and the report.

This room may touch the disk. Its modules are light to import: xarray, pandas, pyarrow and
``scipy.stats`` are loaded by the functions that need them.
"""
