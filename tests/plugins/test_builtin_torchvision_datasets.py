"""torchvision's data sets, from small files in their formats; Fashion-MNIST also as Debian's package has it."""

import gc
import gzip
import hashlib
import http.server
import io
import lzma
import os
import pickle
import socket
import struct
import tarfile
import threading
import zipfile

import numpy as np
import pytest
import torch
from harness_plugins import torchvision_datasets
from harness_plugins.images import Images, statistics
from harness_plugins.torchvision_datasets import DEBIAN, EMNIST_SPLITS, cifar10, cifar100, emnist, fashion_mnist, kmnist
from torchvision import datasets

from harness.errors import DataError
from harness.locations import DOWNLOAD
from harness.testing import check

torch.set_num_threads(1)

PARTS = {part.name: part for part in torchvision_datasets.harness_datasets()}
GREY = {"fashion_mnist": (fashion_mnist, datasets.FashionMNIST), "kmnist": (kmnist, datasets.KMNIST)}
CIFAR = {"cifar10": (cifar10, datasets.CIFAR10, 10), "cifar100": (cifar100, datasets.CIFAR100, 100)}
CLASSES = {"balanced": 47, "letters": 26, "digits": 10, "byclass": 62, "bymerge": 47, "mnist": 10}
needs_debian = pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    """No permission, and no data set of the machine unless a test asks for it."""
    monkeypatch.setenv(DOWNLOAD, "")
    monkeypatch.setattr(torchvision_datasets, "DEBIAN", tmp_path / "debian")


def drawn(classes, *, first=0, seed=0, per_class=2):
    """Images (N, 28, 28) and labels (N,), every class twice."""
    labels = np.arange(first, first + classes).repeat(per_class).astype(np.uint8)
    np.random.RandomState(seed).shuffle(labels)
    return np.random.RandomState(seed).randint(0, 256, (len(labels), 28, 28)).astype(np.uint8), labels


def as_idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist_files(classes=10):
    """The four files of a data set like MNIST by name, and what is in them."""
    train, test = drawn(classes, seed=1), drawn(classes, seed=2, per_class=1)
    files = {}
    for prefix, (images, labels) in (("train", train), ("t10k", test)):
        files[f"{prefix}-images-idx3-ubyte"] = as_idx(images)
        files[f"{prefix}-labels-idx1-ubyte"] = as_idx(labels)
    return files, train, test


def emnist_files(split):
    first = 1 if split == "letters" else 0
    train, test = (drawn(CLASSES[split], first=first, seed=seed) for seed in (1, 2))
    files = {}
    for part, (images, labels) in (("train", train), ("test", test)):
        files[f"emnist-{split}-{part}-images-idx3-ubyte"] = as_idx(images)
        files[f"emnist-{split}-{part}-labels-idx1-ubyte"] = as_idx(labels)
    return files, train, test


def cifar_files(kind, classes):
    """The files of CIFAR by name, as Python 2 pickled them, and the pixels (N, 3072) and labels that are in them."""
    key, names = ("labels", "label_names") if classes == 10 else ("fine_labels", "fine_label_names")
    files, found = {}, {"train": ([], []), "test": ([], [])}
    for part, listed in (("train", kind.train_list), ("test", kind.test_list)):
        for number, (name, _) in enumerate(listed):
            generator = np.random.RandomState(number)
            pixels = generator.randint(0, 256, (classes, 3072)).astype(np.uint8)
            labels = generator.permutation(classes).tolist()
            files[name] = pickle.dumps({"data": pixels, key: labels}, protocol=2)
            found[part][0].append(pixels)
            found[part][1].extend(labels)
    files[kind.meta["filename"]] = pickle.dumps({names: [f"kind {k}" for k in range(classes)]}, protocol=2)
    return files, *((np.concatenate(pixels), np.array(labels)) for pixels, labels in found.values())


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def publish(monkeypatch, kind, files):
    """Have torchvision take the given files of CIFAR for the published ones: it checks their MD5 all the same."""
    md5 = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in files.items()}
    for table in ("train_list", "test_list"):
        monkeypatch.setattr(kind, table, [[name, md5[name]] for name, _ in getattr(kind, table)])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5[kind.meta["filename"]]})


