"""MNIST: 60,000 + 10,000 grey images of handwritten digits, embedded, so that nothing is downloaded.

LeCun, Cortes and Burges; CC BY-SA 3.0. See data/mnist/NOTICE.
"""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import torch

from harness.errors import DataError
from harness.hookspecs import Dataset, hookimpl

from .images import Images, Pixels, idx, image_dataset

FOLDER = Path(__file__).parent / "data" / "mnist"

# SHA-256 of the unpacked files, as first published.
CHECKSUMS = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@image_dataset
def load(root: Path | None = None) -> Images:
    """Handwritten digits: float32 images (N, 1, 28, 28) and int64 labels (N,), 60,000 for training and 10,000 for test.

    The files are embedded, so `root` is not used.

    Raises:
        ValueError: an option is out of range.
        DataError: a file is missing, or is not what it was.
    """
    train, test = (_split(prefix) for prefix in ("train", "t10k"))
    return Images(train, test, class_names=tuple("0123456789"))


def _split(prefix: str) -> Pixels:
    return read_idx(f"{prefix}-images-idx3-ubyte").unsqueeze(1), read_idx(f"{prefix}-labels-idx1-ubyte").long()


def read_idx(name: str) -> torch.Tensor:
    """The bytes of one embedded IDX file as a uint8 tensor in the shape that its header states.

    Raises:
        DataError: the file is missing or no regular file, or its unpacked bytes are not the published ones.
    """
    path = FOLDER / f"{name}.xz"
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise DataError(f"mnist: cannot read {path}: not a regular file; install the package again")
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
    return idx(raw)


@hookimpl
def harness_datasets() -> list[Dataset]:
    """`mnist`."""
    source = "LeCun, Bottou, Bengio, Haffner 1998, Proceedings of the IEEE 86(11), section III.A"
    return [Dataset("mnist", load=load, source=source)]
