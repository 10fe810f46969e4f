"""Bring a dataset into the cache, from TensorFlow Datasets or from files that are already here.

The only place where TensorFlow runs, in a process of its own and once for each dataset. Everything
that can be known to fail is found out before that process starts: without a network TensorFlow
Datasets would retry for minutes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

from implicit_bias.data import cache, sources, tokens
from implicit_bias.data.raw import RawData
from implicit_bias.data.synthetic import GENERATORS
from implicit_bias.errors import UserError, unknown

PUBLIC = tuple(sources.TITLES)
"""Datasets that can be fetched by name."""

RESERVED = ("digits", *GENERATORS, *tokens.GENERATORS)
"""Names that need no preparation and cannot be given to anything else."""

_ADDRESSES = {
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    "train-labels-idx1-ubyte.gz",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
}
"""A file that TensorFlow Datasets downloads, for each dataset."""

_EXTRA = "pip install 'implicit-bias[datasets]'"


def prepare(
    name: str,
    source_dir: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
    as_name: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Bring a dataset into the cache, where :func:`implicit_bias.data.load` finds it.

    ====================== =========================================================================
    source                 how it is read
    ====================== =========================================================================
    none                   TensorFlow Datasets downloads it
    MNIST's original files TensorFlow Datasets builds it from them; without TensorFlow Datasets they
                           are read directly. Either way their SHA-256 is verified and the result
                           is the same, bit for bit; the provenance names the way
    ``.npz``               arrays x_train, y_train, x_test, y_test and perhaps x_valid, y_valid
    folder of ``.npy``     files of these names
    images                 ``train/<class>/…`` and ``test/<class>/…`` in a folder or tar archive
    ====================== =========================================================================

    Args:
        name: ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``; or a name of one's own with
            ``source_dir``; or the source itself with ``as_name``.
        source_dir: File or folder to read; None downloads.
        force: Prepare again what is already in the cache.
        as_name: Name to load it by, if not ``name``.
        cache_dir: Cache folder; see :func:`implicit_bias.data.cache.directory`.

    Returns:
        The file in the cache.

    Raises:
        UserError: Nothing by this name can be fetched, the source is unusable, TensorFlow Datasets
            is missing, there is no network, or the cache cannot be written to.
    """
    kind = name.lower().replace("-", "_")
    if kind not in PUBLIC and source_dir is None:
        # The source was given in place of a name: `prepare("arrays.npz", as_name="mine")`.
        looks_like_path = Path(name).exists() or "/" in name or name.endswith((".npz", ".npy"))
        if not looks_like_path:
            if name in RESERVED:
                raise UserError(f"{name} needs no preparation; load it as it is")
            raise unknown("dataset", name, PUBLIC)
        if as_name is None:
            raise UserError(f"{name} needs a name to be loaded by; give one with --name")
        source_dir = name
    target = as_name or (kind if kind in PUBLIC else name)
    if target in RESERVED or (target in PUBLIC and target != kind):
        raise UserError(
            f"the name {target!r} belongs to another dataset; choose another with --name"
        )
    file = cache.path(target, cache_dir)
    given = None if source_dir is None else str(Path(source_dir).expanduser().resolve())
    if file.exists() and not force:
        _check_same(target, given, cache_dir)
        return file
    if source_dir is None:
        raw = _download(kind, cache_dir)
    else:
        raw = _from_files(kind, target, Path(source_dir).expanduser(), cache_dir)
    return cache.save(target, raw, cache_dir=cache_dir, given=given)


def _check_same(target: str, given: str | None, cache_dir: str | os.PathLike[str] | None) -> None:
    """Refuse to pass off what is in the cache as what the user points at now."""
    header = cache.read_header(target, cache_dir)
    if given is not None and header["given"] != given:
        raise UserError(
            f"{target} is already prepared from {header['given'] or 'a download'}; add --force to "
            "replace it, or --name to keep both"
        )
    cache.load(target, cache_dir)