def assert_holds(splits, train, test, *, classes):
    """Splits with these grey pixels (N, H, W) or these channels (N, C, H, W), in order."""
    for found, (images, labels) in ((splits.train, train), (splits.test, test)):
        pixels = ((found[0] + 1) * 127.5).round().to(torch.uint8).numpy()
        np.testing.assert_array_equal(pixels, images if images.ndim == 4 else images[:, None])
        np.testing.assert_array_equal(found[1], labels)
    assert splits.classes == len(splits.class_names) == classes


# Found in the data root ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GREY)
def test_idx_files_of_the_data_root_are_read(tmp_path, name):
    load, kind = GREY[name]
    files, train, test = mnist_files()
    put(tmp_path / kind.__name__ / "raw", files)
    splits = load(tmp_path)
    assert_holds(splits, train, test, classes=10)
    assert splits.class_names == tuple(kind.classes)


@pytest.mark.parametrize("split", EMNIST_SPLITS)
def test_each_split_of_emnist_is_read_upright_with_labels_from_zero(tmp_path, split):
    files, train, test = emnist_files(split)
    put(tmp_path / "EMNIST" / "raw", files)
    splits = emnist(tmp_path, split=split)
    first = 1 if split == "letters" else 0
    upright = [(images.transpose(0, 2, 1), labels - first) for images, labels in (train, test)]
    assert_holds(splits, *upright, classes=CLASSES[split])


def test_the_classes_of_emnist_have_the_characters_that_they_are(tmp_path):
    digits, upper, lower = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
    due = {
        "balanced": digits + upper + "abdefghnqrt",
        "letters": lower,
        "digits": digits,
        "byclass": digits + upper + lower,
    }
    for split, names in due.items():
        put(tmp_path / "EMNIST" / "raw", emnist_files(split)[0])
        assert "".join(emnist(tmp_path, split=split).class_names) == names


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_is_read_plane_by_plane_with_the_names_of_its_own_table(tmp_path, monkeypatch, name):
    load, kind, classes = CIFAR[name]
    files, *pairs = cifar_files(kind, classes)
    put(tmp_path / kind.base_folder, files)
    publish(monkeypatch, kind, files)
    # A row is 1,024 reds, 1,024 greens, 1,024 blues, each of them row by row.
    train, test = ((rows.reshape(-1, 3, 32, 32), labels) for rows, labels in pairs)
    splits = load(tmp_path)
    assert_holds(splits, train, test, classes=classes)
    assert splits.class_names[:2] == ("kind 0", "kind 1")


def test_the_options_of_images_hold_for_all_of_them(tmp_path, monkeypatch):
    files, train, _ = mnist_files()
    put(tmp_path / "KMNIST" / "raw", files)
    chosen = kmnist(tmp_path, classes=[7, 2], half=1, rotate=180, normalize="unit")
    assert chosen.class_names == ("ya", "su")
    assert chosen.train[0].shape == (2, 1, 28, 28)
    row = np.flatnonzero(train[1] == chosen_label(chosen))[1]
    np.testing.assert_array_equal((chosen.train[0][0, 0] * 255).round().numpy(), train[0][row][::-1, ::-1])
    files, *_ = cifar_files(datasets.CIFAR10, 10)
    put(tmp_path / "cifar-10-batches-py", files)
    publish(monkeypatch, datasets.CIFAR10, files)
    scaled = cifar10(tmp_path, normalize="standard").train[0].double()
    np.testing.assert_allclose(scaled.mean((0, 2, 3)), 0, atol=3e-4)
    np.testing.assert_allclose(scaled.std((0, 2, 3), correction=0), 1, atol=3e-4)


def chosen_label(splits):
    return {"ya": 7, "su": 2}[splits.class_names[int(splits.train[1][0])]]


@pytest.mark.parametrize("name", PARTS)
def test_each_of_them_conforms(tmp_path, monkeypatch, name):
    if name == "emnist":
        put(tmp_path / "EMNIST" / "raw", emnist_files("balanced")[0])
    elif name in GREY:
        put(tmp_path / GREY[name][1].__name__ / "raw", mnist_files()[0])
    else:
        _, kind, classes = CIFAR[name]
        files, *_ = cifar_files(kind, classes)
        put(tmp_path / kind.base_folder, files)
        publish(monkeypatch, kind, files)
    check(PARTS[name], root=tmp_path)


# Not found, or not as they were --------------------------------------------------------------------------------------

