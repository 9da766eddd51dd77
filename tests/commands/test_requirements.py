"""Our small reader of requirements agrees with `packaging`, which is not there when we need it."""

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement as Oracle
from packaging.version import Version

from labsupport.commands import faults, requirements
from labsupport.commands.requirements import PYPROJECT, ROOT, Requirement, wanted

numbers = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(
    lambda parts: ".".join(map(str, parts))
)
versions = st.builds(
    lambda release, tail, local: release + tail + local,
    numbers,
    st.sampled_from(["", "", "", "a1", "b2", "rc1", ".dev3"]),
    st.sampled_from(["", "+cpu", "+cu130"]),
)
bounds = st.tuples(st.sampled_from([">=", "<=", ">", "<", "!="]), numbers).map("".join)


@given(versions, numbers)
def test_versions_are_ordered_as_packaging_orders_them(version: str, release: str):
    ours = requirements.order(version) < requirements.order(release)
    public = Version(Version(version).public)
    assert ours == (public < Version(release))


@given(versions, st.lists(bounds, max_size=3))
def test_bounds_are_understood_as_packaging_understands_them(version: str, some: list[str]):
    line = "torch" + ",".join(some)
    public = Version(version).public
    # PEP 440 excludes 3.1rc1 from "<3.1"; for us only the order counts.
    if Version(version).is_prerelease and any(sign.startswith("<") for sign in some):
        return
    assert Requirement.parse(line).admits(version) == Oracle(line).specifier.contains(
        public, prereleases=True
    )


def test_every_line_of_pyproject_is_read_and_has_its_reason():
    text = PYPROJECT.read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras.values() for line in extra)]
    for line, requirement in zip(lines, wanted(*extras), strict=True):
        assert requirement.name == Oracle(line).name
        assert {"".join(bound) for bound in requirement.bounds} == set(
            map(str, Oracle(line).specifier)
        )
        commented = [line for line in text.splitlines() if line.startswith(f'  "{requirement}"')]
        assert commented, requirement
        for one in commented:
            assert len(one.partition("#")[2].strip()) > 10, one


@pytest.mark.parametrize(
    "line",
    ["", "torch ~= 2", "torch>=", "torch; python_version<'3'", "torch[cuda]>=2", "a @ file:///b"],
)
def test_a_line_that_is_not_understood_is_a_fault_not_a_guess(line: str):
    with pytest.raises(faults.Fault, match="not of the form"):
        Requirement.parse(line)


def test_what_is_missing_or_too_old_is_told(monkeypatch: pytest.MonkeyPatch):
    there = {"torch": "2.1.0+cpu", "numpy": "2.4.6"}

    def version(name: str) -> str:
        if name not in there:
            raise importlib.metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    lacking = requirements.unmet(map(Requirement.parse, ["torch>=2.9", "numpy>=2.0", "pillow"]))
    assert [str(one) for one in lacking] == ["torch>=2.9", "pillow"]


def test_one_interpreter_can_ask_another():
    words = [sys.executable, "-m", "labsupport.commands.requirements", "test"]
    reply = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(reply.stdout) == []


def test_only_what_concerns_the_environment_changes_the_fingerprint(tmp_path: Path):
    text = PYPROJECT.read_text(encoding="utf-8")
    other = tmp_path / "pyproject.toml"
    other.write_text(text.replace("line-length = 100", "line-length = 90"), encoding="utf-8")
    assert requirements.fingerprint(other) == requirements.fingerprint()
    other.write_text(text.replace('"numpy>=2.0"', '"numpy>=2.1"'), encoding="utf-8")
    assert requirements.fingerprint(other) != requirements.fingerprint()


def test_the_tested_versions_are_pinned_and_within_the_bounds():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Oracle(line) for line in lines if not line.startswith("#")]
    version = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins}
    assert len(version) == len(pins)
    assert all(Version(one).local is None for one in version.values())
    assert not [name for name in version if name.startswith(("nvidia", "cuda", "triton"))]
    for requirement in wanted("test"):
        assert requirement.admits(version[requirement.name]), requirement
