"""Oxford-IIIT Pet, Flowers-102 and DTD, from small files as they are published: images of several sizes and modes."""

import dataclasses
import hashlib
import http.server
import io
import os
import re
import shutil
import tarfile
import threading

import numpy as np
import pytest
import torch
from harness_plugins import torchvision_photographs as photographs
from harness_plugins.images import IMAGENET
from harness_plugins.torchvision_photographs import COLLECTIONS, WAYS, oxford_iiit_pet
from PIL import Image
from scipy.io import savemat
from torchvision import datasets
from torchvision.transforms import v2

from harness import download
from harness.errors import DataError
from harness.locations import DOWNLOAD
from harness.testing import check

torch.set_num_threads(1)

PARTS = {part.name: part for part in photographs.harness_datasets()}
BREEDS = ("Abyssinian", "american_bulldog", "Bengal", "yorkshire_terrier")
TEXTURES = ("banded", "crosshatched", "zigzagged")
SIZES = ((31, 20), (20, 31), (24, 24), (9, 12), (70, 17), (13, 40))
"""Width and height."""
SIZE = 16


def pictured(number, mode="RGB"):
    """A photograph, of another size than its neighbours."""
    width, height = SIZES[number % len(SIZES)]
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = [np.sin((number + 2) * x * (k + 1)) * np.cos((number % 5 + 1) * y + k) for k in range(3)]
    return Image.fromarray(((np.stack(waves, -1) + 1) * 127.5).astype(np.uint8)).convert(mode)


def encoded(image, kind="JPEG"):
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def pets():
    """Files by name, and the images of both splits in order as (name, label)."""
    files, splits = {}, {}
    for split, numbers in (("trainval", (3, 1, 2)), ("test", (4, 5))):
        shown = [(f"{breed}_{number}", label) for label, breed in enumerate(BREEDS) for number in numbers]
        lines = [f"{name} {label + 1} {1 + name[0].islower()} 1\n" for name, label in shown]
        files[f"annotations/{split}.txt"] = "".join(lines).encode()
        splits[split] = [(f"images/{name}.jpg", label) for name, label in shown]
    names = [name for split in splits.values() for name, _ in split]
    files |= {name: encoded(pictured(number)) for number, name in enumerate(names)}
    files[names[1]] = encoded(pictured(1, "L"))
    files[names[2]] = encoded(pictured(2, "CMYK"))
    files[names[4]] = encoded(pictured(4, "P"), "GIF")  # some of the published .jpg are such
    files[names[5]] = encoded(pictured(5, "RGBA"), "PNG")
    return files, splits["trainval"], splits["test"]


def flowers():
    labels = np.arange(306) % 102 + 1
    ids = {"trnid": np.arange(3, 105), "valid": np.arange(1, 3), "tstid": np.arange(205, 307)}
    files = {f"jpg/image_{id:05d}.jpg": encoded(pictured(id)) for some in ids.values() for id in some}
    for name, content in (("imagelabels.mat", {"labels": labels[None]}), ("setid.mat", ids)):
        buffer = io.BytesIO()
        savemat(buffer, content)
        files[name] = buffer.getvalue()
    shown = {name: [(f"jpg/image_{id:05d}.jpg", (id - 1) % 102) for id in some] for name, some in ids.items()}
    return files, shown["trnid"] + shown["valid"], shown["tstid"]


def textures():
    files, splits = {}, {}
    for split, numbers in (("train", (7, 2)), ("val", (1,)), ("test", (3, 9))):
        names = [f"{kind}/{kind}_{number:04d}.jpg" for kind in TEXTURES for number in numbers]
        files[f"labels/{split}1.txt"] = "".join(f"{name}\n" for name in names).encode()
        splits[split] = [(f"images/{name}", TEXTURES.index(name.partition("/")[0])) for name in names]
    files["labels/train2.txt"] = b"banded/of_another_partition.jpg\n"
    names = [name for split in splits.values() for name, _ in split]
    files |= {name: encoded(pictured(number)) for number, name in enumerate(names)}
    return files, splits["train"] + splits["val"], splits["test"]


