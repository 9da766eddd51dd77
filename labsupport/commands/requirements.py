"""Does an environment satisfy pyproject.toml? Answered with the standard library alone.

`python -m labsupport.commands.requirements test` prints, as JSON, what the interpreter that
executes it lacks; so one interpreter can ask another.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import operator
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labsupport.commands.faults import Fault

PACKAGE = Path(__file__).resolve().parents[1]
# A wheel has all in the package: this list, data, notebooks. What is written goes where one is.
INSTALLED = (PACKAGE / "pyproject.toml").is_file()
PYPROJECT = (PACKAGE if INSTALLED else PACKAGE.parent) / "pyproject.toml"
ROOT = Path.cwd() if INSTALLED else PACKAGE.parent

Order = tuple[tuple[int, ...], bool]

COMPARE: dict[str, Callable[[Order, Order], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*((?:[<>=!]=?[^,;\[]+)(?:,[^,;\[]+)*)?")
_BOUND = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([0-9][0-9A-Za-z.+-]*)\s*")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(.*)")
_EARLIER = re.compile(r"[-_.]?(dev|alpha|a|beta|b|preview|pre|rc|c)[-_.]?\d*", re.IGNORECASE)


@dataclass(frozen=True)
class Requirement:
    """One line of the list: a package and the bounds on its version.

    >>> Requirement.parse("torch>=2.9, !=2.10.1").admits("2.10.0+cpu")
    True
    """

    name: str
    bounds: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, line: str) -> Requirement:
        """Read `name`, or `name>=1.2, !=1.3`; anything else is a `Fault` that shows the line."""
        whole = _REQUIREMENT.fullmatch(line.strip())
        parts = whole[2].split(",") if whole and whole[2] else []
        bounds = [_BOUND.fullmatch(part) for part in parts]
        if whole is None or None in bounds:
            raise Fault(f"pyproject.toml: '{line}' is not of the form name>=1.2, !=1.3")
        return cls(whole[1], tuple((bound[1], bound[2]) for bound in bounds if bound))

    def admits(self, version: str) -> bool:
        """Whether that version is within all bounds."""
        ours = order(version)
        return all(COMPARE[sign](ours, order(bound)) for sign, bound in self.bounds)

    def __str__(self) -> str:
        return self.name + ",".join(sign + bound for sign, bound in self.bounds)


def order(version: str) -> Order:
    """A key that sorts versions: numbers without trailing zeros, and pre-releases first.

    Local parts such as `+cpu` do not count.

    >>> order("2.10.0+cpu") > order("2.9.1")
    True
    >>> order("2.10.0rc1") < order("2.10")
    True
    """
    match = _VERSION.fullmatch(version.strip().partition("+")[0])
    if match is None:
        return (), False
    numbers = [int(number) for number in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), _EARLIER.match(match[2]) is None


def wanted(*extras: str, pyproject: Path = PYPROJECT) -> list[Requirement]:
    """The requirements that pyproject.toml lists, with those of the extras that are named."""
    project = listed(pyproject)
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement.parse(line) for line in lines]


def oldest_python() -> str:
    """The lowest version of Python that pyproject.toml admits.

    >>> oldest_python()
    '3.11'
    """
    return str(listed()["requires-python"]).removeprefix(">=").strip()


def listed(pyproject: Path = PYPROJECT) -> dict[str, Any]:
    """What pyproject.toml says about the project."""
    project: dict[str, Any] = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return project


def installed(name: str) -> str | None:
    """The version of a package in the running interpreter; None where it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def unmet(requirements: Iterable[Requirement]) -> list[Requirement]:
    """Those that the running interpreter does not satisfy: missing, or another version."""
    versions = ((one, installed(one.name)) for one in requirements)
    return [one for one, version in versions if version is None or not one.admits(version)]


def fingerprint(pyproject: Path = PYPROJECT) -> str:
    """A hash of what pyproject.toml says about the environment, settings of tools left out."""
    project = listed(pyproject)
    keys = ("requires-python", "dependencies", "optional-dependencies")
    text = json.dumps({key: project.get(key) for key in keys}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    print(json.dumps([str(one) for one in unmet(wanted(*sys.argv[1:]))]))
