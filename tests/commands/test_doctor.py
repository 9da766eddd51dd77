"""The doctor sees each fault, gives the line that fixes it, and ends with the right status."""

import shutil
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from labsupport.commands import doctor, environment, interpreters
from labsupport.commands.doctor import Finding
from labsupport.commands.environment import Stamp
from labsupport.commands.requirements import Requirement
from labsupport.core import bundled


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of some of the bundled data, to be damaged."""
    copy = tmp_path / "data"
    copy.mkdir()
    names = bundled.names("weights/")
    sums = (bundled.folder() / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    kept = [line for line in sums if line.split("  ", 1)[1] in names]
    (copy / "SHA256SUMS").write_text("\n".join(kept) + "\n", encoding="utf-8")
    shutil.copytree(bundled.folder() / "weights", copy / "weights")
    monkeypatch.setenv("LABS_DATA", str(copy))
    return copy


def test_this_environment_is_well(capsys):
    assert doctor.report() == 0, capsys.readouterr().out
    words = capsys.readouterr().out
    assert words.rstrip().endswith("All is well.")
    for topic in ("Python", "torch", "widgets, server", "widgets, kernel", "device", "memory",
                  "disk", "data/weights", "networks, offline"):  # fmt: skip
        assert f"\n{topic} " in f"\n{words}", topic
    assert "squeezenet1_1" in words


def test_a_fault_or_a_look_that_fails_makes_the_status_1_and_is_followed_by_its_fix(
    monkeypatch: pytest.MonkeyPatch, capsys
):
    def look_at_trouble() -> list[Finding]:
        raise RuntimeError("no way")

    looks = (
        lambda: [Finding("good", "fine")],
        lambda: [Finding("bad", "broken", "do this")],
        look_at_trouble,
    )
    monkeypatch.setattr(doctor, "EXAMINATIONS", looks)
    assert doctor.report() == 1
    good, bad, fix, trouble, _, _, total = capsys.readouterr().out.splitlines()
    assert good.split() == ["good", "ok", "fine"]
    assert bad.split() == ["bad", "FAULT", "broken"]
    assert fix.strip() == "fix: do this"
    assert "trouble  FAULT  could not be examined: RuntimeError: no way" in trouble
    assert total == "2 to fix."


@pytest.mark.parametrize(
    ("version", "words", "fix"),
    [
        ("2.14.1+cpu", "2.14.1+cpu (>=2.9)", ""),
        ("2.1.0", "2.1.0 (>=2.9 is needed)", doctor.INSTALL),
        (None, "missing (>=2.9 is needed)", doctor.INSTALL),
    ],
)
def test_packages_are_compared_with_pyproject(version, words, fix, monkeypatch):
    monkeypatch.setattr(doctor.requirements, "installed", lambda name: version)
    assert doctor.package(Requirement.parse("torch>=2.9")) == Finding("torch", words, fix)


def test_an_interrupted_install_is_a_fault(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(environment, "HOME", tmp_path)
    Stamp("", "3.11", (), finished=False).write(tmp_path)
    assert doctor.look_at_python()[1].fix == doctor.INSTALL


def test_what_lacks_widgets_a_device_pytorch_memory_or_disk_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "MANAGER", "@nobody/has-this")
    server, kernel = doctor.look_at_widgets()
    assert "jupyterlab_widgets" in server.fix
    assert kernel.fix == doctor.kernel("python").fix == ""
    assert doctor.kernel(str(tmp_path / "python")).fix == doctor.KERNEL_FIX
    monkeypatch.setenv("LABS_DEVICE", "warp drive")
    (device,) = doctor.look_at_device()
    assert device.fix == "unset LABS_DEVICE"
    monkeypatch.setitem(sys.modules, "torchvision", None)
    (pytorch,) = doctor.look_at_device()
    assert "PyTorch does not start" in pytorch.words
    assert "--force-reinstall torch torchvision" in pytorch.fix
    monkeypatch.setattr(doctor.machine, "total_memory", lambda: 10**9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**8))
    assert all(found.fix for found in doctor.look_at_room())


def test_data_as_shipped_is_well_and_a_damaged_file_is_named_with_its_fix(data: Path):
    (weights,) = doctor.look_at_data()
    assert (weights.verdict, weights.words.endswith("as shipped")) == ("ok", True)
    name = bundled.names()[0]
    (data / name).write_bytes(b"something else")
    (weights,) = doctor.look_at_data()
    assert name in weights.words
    assert weights.fix == bundled.way_back(name)
    (data / "SHA256SUMS").unlink()
    assert doctor.look_at_data()[0].fix


@pytest.mark.parametrize(
    ("place", "git", "words"),
    [
        ("course/data", True, "git checkout -- data/weights/a data/weights/b"),
        ("class/data", False, "python3 -m labsupport update FROM"),
        ("site-packages/labsupport/data", False, "-m pip install --force-reinstall --no-deps"),
    ],
)
def test_the_fix_for_damaged_data_fits_the_place(place, git, words, tmp_path, monkeypatch):
    if git:
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).with_name(".git").touch()
    monkeypatch.delenv("LABS_DATA", raising=False)
    monkeypatch.setattr(bundled, "folder", lambda: tmp_path / place)
    assert words in bundled.way_back("weights/a", "weights/b")
    monkeypatch.setenv("LABS_DATA", "/shared")
    assert bundled.way_back("weights/a").startswith("copy weights/a from the workbook's own")


@pytest.mark.parametrize("there", [True, False])
def test_the_doctor_looks_into_the_environment_if_there_is_one(
    there, monkeypatch, executed, tmp_path
):
    # not this very Python's own environment, in which it would look at once
    monkeypatch.setattr(environment, "HOME", tmp_path / ".venv")
    monkeypatch.setattr(doctor, "unmet", lambda _: ["something"])
    monkeypatch.setattr(environment, "is_complete", lambda extras: there)
    monkeypatch.setattr(doctor, "report", lambda: 17)
    assert doctor.main(Namespace()) == (0 if there else 17)
    if there:
        assert executed()[0][0] == str(interpreters.inside(environment.HOME))
