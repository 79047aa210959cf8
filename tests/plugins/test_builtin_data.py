"""MNIST as embedded: its bytes, its tensors, and what a damaged file says."""

import hashlib
import lzma
import os
import struct

import numpy as np
import pytest
import torch
from harness_plugins import mnist
from torchvision import transforms
from torchvision.datasets.mnist import read_image_file, read_label_file

from harness.errors import DataError

torch.set_num_threads(1)

FILES = sorted(mnist.CHECKSUMS)


@pytest.fixture(scope="module")
def splits():
    return mnist.load()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("idx")
    for name in FILES:
        (folder / name).write_bytes(lzma.decompress((mnist.FOLDER / f"{name}.xz").read_bytes()))
    return folder


@pytest.fixture
def copied(tmp_path, monkeypatch):
    for path in mnist.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)
    return tmp_path


def test_splits_have_the_published_sizes_and_types(splits):
    for (inputs, targets), examples in ((splits.train, 60_000), (splits.test, 10_000)):
        assert (inputs.shape, inputs.dtype) == ((examples, 1, 28, 28), torch.float32)
        assert (targets.shape, targets.dtype) == ((examples,), torch.int64)
    assert splits.classes == 10
    assert splits.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_pixels_and_labels_equal_what_torchvision_reads(splits, unpacked):
    for (inputs, targets), prefix in ((splits.train, "train"), (splits.test, "t10k")):
        pixels = read_image_file(str(unpacked / f"{prefix}-images-idx3-ubyte"))
        assert torch.equal(((inputs + 1) * 127.5).round().to(torch.uint8).squeeze(1), pixels)
        assert torch.equal(targets, read_label_file(str(unpacked / f"{prefix}-labels-idx1-ubyte")))


def test_first_labels_are_the_well_known_ones(splits):
    assert splits.train[1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert splits.test[1][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_class_counts_are_the_published_ones(splits):
    assert splits.train[1].bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert splits.test[1].bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize(("normalize", "low", "high"), [("symmetric", -1, 1), ("unit", 0, 1)])
def test_normalize_sets_the_range_of_the_pixels(splits, normalize, low, high):
    inputs = splits.train[0] if normalize == "symmetric" else mnist.load(normalize=normalize).train[0]
    assert (float(inputs.min()), float(inputs.max())) == (low, high)


def test_symmetric_has_the_bits_of_totensor_and_normalize_of_the_article(splits, unpacked):
    pixels = read_image_file(str(unpacked / "train-images-idx3-ubyte"))[:100].numpy()
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    assert torch.equal(splits.train[0][:100], torch.stack([steps(image) for image in pixels]))


def test_standard_has_mean_zero_and_deviation_one_over_the_training_images():
    inputs = mnist.load(normalize="standard").train[0].double()
    assert float(inputs.mean()) == pytest.approx(0, abs=2e-4)
    assert float(inputs.std()) == pytest.approx(1, abs=2e-4)


def test_unknown_normalize_names_the_allowed_ones():
    with pytest.raises(ValueError, match="normalize must be one of symmetric, unit, standard, imagenet, got 'zscore'"):
        mnist.load(normalize="zscore")


@pytest.mark.parametrize("name", FILES)
def test_listed_checksums_hold_for_packed_and_unpacked_bytes(name):
    listed = dict(line.split()[::-1] for line in (mnist.FOLDER / "SHA256SUMS").read_text().splitlines())
    packed = (mnist.FOLDER / f"{name}.xz").read_bytes()
    assert listed[f"{name}.xz"] == hashlib.sha256(packed).hexdigest()
    assert listed[name] == mnist.CHECKSUMS[name] == hashlib.sha256(lzma.decompress(packed)).hexdigest()


def test_the_notice_names_authors_source_and_licence():
    notice = (mnist.FOLDER / "NOTICE").read_text()
    for due in ("LeCun", "Cortes", "Burges", "http://yann.lecun.com/exdb/mnist/", "CC BY-SA 3.0"):
        assert due in notice


def test_missing_file_is_a_data_error_that_names_it(copied):
    (copied / "t10k-labels-idx1-ubyte.xz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.xz: No such file"):
        mnist.load()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_folder_in_the_place_of_a_file_is_refused_at_once(copied, make):
    path = copied / "t10k-labels-idx1-ubyte.xz"
    path.unlink()
    make(path)
    with pytest.raises(DataError, match=r"cannot read .*t10k-labels-idx1-ubyte\.xz: not a regular file; install"):
        mnist.read_idx("t10k-labels-idx1-ubyte")


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_cut_file_is_a_data_error_that_names_it(copied, keep):
    path = copied / "t10k-labels-idx1-ubyte.xz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.xz"):
        mnist.read_idx("t10k-labels-idx1-ubyte")


def test_altered_bytes_are_a_data_error_that_names_the_file_and_both_sums(copied):
    path = copied / "t10k-labels-idx1-ubyte.xz"
    raw = bytearray(lzma.decompress(path.read_bytes()))
    raw[100] ^= 1
    path.write_bytes(lzma.compress(bytes(raw)))
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.xz is not what it was.*ff7bcfd4.*got "):
        mnist.read_idx("t10k-labels-idx1-ubyte")


def test_idx_header_gives_the_shape(tmp_path, monkeypatch):
    raw = bytes([0, 0, 8, 2]) + struct.pack(">II", 2, 3) + bytes(range(6))
    (tmp_path / "toy.xz").write_bytes(lzma.compress(raw))
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)
    monkeypatch.setitem(mnist.CHECKSUMS, "toy", hashlib.sha256(raw).hexdigest())
    np.testing.assert_array_equal(mnist.read_idx("toy").numpy(), [[0, 1, 2], [3, 4, 5]])