LOOKED_FOR = {
    "fashion_mnist": ("FashionMNIST/raw", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]),
    "kmnist": ("KMNIST/raw", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"]),
    "emnist": ("EMNIST/raw", ["emnist-balanced-train-images-idx3-ubyte", "emnist-balanced-test-labels-idx1-ubyte"]),
    "cifar10": ("cifar-10-batches-py", ["data_batch_1", "data_batch_5", "test_batch", "batches.meta"]),
    "cifar100": ("cifar-100-python", ["train", "test", "meta"]),
}


@pytest.mark.parametrize("name", PARTS)
def test_what_is_not_found_is_named_with_its_folder_and_the_ways_out(tmp_path, name):
    folder, files = LOOKED_FOR[name]
    with pytest.raises(DataError) as said:
        PARTS[name].load(tmp_path / "nowhere")
    text = str(said.value)
    assert text.startswith(f"{name}: no ")
    assert all(file in text for file in files)
    assert f"in {tmp_path / 'nowhere' / folder}" in text
    assert "--data DIR" in text
    assert "--download" in text
    assert ("dataset-fashion-mnist" in text) == (name == "fashion_mnist")
    assert not (tmp_path / "nowhere").exists()


def test_only_what_lacks_is_named(tmp_path):
    files, *_ = mnist_files()
    put(tmp_path / "KMNIST" / "raw", files)
    (tmp_path / "KMNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=rf"^kmnist: no t10k-labels-idx1-ubyte in {tmp_path}/KMNIST/raw; put"):
        kmnist(tmp_path)


@pytest.mark.parametrize("download", ["", "1"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("name", PARTS)
def test_a_pipe_or_folder_in_the_place_of_a_file_is_refused_at_once(tmp_path, monkeypatch, name, make, download):
    monkeypatch.setenv(DOWNLOAD, download)
    folder, files = LOOKED_FOR[name]
    (tmp_path / folder).mkdir(parents=True)
    make(tmp_path / folder / files[1])
    with pytest.raises(DataError, match=rf"^{name}: {tmp_path}/{folder}/{files[1]} is not a regular file; remove it$"):
        PARTS[name].load(tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 10, 900])
def test_a_cut_file_is_a_data_error_with_its_folder_and_the_way_out(tmp_path, keep):
    files, *_ = mnist_files()
    files["train-images-idx3-ubyte"] = files["train-images-idx3-ubyte"][:keep]
    put(tmp_path / "KMNIST" / "raw", files)
    with pytest.raises(
        DataError, match=r"kmnist: the files in .*KMNIST/raw cannot be read \(.*remove them, and have them"
    ):
        kmnist(tmp_path)


def test_a_label_beyond_the_classes_is_a_data_error(tmp_path):
    files, *_ = mnist_files()
    files["train-labels-idx1-ubyte"] = files["train-labels-idx1-ubyte"][:-1] + b"\x0b"
    put(tmp_path / "KMNIST" / "raw", files)
    with pytest.raises(DataError, match="a training label is 11, allowed are 0 to 9; the files are damaged"):
        kmnist(tmp_path)


EXPLODED = []


class Bomb:
    """What a pickle can do."""

    def __reduce__(self):
        return EXPLODED.append, ("bang",)


@pytest.mark.parametrize("name", CIFAR)
def test_pickles_other_than_published_are_never_unpickled(tmp_path, name):
    load, kind, classes = CIFAR[name]
    files, *_ = cifar_files(kind, classes)
    put(tmp_path / kind.base_folder, {**files, kind.meta["filename"]: pickle.dumps(Bomb())})
    with pytest.raises(DataError) as said:
        load(tmp_path)
    text = str(said.value)
    assert f"{kind.meta['filename']} other than published (by MD5) in {tmp_path / kind.base_folder}; put" in text
    assert all(file in text for file in files)
    assert EXPLODED == []


def test_one_altered_file_of_cifar_is_named(tmp_path, monkeypatch):
    files, *_ = cifar_files(datasets.CIFAR10, 10)
    put(tmp_path / "cifar-10-batches-py", files)
    publish(monkeypatch, datasets.CIFAR10, files)
    with (tmp_path / "cifar-10-batches-py/data_batch_3").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match=r"^cifar10: data_batch_3 other than published \(by MD5\) in "):
        cifar10(tmp_path)


def test_an_unknown_split_of_emnist_names_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"split must be one of balanced, letters, digits, .*, got 'capitals'"):
        emnist(tmp_path, split="capitals")


# Fashion-MNIST of Debian ---------------------------------------------------------------------------------------------


