"""Published weights: chosen by name, found or downloaded, held against their hash, and asked for by the coordinator."""

import hashlib
import http.server
import os
import socket
import threading
from pathlib import Path

import pytest
import torch

from harness import download, published, registry
from harness.errors import DataError, PluginError
from harness.hookspecs import Model, Weights, weights_from_plain, weights_to_plain
from harness.locations import DOWNLOAD
from harness.published import DamagedWeights, find, hub_folder
from harness.registry import child
from harness.registry.catalog import Origin, PartInfo, nearest
from harness.registry.describe import describe

CONTENT = b"numbers" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = f"net-{SHA256[:8]}.pth"
SAID = Weights(FILE, outputs=6, sha256_prefix=SHA256[:8], url=f"https://example.org/{FILE}")


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    """No permission, and a torch hub of the test's own."""
    monkeypatch.setenv(DOWNLOAD, "")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def put(path, content=CONTENT):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# What is said of weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"file": "../net.pth"}, "file must be a bare name ending in .pth or .safetensors, got '../net.pth'"),
        ({"file": ".pth"}, "file must be a bare name"),
        ({"file": "net.pt"}, "file must be a bare name"),
        ({"outputs": 0}, "outputs must be a whole number of at least 1, got 0"),
        ({"outputs": None}, "outputs must be a whole number of at least 1, got None"),
        ({"channels": True}, "channels must be a whole number of at least 1, got True"),
        ({"input_size": 0}, "input_size must be a whole number of at least 1, got 0"),
        ({"mean": (0.5,), "std": (0.5,)}, "one number for each of the 3 channels, got mean=\\(0.5,\\)"),
        ({"mean": (0.5,) * 3}, "mean and std must have one number"),
        ({"url": "file:///etc/passwd"}, "url must begin with https:// or http://"),
        ({"sha256_prefix": "F37072FD"}, "sha256_prefix must be hexadecimal digits, got 'F37072FD'"),
    ],
)
def test_what_cannot_be_weights_is_refused_with_the_rule(fields, message):
    with pytest.raises(ValueError, match=message):
        Weights(**{"file": "net.pth", "outputs": 6, **fields})


@pytest.mark.parametrize("weights", [{"DEFAULT": SAID}, {"": SAID}, {"V1": "net.pth"}])
def test_a_model_has_weights_by_names_that_mean_nothing_else(weights):
    with pytest.raises(ValueError, match="Model: weights"):
        Model("net", build=lambda shape, outputs: None, weights=weights)


def info(weights):
    part = Model("net", build=lambda input_shape, outputs, *, width=4: None, weights=weights)
    return PartInfo.from_plain(describe(part, Origin("", "", "", "", "")).to_plain())


V2 = Weights("two.safetensors", 6, 1, 8, (0.5,), (0.25,), renamed=("a", "b"), options={"width": 5})


def test_weights_travel_as_plain_data():
    both = {"V2": V2, "V1": SAID}
    assert weights_from_plain(weights_to_plain(both)) == both
    assert published.choose(info(both), "V2") == ("V2", V2)
    assert list(info(both).extra["weights"]) == ["V2", "V1"]
    assert info({}).extra["weights"] == {}


def test_weights_that_are_no_plain_data_are_a_mistake_of_the_plugin():
    with pytest.raises(PluginError, match=r"model 'net': weights\['V1'\] must be plain data"):
        info({"V1": Weights("net.pth", 6, options={"width": Path()})})


def test_default_is_the_first_name():
    assert published.choose(info({"V2": V2, "V1": SAID}), "DEFAULT")[0] == "V2"
    assert published.names(info({"V2": V2, "V1": SAID})) == ["V2", "V1", "DEFAULT"]
    assert published.names(info({})) == []


def test_an_unknown_name_is_refused_with_the_known_and_the_near_one():
    with pytest.raises(PluginError, match=r"named 'imagenet_v2' \(known: IMAGENET_V1, DEFAULT\); did you mean 'I"):
        published.choose(info({"IMAGENET_V1": SAID}), "imagenet_v2")
    for name in ("V1", "DEFAULT"):
        with pytest.raises(PluginError, match=f"model 'net' has no published weights, and '{name}' was asked for"):
            published.choose(info({}), name)


def test_the_near_word_is_found_in_any_case():
    assert nearest("imagenet1k_v1", ["IMAGENET1K_V1", "other"]) == "IMAGENET1K_V1"
    assert nearest("AdmaW", ["adamw", "sgd"]) == "adamw"


def test_data_fit_by_their_channels_and_the_model_by_its_options():
    def said(shape, **options):
        return published.unfit("net", V2, input_shape=shape, options=options)

    assert said((1, 9, 9), width=5) == ""
    assert "takes images of 1 channels, and the data's have the shape (3, 8, 8)" in said((3, 8, 8), width=5)
    assert "fits model 'net' with width = 5 only, got 4" in said((1, 8, 8), width=4)