@dataclasses.dataclass
class Set:
    """A small data set in a data root of its own."""

    name: str
    root: object
    files: dict
    train: list
    test: list

    @property
    def folder(self):
        collection = COLLECTIONS[self.name]
        return self.root / collection.base / collection.inner

    def load(self, **options):
        return PARTS[self.name].load(self.root, **{"size": SIZE, **options})

    def refused(self):
        with pytest.raises(DataError) as said:
            self.load()
        assert "\n" not in str(said.value)
        return str(said.value)


MADE = {"oxford_iiit_pet": pets, "flowers102": flowers, "dtd": textures}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Each data set in a data root that no test changes."""
    found = {}
    for name, make in MADE.items():
        made = Set(name, tmp_path_factory.mktemp(name), *make())
        put(made.folder, made.files)
        found[name] = made
    return found


def put(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture(autouse=True)
def _small(monkeypatch, written):
    """No permission; the small files are the published ones, as far as torchvision looks."""
    monkeypatch.setenv(DOWNLOAD, "")
    for name, made in written.items():
        files = [
            dataclasses.replace(file, md5=md5(made.files[file.name])) if file.name in made.files else file
            for file in COLLECTIONS[name].files
        ]
        sizes = (len(made.train), len(made.test))
        monkeypatch.setitem(
            COLLECTIONS, name, dataclasses.replace(COLLECTIONS[name], files=tuple(files), examples=sizes)
        )
    listed = {"label": "imagelabels.mat", "setid": "setid.mat"}
    own = {key: (file, md5(written["flowers102"].files[file])) for key, file in listed.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", {**datasets.Flowers102._file_dict, **own})


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def copied(tmp_path, written):
    """A data set of the test's own."""

    def copy(name="oxford_iiit_pet"):
        shutil.copytree(written[name].root, tmp_path / "data")
        return dataclasses.replace(written[name], root=tmp_path / "data")

    return copy


# Read ----------------------------------------------------------------------------------------------------------------


def halved(values, size):
    """The first axis brought to another length by a triangle as wide as what an output pixel covers, written out."""
    scale = len(values) / size
    made = []
    for out in range(size):
        centre, reach = (out + 0.5) * scale, max(scale, 1.0)
        shares = np.array([max(0.0, 1 - abs(k + 0.5 - centre) / reach) for k in range(len(values))])
        made.append(np.tensordot(shares / shares.sum(), values, 1))
    return np.clip(np.floor(np.stack(made) + 0.5), 0, 255)


