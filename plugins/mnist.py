"""MNIST: 60,000 + 10,000 grey images of handwritten digits, embedded, so that nothing is downloaded.

LeCun, Cortes and Burges; CC BY-SA 3.0. See data/mnist/NOTICE.
"""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import torch

from harness.errors import DataError
from harness.hookspecs import Dataset, Splits, hookimpl

FOLDER = Path(__file__).parent / "data" / "mnist"

# SHA-256 of the unpacked files, as first published.
CHECKSUMS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

# What is taken from a pixel in [0, 1], and what the rest is divided by.
NORMALIZE = {"symmetric": (0.5, 0.5), "unit": (0.0, 1.0), "standard": (0.1307, 0.3081)}


def load(root: Path | None = None, *, normalize: str = "symmetric") -> Splits:
    """Handwritten digits: float32 images (N, 1, 28, 28) and int64 labels (N,), 60,000 for training and 10,000 for test.

    Args:
        root: not used, the files are embedded.
        normalize: `symmetric` maps pixels to [-1, 1], `unit` to [0, 1], and `standard` to mean 0 and deviation 1
            over the training images (by their published 0.1307 and 0.3081).

    Raises:
        ValueError: no such `normalize`.
        DataError: a file is missing, or is not what it was.
    """
    if normalize not in NORMALIZE:
        raise ValueError(f"mnist: normalize must be one of {', '.join(NORMALIZE)}, got {normalize!r}")
    train, test = (_split(prefix, *NORMALIZE[normalize]) for prefix in ("train", "t10k"))
    return Splits(train, test, classes=10, class_names=tuple("0123456789"))


def _split(prefix: str, shift: float, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    pixels_NHW = read_idx(f"{prefix}-images-idx3-ubyte")
    images_NCHW = pixels_NHW.unsqueeze(1).float().div_(255).sub_(shift).div_(scale)
    return images_NCHW, read_idx(f"{prefix}-labels-idx1-ubyte").long()


def read_idx(name: str) -> torch.Tensor:
    """The bytes of one embedded IDX file as a uint8 tensor in the shape that its header states.

    Raises:
        DataError: the file is missing, or its unpacked bytes are not the published ones.
    """
    path = FOLDER / f"{name}.xz"
    try:
        raw = bytearray(lzma.decompress(path.read_bytes()))
    except OSError as error:
        raise DataError(f"mnist: cannot read {path}: {error.strerror or error}; install the package again") from error
    except lzma.LZMAError as error:
        raise DataError(f"mnist: {path} is damaged ({error}); install the package again") from error
    found = hashlib.sha256(raw).hexdigest()
    if found != CHECKSUMS[name]:
        raise DataError(
            f"mnist: {path} is not what it was: its unpacked SHA-256 must be {CHECKSUMS[name]}, got {found}; "
            "install the package again"
        )
    # An IDX header is 00 00 08 (unsigned bytes), the number of axes, then each axis as a big-endian 32-bit integer.
    axes = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    return torch.frombuffer(raw, dtype=torch.uint8, offset=4 + 4 * axes).reshape(shape)


@hookimpl
def harness_datasets() -> list[Dataset]:
    """`mnist`."""
    source = "LeCun, Bottou, Bengio, Haffner 1998, Proceedings of the IEEE 86(11), section III.A"
    return [Dataset("mnist", load=load, source=source)]
