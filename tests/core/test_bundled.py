"""What comes with the workbook is whole, is what was shipped, and is what its labels say."""

import csv
import hashlib
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from torchvision.models import SqueezeNet1_1_Weights

from labsupport.core import bundled, images
from labsupport.core import network as networks
from labsupport.core.errors import BadSetting, DamagedData

DATA = bundled.folder()
CATEGORIES = SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["categories"]
NOT_LISTED = {"SHA256SUMS", "README.md", ".gitattributes"}
NO_DATA = {"build", "gallery"}


def shipped() -> dict[str, Path]:
    """All files of the data folder that a lab may load, read from the disk."""
    return {
        file.relative_to(DATA).as_posix(): file
        for file in DATA.rglob("*")
        if file.is_file()
        and file.name not in NOT_LISTED
        and file.relative_to(DATA).parts[0] not in NO_DATA
    }


def listed() -> dict[str, str]:
    lines = (DATA / "SHA256SUMS").read_text("utf-8").splitlines()
    return {line[66:]: line[:64] for line in lines}


def test_every_file_is_listed_with_its_checksum_as_the_usual_tool_reads_it():
    result = {name: hashlib.sha256(file.read_bytes()).hexdigest()
              for name, file in shipped().items()}  # fmt: skip
    assert result == listed(), "after a change in data/: python data/build/sums.py"
    assert (DATA / "SHA256SUMS").read_bytes().count(b"\r") == 0
    for name in listed():
        assert bundled.path(name).is_file()
    assert bundled.names() == list(listed())
    kept = ("alexnet_features", "convnetjs", "lenet5", "lpips", "squeezenet1_1", "vgg16_features")
    assert bundled.names("weights/") == [f"weights/{name}.safetensors" for name in kept]


