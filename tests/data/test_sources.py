"""Readers of files: against the writers of other libraries, and against damage."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from implicit_bias.data import sources
from implicit_bias.errors import UserError

Arrays = dict[str, np.ndarray]


def _write_images(root: Path, suffix: str, classes: tuple[str, ...] = ("cat", "ant")) -> Arrays:
    """Write a tree with Pillow and return what is in it, by part and class."""
    rng = np.random.default_rng(0)
    written = {}
    for part, count in (("train", 3), ("test", 2)):
        for label in classes:
            folder = root / part / label
            folder.mkdir(parents=True)
            images = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
            for i, image in enumerate(images):
                Image.fromarray(image).save(folder / f"{i:04d}{suffix}")
            written[f"{part}/{label}"] = images
    return written


def _write_idx(folder: Path, arrays: Arrays) -> dict[str, str]:
    """Write the four files in the format that MNIST's authors describe; return their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    sums = {}
    for name, key in zip(names, ("x_train", "y_train", "x_test", "y_test"), strict=True):
        array = arrays[key].astype(np.uint8)
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        content = gzip.compress(head + array.tobytes(), mtime=0)
        (folder / f"{name}-ubyte.gz").write_bytes(content)
        sums[f"{name}-ubyte.gz"] = hashlib.sha256(content).hexdigest()
    return sums


@pytest.fixture
def mnist_like() -> Arrays:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "y_train": np.arange(20) % 10,
        "x_test": rng.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        "y_test": np.arange(10) % 10,
    }


@pytest.fixture
def idx_folder(tmp_path: Path, mnist_like: Arrays, monkeypatch: pytest.MonkeyPatch) -> Path:
    sums = _write_idx(tmp_path / "idx", mnist_like)
    monkeypatch.setitem(sources.ORIGINALS, "mnist", sums)
    return tmp_path / "idx"


def test_idx_files_hold_what_was_written(idx_folder: Path, mnist_like: Arrays) -> None:
    # Broken by a wrong byte order, offset, or pairing of images with labels.
    d = sources.read_idx_files("mnist", idx_folder).to_dataset()
    assert (d.n_train, d.n_test, d.input_shape) == (20, 10, (28, 28, 1))
    read = {(np.rint(x * 255).astype(np.uint8).tobytes(), int(y))
            for x, y in zip(d.x_train, d.y_train, strict=True)}  # fmt: skip
    pairs = zip(mnist_like["x_train"], mnist_like["y_train"], strict=True)
    assert read == {(x.tobytes(), int(y)) for x, y in pairs}
    assert "read directly" in d.provenance["route"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.unlink(), "has no file t10k-labels-idx1-ubyte.gz"),
        (lambda file: file.write_bytes(file.read_bytes()[:-5]), "is not the original file"),
        (lambda file: file.write_bytes(b""), "is not the original file"),
    ],
)
def test_files_that_are_not_the_originals_are_refused(
    idx_folder: Path, damage: object, words: str
) -> None:
    # Broken by training on whatever is in the folder.
    damage(idx_folder / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(UserError, match=words):
        sources.read_idx_files("mnist", idx_folder)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"abc", mtime=0), gzip.compress(b"\0\0\x08\1\0\0\0\x09ab", mtime=0)],
)
def test_broken_idx_content_is_refused(tmp_path: Path, content: bytes) -> None:
    # Broken by a struct or reshape error; reachable only where the checksum is not known.
    file = tmp_path / "a.gz"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.gz"):
        sources._read_idx(file)


def test_images_in_folders(tmp_path: Path) -> None:
    # Broken by labels out of step with the sorted class names, or by decoding errors.
    written = _write_images(tmp_path, ".png")
    raw = sources.read_user("pets", tmp_path)
    assert raw.classes == ("ant", "cat")
    assert raw.title == "pets"
    for label, name in enumerate(raw.classes):
        ours = raw.arrays["x_train"][raw.arrays["y_train"] == label]
        np.testing.assert_array_equal(ours, written[f"train/{name}"])


