"""CIFAR-10 readers: both layouts, and every way in which a file can be wrong or hostile."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.errors import BadInputError
from searcher.training.cifar10 import CLASS_NAMES, read_cifar10

PER_BATCH = 3
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]

Change = Callable[[dict[str, Any]], object]


def pixels_of(batch: int) -> NDArray[np.uint8]:
    return np.random.default_rng(batch).integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8)


def write_batch(path: Path, pixels: object, labels: object) -> None:
    content = {b"batch_label": b"a batch", b"labels": labels, b"data": pixels, b"filenames": [b"one.png"]}
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "cifar-10-batches-py"
    inner.mkdir()
    for index, name in enumerate([*BATCHES, "test_batch"]):
        write_batch(inner / name, pixels_of(index), [index, 9, 0])
    return inner


def npz_arrays() -> dict[str, Any]:
    return {
        "train_images": np.arange(2 * 3072, dtype=np.uint8).reshape(2, 32, 32, 3),
        "train_labels": np.array([0, 9], np.uint8),
        "test_images": np.full((1, 32, 32, 3), 7, np.uint8),
        "test_labels": np.array([3], np.uint8),
        "classes": np.array(CLASS_NAMES),
    }


@pytest.mark.parametrize("outer", [False, True])
def test_official_batches_are_read_in_order(folder: Path, outer: bool) -> None:
    data = read_cifar10(folder.parent if outer else folder)

    assert data.train_images.shape == (5 * PER_BATCH, 32, 32, 3)
    assert data.train_labels.tolist() == [label for index in range(5) for label in (index, 9, 0)]
    assert data.test_labels.tolist() == [5, 9, 0]
    assert data.class_names == CLASS_NAMES
    # The official rows hold all red pixels, then all green, then all blue.
    assert np.array_equal(data.test_images[1, :, :, 2].ravel(), pixels_of(5)[1, 2048:])


def test_a_batch_as_python_2_wrote_it_is_read(folder: Path) -> None:
    """Python 2 wrote byte strings by the opcode U (or T where long); these are the bytes it would write."""
    raw = pixels_of(11)[:1].tobytes()
    text = (
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + len(raw).to_bytes(4, "little") + raw
    )
    (folder / "test_batch").write_bytes(text + b"tbU\x06labels](K\x04eu.")

    data = read_cifar10(folder)

    assert data.test_labels.tolist() == [4]
    assert data.test_images[0].transpose(2, 0, 1).tobytes() == raw


def test_npz_is_read(tmp_path: Path) -> None:
    arrays = npz_arrays()
    np.savez(tmp_path / "data.npz", **arrays)

    data = read_cifar10(tmp_path / "data.npz")

    assert np.array_equal(data.train_images, arrays["train_images"])
    assert data.train_labels.tolist() == [0, 9]
    assert data.test_labels.dtype == np.int64
    assert data.class_names == CLASS_NAMES


class Command:
    """What a hostile pickle holds: a call that unpickling would make."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_something_is_refused_and_does_not_run(folder: Path, tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "proof"
    hostile = {b"data": Command(f"touch {proof}"), b"labels": [0]}
    (folder / "data_batch_2").write_bytes(pickle.dumps(hostile, protocol=protocol))

    with pytest.raises(BadInputError, match=r"data_batch_2 is refused: .*`(posix|nt|os)\.system`"):
        read_cifar10(folder)
    assert not proof.exists()


def test_names_are_not_looked_up_through_permitted_ones(folder: Path) -> None:
    (folder / "test_batch").write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.fromfile\x93.")

    with pytest.raises(BadInputError, match=r"`numpy\.ndarray\.fromfile`"):
        read_cifar10(folder)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"garbage",
        b"\x80\x02}",
        b"\x80\xff.",
        pickle.dumps({b"data": np.zeros((3, 3072), np.uint8), b"labels": [0, 0, 0]}, protocol=2)[:5000],
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
        pickle.dumps({b"data": np.zeros((3, 3072), np.float32), b"labels": [0, 0, 0]}, protocol=2),
        pickle.dumps({b"data": np.array([{}], object), b"labels": [0]}, protocol=2),
        pickle.dumps([b"data", b"labels"], protocol=2),
        pickle.dumps({b"labels": [0]}, protocol=2),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8)}, protocol=2),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [0.0]}, protocol=2),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [2**80]}, protocol=2),
    ],
)
def test_damaged_batches_are_refused_by_name(folder: Path, damaged: bytes) -> None:
    (folder / "data_batch_4").write_bytes(damaged)

    with pytest.raises(BadInputError, match="data_batch_4"):
        read_cifar10(folder)