def test_the_data_stays_small():
    assert sum(file.stat().st_size for file in shipped().values()) < 50_000_000
    everything = [file for file in DATA.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in everything) < 60_000_000


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A data folder of its own, with LeNet-5 and the list of checksums."""
    (tmp_path / "weights").mkdir()
    shutil.copy(DATA / "SHA256SUMS", tmp_path)
    shutil.copy(DATA / "weights/lenet5.safetensors", tmp_path / "weights")
    monkeypatch.setenv("LABS_DATA", str(tmp_path))
    return tmp_path


def test_the_folder_can_be_chosen_and_holds_only_what_is_ours(copy):
    assert bundled.folder() == copy
    assert bundled.path("weights/lenet5.safetensors") == copy / "weights/lenet5.safetensors"
    with pytest.raises(DamagedData, match=r"weights/lenet5\.safetensors"):
        bundled.path("weights/lenet.safetensors")
    with pytest.raises(DamagedData):
        bundled.path("../README.md")


@pytest.mark.parametrize("content", [None, b"", b"nonsense\n", b"\xff\xfe"])
def test_a_list_that_is_damaged(copy, content):
    if content is None:
        (copy / "SHA256SUMS").unlink()
    else:
        (copy / "SHA256SUMS").write_bytes(content)
    with pytest.raises(DamagedData):
        bundled.path("weights/lenet5.safetensors")


def test_a_damaged_picture_does_not_become_a_strange_one(copy):
    (copy / "photos").mkdir()
    shutil.copy(DATA / "photos/index.csv", copy / "photos")
    picture = images.photos()["koala"]
    (copy / "photos/koala.webp").write_bytes((DATA / "photos/moose.webp").read_bytes())
    with pytest.raises(DamagedData, match="koala"):
        _ = picture.image


# The sets


@pytest.fixture(scope="module", params=["photos", "paintings", "cutouts"])
def pictures(request):
    return getattr(images, request.param)()


def test_every_picture_is_an_image_with_a_title_and_comes_once(pictures):
    small = []
    for picture in pictures:
        image = picture.image
        images.check(image)
        assert max(image.shape[2:]) <= 640
        assert min(image.shape[2:]) >= 220
        assert picture.title[0].isupper()
        assert picture.category
        assert picture.label
        assert picture.imagenet is None or picture.imagenet in CATEGORIES, picture
        small.append(images.resize(image, (16, 16)))
    assert len(set(pictures.names)) == len(pictures)
    assert all(name == name.lower() and name.isidentifier() for name in pictures.names)
    tiny = torch.cat(small)
    for other in (tiny, tiny.flip(3)):
        apart = torch.cdist(tiny.flatten(1), other.flatten(1)) + 99 * torch.eye(len(tiny))
        assert float(apart.min()) > 0.8


def test_every_picture_has_its_source_named(pictures):
    folder = {"Photos": "photos", "Paintings": "paintings", "Cut-outs": "cutouts"}[pictures.title]
    with (DATA / folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == pictures.names
    for row in rows.values():
        assert all(row[field] for field in ("author", "licence", "origin")), row
    files = {Path(name).name for name in shipped() if name.startswith(f"{folder}/")}
    assert files == {row["file"] for row in rows.values()} | {"index.csv"}


def test_the_readme_names_every_folder_and_says_of_every_licence_what_may_be_shared():
    text = (DATA / "README.md").read_text(encoding="utf-8")
    folders = {path.name for path in DATA.iterdir() if path.is_dir()} - {"build", "licences"}
    assert [name for name in folders if f"| `{name}/" not in text] == []
    section = text.partition("## What may be shared\n")[2].partition("\n## ")[0]
    section = " ".join(section.split()).lower()
    licences = []
    for name in ("photos", "paintings", "cutouts"):
        with (DATA / name / "index.csv").open(encoding="utf-8", newline="") as file:
            licences += [row["licence"].lower() for row in csv.DictReader(file)]
    for licence in set(licences):
        words = licence.replace("scans ", "").replace("use and publication permitted", "permitted")
        for word in words.split("; "):
            assert word in section, licence
    counts = Counter(licences)
    free = counts["public domain"] - 8 + counts["cc0-1.0"]  # eight paintings among them
    assert f"the {free} photos" in section
    named = sum(count for name, count in counts.items() if re.match(r"cc-by-\d", name))
    assert f"({named}: cc-by-2.0" in section
    assert f"({counts['cc-by-sa-4.0']}: cc-by-sa-4.0)" in section


def test_what_there_is():
    assert len(images.photos()) >= 100
    assert len(images.paintings()) >= 25
    assert len(images.cutouts()) >= 270
    assert Counter(images.photos().categories)["animals"] >= 50
    assert Counter(images.paintings().labels)["Vincent van Gogh"] == 9
    assert len(set(images.cutouts().labels)) > len(set(images.cutouts().categories)) >= 6
    for name in ("giant_panda", "gibbon", "german_shepherd", "carcassonne", "coffee", "great_wave"):
        images.check(images.sample(name))


def test_sets_by_place_name_and_slice():
    photos = images.photos()
    assert photos[3] is photos[photos.names[3]]
    assert photos[-1].name == photos.names[-1]
    assert photos[2:5].names == photos.names[2:5]
    assert photos[2:5]["calf"].title == "Calf"
    assert "koala" in photos
    assert "unicorn" not in photos
    assert photos["koala"] in photos
    assert "119 pictures" in repr(photos)
    for wrong in (lambda: photos["giant panda"], lambda: images.sample("giant_pandas")):
        with pytest.raises(BadSetting, match="giant_panda"):
            wrong()
    with pytest.raises(IndexError):
        photos[999]
    photos["koala"].image.zero_()  # it is decoded anew each time
    assert float(photos["koala"].image.mean()) > 0.1


def test_cut_outs_have_masks_and_stand_on_anything():
    for cutout in images.cutouts()[::20]:
        mask, white = cutout.mask, cutout.image
        assert mask.shape == (1, 1, 224, 224)
        assert 0.01 < float(mask.mean()) < 0.8
        assert torch.allclose(cutout.on((1.0, 1.0, 1.0)), white, atol=1e-6)
        black, grey = cutout.on(0.0), cutout.on(0.5)
        assert torch.allclose(white - black, (1 - mask).expand(-1, 3, -1, -1), atol=1e-5)
        assert torch.allclose(grey, (white + black) / 2, atol=1e-5)
        behind = torch.rand(1, 3, 224, 224)
        shown = cutout.on(behind)
        assert torch.equal(shown[mask.expand_as(shown) == 0], behind[mask.expand_as(shown) == 0])
        edge = functional.pad(torch.zeros(1, 1, 212, 212), (6,) * 4, value=1.0)
        assert float((mask * edge).max()) == 0, "there is a margin all around"
    for background in ((1, 2, 3), (0.5, 0.5), -0.1, torch.rand(1, 3, 10, 10), float("nan")):
        with pytest.raises(BadSetting, match="background"):
            images.cutouts()["koala"].on(background)


@pytest.mark.parametrize(
    ("read", "count", "floor"), [(images.digits, 8000, 0.75), (images.fashion, 10000, 0.6)]
)
def test_sheets_of_digits_and_clothes(read, count, floor):
    train, test = read(), read("test")
    assert len(train) == count
    assert len(test) == 2000
    for part in (train, test):
        images.check(part.images)
        assert part.images.shape == (len(part), 3, 28, 28)
        assert part.images.stride(1) == 0, "the channels share their memory"
        assert part.labels.dtype == torch.int64
        assert len(part.categories) == 10
        assert min(Counter(part.labels.tolist()).values()) > 0.07 * len(part)
    tiles = {tile.numpy().tobytes() for tile in train.images[:, 0]}
    shared = sum(tile.numpy().tobytes() in tiles for tile in test.images[:, 0])
    assert shared == 0, "no test image was trained on"
    means = [train.images[train.labels == label, 0].mean(0).flatten() for label in range(10)]
    nearest = torch.cdist(test.images[:, 0].flatten(1), torch.stack(means)).argmin(1)
    assert float((nearest == test.labels).float().mean()) > floor, "labels are in step with tiles"
    with pytest.raises(BadSetting, match="'test'"):
        read("validation")


# The network


SAYS = [
    ("coffee", {"espresso": 0.965}, 0.005),
    ("chelsea", {"tiger cat": 0.387, "Egyptian cat": 0.310, "tabby": 0.288}, 0.005),
    ("china", {"stupa": 0.452, "dome": 0.204, "palace": 0.107}, 0.005),
    ("giant_panda", {"giant panda": 0.995}, 0.0051),  # so sure that it may round to 1
    ("gibbon", {"gibbon": 0.995}, 0.0051),
    ("german_shepherd", {"German shepherd": 0.93}, 0.03),
    ("carcassonne", {"castle": 0.88}, 0.03),
]


def test_what_the_bundled_network_says():
    state = load_file(bundled.path("weights/squeezenet1_1.safetensors"))
    assert all(value.dtype == torch.float16 for value in state.values())
    network, right, labelled = networks.load(), 0, 0
    for name, expected, tolerance in SAYS:
        (answer,) = network.predict(images.standard(images.sample(name)), k=len(expected))
        result = {line.name: line.probability for line in answer}
        assert result == pytest.approx(expected, abs=tolerance), name
    for picture in images.photos():
        if picture.imagenet:
            (answer,) = network.predict(images.standard(picture), k=5)
            right += picture.imagenet in [line.name for line in answer]
            labelled += 1
    assert right / labelled > 0.85
