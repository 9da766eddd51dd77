"""Scans in parts: what a cluster finds is what one process finds, whoever dies meanwhile."""

import os
import pickle
import signal
import sys
from dataclasses import replace

import distributed
import pytest
import torch
import toys
from hypothesis import given
from hypothesis import strategies as st

from labsupport.core import images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting
from labsupport.methods import patches as p

MINE = """
import os
import torch
from torch import nn
from labsupport import networks

def make(seed=4):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 676, 2))
    return networks.wrap(module, input_size=28, name="mine")

def other():
    return make(5)

def nothing():
    return "no network"

def deadly():
    os._exit(1)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty pictures in two folders."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(40):
        place = root / f"group{number % 2}"
        place.mkdir(exist_ok=True)
        images.save(toys.image(28, seed=number), place / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def files(folder):
    return images.files(folder)


@pytest.fixture(scope="module")
def lenet():
    return networks.load("lenet5")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    file = tmp_path_factory.mktemp("module") / "mine.py"
    file.write_text(MINE, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def local(mine):
    """Two processes, which know the student's file."""
    with p.Cluster.local(2, part=7) as cluster:
        cluster.client.upload_file(str(mine))
        yield cluster


@pytest.fixture
def own(mine, monkeypatch):
    """The student's network, made here."""
    monkeypatch.syspath_prepend(str(mine.parent))
    import mine as module

    return module.make()


def test_the_paths_alone_are_the_pictures_of_the_folder(folder, files):
    shown = images.folder(folder)
    assert len(files) == len(shown) == 40
    assert [str(one.locate()) for one in shown] == list(files.paths)
    assert torch.equal(files[3], shown[3].image)
    assert files[10:20].paths == files.paths[10:20]