def test_images_in_a_tar_archive(tmp_path: Path) -> None:
    # Broken by reading an archive otherwise than the folder it was made from.
    _write_images(tmp_path / "tree", ".png")
    with tarfile.open(tmp_path / "tree.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "tree", "some/where")
    folder = sources.canonical_order(sources.read_user("pets", tmp_path / "tree"))
    packed = sources.canonical_order(sources.read_user("pets", tmp_path / "tree.tar.xz"))
    assert folder.to_dataset() == packed.to_dataset()


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    # Broken by three equal channels.
    for part in ("train", "test"):
        for label in "ab":
            (tmp_path / part / label).mkdir(parents=True)
            Image.new("L", (3, 2), 9).save(tmp_path / part / label / "0.png")
    assert sources.read_user("grey", tmp_path).to_dataset().input_shape == (2, 3, 1)


def _empty(root: Path) -> None:
    (root / "train").mkdir(parents=True)


def _only_train(root: Path) -> None:
    _write_images(root, ".png")
    (root / "test").rename(root / "other")


def _not_an_image(root: Path) -> None:
    _write_images(root, ".png")
    (root / "train" / "ant" / "0001.png").write_bytes(b"not an image")


def _cut_image(root: Path) -> None:
    _write_images(root, ".png")
    file = root / "train" / "ant" / "0001.png"
    file.write_bytes(file.read_bytes()[:60])


def _two_sizes(root: Path) -> None:
    _write_images(root, ".png")
    Image.new("RGB", (5, 4)).save(root / "test" / "ant" / "0000.png")


def _unseen_class(root: Path) -> None:
    _write_images(root, ".png")
    (root / "test" / "cat").rename(root / "test" / "dog")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_empty, "no images in train/<class>/"),
        (_only_train, "no images in test/<class>/"),
        (_not_an_image, "train/ant/0001.png is not an image"),
        (_cut_image, "train/ant/0001.png is not an image"),
        (_two_sizes, r"test/ant/0000.png has \(4, 5\) pixels"),
        (_unseen_class, "no training images of class dog"),
    ],
)
def test_unusable_image_folders_are_refused(tmp_path: Path, make: object, words: str) -> None:
    # Broken by skipping what cannot be read, or by a traceback from Pillow.
    make(tmp_path / "tree")
    with pytest.raises(UserError, match=words):
        sources.read_user("pets", tmp_path / "tree")


def test_lossy_images_are_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Broken by calling JPEG images CIFAR-10, or by labels in alphabetical instead of official
    # order.
    monkeypatch.setitem(sources.IMAGE_SHAPES, "cifar10", (4, 4, 3))
    _write_images(tmp_path, ".jpg", classes=tuple(reversed(sources.CLASSES["cifar10"])))
    d = sources.read_public("cifar10", tmp_path).to_dataset()
    assert (d.name, d.title) == ("cifar10-jpeg", "CIFAR-10 (JPEG)")
    assert d.provenance["classes"][1] == "automobile"
    # The first image of class "truck" is still labelled 9.
    image = np.asarray(Image.open(tmp_path / "train" / "truck" / "0000.jpg"), np.float32) / 255
    match = np.abs(d.x_train - image).max((1, 2, 3)) < 1e-6
    assert d.y_train[match].tolist() == [9]


def test_other_classes_are_not_cifar10(tmp_path: Path) -> None:
    # Broken by numbering foreign classes as if they were CIFAR-10's.
    _write_images(tmp_path, ".png")
    with pytest.raises(UserError, match="has the classes ant, cat; those of cifar10"):
        sources.read_public("cifar10", tmp_path)


def test_npz_and_npy_hold_the_same(tmp_path: Path, arrays: Arrays) -> None:
    # Broken by a difference between the two ways.
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    (tmp_path / "pairs").mkdir()
    for key, value in arrays.items():
        np.save(tmp_path / "pairs" / f"{key}.npy", value)
    one = sources.read_user("mine", tmp_path / "a.npz").to_dataset()
    assert one == sources.read_user("mine", tmp_path / "pairs").to_dataset()
    # A folder with one such file stands for the file.
    (tmp_path / "single").mkdir()
    (tmp_path / "a.npz").rename(tmp_path / "single" / "a.npz")
    assert one == sources.read_user("mine", tmp_path / "single").to_dataset()


def test_a_public_name_needs_its_own_shape(tmp_path: Path, arrays: Arrays) -> None:
    # Broken by filing 3×3 images under the name of MNIST.
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match="not the 8-bit images of"):
        sources.read_public("mnist", tmp_path / "a.npz")