def _from_files(
    kind: str, target: str, place: Path, cache_dir: str | os.PathLike[str] | None
) -> RawData:
    if not place.exists():
        raise UserError(f"there is no file or folder {place}; give a path that exists")
    if kind not in PUBLIC:
        return sources.read_user(target, place)
    if place.is_dir() and sources.has_originals(kind, place):
        sources.verify_originals(kind, place)
        if _has_tfds():
            return _run_tfds(kind, cache_dir, place)
        if kind != "cifar10":
            return sources.read_idx_files(kind, place)
        raise UserError(f"reading {place} as {kind} needs TensorFlow Datasets: {_EXTRA}")
    try:
        return sources.read_public(kind, place)
    except UserError as error:
        if kind == "cifar10" or not place.is_dir():
            raise
        wanted = ", ".join(sources.ORIGINALS[kind])
        raise UserError(f"{error}, or the original files {wanted}") from error


def _download(kind: str, cache_dir: str | os.PathLike[str] | None) -> RawData:
    if not _has_tfds():
        raise UserError(
            f"downloading {kind} needs TensorFlow Datasets: {_EXTRA}; files that are already here "
            f"can be given with `implicit-bias data prepare {kind} --from DIR`"
        )
    problem = _unreachable(_ADDRESSES[kind])
    if problem is not None:
        raise UserError(
            f"cannot download {kind}: {problem}; check the network, or give files that are already "
            f"here with `implicit-bias data prepare {kind} --from DIR`"
        )
    return _run_tfds(kind, cache_dir, None)


def _has_tfds() -> bool:
    """Say whether TensorFlow Datasets is installed, without importing it."""
    wanted = ("tensorflow_datasets", "tensorflow")
    return all(importlib.util.find_spec(name) is not None for name in wanted)


def _unreachable(address: str, seconds: float = 2.5) -> str | None:
    """Ask for a file's headers and return what is wrong, or None if it can be downloaded.

    Name resolution has no time limit of its own, so the request runs in a thread that is left
    behind.
    """
    answer: list[str | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(address, method="HEAD")
            with urllib.request.urlopen(request, timeout=seconds):
                answer.append(None)
        except urllib.error.HTTPError as error:
            # A server that does not answer HEAD is still there.
            answer.append(None if error.code in (405, 501) else f"{address} answers {error.code}")
        except Exception as error:
            answer.append(f"{address} cannot be reached ({getattr(error, 'reason', error)})")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds + 0.5)
    return answer[0] if answer else f"{address} does not answer within {seconds:g} s"


def _run_tfds(
    kind: str, cache_dir: str | os.PathLike[str] | None, manual_dir: Path | None
) -> RawData:
    folder = cache.directory(cache_dir)
    program = str(Path(__file__).with_name("_tfds_export.py"))
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".preparing-") as work:
            output = Path(work) / "arrays.npz"
            # -P: the program's own folder must not offer its modules to TensorFlow's imports.
            command = [sys.executable, "-P", program, kind, str(Path(work) / "tfds"), str(output)]
            if manual_dir is not None:
                command.append(str(manual_dir.resolve()))
            done = subprocess.run(
                command,
                env={**os.environ, **quiet},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
            )
            if done.returncode != 0:
                lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
                reason = lines[-1][:300] if lines else f"exit status {done.returncode}"
                raise UserError(
                    f"TensorFlow Datasets could not prepare {kind}: {reason}; see that {_EXTRA} is "
                    f"complete, or give an .npz file with `implicit-bias data prepare {kind} "
                    "--from FILE`"
                )
            with cache.open_npz(output) as stored:
                version = str(stored["version"])
            return sources.read_exported(
                kind, output, version=version, from_files=manual_dir is not None
            )
    except OSError as error:
        raise UserError(
            f"cannot work in the cache folder {folder} ({error.strerror or error}); free some "
            f"space or set {cache.VARIABLE} to a folder that can be written to"
        ) from error
