"""A result on the disk: one netCDF file, rows are lanes.

A result is an ``xarray.Dataset`` with main dimension ``lane`` and a coordinate ``lane_id`` that
names each row. What was set (seed, arm, batch size …) is coordinates along ``lane``; what was
measured is variables along ``lane``, or ``lane × probe`` for logs, where a lane with fewer probes
is padded at the end (see ``padding``). Every numeric variable states its unit in ``attrs["units"]``
(``"1"`` if it has none). The dataset's attributes are ``study``, ``schema_version``, and
``settings`` and ``provenance`` as JSON text.

How long a run took is no part of its result: it goes into the file's group ``timing``, so that two
runs of the same thing are ``xarray.Dataset.identical`` once loaded, and byte for byte the same file
if saved with the same timing.
"""

from implicit_bias.results.store.export import to_csv as to_csv
from implicit_bias.results.store.export import to_parquet as to_parquet
from implicit_bias.results.store.netcdf import TIMING_GROUP as TIMING_GROUP
from implicit_bias.results.store.netcdf import load as load
from implicit_bias.results.store.netcdf import load_timing as load_timing
from implicit_bias.results.store.netcdf import save as save
from implicit_bias.results.store.result import SCHEMA_VERSION as SCHEMA_VERSION
from implicit_bias.results.store.result import make as make
from implicit_bias.results.store.result import padding as padding
from implicit_bias.results.store.result import provenance as provenance
from implicit_bias.results.store.result import settings as settings
from implicit_bias.results.store.result import validate as validate
from implicit_bias.results.store.shards import combine as combine