# Found ---------------------------------------------------------------------------------------------------------------


def test_torch_hubs_folder_is_the_one_that_torch_names(monkeypatch, tmp_path):
    for home, cache in (("~/mine", None), (None, str(tmp_path)), (None, None)):
        for name, value in (("TORCH_HOME", home), ("XDG_CACHE_HOME", cache)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        assert hub_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_the_data_folder_comes_before_torch_hub(tmp_path):
    hub = put(hub_folder() / FILE)
    assert find(SAID, root=tmp_path) == (hub, SHA256)
    own = put(tmp_path / "weights" / FILE)
    assert find(SAID, root=tmp_path) == (own, SHA256)


def test_a_file_may_be_a_link(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / FILE).symlink_to(put(tmp_path / "elsewhere"))
    assert find(SAID, root=tmp_path)[1] == SHA256


def test_what_is_not_found_is_named_with_its_folders_and_the_ways_out(tmp_path):
    with pytest.raises(DataError) as said:
        find(SAID, root=tmp_path)
    nowhere = f"no {FILE} in {tmp_path}/weights nor in {tmp_path}/torch/hub/checkpoints"
    due = f"{nowhere}; put the file there or name another "
    assert str(said.value) == f"{due}folder by --data DIR, or let it be downloaded from {SAID.url} by --download"
    with pytest.raises(DataError, match=r"by --data DIR$"):
        find(Weights("by_hand.pth", 6), root=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-1], lambda raw: b"", lambda raw: b"N" + raw[1:]])
def test_a_damaged_file_is_refused_with_what_was_found(tmp_path, spoil):
    path = put(tmp_path / "weights" / FILE, spoil(CONTENT))
    put(hub_folder() / FILE)
    found = hashlib.sha256(spoil(CONTENT)).hexdigest()
    with pytest.raises(DamagedWeights) as said:
        find(SAID, root=tmp_path)
    assert str(said.value).startswith(
        f"{path} is not as published: its SHA-256 must begin with {SHA256[:8]}, got {found}"
    )


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "weights" / FILE
    path.parent.mkdir()
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "link to nothing": lambda: path.symlink_to("no")}[kind]()
    with pytest.raises(
        DamagedWeights, match="No such file" if kind == "link to nothing" else "it is not a regular file"
    ):
        find(SAID, root=tmp_path)


# Downloaded ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path):
    """A web server of this machine: its address, its folder, and the requests that came."""
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


def test_what_is_not_found_is_downloaded_where_that_is_allowed_and_only_once(tmp_path, monkeypatch, served):
    address, folder, asked = served
    put(folder / FILE)
    said = Weights(FILE, 6, sha256_prefix=SHA256[:8], url=address + FILE)
    with pytest.raises(DataError, match="--download"):
        find(said, root=tmp_path)
    assert asked == []
    monkeypatch.setenv(DOWNLOAD, "1")
    for _ in range(2):
        assert find(said, root=tmp_path) == (tmp_path / "weights" / FILE, SHA256)
    assert len(asked) == 1
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [FILE]


def test_a_damaged_file_is_downloaded_anew_unless_torch_hub_has_a_whole_one(tmp_path, monkeypatch, served):
    address, folder, asked = served
    put(folder / FILE)
    own = put(tmp_path / "weights" / FILE, b"torn")
    monkeypatch.setenv(DOWNLOAD, "1")
    hub = put(hub_folder() / FILE)
    said = Weights(FILE, 6, sha256_prefix=SHA256[:8], url=address + FILE)
    assert find(said, root=tmp_path) == (hub, SHA256)
    hub.unlink()
    assert find(said, root=tmp_path) == (own, SHA256)
    assert own.read_bytes() == CONTENT
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("served_as", "content", "words"),
    [
        (FILE, b"a page that asks for a password", "is not as published: its SHA-256 must begin with"),
        ("nowhere.pth", CONTENT, "HTTP Error 404"),
    ],
)
def test_a_download_that_fails_leaves_nothing_and_says_why(tmp_path, monkeypatch, served, served_as, content, words):
    address, folder, _ = served
    put(folder / served_as, content)
    monkeypatch.setenv(DOWNLOAD, "1")
    with pytest.raises(DataError, match=words) as said:
        find(Weights(FILE, 6, sha256_prefix=SHA256[:8], url=address + FILE), root=tmp_path)
    assert "the same command tries again" in str(said.value)
    assert "\n" not in str(said.value)
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_download_that_nothing_answers_or_that_cannot_be_kept_is_said(tmp_path, monkeypatch, served):
    address, folder, _ = served
    put(folder / FILE)
    monkeypatch.setenv(DOWNLOAD, "1")
    with pytest.raises(DataError, match=r"cannot be downloaded from http://127.0.0.1:9/.* \(URLError: "):
        find(Weights("x.pth", 6, url="http://127.0.0.1:9/x.pth"), root=tmp_path / "one")
    (tmp_path / "two").write_text("a file")
    with pytest.raises(DataError, match=rf"{FILE} cannot be downloaded into {tmp_path}/two/weights \("):
        find(Weights(FILE, 6, url=address + FILE), root=tmp_path / "two")