def test_random_damage_never_escapes_as_another_error(folder: Path) -> None:
    whole = (folder / "test_batch").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(whole[: random.integers(1, len(whole))])
        # Most bytes are pixels; the structure lies at both ends.
        for place in random.integers(0, min(200, len(broken)), 3):
            broken[place] = random.integers(256)
        (folder / "test_batch").write_bytes(bytes(broken))
        with pytest.raises(BadInputError, match="test_batch"):
            read_cifar10(folder)


@pytest.mark.parametrize(
    ("pixels", "labels", "sentence"),
    [
        (np.zeros((3, 3071), np.uint8), [0, 0, 0], "`data` in .* must be uint8"),
        (np.zeros((3, 3072), np.uint8), [0, 0], "`labels` in .* must be 3 whole numbers"),
        (np.zeros((3, 3072), np.uint8), [0, 10, 0], r"`labels` in .* must lie in 0\.\.9, but span 0\.\.10"),
        (np.zeros((3, 3072), np.uint8), [0, -1, 0], r"must lie in 0\.\.9"),
    ],
)
def test_wrong_batches_are_refused(folder: Path, pixels: object, labels: object, sentence: str) -> None:
    write_batch(folder / "data_batch_1", pixels, labels)

    with pytest.raises(BadInputError, match=sentence):
        read_cifar10(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda arrays: arrays.pop("test_labels"), "lacks the array `test_labels`"),
        (lambda arrays: arrays.update(train_images=np.zeros((2, 3, 32, 32), np.uint8)), "`train_images` in"),
        (lambda arrays: arrays.update(train_images=np.zeros((2, 32, 32, 3), np.float32)), "must be uint8"),
        (lambda arrays: arrays.update(train_images=np.uint8(1)), "`train_images` in"),
        (lambda arrays: arrays.update(test_images=np.zeros((0, 32, 32, 3), np.uint8)), "holds no image"),
        (lambda arrays: arrays.update(test_labels=np.array([0, 1])), "must be 1 whole numbers"),
        (lambda arrays: arrays.update(test_labels=np.array([0.0])), "must be 1 whole numbers"),
        (lambda arrays: arrays.update(train_labels=np.array([0, 10])), r"must lie in 0\.\.9, but span 0\.\.10"),
        (lambda arrays: arrays.update(train_labels=np.array([-1, 1])), r"must lie in 0\.\.9"),
        (lambda arrays: arrays.update(classes=np.array(["cat", "dog"])), "`classes` in .* must be 10 names"),
        (lambda arrays: arrays.update(classes=np.arange(10)), "`classes` in .* must be 10 names"),
        (lambda arrays: arrays.update(test_labels=np.array([Command("true")], object)), "plain arrays"),
    ],
)
def test_wrong_npz_files_are_refused(tmp_path: Path, change: Change, sentence: str) -> None:
    arrays = npz_arrays()
    change(arrays)
    np.savez(tmp_path / "data.npz", **arrays)

    with pytest.raises(BadInputError, match=sentence):
        read_cifar10(tmp_path / "data.npz")


def test_damaged_npz_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, **npz_arrays())
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    np.save(tmp_path / "single.npy", np.zeros(3))
    contents = [b"", b"garbage", whole[:-40], (tmp_path / "single.npy").read_bytes(), pickle.dumps([1])]
    for _ in range(100):
        broken = bytearray(whole)
        for place in random.integers(0, len(broken), 30):
            broken[place] ^= 0xFF
        contents.append(bytes(broken))
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(BadInputError, match=r"data\.npz"):
            read_cifar10(path)


def test_npz_members_that_are_not_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in npz_arrays():
            archive.writestr(f"{name}.npy", b"words")

    with pytest.raises(BadInputError, match=r"`train_images` in .* is not an array"):
        read_cifar10(path)


def test_missing_places_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"there is no CIFAR-10 data at .*nowhere"):
        read_cifar10(tmp_path / "nowhere")
    with pytest.raises(BadInputError, match="cannot read the CIFAR-10 data"):
        read_cifar10(tmp_path / ("long" * 100))
    (folder / "data_batch_5").unlink()
    with pytest.raises(BadInputError, match="lacks the file data_batch_5"):
        read_cifar10(folder)
