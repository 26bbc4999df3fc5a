"""Readers for CIFAR-10 on disk: one .npz file, or the folder of official python batches, read without trusting it."""

from __future__ import annotations

import pickle
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from searcher.errors import BadInputError

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_NPZ_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels", "classes")
_TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST_BATCH = "test_batch"
_INNER_FOLDER = "cifar-10-batches-py"

# What damaged archives and pickles raise, by way of numpy, zipfile and the pickle machine.
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, eq=False)
class Cifar10Pixels:
    """CIFAR-10 as stored: uint8 images (N, 32, 32, 3), int64 labels (N,) and ten class names."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]


def read_cifar10(path: Path) -> Cifar10Pixels:
    """Read an .npz file or a folder of official batches.

    Args:
        path: an .npz with `train_images`, `train_labels`, `test_images`, `test_labels` and `classes`; or a
            folder with `data_batch_1` to `data_batch_5` and `test_batch`, or its parent.

    Raises:
        BadInputError: nothing is there, or what is there is not CIFAR-10; the sentence says which.
    """
    try:
        if path.is_dir():
            return _read_batches(path)
        if path.is_file():
            return _read_npz(path)
    except OSError as e:
        raise BadInputError(f"cannot read the CIFAR-10 data at {path}: {e.strerror or e}") from e
    raise BadInputError(f"there is no CIFAR-10 data at {path}: give the .npz file or the folder of python batches")


def _read_npz(path: Path) -> Cifar10Pixels:
    arrays = _npz_arrays(path)
    names = arrays["classes"]
    if names.dtype.kind != "U" or names.shape != (len(CLASS_NAMES),):
        raise BadInputError(f"`classes` in {path} must be {len(CLASS_NAMES)} names, not {_described(names)}")
    splits = {}
    for split in ("train", "test"):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        splits[split] = (
            _checked_images(images, f"`{split}_images` in {path}"),
            _checked_labels(labels, len(images) if images.ndim else 0, f"`{split}_labels` in {path}"),
        )
    return Cifar10Pixels(*splits["train"], *splits["test"], tuple(str(name) for name in names))


def _npz_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            present = archive.files if isinstance(archive, np.lib.npyio.NpzFile) else []
            missing = [name for name in _NPZ_ARRAYS if name not in present]
            arrays = {} if missing else {name: archive[name] for name in _NPZ_ARRAYS}
    except _DAMAGE as e:
        raise BadInputError(f"{path} is not a readable .npz file of plain arrays") from e
    if missing:
        raise BadInputError(f"{path} lacks the array `{missing[0]}`: it needs {', '.join(_NPZ_ARRAYS)}")
    for name, array in arrays.items():
        # numpy hands out a member that does not begin as an array does as bytes, without a word.
        if not isinstance(array, np.ndarray):
            raise BadInputError(f"`{name}` in {path} is not an array")
    return arrays


def _read_batches(folder: Path) -> Cifar10Pixels:
    inner = folder / _INNER_FOLDER
    if inner.is_dir() and not (folder / _TEST_BATCH).exists():
        folder = inner
    for name in (*_TRAIN_BATCHES, _TEST_BATCH):
        if not (folder / name).is_file():
            raise BadInputError(f"the CIFAR-10 folder {folder} lacks the file {name}")
    train = [_read_batch(folder / name) for name in _TRAIN_BATCHES]
    test_images, test_labels = _read_batch(folder / _TEST_BATCH)
    return Cifar10Pixels(
        train_images=np.concatenate([images for images, _ in train]),
        train_labels=np.concatenate([labels for _, labels in train]),
        test_images=test_images,
        test_labels=test_labels,
        class_names=CLASS_NAMES,
    )


def _read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = _unpickled(path)
    if not isinstance(content, Mapping):
        raise BadInputError(f"{path} is not a CIFAR-10 batch: it holds no dictionary")
    stored, labels = content.get(b"data"), content.get(b"labels")
    if not isinstance(stored, _StoredArray):
        raise BadInputError(f"{path} is not a CIFAR-10 batch: it lacks the array `data`")
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise BadInputError(f"{path} is not a CIFAR-10 batch: it lacks the list of whole numbers `labels`")
    try:
        pixels, numbers = stored.array(), np.asarray(labels, dtype=np.int64)
    except _DAMAGE as e:
        raise BadInputError(f"{path} is damaged: its pixels or labels cannot be read") from e
    if pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise BadInputError(f"`data` in {path} must be uint8 (N, {_PIXELS}), not {_described(pixels)}")
    images = pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return (
        _checked_images(images, f"`data` in {path}"),
        _checked_labels(numbers, len(images), f"`labels` in {path}"),
    )


def _checked_images(images: NDArray[np.generic], what: str) -> NDArray[np.uint8]:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (_SIDE, _SIDE, 3):
        raise BadInputError(f"{what} must be uint8 (N, {_SIDE}, {_SIDE}, 3), not {_described(images)}")
    if not len(images):
        raise BadInputError(f"{what} holds no image")
    return images.astype(np.uint8, copy=False)


def _checked_labels(labels: NDArray[np.generic], images: int, what: str) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu" or labels.shape != (images,):
        raise BadInputError(f"{what} must be {images} whole numbers, one an image, not {_described(labels)}")
    numbers = labels.astype(np.int64)
    if numbers.min() < 0 or numbers.max() >= len(CLASS_NAMES):
        raise BadInputError(f"{what} must lie in 0..{len(CLASS_NAMES) - 1}, but span {numbers.min()}..{numbers.max()}")
    return numbers


def _described(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"


class _StoredType:
    """Stands in for numpy.dtype: remembers the type's code and nothing else of the file."""

    def __init__(self, code: object, *_flags: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Drop the byte order and field layout: one-byte pixels have neither."""


class _StoredArray:
    """Stands in for numpy.ndarray: no numpy object is ever built from a file's own instructions."""

    def __init__(self, *_placeholder: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def array(self) -> NDArray[np.uint8]:
        """Return the pixels in their shape; ValueError where the state is not that of a uint8 array."""
        match self.state:
            case (_, tuple(shape), _StoredType(code="u1" | b"u1"), bool() | int() as fortran, bytes(raw)):
                return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")
        raise ValueError("not the state of a uint8 array")


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """Stand in for _codecs.encode, by which Python 3 writes bytes into old protocols."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _reconstructed(*_placeholder: object) -> _StoredArray:
    return _StoredArray()


_PERMITTED: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstructed,
    ("numpy._core.multiarray", "_reconstruct"): _reconstructed,
    ("numpy", "ndarray"): _StoredArray,
    ("numpy", "dtype"): _StoredType,
    ("_codecs", "encode"): _latin1_bytes,
}


class _RefusedNameError(Exception):
    """A pickle asked for a name that no CIFAR-10 batch needs."""


class _ArraysOnlyUnpickler(pickle.Unpickler):
    """Resolves the few names of `_PERMITTED` to stand-ins and refuses all others, so no code of a file can run."""

    def find_class(self, module_name: str, global_name: str, /) -> Callable[..., object]:
        permitted = _PERMITTED.get((module_name, global_name))
        if permitted is None:
            raise _RefusedNameError(f"{module_name}.{global_name}")
        return permitted


def _unpickled(path: Path) -> object:
    try:
        with path.open("rb") as file:
            # encoding="bytes" also keeps the Python 2 strings of official batches, their pixels among them, as bytes.
            content: object = _ArraysOnlyUnpickler(file, encoding="bytes").load()
    except _RefusedNameError as e:
        raise BadInputError(f"{path} is refused: a CIFAR-10 batch has no use for `{e}`, which it calls") from e
    except _DAMAGE as e:
        raise BadInputError(f"{path} is not a CIFAR-10 batch, or it is damaged") from e
    return content