def test_a_download_that_ends_early_is_not_taken_for_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv(DOWNLOAD, "1")

    def answer(listening):
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\nabc")

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=answer, args=(listening,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/x.pth"
        with pytest.raises(DataError, match=r"\(3 of 99 bytes came\); the same command tries again"):
            find(Weights("x.pth", 6, url=url), root=tmp_path)
        thread.join()
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_download_that_stands_still_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setenv(DOWNLOAD, "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.pth"
        with pytest.raises(DataError, match="timed out"):
            find(Weights("x.pth", 6, url=url), root=tmp_path)


# Asked ---------------------------------------------------------------------------------------------------------------

PLUGIN = '''
"""A network with published weights."""

from torch import nn

import harness


def pictured(input_shape, outputs, *, width=2):
    """One convolution and a head."""
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(nn.Conv2d(input_shape[0], width, 3), pooled, nn.Linear(width, outputs))


@harness.hookimpl
def harness_models():
    said = harness.Weights(FILE, outputs=6, input_size=8, sha256_prefix=PREFIX)
    return [harness.Model("pictured", build=pictured, weights={"V1": said})]
'''


@pytest.fixture
def pictured(project):
    """The project with such a network, its file of weights, and the part as plain data."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Identity(), torch.nn.Linear(2, 6))
    torch.save(model.state_dict(), project.folder / "draft")
    content = (project.folder / "draft").read_bytes()
    prefix = hashlib.sha256(content).hexdigest()[:8]
    path = put(project.folder / "data" / "weights" / f"pictured-{prefix}.pth", content)
    text = PLUGIN.replace("FILE", repr(path.name)).replace("PREFIX", repr(prefix))
    project.plugin("pictures", text)
    return project, path, registry.load_catalog([]).find("model", "pictured")


def asked(part, root, name="DEFAULT", shape=(3, 9, 9), **options):
    return published.ask(part, name, input_shape=shape, options=options, root=root)


def test_the_coordinator_is_told_where_the_weights_lie_and_their_hash(pictured, monkeypatch):
    project, path, part = pictured
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    assert asked(part, project.folder / "data") == published.Found("V1", path, whole, 6)
    monkeypatch.setattr(child, "ask", lambda questions: pytest.fail("asked twice") if questions else [])
    assert asked(part, project.folder / "data", "V1") == published.Found("V1", path, whole, 6)


def test_a_changed_file_is_asked_about_again(pictured):
    project, path, part = pictured
    asked(part, project.folder / "data")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"model 'pictured', weights 'V1': .* is not as published"):
        asked(part, project.folder / "data")
    path.unlink()
    with pytest.raises(DataError, match=rf"model 'pictured', weights 'V1': no {path.name} in "):
        asked(part, project.folder / "data")


def test_weights_that_do_not_fit_are_refused_before_anything_is_loaded(pictured, monkeypatch):
    project, _, part = pictured
    monkeypatch.setattr(child, "ask", lambda questions: pytest.fail("asked"))
    for shape, name, words in (
        ((1, 9, 9), "V1", "its first layer is not adapted"),
        ((3, 9, 9), "v1", "did you mean 'V1'"),
    ):
        with pytest.raises(PluginError, match=words):
            asked(part, project.folder / "data", name, shape)


def test_weights_of_another_model_are_refused_by_their_tensors(pictured):
    project, path, part = pictured
    with pytest.raises(PluginError, match=rf"'V1': {path.name} is of another model than 'pictured': shape of 0\.w"):
        asked(part, project.folder / "data", width=3)


def test_show_lists_weights_with_outputs_size_and_file(pictured):
    project, path, _ = pictured
    lines = [line.split() for line in project.run("show", "pictured").out.splitlines()]
    assert ["V1", "(DEFAULT)", "6", "8", path.name] in lines
    assert ["weights", "outputs", "pixels", "a", "side", "file"] in lines
    shown = project.run("show", "resnet50").out
    assert "IMAGENET1K_V2 (DEFAULT)     1000            224  resnet50-11ad3fa6.pth" in shown
    assert "weights" not in project.run("show", "line").out