def test_keras_style_mnist_file(tmp_path: Path, mnist_like: Arrays) -> None:
    # Broken by insisting on the original files where an array file is given.
    np.savez(tmp_path / "mnist.npz", **mnist_like)
    d = sources.read_public("mnist", tmp_path / "mnist.npz").to_dataset()
    assert (d.n_outputs, d.input_shape, d.title) == (10, (28, 28, 1), "MNIST")


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


NPY = _npy()


def _bytes(content: bytes) -> object:
    return lambda file: file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("absent.npz", lambda file: None, "there is no file or folder"),
        ("a.npz", _bytes(b""), "cannot read"),
        ("a.npz", _bytes(b"PK\x03\x04 rubbish"), "cannot read"),
        ("a.npz", _bytes(NPY), "one bare array"),
        ("a.npz", lambda f: np.savez(f, x_train=np.array([{}])), "cannot read"),
        ("a.npz", lambda f: np.savez(f, images=np.zeros(3)), "has no array x_train"),
        ("a.csv", _bytes(b"1,2"), "is not a kind of file that can be read"),
        ("a.tar", _bytes(b"rubbish"), "cannot read"),
        ("a.tar.xz", _bytes(b"\xfd7zXZ\x00rubbish"), "cannot read"),
        ("folder", lambda f: f.mkdir(), "neither images nor arrays"),
    ],
)
def test_unreadable_files_are_refused(tmp_path: Path, name: str, write: object, words: str) -> None:
    # Broken by a traceback from NumPy, zipfile or tarfile, or by a file left open.
    file = tmp_path / name
    write(file)
    with pytest.raises(UserError, match=words) as caught:
        sources.read_user("mine", file)
    assert "\n" not in str(caught.value)


def test_two_array_files_in_a_folder_are_ambiguous(tmp_path: Path, arrays: Arrays) -> None:
    # Broken by taking whichever comes first.
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, **arrays)
    with pytest.raises(UserError, match=r"holds 2 \.npz files"):
        sources.read_user("mine", tmp_path)


def test_known_checksums_are_those_of_the_real_files(real_data: Path) -> None:
    # Broken by a typing error in a checksum; the list beside the files was made by sha256sum.
    listed = dict(
        reversed(line.split()) for line in (real_data / "SHA256SUMS").read_text().splitlines()
    )
    for file, checksum in sources.ORIGINALS["mnist"].items():
        assert listed[f"mnist/{file}"] == checksum
    sources.verify_originals("mnist", real_data / "mnist")


def test_real_mnist(real_data: Path) -> None:
    # Broken by any misreading: sizes, class counts and pixel statistics that are widely published.
    d = sources.read_idx_files("mnist", real_data / "mnist").to_dataset()
    assert (d.n_train, d.n_test) == (60000, 10000)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(d.y_train), counts)
    assert abs(d.x_train.mean(dtype=np.float64) - 0.1307) < 5e-5
    assert abs(d.x_train.std(dtype=np.float64) - 0.3081) < 5e-5


def test_real_cifar10(real_data: Path) -> None:
    # Broken by another class order or layout of the pixels.
    raw = sources.read_public("cifar10", real_data / "cifar10" / "cifar10-5k-lossless.npz")
    assert raw.arrays["x_train"].shape == (5000, 32, 32, 3)
    d = raw.to_dataset()
    # Channel means published for the whole training set, which 5,000 images approach.
    means = d.x_train.mean((0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=0.01)


def test_real_cifar10_jpeg_images_have_the_labels_of_the_originals(
    real_data: Path, tmp_path: Path
) -> None:
    # Broken by a wrong class order: the first test image of each class is looked up in the lossless
    # file. Only these ten images are unpacked, because the whole archive takes half a minute.
    with np.load(real_data / "cifar10" / "cifar10-5k-lossless.npz") as stored:
        x_test, y_test = stored["x_test"].astype(np.float32), stored["y_test"]
    found = {}
    with tarfile.open(real_data / "cifar10" / "cifar10-jpeg-q75.tar.xz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if member.name.endswith("/0000.jpg") and "test" in parts:
                found[parts[-2]] = np.asarray(Image.open(archive.extractfile(member)), np.float32)
                if len(found) == 10:
                    break
    assert set(found) == set(sources.CLASSES["cifar10"])
    for label, name in enumerate(sources.CLASSES["cifar10"]):
        distance = np.square(x_test - found[name][None]).mean((1, 2, 3))
        assert y_test[np.argmin(distance)] == label
