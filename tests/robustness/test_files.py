"""A full disk, a folder that must not be written to, a damaged file, a file nobody asked for."""

import ast
import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
import toys
from cases import CASES, Case
from PIL import Image
from spoiling import SIZE, tiny

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting, DamagedData, WeightsUnavailable
from labsupport.core.images import films
from labsupport.methods.patches import Cluster, TopPatches, scan, top_patches
from labsupport.ui import declare
from labsupport.ui.panel import Panel

PACKAGE = Path(networks.__file__).parents[2]
SOURCES = sorted(PACKAGE.rglob("*.py"))


# A full disk

with_limits = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limit")


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond this: the system refuses in the middle of a write."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def found_patches() -> TopPatches:
    return top_patches(networks.load("lenet5"), "conv2", toys.image(28, count=3))


def noise_panel() -> Panel:
    def draw(side: int) -> Image.Image:
        return images.to_pil(toys.image(side))

    return Panel(draw, {"side": declare.whole(90, 10, 200)}, title="noise")


SAVERS = {
    "a PNG": lambda folder: images.save(toys.image(90), folder / "one.png", {"seed": 3}),
    "a JPEG": lambda folder: images.save(toys.image(90), folder / "one.jpg"),
    "patches": lambda folder: found_patches().save(folder / "found.safetensors"),
    "a panel": lambda folder: noise_panel().save(folder / "panel.png"),
}
FILMS = {  # ffmpeg writes to the folder for temporary files first
    name: lambda folder, name=name: films.write(
        films.Film(toys.image(60, 80, count=4), fps=8), folder / name
    )
    for name in ("one.mp4", "one.gif")
}


@with_limits
@pytest.mark.parametrize("save", [*SAVERS.values(), *FILMS.values()], ids=[*SAVERS, *FILMS])
def test_a_disk_that_is_full_leaves_nothing_half_written(save, tmp_path):
    with pytest.raises(BadSetting, match="cannot be written"), room_for(1000):
        save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    save(tmp_path)  # and when there is room again, it works
    assert len(list(tmp_path.iterdir())) == 1


@with_limits
def test_a_disk_that_is_full_keeps_the_older_file(tmp_path):
    file = images.save(toys.image(8), tmp_path / "one.png")
    before = file.read_bytes()
    with pytest.raises(BadSetting, match="cannot be written"), room_for(1000):
        images.save(toys.image(90), file)
    assert file.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["one.png"]


@with_limits
def test_the_button_of_a_panel_says_that_the_disk_is_full(tmp_path):
    panel = noise_panel()
    panel.place.value = str(tmp_path / "noise.png")
    with room_for(1000):
        panel.save_button.click()
    assert "cannot be written" in panel.complaint
    panel.save_button.click()
    assert "Saved as" in panel.message
    assert panel.complaint == ""


@with_limits
def test_a_scan_whose_folder_is_full_says_so_and_goes_on_later(tmp_path):
    network, shown = networks.load("lenet5"), toys.image(28, count=6)
    kept = Cluster(part=2, keep=tmp_path)
    with pytest.raises(BadSetting, match="cannot be written"), room_for(1000):
        scan(network, "conv2", shown, kept)
    assert list(tmp_path.iterdir()) == []
    assert scan(network, "conv2", shown, kept).scanned == ((0, 6),)