@pytest.fixture
def debian(tmp_path):
    """A folder like that of Debian's package, and what is in it."""
    files, train, test = mnist_files()
    put(tmp_path / "debian", {f"{name}.gz": gzip.compress(content) for name, content in files.items()})
    return tmp_path / "debian", train, test


def test_fashion_mnist_is_found_where_debian_installs_it(debian, tmp_path):
    _, train, test = debian
    splits = fashion_mnist(tmp_path / "nowhere")
    assert_holds(splits, train, test, classes=10)
    assert splits.class_names[0] == "T-shirt/top"


def test_the_data_root_comes_before_debian(debian, tmp_path):
    files, _, test = mnist_files()
    blank = np.zeros((20, 28, 28), np.uint8), np.arange(20, dtype=np.uint8) % 10
    files |= {"train-images-idx3-ubyte": as_idx(blank[0]), "train-labels-idx1-ubyte": as_idx(blank[1])}
    put(tmp_path / "root" / "FashionMNIST" / "raw", files)
    assert_holds(fashion_mnist(tmp_path / "root"), blank, test, classes=10)


def test_debian_comes_before_a_download(debian, tmp_path, monkeypatch):
    monkeypatch.setenv(DOWNLOAD, "1")
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    assert len(fashion_mnist(tmp_path / "root").train[0]) == 20
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    "spoil",
    [lambda raw: raw[:20], lambda raw: b"", lambda raw: gzip.compress(b"no IDX"), lambda raw: raw[:-9] + bytes(9)],
)
def test_a_damaged_file_of_debian_is_named(debian, tmp_path, spoil):
    path = debian[0] / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=r"cannot read .*t10k-labels-idx1-ubyte\.gz \(.*; install its package again"):
        fashion_mnist(tmp_path / "nowhere")


