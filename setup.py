"""A wheel carries data, notebooks and requirements: the whole workbook for a student."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

STAYS = ("solutions", "pictures", "gallery", "__pycache__", ".ipynb_checkpoints")


class WithLabs(build_py):
    """The package with `data` and `notebooks` in it; not where it is used as it lies here."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copy2("pyproject.toml", Path(self.build_lib, "labsupport"))
            for name in ("data", "notebooks"):
                inside = Path(self.build_lib, "labsupport", name)
                shutil.rmtree(inside, ignore_errors=True)
                shutil.copytree(name, inside, ignore=shutil.ignore_patterns(*STAYS))


setup(cmdclass={"build_py": WithLabs})