def centre(content):
    """What is due of an encoded image: (3, SIZE, SIZE)."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(float)
    height, width = pixels.shape[:2]
    due = [SIZE, int(SIZE * width / height)] if height < width else [int(SIZE * height / width), SIZE]
    resized = halved(halved(pixels.swapaxes(0, 1), due[1]).swapaxes(0, 1), due[0])
    top, left = (round((side - SIZE) / 2) for side in due)
    return resized[top : top + SIZE, left : left + SIZE].transpose(2, 0, 1)


@pytest.mark.parametrize("name", PARTS)
def test_the_official_splits_are_read_in_order_cut_to_their_centre(written, name):
    made = written[name]
    splits = made.load(normalize="unit")
    for (pixels, labels), due in ((splits.train, made.train), (splits.test, made.test)):
        assert labels.tolist() == [label for _, label in due]
        assert tuple(pixels.shape) == (len(due), 3, SIZE, SIZE)
        for row, (file, _) in zip(pixels[:12], due, strict=False):
            np.testing.assert_allclose(row.numpy() * 255, centre(made.files[file]), atol=1.01)


def test_class_names_are_those_that_are_published(written):
    assert written["oxford_iiit_pet"].load().class_names == (
        "Abyssinian", "American Bulldog", "Bengal", "Yorkshire Terrier"
    )  # fmt: skip
    assert written["dtd"].load().class_names == TEXTURES
    names = written["flowers102"].load().class_names
    assert (len(names), names[0], names[76], names[101]) == (102, "pink primrose", "passion flower", "blackberry lily")


def test_grey_images_become_three_equal_channels(written):
    grey = written["oxford_iiit_pet"].load().train[0][1]
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])


def test_an_image_in_printing_colours_looks_as_it_did(written):
    made = written["oxford_iiit_pet"]
    buffer = io.BytesIO(made.files[made.train[2][0]])
    assert Image.open(buffer).mode == "CMYK"
    due = centre(encoded(pictured(2), "PNG"))
    found = made.load(normalize="unit").train[0][2].numpy() * 255
    assert np.abs(found - due).mean() < 5
    assert np.abs(found - due[::-1]).mean() > 20


def test_pixels_are_those_of_torchvisions_own_transforms(written):
    made = written["dtd"]
    fit = v2.Compose([v2.Resize(SIZE, antialias=True), v2.CenterCrop(SIZE), v2.PILToTensor()])
    theirs = datasets.DTD(made.root, split="test", transform=fit)
    pixels, labels = zip(*theirs, strict=True)
    found = made.load(normalize="unit").test
    assert torch.equal((found[0] * 255).round().to(torch.uint8), torch.stack(pixels))
    assert found[1].tolist() == list(labels)


def test_an_image_of_the_size_is_left_as_it_is(copied):
    made = copied()
    own = np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(SIZE, SIZE, 3)
    (made.folder / made.train[0][0]).write_bytes(encoded(Image.fromarray(own), "PNG"))
    np.testing.assert_array_equal((made.load(normalize="unit").train[0][0] * 255).round(), own.transpose(2, 0, 1))


def test_the_options_of_images_hold_for_them(written):
    made = written["oxford_iiit_pet"]
    plain = made.load(normalize="unit").train
    chosen = made.load(normalize="imagenet", classes=[2, 0], half=1)
    assert chosen.class_names == ("Bengal", "Abyssinian")
    assert chosen.train[1].tolist() == [1, 0]
    mean, deviation = torch.tensor(IMAGENET).T.reshape(2, 3, 1, 1)
    torch.testing.assert_close(chosen.train[0] * deviation + mean, plain[0][[1, 7]])


@pytest.mark.parametrize("name", PARTS)
def test_each_of_them_conforms(written, name):
    check(PARTS[name], root=written[name].root, options={"size": 8})


def test_no_number_of_threads_changes_a_pixel(written, monkeypatch):
    found = []
    for cores in (1, 7):
        monkeypatch.setattr(photographs, "_cores", lambda cores=cores: cores)
        found.append(written["flowers102"].load().train[0])
    assert torch.equal(*found)


@pytest.mark.parametrize("size", [0, -1, 16.0, True, "16", None])
def test_a_size_that_is_none_is_refused_with_the_rule(written, size):
    with pytest.raises(ValueError, match=rf"size must be a whole number of at least 1, got {re.escape(repr(size))}"):
        written["dtd"].load(size=size)


def test_what_would_not_fit_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(photographs, "machine_memory_mb", lambda: 4096.0)
    due = "oxford_iiit_pet: 7,349 images of 3 x 224 x 224 need 6.1 GB of memory, this machine has 4.3 GB; choose a "
    with pytest.raises(DataError, match=rf"^{due}smaller size$"):
        oxford_iiit_pet(tmp_path)
    for memory in (4096.0, None):
        monkeypatch.setattr(photographs, "machine_memory_mb", lambda memory=memory: memory)
        with pytest.raises(DataError, match="no annotations"):
            oxford_iiit_pet(tmp_path, size=224 if memory is None else 96)


def test_what_is_published_is_what_torchvision_takes_it_for(monkeypatch):
    monkeypatch.undo()
    published = {name: [(file.url, file.md5) for file in one.files] for name, one in COLLECTIONS.items()}
    flowers, prefix = datasets.Flowers102._file_dict, datasets.Flowers102._download_url_prefix
    assert published == {
        "oxford_iiit_pet": list(datasets.OxfordIIITPet._RESOURCES),
        "flowers102": [(prefix + name, digest) for name, digest in flowers.values()],
        "dtd": [(datasets.DTD._URL, datasets.DTD._MD5)],
    }
    examples = {name: one.examples for name, one in COLLECTIONS.items()}
    assert examples == {"oxford_iiit_pet": (3680, 3669), "flowers102": (2040, 6149), "dtd": (3760, 1880)}


# Not found, or not as they were --------------------------------------------------------------------------------------

NOTHING = {
    "oxford_iiit_pet": ("oxford-iiit-pet", "annotations/trainval.txt, annotations/test.txt, images"),
    "flowers102": ("flowers-102", "imagelabels.mat, setid.mat, jpg"),
    "dtd": ("dtd/dtd", "labels/train1.txt, labels/val1.txt, labels/test1.txt, images"),
}


@pytest.mark.parametrize("name", PARTS)
def test_what_is_not_found_is_named_with_its_folder_and_the_ways_out(tmp_path, name):
    folder, files = NOTHING[name]
    with pytest.raises(DataError) as said:
        PARTS[name].load(tmp_path / "nowhere")
    assert str(said.value) == f"{name}: no {files} in {tmp_path / 'nowhere' / folder}; {WAYS}"
    assert "--data DIR" in WAYS
    assert "--download" in WAYS
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", PARTS)
def test_a_half_unpacked_archive_is_said_with_the_first_that_lack_and_their_number(copied, name):
    made = copied(name)
    names = [file for file, _ in made.train + made.test]
    for file in names[-5:]:
        (made.folder / file).unlink()
    first = ", ".join(names[-5:-2])
    assert made.refused() == f"{name}: no {first} and 2 more of {len(names)} images in {made.folder}; {WAYS}"
    put(made.folder, {file: made.files[file] for file in names[-4:]})
    assert made.refused() == f"{name}: no {names[-5]} of {len(names)} images in {made.folder}; {WAYS}"


@pytest.mark.parametrize(
    ("name", "cut"),
    [("oxford_iiit_pet", "annotations/test.txt"), ("dtd", "labels/val1.txt"), ("dtd", "labels/test1.txt")],
)
def test_a_list_that_ends_early_is_no_smaller_data_set(copied, name, cut):
    made = copied(name)
    (made.folder / cut).write_bytes(b"".join(made.files[cut].splitlines(keepends=True)[:-1]))
    counts = [len(made.train), len(made.test)]
    due = f"{counts[0]} training and {counts[1]} test images; {WAYS}"
    counts["test" in cut] -= 1
    listed = f"list {counts[0]} training and {counts[1]} test images, published are"
    assert made.refused() == f"{name}: {', '.join(COLLECTIONS[name].lists)} in {made.folder} {listed} {due}"


@pytest.mark.parametrize("content", [b"Abyssinian_3 1 1 1\nAbyssinian_1 1", b"\0\xff\xfe", b"<html>", b"a b c d\n"])
def test_a_list_that_cannot_be_read_is_named(copied, content):
    made = copied()
    (made.folder / "annotations/trainval.txt").write_bytes(content)
    due = rf"^oxford_iiit_pet: annotations/trainval.txt, annotations/test.txt in {made.folder} cannot be read \("
    assert re.search(due, made.refused())


def test_lists_of_different_classes_are_refused(copied):
    made = copied("dtd")
    (made.folder / "labels/val1.txt").write_bytes(b"banded/banded_0001.jpg\n" * 3)
    assert re.match(r"dtd: labels/.* have other classes in one than in another; put the files", made.refused())


@pytest.mark.parametrize("file", ["imagelabels.mat", "setid.mat"])
def test_lists_other_than_published_are_never_read(copied, file, monkeypatch):
    made = copied("flowers102")
    (made.folder / file).write_bytes(made.files[file] + b"\0")
    monkeypatch.setattr("scipy.io.loadmat", lambda *_, **__: pytest.fail("read"))
    assert made.refused() == f"flowers102: {file} other than published (by MD5) in {made.folder}; {WAYS}"


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-40], lambda raw: b"", lambda raw: b"a page", lambda raw: raw[:9]])
def test_an_image_that_cannot_be_decoded_is_named(copied, spoil):
    made = copied()
    file = made.test[3][0]
    (made.folder / file).write_bytes(spoil(made.files[file]))
    assert re.match(rf"oxford_iiit_pet: {made.folder / file} cannot be read \(\w+: .*\); put the files", made.refused())


@pytest.mark.parametrize("permission", ["", "1"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("what", ["image", "list"])
@pytest.mark.parametrize("name", PARTS)
def test_a_pipe_or_folder_in_the_place_of_a_file_is_refused_at_once(copied, monkeypatch, name, what, make, permission):
    monkeypatch.setenv(DOWNLOAD, permission)
    made = copied(name)
    path = made.folder / (made.test[1][0] if what == "image" else COLLECTIONS[name].lists[1])
    path.unlink()
    make(path)
    assert made.refused() == f"{name}: {path} is not a regular file; remove it"


# Fetched -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def offered(tmp_path, written, monkeypatch):
    """Serve a data set as it is published; returns the set in an empty data root, and the paths that are asked for."""
    folder, asked = tmp_path / "web", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *args):
            asked.append(self.path)

    def offer(name):
        made = written[name]
        address, files = f"http://127.0.0.1:{server.server_port}/", []
        for file in COLLECTIONS[name].files:
            content = made.files.get(file.name) or archive(made, file.name)
            (folder / file.name).write_bytes(content)
            files.append(photographs.File(address + file.name, md5(content)))
        monkeypatch.setitem(COLLECTIONS, name, dataclasses.replace(COLLECTIONS[name], files=tuple(files)))
        monkeypatch.setenv(DOWNLOAD, "1")
        return dataclasses.replace(made, root=tmp_path / "root"), asked

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield offer
        server.shutdown()
        thread.join()


def archive(made, name):
    """The set's files that an archive of that name is published with."""
    inside = {
        "images.tar.gz": ("images/", ""), "annotations.tar.gz": ("annotations/", ""), "102flowers.tgz": ("jpg/", ""),
        "dtd-r1.0.1.tar.gz": ("", "dtd/"),
    }  # fmt: skip
    begins, before = inside[name]
    return packed({before + file: content for file, content in made.files.items() if file.startswith(begins)})