@needs_debian
def test_the_real_fashion_mnist_has_its_published_sizes_labels_and_constants(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision_datasets, "DEBIAN", DEBIAN)
    splits = fashion_mnist(tmp_path / "nowhere", normalize="unit")
    assert [tuple(tensor.shape) for tensor in (*splits.train, *splits.test)] == [
        (60_000, 1, 28, 28), (60_000,), (10_000, 1, 28, 28), (10_000,)
    ]  # fmt: skip
    assert splits.train[1][:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert splits.test[1][:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert splits.train[1].bincount().tolist() == [6000] * 10
    assert splits.test[1].bincount().tolist() == [1000] * 10
    pixels = (splits.train[0] * 255).round().to(torch.uint8)
    whole = Images((pixels, splits.train[1]), (pixels[:1], splits.train[1][:1]), splits.class_names)
    assert statistics(whole) == [(0.2860, 0.3530)]


@needs_debian
def test_the_real_fashion_mnist_of_debian_is_what_torchvision_reads_from_the_same_bytes(tmp_path):
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(gzip.decompress((DEBIAN / f"{name}.gz").read_bytes()))
    read = datasets.mnist
    images = read.read_image_file(str(tmp_path / "t10k-images-idx3-ubyte"))
    labels = read.read_label_file(str(tmp_path / "t10k-labels-idx1-ubyte"))
    found = [
        torchvision_datasets.idx(bytearray((tmp_path / f"t10k-{what}").read_bytes()))
        for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    assert torch.equal(found[0], images)
    assert torch.equal(found[1].long(), labels)


# Downloads -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path):
    """A web server of this machine on a folder: its address, the folder, and the paths that were asked for."""
    folder, asked = tmp_path / "web", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *args):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", folder, asked
        server.shutdown()
        thread.join()


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def offer(monkeypatch, kind, address, folder):
    """Serve small files like MNIST's, published at that address with their checksums."""
    files, train, test = mnist_files()
    packed = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    put(folder, packed)
    monkeypatch.setattr(kind, "mirrors", [address])
    monkeypatch.setattr(kind, "resources", [(name, md5(packed[name])) for name, _ in kind.resources])
    return train, test


@pytest.mark.parametrize("name", GREY)
def test_what_is_not_found_is_downloaded_where_that_is_allowed_and_only_once(tmp_path, monkeypatch, served, name):
    load, kind = GREY[name]
    address, folder, asked = served
    train, test = offer(monkeypatch, kind, address, folder)
    with pytest.raises(DataError, match="--download"):
        load(tmp_path / "root")
    assert asked == []
    monkeypatch.setenv(DOWNLOAD, "1")
    assert_holds(load(tmp_path / "root"), train, test, classes=10)
    asked.clear()
    monkeypatch.setenv(DOWNLOAD, "")
    assert_holds(load(tmp_path / "root"), train, test, classes=10)
    monkeypatch.setenv(DOWNLOAD, "1")
    assert_holds(load(tmp_path / "root"), train, test, classes=10)
    assert asked == []


def test_emnist_is_downloaded_as_one_archive(tmp_path, monkeypatch, served):
    address, folder, _ = served
    files, train, test = emnist_files("digits")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"gzip/{name}.gz", gzip.compress(content))
    put(folder, {"gzip.zip": buffer.getvalue()})
    monkeypatch.setattr(datasets.EMNIST, "url", f"{address}gzip.zip")
    monkeypatch.setattr(datasets.EMNIST, "md5", md5(buffer.getvalue()))
    monkeypatch.setenv(DOWNLOAD, "1")
    upright = [(images.transpose(0, 2, 1), labels) for images, labels in (train, test)]
    assert_holds(emnist(tmp_path / "root", split="digits"), *upright, classes=10)


@pytest.mark.parametrize("altered", [False, True])
def test_cifar_is_downloaded_where_it_lacks_or_was_altered(tmp_path, monkeypatch, served, altered):
    address, folder, _ = served
    kind = datasets.CIFAR100
    files, (_, labels), _ = cifar_files(kind, 100)
    publish(monkeypatch, kind, files)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{kind.base_folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    put(folder, {kind.filename: buffer.getvalue()})
    monkeypatch.setattr(kind, "url", f"{address}{kind.filename}")
    monkeypatch.setattr(kind, "tgz_md5", md5(buffer.getvalue()))
    if altered:
        put(tmp_path / "root" / kind.base_folder, {**files, "train": b"torn"})
    monkeypatch.setenv(DOWNLOAD, "1")
    assert cifar100(tmp_path / "root").train[1].tolist() == labels.tolist()


def refused(load, root):
    with pytest.raises(DataError) as said:
        load(root)
    assert "\n" not in str(said.value)
    return str(said.value)


def test_a_download_from_nowhere_is_a_data_error_with_its_reason_and_the_way_out(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    monkeypatch.setenv(DOWNLOAD, "1")
    monkeypatch.setattr(datasets.KMNIST, "mirrors", [nobody])
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{nobody}cifar.tar.gz")
    for load, folder in ((kmnist, "KMNIST/raw"), (cifar10, "cifar-10-batches-py")):
        text = refused(load, tmp_path)
        assert f"cannot be downloaded into {tmp_path / folder} (" in text
        assert "Connection refused" in text
        assert f" into {tmp_path / folder}" in text.partition("the same command tries again, or put ")[2]


def test_a_download_that_is_not_the_published_one_is_refused(tmp_path, monkeypatch, served):
    address, folder, _ = served
    offer(monkeypatch, datasets.KMNIST, address, folder)
    put(folder, {"train-images-idx3-ubyte.gz": gzip.compress(b"a page that asks for a password")})
    monkeypatch.setenv(DOWNLOAD, "1")
    assert "File not found or corrupted" in refused(kmnist, tmp_path / "root")


# torchvision never closes the answer of a server that has not got the file.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_address_without_the_file_is_said(tmp_path, monkeypatch, served):
    monkeypatch.setenv(DOWNLOAD, "1")
    monkeypatch.setattr(datasets.KMNIST, "mirrors", [served[0]])
    assert "HTTP Error 404" in refused(kmnist, tmp_path / "root")
    gc.collect()


def test_a_folder_that_nothing_can_be_written_into_is_said(tmp_path, monkeypatch, served):
    address, folder, _ = served
    offer(monkeypatch, datasets.KMNIST, address, folder)
    monkeypatch.setenv(DOWNLOAD, "1")
    (tmp_path / "root").write_text("a file")
    assert "NotADirectoryError" in refused(kmnist, tmp_path / "root")


def test_a_download_that_stands_still_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision_datasets, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setenv(DOWNLOAD, "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(datasets.KMNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        assert "timed out" in refused(kmnist, tmp_path)
    assert socket.getdefaulttimeout() is None


def test_mnist_itself_needs_neither_folder_nor_permission(tmp_path):
    from harness_plugins import mnist

    assert lzma.decompress((mnist.FOLDER / "t10k-labels-idx1-ubyte.xz").read_bytes())[:4] == b"\0\0\x08\1"
    assert len(mnist.load(tmp_path / "nowhere", classes=[0, 1]).test[0]) == 980 + 1135