# A folder that is only to be read


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A folder on a disk that is mounted for reading: the administrator cannot write there too."""
    folder = tmp_path / "library"
    folder.mkdir()
    plain, plain_open = os.open, Path.open

    def check(path):
        if Path(os.fsdecode(path)).parent == folder:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def refuse(path, flags, *rest, **named):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            check(path)
        return plain(path, flags, *rest, **named)

    def refuse_open(self, mode="r", *rest, **named):
        if set(mode) & set("wxa+"):
            check(self)
        return plain_open(self, mode, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "open", refuse_open)
    return folder


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
def test_a_folder_that_is_only_to_be_read_is_named_and_none_but_the_named_written_to(
    save, read_only, tmp_path
):
    with pytest.raises(BadSetting, match=r"library.*Read-only file system"):
        save(read_only)
    assert list(read_only.iterdir()) == []
    with written() as seen:
        save(tmp_path)
    assert outside(seen, tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder in which nobody can write")
def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(BadSetting, match="/proc/pictures"):
        noise_panel().save("/proc/pictures/one.png")


# Damaged files


@pytest.fixture
def own_data(tmp_path, monkeypatch):
    """A copy of what LeNet-5 needs, which a test may damage."""
    folder = tmp_path / "data"
    for name in [bundled.SUMS, "weights/lenet5.safetensors", "digits/test.webp", "digits/test.csv"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bundled.folder() / name, folder / name)
    monkeypatch.setenv("LABS_DATA", str(folder))
    assert networks.load("lenet5").source.startswith("bundled")
    return folder


DAMAGES = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "one bit": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "a page of a hotel's network": lambda content: b"<html>Please log in</html>",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("weights/lenet5.safetensors", lambda: networks.load("lenet5")),
        ("digits/test.webp", lambda: images.digits("test")),
        ("digits/test.csv", lambda: images.digits("test")),
    ],
)
def test_damaged_and_missing_data_are_refused_and_told_how_to_bring_back(
    own_data, damage, name, load
):
    file = own_data / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DamagedData, match=f"To bring it back: copy {name} from"):
        load()
    file.unlink()
    with pytest.raises(DamagedData, match="cannot be read"):
        load()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_ones_own_damaged_weights_never_become_other_weights(tmp_path, suffix, damage):
    file = tmp_path / f"mine{suffix}"
    state = networks.load("lenet5", weights="random").graph.state_dict()
    tensors = {name: value.contiguous().clone() for name, value in state.items()}
    if suffix == ".pt":
        torch.save(tensors, file)
    else:
        safetensors.torch.save_file(tensors, file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(WeightsUnavailable, match="mine"):
        networks.load("lenet5", weights=file)


class Bomb:
    """What a pickle can do when it is opened."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_a_file_that_carries_code_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "bomb.pt"
    torch.save({"weight": Bomb()}, file)
    with pytest.raises(WeightsUnavailable, match="can run any code"):
        networks.load("lenet5", weights=file)
    assert not Path("exploded").exists()


# Nothing is unpickled


def opens_code(source: str) -> list[int]:
    """The lines of a source that could run what a file says."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            if {name.partition(".")[0] for name in names} & UNPICKLERS:
                wrong.append(node.lineno)
        if isinstance(node, ast.Call):
            told = {keyword.arg: keyword.value for keyword in node.keywords}
            called = ast.unparse(node.func)
            safe = getattr(told.get("weights_only"), "value", False) is True
            if called.endswith("torch.load") and not safe:
                wrong.append(node.lineno)
            if "allow_pickle" in told or called in {"eval", "exec"}:
                wrong.append(node.lineno)
    return wrong


UNPICKLERS = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}


def test_nothing_is_unpickled():
    found = {file: opens_code(file.read_text(encoding="utf-8")) for file in SOURCES}
    lines = {str(file.relative_to(PACKAGE)): len(lines) for file, lines in found.items() if lines}
    # one line runs what students hand in, in a fenced process
    assert lines == {str(Path("commands/marking.py")): 1}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "exec(text)",
    ],
)
def test_what_unpickles_is_found(source):
    assert opens_code(source) == [1]


# Nothing is written that nobody asked for


_written: list[str] | None = None


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _written is None:
        return
    if event == "open":
        path, mode, flags = (*arguments, None, None)[:3]
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if isinstance(path, str | bytes) and (writes or set(str(mode or "")) & set("wxa+")):
            _written.append(os.fsdecode(path))
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink"):
        _written.extend(str(one) for one in arguments if isinstance(one, str))


sys.addaudithook(_watch)


@contextlib.contextmanager
def written() -> Iterator[list[str]]:
    """The files that are opened to be written, and the folders that are made, meanwhile."""
    global _written
    _written = seen = []
    try:
        yield seen
    finally:
        _written = None


def outside(seen: list[str], folder: Path) -> list[str]:
    ignored = ("/dev/", "__pycache__")  # the rubbish bin; Python's own notes
    return [
        path
        for path in seen
        if not Path(path).is_relative_to(folder) and not any(word in path for word in ignored)
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_method_writes_nothing(case: Case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with written() as seen:
        case.call(tiny(), toys.image(*SIZE), 3)
    assert outside(seen, Path(os.devnull)) == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_elsewhere_is_noticed(tmp_path):
    with written() as seen:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "one").write_text("1")
    assert outside(seen, tmp_path / "other") == [
        str(tmp_path / "folder"),
        str(tmp_path / "folder" / "one"),
    ]