def packed(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def same(found, due):
    return all(torch.equal(*pair) for pair in zip((*found.train, *found.test), (*due.train, *due.test), strict=True))


@pytest.mark.parametrize("name", PARTS)
def test_what_is_not_found_is_downloaded_where_that_is_allowed_and_only_once(offered, written, monkeypatch, name):
    made, asked = offered(name)
    monkeypatch.setenv(DOWNLOAD, "")
    assert made.refused().endswith(WAYS)
    assert asked == []
    monkeypatch.setenv(DOWNLOAD, "1")
    assert same(made.load(), written[name].load())
    assert len(asked) == len(COLLECTIONS[name].files)
    for permission in ("", "1"):
        monkeypatch.setenv(DOWNLOAD, permission)
        assert same(made.load(), written[name].load())
    assert len(asked) == len(COLLECTIONS[name].files)


@pytest.mark.parametrize("damage", ["half unpacked", "truncated", "list cut"])
def test_what_lacks_or_is_damaged_is_unpacked_again_without_another_download(offered, written, damage):
    made, asked = offered("dtd")
    made.load()
    asked.clear()
    if damage == "half unpacked":
        shutil.rmtree(made.folder / "images" / "zigzagged")
    elif damage == "truncated":
        (made.folder / made.test[0][0]).write_bytes(made.files[made.test[0][0]][:-30])
    else:
        (made.folder / "labels/test1.txt").write_bytes(made.files["labels/test1.txt"][:-30])
    assert same(made.load(), written["dtd"].load())
    assert asked == []


def test_an_altered_list_is_downloaded_again(offered, written):
    made, asked = offered("flowers102")
    made.load()
    asked.clear()
    (made.folder / "setid.mat").write_bytes(b"altered")
    assert same(made.load(), written["flowers102"].load())
    assert asked == ["/setid.mat"]


def test_unpacking_that_is_cut_off_is_taken_up_by_the_next_command(offered, written, monkeypatch):
    made, asked = offered("oxford_iiit_pet")
    put_there = download.write_atomically

    def killed(path, data, **options):
        if path.name == "Bengal_1.jpg":
            (path.parent / f".{path.name}.{os.uname().nodename}.{2**22 + 1}.0123abcd.tmp").write_bytes(data[:50])
            raise KeyboardInterrupt
        put_there(path, data, **options)

    with monkeypatch.context() as cut:
        cut.setattr(download, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            made.load()
    assert same(made.load(), written["oxford_iiit_pet"].load())
    assert sorted(asked) == ["/annotations.tar.gz", "/images.tar.gz"]
    assert not list(made.root.rglob(".*"))


def test_a_download_that_is_not_the_published_one_is_refused(offered, tmp_path):
    made, _ = offered("oxford_iiit_pet")
    (tmp_path / "web" / "images.tar.gz").write_bytes(b"a page that asks for a password")
    said = made.refused()
    assert re.match(r"oxford_iiit_pet: what came from http.*/images.tar.gz is not as published: its MD5 must be ", said)
    assert "the same command tries again" in said
    assert not list(made.root.rglob("*.jpg"))


def test_an_address_without_the_file_is_said(offered, tmp_path):
    made, _ = offered("dtd")
    (tmp_path / "web" / "dtd-r1.0.1.tar.gz").unlink()
    assert re.match(r"dtd: dtd-r1.0.1.tar.gz cannot be downloaded from .*HTTP Error 404", made.refused())


def test_a_folder_that_nothing_can_be_written_into_is_said(offered):
    made, _ = offered("dtd")
    made.root.write_text("a file")
    assert re.match(rf"dtd: .* cannot be downloaded into {made.root / 'dtd'} \(", made.refused())


@pytest.mark.parametrize("outside", ["../stolen.jpg", "/tmp/stolen.jpg", "dtd/../../stolen.jpg"])
def test_an_archive_writes_nothing_outside_its_folder(offered, tmp_path, monkeypatch, outside):
    made, _ = offered("dtd")
    content = packed({outside: b"stolen"})
    (tmp_path / "web" / "dtd-r1.0.1.tar.gz").write_bytes(content)
    own = dataclasses.replace(COLLECTIONS["dtd"].files[0], md5=md5(content))
    monkeypatch.setitem(COLLECTIONS, "dtd", dataclasses.replace(COLLECTIONS["dtd"], files=(own,)))
    assert f"has a file outside its own folder, {outside!r}; remove it" in made.refused()
    assert not list(tmp_path.rglob("stolen.jpg"))


def test_an_archive_that_does_not_hold_what_it_should_is_said_and_ends(offered, tmp_path, monkeypatch):
    made, asked = offered("dtd")
    content = packed({"dtd/labels/train1.txt": b""})
    (tmp_path / "web" / "dtd-r1.0.1.tar.gz").write_bytes(content)
    own = dataclasses.replace(COLLECTIONS["dtd"].files[0], md5=md5(content))
    monkeypatch.setitem(COLLECTIONS, "dtd", dataclasses.replace(COLLECTIONS["dtd"], files=(own,)))
    said = made.refused()
    assert re.match(r"dtd: no labels/val1.txt, .* in .*, though it was just made from the published files$", said)
    assert len(asked) == 1


# From the command line -----------------------------------------------------------------------------------------------

SUITE = {
    "problem.dataset": {"use": "oxford_iiit_pet", "size": 8, "normalize": "imagenet"},
    "problem.model": {"use": "cnn", "channels": [4], "hidden": 8},
    "problem.train_examples": None,
    "problem.labels_per_class": 2,
    "problem.validation_examples": 4,
    "problem.epochs": 1,
    "problem.batch_size": 4,
    "tuning": None,
    "compare.replicates": 1,
}


def test_a_suite_with_few_labels_a_class_runs_on_them(project, written):
    result = project.write(suite=SUITE).run(
        "run", "suite.toml", "--data", str(written["oxford_iiit_pet"].root)
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "2 of 2 ok" in result.err


def test_a_suite_on_what_is_not_there_ends_with_the_way_out_before_anything_runs(project):
    result = project.write(suite=SUITE).run("run", "suite.toml", "--data", "nowhere")
    assert result.code == 4
    assert len(result.err.splitlines()) == 1
    assert re.match(
        r"error: suite\.toml:\d+:11: dataset 'oxford_iiit_pet': oxford_iiit_pet: no annotations", result.err
    )
    assert result.err.rstrip().endswith(WAYS)
    assert not (project.folder / "results").exists()