@given(
    part=st.integers(1, 45),
    sizes=st.sampled_from([None, (28,), (28, 28), (28, 28, 28)]),
    suppress=st.sampled_from([0.0, 0.3, 1.0, "picture"]),
    order=st.sampled_from(["most", "least"]),
)
def test_the_parts_find_what_one_scan_finds(lenet, files, part, sizes, suppress, order):
    few = files[:12]
    shown = few if sizes is None else p.several_scales(few, sizes)
    settings = {"k": 5, "suppress": suppress, "order": order}
    whole = p.top_patches(lenet, "conv1", shown, **settings)
    patches = p.scan(lenet, "conv1", shown, p.Cluster(part=part), **settings)
    torch.testing.assert_close(patches.values, whole.values, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert patches.scanned == whole.scanned == ((0, len(shown)),)
    assert patches.fingerprints == whole.fingerprints
    if sizes in (None, (28,)):  # else a picture is there twice, and rounding says which is first
        assert torch.equal(patches.boxes, whole.boxes)
        assert torch.equal(patches.images, whole.images)
    assert torch.equal(patches.pictures, torch.where(patches.images < 0, -1, patches.images % 12))


def test_sets_tensors_and_directions_are_scanned_in_parts(lenet, folder):
    shown = images.folder(folder)[:9]
    directions = p.random_directions(lenet.layer("conv2").shape[0], 3)
    whole = p.top_patches(lenet, "conv2", shown, channels=directions)
    together = torch.cat([one.image for one in shown])
    for given_ in (shown, together, list(together)):
        patches = p.scan(lenet, "conv2", given_, p.Cluster(part=4), channels=directions)
        # how many images are computed together decides the rounding
        torch.testing.assert_close(patches.values, whole.values, rtol=1e-5, atol=1e-6)
        toys.assert_same_patches(replace(patches, values=whole.values), whole)


def start(*given, **settings):
    with p.Cluster.local(*given, **settings):
        pass


def test_what_cannot_be_scanned_is_refused(lenet, own, files, tmp_path, monkeypatch):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with_broken = images.Files([*files.paths, str(broken)])
    monkeypatch.setattr(distributed, "LocalCluster", lambda **_: pytest.fail("started"))
    ways_out = 'module of your own.*maker="mine:make"'
    toys.assert_refused(
        ("no images", p.scan, lenet, "conv1", files[:0]),
        ("k is how many", p.scan, lenet, "conv1", files, {"k": 0}),
        (r"BadImage: .*broken\.png", p.scan, lenet, "conv1", with_broken),
        (ways_out, p.scan, own, "relu1", files, p.Cluster("never asked")),
        ("a part is a number", p.Cluster, {"part": 0}),
        ("no folder", p.Cluster, {"keep": "nowhere at all"}),
        ("a part is", start, 2, {"part": 0}),
        *(("number of processes", start, wrong, {"part": 9}) for wrong in (0, -1, 1.5, "two")),
    )


def test_code_is_never_sent(lenet):
    asked = p.clusters._Search("conv1", None, p.clusters.Ranking(3, 0.3, "most"))
    sent = p.clusters._RemoteNetwork.of(lenet, "conv1", p.Cluster())
    assert len(pickle.dumps((sent, asked))) < 1000


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(lenet, files, local):
    processes = local.client.run(os.getpid)
    killed = []

    def kill_one(share):
        if not killed:
            killed.append(min(processes.values()))
            os.kill(killed[0], signal.SIGKILL)

    patches = p.scan(lenet, "conv2", files, replace(local, part=1, progress=kill_one))
    toys.assert_same_patches(patches, p.top_patches(lenet, "conv2", files))
    local.client.wait_for_workers(2, timeout=120)  # another one takes its place
    now = local.client.run(os.getpid, on_error="ignore")  # a slow machine may still be closing one
    assert killed[0] not in now.values()


@pytest.mark.slow
def test_a_part_that_ends_every_worker_is_named(own, files, local, monkeypatch):
    monkeypatch.setattr(local.client.cluster.scheduler, "allowed_failures", 0)
    with pytest.raises(BadSetting, match="memory"):
        p.scan(own, "conv1", files[:3], replace(local, maker="mine:deadly"))
    local.client.wait_for_workers(1, timeout=120)


@pytest.mark.slow
def test_a_cluster_that_forgets_its_work_is_gone(lenet, files, local):
    def forget(share):
        client = local.client
        client.cancel([distributed.Future(key, client) for key in list(client.futures)])

    with pytest.raises(BadSetting, match="cluster is gone"):
        p.scan(lenet, "conv1", files, replace(local, part=1, progress=forget))


@pytest.mark.slow
def test_a_network_of_ones_own_is_made_by_the_workers_and_another_refused(own, files, local):
    settings, seen = {"suppress": "picture", "k": 4}, []
    watched = replace(local, maker="mine:make", progress=seen.append)
    patches = p.scan(own, "relu1", files, watched, **settings)
    toys.assert_same_patches(patches, p.top_patches(own, "relu1", files, **settings))
    assert seen == sorted(seen)
    assert (len(seen), seen[-1]) == (6, 1.0)
    chance = networks.load("lenet5", weights="random")
    toys.assert_refused(
        *(
            (words, p.scan, own, "relu1", files, replace(local, maker=maker))
            for words, maker in (
                ("other weights", "mine:other"),
                ("has to give a Network", "mine:nothing"),
                ("finds no 'mine:missing'", "mine:missing"),
                ("upload_file", "nowhere:make"),
                ("finds no ''", ""),
            )
        ),
        ("other weights below", p.scan, chance, "conv1", files, local),
    )
    patches = p.scan(chance, "conv1", files, replace(local, weights="random"))
    toys.assert_same_patches(patches, p.top_patches(chance, "conv1", files))


@pytest.fixture
def counted(monkeypatch):
    """How many images were really scanned."""
    seen: list[int] = []

    def counting(network, layer, shown, **settings):
        seen.append(len(shown))
        return p.top_patches(network, layer, shown, **settings)

    monkeypatch.setattr(p.clusters, "top_patches", counting)
    return seen


def test_a_scan_that_was_broken_off_goes_on(lenet, files, tmp_path, counted):
    def break_off(share):
        if share >= 0.5:
            raise KeyboardInterrupt

    kept = p.Cluster(part=10, keep=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        p.scan(lenet, "conv1", files, replace(kept, progress=break_off))
    assert counted == [10, 10]
    patches = p.scan(lenet, "conv1", files, kept)
    assert counted == [10] * 4
    toys.assert_same_patches(patches, p.top_patches(lenet, "conv1", files))
    toys.assert_same_patches(p.scan(lenet, "conv1", files, kept), patches)
    assert counted == [10] * 4
    assert len(list(tmp_path.iterdir())) == 4


def test_only_what_fits_is_taken_from_the_folder(lenet, tmp_path, counted):
    few = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, path in enumerate(few):
        images.save(toys.image(28, seed=number), path)
    keep = tmp_path / "kept"
    keep.mkdir()
    kept, files = p.Cluster(part=1, keep=keep), images.Files(few)
    together = torch.cat(list(files))
    chance = networks.load("lenet5", weights="random")

    def scanned(network=lenet, layer="conv1", shown=files, **settings) -> int:
        """How many images are really scanned."""
        before = sum(counted)
        p.scan(network, layer, shown, kept, **settings)
        return sum(counted) - before

    assert scanned() == 3
    for other in (
        {"layer": "conv2"}, {"k": 2}, {"channels": [1]}, {"suppress": 0.5}, {"order": "least"},
        {"network": chance}, {"shown": p.several_scales(files, (28,))}, {"shown": together},
    ):  # fmt: skip
        assert (scanned(**other), scanned(**other)) == (3, 0), other
    images.save(toys.image(28, seed=9), few[1])  # another picture under the same name
    assert scanned() == 1
    toys.assert_same_patches(
        p.scan(lenet, "conv1", files, kept), p.top_patches(lenet, "conv1", files)
    )


def test_a_damaged_part_is_scanned_again(lenet, files, tmp_path, counted):
    kept = p.Cluster(part=20, keep=tmp_path)
    patches = p.scan(lenet, "conv1", files, kept)
    damaged = sorted(tmp_path.iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    toys.assert_same_patches(p.scan(lenet, "conv1", files, kept), patches)
    assert counted == [20, 20, 20]


@pytest.mark.parametrize("missing", ["distributed", "cryptography"])
def test_a_missing_extra_tells_the_way_out(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    toys.assert_refused((r"pip install -e '.\[scale\]'", start, 2))
