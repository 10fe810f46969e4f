"""Readers of the files that people have: array files, folders of images, the original MNIST files.

These only read. What is read is checked in :mod:`implicit_bias.data.raw` and kept by
:mod:`implicit_bias.data.cache`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from implicit_bias.data.cache import open_npz
from implicit_bias.data.raw import OPTIONAL, REQUIRED, RawData, canonical_order, from_arrays
from implicit_bias.errors import UserError

TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
"""The public datasets, with the names to print."""

IMAGE_SHAPES = {"mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "cifar10": (32, 32, 3)}

CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
}
"""Class names in the order of the labels."""

_IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_MNIST = (
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
_FASHION_MNIST = (
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)
_CIFAR10 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

ORIGINALS: dict[str, dict[str, str]] = {
    "mnist": dict(zip(_IDX_FILES, _MNIST, strict=True)),
    "fashion_mnist": dict(zip(_IDX_FILES, _FASHION_MNIST, strict=True)),
    "cifar10": {"cifar-10-binary.tar.gz": _CIFAR10},
}
"""Files as their authors publish them, with the SHA-256 that TensorFlow Datasets expects too."""

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp")
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


def verify_originals(name: str, folder: Path) -> None:
    """Check that a folder holds the original files of a public dataset, byte for byte.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        folder: The folder.

    Raises:
        UserError: A file is missing, cannot be read, or is not the original.
    """
    for file, expected in ORIGINALS[name].items():
        place = folder / file
        if not place.is_file():
            raise UserError(
                f"{folder} has no file {file}; for {name} it must hold {', '.join(ORIGINALS[name])}"
            )
        try:
            with place.open("rb") as handle:
                found = hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            raise UserError(f"cannot read {place} ({error.strerror})") from error
        if found != expected:
            raise UserError(
                f"{place} is not the original file of {TITLES[name]} (SHA-256 {found[:12]}…, "
                f"expected {expected[:12]}…); fetch it again"
            )


def has_originals(name: str, folder: Path) -> bool:
    """Say whether a folder holds any of the original files of a public dataset, by their names."""
    return any((folder / file).exists() for file in ORIGINALS.get(name, {}))


def read_idx_files(name: str, folder: Path) -> RawData:
    """Read the four original files of MNIST or Fashion-MNIST without TensorFlow Datasets.

    Args:
        name: ``"mnist"`` or ``"fashion_mnist"``.
        folder: Folder that holds the four files.

    Raises:
        UserError: A file is missing or is not the original.
    """
    verify_originals(name, folder)
    read = {file.split("-ubyte")[0]: _read_idx(folder / file) for file in ORIGINALS[name]}
    arrays = {
        "x_train": read["train-images-idx3"],
        "y_train": read["train-labels-idx1"],
        "x_test": read["t10k-images-idx3"],
        "y_test": read["t10k-labels-idx1"],
    }
    route = "original files, read directly and verified by SHA-256"
    return _public(name, arrays, place=str(folder), route=route)


def read_exported(name: str, file: Path, *, version: str, from_files: bool) -> RawData:
    """Read what the TensorFlow Datasets process wrote.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        file: Its ``.npz`` file.
        version: Version of TensorFlow Datasets.
        from_files: Whether it was given local files or downloaded them.
    """
    origin = "local original files" if from_files else "download"
    route = f"TensorFlow Datasets {version}, {origin}"
    return _public(name, _read_npz(file), place=str(file), route=route)


def read_public(name: str, place: Path) -> RawData:
    """Read a public dataset from an array file or a folder (or tar archive) of images.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"`` or ``"cifar10"``.
        place: The file or folder.

    Raises:
        UserError: Nothing usable is there, or it is not this dataset.
    """
    arrays, classes, kind = _read_any(place)
    if classes is not None:
        if set(classes) != set(CLASSES[name]):
            raise UserError(
                f"{place} has the classes {', '.join(classes)}; those of {name} are "
                f"{', '.join(CLASSES[name])}; give --name to prepare it as a dataset of its own"
            )
        lookup = np.array([CLASSES[name].index(c) for c in classes])
        arrays = {k: lookup[v] if k.startswith("y_") else v for k, v in arrays.items()}
    return _public(name, arrays, place=str(place), route=f"{kind} ({place.name})", kind=kind)


def read_user(name: str, place: Path) -> RawData:
    """Read a user's own data from an array file or a folder (or tar archive) of images.

    Args:
        name: The name it is to have.
        place: ``.npz`` file, folder of ``.npy`` files, or images as ``train/<class>/…``,
            ``test/<class>/…``.

    Raises:
        UserError: Nothing usable is there, or the arrays are wrong.
    """
    arrays, classes, kind = _read_any(place)
    source = {"source": f"{kind} ({place.name})"}
    return from_arrays(name, arrays, place=str(place), source=source, classes=classes)


def _public(
    name: str,
    arrays: Mapping[str, npt.NDArray[Any]],
    *,
    place: str,
    route: str,
    kind: str = "",
) -> RawData:
    raw = from_arrays(
        name,
        arrays,
        place=place,
        source={"source": TITLES[name], "route": route},
        title=TITLES[name],
        n_classes=10,
        classes=CLASSES[name],
    )
    found = raw.arrays["x_train"]
    if found.dtype != np.uint8 or found.shape[1:] != IMAGE_SHAPES[name] or raw.task == "regression":
        raise UserError(
            f"{place}: x_train has shape {found.shape} and dtype {found.dtype}, not the 8-bit "
            f"images of {IMAGE_SHAPES[name]} and whole-number labels of {name}; give --name to "
            "prepare it as a dataset of its own"
        )
    if "JPEG" in kind:
        # Lossy pixels are other data than the original: the name says so wherever a number is
        # shown.
        raw = _renamed(raw, f"{name}-jpeg", f"{TITLES[name]} (JPEG)")
    return canonical_order(raw)


def _renamed(raw: RawData, name: str, title: str) -> RawData:
    return RawData(
        name,
        title,
        raw.task,
        raw.n_outputs,
        raw.arrays,
        {**raw.source, "source": title},
        raw.classes,
    )


def _read_any(
    place: Path,
) -> tuple[dict[str, npt.NDArray[Any]], tuple[str, ...] | None, str]:
    """Return arrays, class names where folders name them, and the kind of source in words."""
    if not place.exists():
        raise UserError(f"there is no file or folder {place}; give a path that exists")
    if place.is_dir():
        if (place / "train").is_dir():
            return _read_images(_folder_images(place), place)
        if (place / "x_train.npy").is_file():
            found = {k: _read_npy(place / f"{k}.npy") for k in REQUIRED + OPTIONAL
                     if (place / f"{k}.npy").is_file()}  # fmt: skip
            return found, None, "folder of .npy files"
        files = sorted(place.glob("*.npz"))
        if len(files) == 1:
            return _read_npz(files[0]), None, f".npz file {files[0].name}"
        held = f"{len(files)} .npz files" if files else "neither images nor arrays"
        raise UserError(
            f"{place} holds {held}; give one .npz file, a folder with x_train.npy, y_train.npy, "
            "x_test.npy and y_test.npy, or one with train/<class>/ and test/<class>/"
        )
    if place.name.lower().endswith(".npz"):
        return _read_npz(place), None, ".npz file"
    if place.name.lower().endswith(_ARCHIVES):
        return _read_images(_archive_images(place), place)
    raise UserError(
        f"{place} is not a kind of file that can be read; give an .npz file, a folder of .npy "
        "files, or images as train/<class>/… and test/<class>/… in a folder or tar archive"
    )


def _read_npz(file: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with open_npz(file) as stored:
            return {key: stored[key] for key in stored.files if key in REQUIRED + OPTIONAL}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(file, error) from error


def _read_npy(file: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(file, error) from error
    return array


def _unreadable(file: Path, error: BaseException) -> UserError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # NumPy's advice for what it takes for a pickle is no advice here.
    said = "it is none of NumPy's" if "`allow_pickle=`" in lines[0] else lines[0]
    return UserError(
        f"cannot read {file} ({said}); it must be an intact NumPy file without Python objects"
    )


def _read_idx(file: Path) -> npt.NDArray[np.uint8]:
    """Read one file of the idx format: magic number 0x0000 08 ndim, big-endian sizes, bytes."""
    try:
        data = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {file} ({error}); fetch it again") from error
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise UserError(f"{file} is not an idx file of bytes; fetch it again")
    head = 4 + 4 * data[3]
    shape = tuple(int(n) for n in np.frombuffer(data[4:head], ">u4"))
    if len(data) != head + math.prod(shape):
        raise UserError(f"{file} holds {len(data) - head} bytes for shape {shape}; fetch it again")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _folder_images(folder: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    for part in ("train", "test", "valid"):
        for file in sorted((folder / part).glob("*/*")):
            if file.suffix.lower() in _IMAGES and not file.name.startswith("."):
                yield PurePosixPath(part, file.parent.name, file.name), file.read_bytes()


def _archive_images(file: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    with tarfile.open(file) as archive:
        for member in archive:
            inside = PurePosixPath(*PurePosixPath(member.name).parts[-3:])
            wanted = inside.suffix.lower() in _IMAGES and not inside.name.startswith(".")
            if member.isfile() and wanted and (content := archive.extractfile(member)) is not None:
                yield inside, content.read()


def _read_images(
    images: Iterator[tuple[PurePosixPath, bytes]], place: Path
) -> tuple[dict[str, npt.NDArray[Any]], tuple[str, ...], str]:
    """Decode ``part/class/file`` images of one size; labels follow the sorted class names."""
    from PIL import Image, UnidentifiedImageError

    pixels: dict[str, list[npt.NDArray[np.uint8]]] = {"train": [], "test": [], "valid": []}
    names: dict[str, list[str]] = {"train": [], "test": [], "valid": []}
    mode: str | None = None
    shape: tuple[int, ...] | None = None
    lossy = False
    try:
        for inside, content in images:
            if len(inside.parts) != 3 or inside.parts[0] not in pixels:
                continue
            part, label, _ = inside.parts
            try:
                image = Image.open(io.BytesIO(content))
                mode = mode or ("L" if image.mode in ("1", "L") else "RGB")
                array = np.array(image.convert(mode), dtype=np.uint8)
            except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
                raise UserError(f"{place}: {inside} is not an image that can be read") from error
            lossy = lossy or image.format == "JPEG"
            shape = shape or array.shape
            if array.shape != shape:
                raise UserError(
                    f"{place}: {inside} has {array.shape[:2]} pixels, but the first image has "
                    f"{shape[:2]}; all images must have one size"
                )
            pixels[part].append(array)
            names[part].append(label)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(
            f"cannot read {place} ({error}); it may be damaged: fetch it again"
        ) from error
    except Exception as error:
        if type(error).__name__ == "LZMAError":  # the lzma module may be absent
            raise UserError(f"cannot read {place} ({error}); fetch it again") from error
        raise
    for part in ("train", "test"):
        if not pixels[part]:
            raise UserError(
                f"{place} has no images in {part}/<class>/; give {', '.join(_IMAGES)} files as "
                "train/<class>/… and test/<class>/…"
            )
    classes = tuple(sorted(set(names["train"])))
    numbers = {label: number for number, label in enumerate(classes)}
    unseen = sorted({label for part in names.values() for label in part} - set(classes))
    if unseen:
        raise UserError(
            f"{place} has no training images of class {unseen[0]}; add some or remove it"
        )
    arrays: dict[str, npt.NDArray[Any]] = {}
    for part in pixels:
        if pixels[part]:
            arrays[f"x_{part}"] = np.stack(pixels[part])
            arrays[f"y_{part}"] = np.array([numbers[label] for label in names[part]])
    return arrays, classes, "JPEG images" if lossy else "images"
