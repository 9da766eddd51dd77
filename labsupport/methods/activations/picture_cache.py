"""A cache of pictures that took long to make: in memory, and in files that are read back.

A folder that cannot be written, or a file that is damaged, costs nothing but the time to make the
picture again.
"""

import contextlib
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labsupport.core import images
from labsupport.core.errors import LabError

_FORMAT = "unit picture 1"
_KEPT = 64  # pictures in memory
_MOST = 500  # files in the folder, 40 to 100 kB each


class PictureCache:
    """Pictures (1, 3, H, W) by what made them, in memory and in a folder of PNG files.

    The folder is made when the first picture is kept; by default it lies beside PyTorch's own
    downloads. Each file holds in words what made it, and counts only if those words agree.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder).expanduser()
        self._memory: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder or Path(torch.hub.get_dir()).parent / "unit_pictures"

    def get(self, made_by: Mapping[str, Any]) -> Tensor | None:
        """The picture that these settings made, if it is there and whole."""
        words = _words(made_by)
        with self._lock:
            kept = self._memory.get(words)
        if kept is not None:
            return kept.clone()
        with contextlib.suppress(LabError, OSError, RuntimeError, ValueError):
            file = self.file(made_by)
            if file.is_file() and images.saved_settings(file).get("made by") == words:
                picture = images.load(file)
                self._remember(words, picture)
                return picture
        return None

    def put(self, made_by: Mapping[str, Any], picture: Tensor) -> Tensor:
        """Keep a picture, and give it back as it will be read: to 8 bits a colour."""
        words = _words(made_by)
        whole = (picture * 255).round().clamp(0, 255) / 255
        self._remember(words, whole)
        with contextlib.suppress(LabError, OSError, RuntimeError):
            self.folder.mkdir(parents=True, exist_ok=True)
            images.save(whole, self.file(made_by), {**made_by, "made by": words})
            self._thin_out()
        return whole.clone()

    def file(self, made_by: Mapping[str, Any]) -> Path:
        """The file that such a picture has."""
        return self.folder / f"{hashlib.sha256(_words(made_by).encode()).hexdigest()[:24]}.png"

    def _remember(self, words: str, picture: Tensor) -> None:
        with self._lock:
            self._memory[words] = picture
            self._memory.move_to_end(words)
            while len(self._memory) > _KEPT:
                self._memory.popitem(last=False)

    def _thin_out(self) -> None:
        """The oldest files go when there are too many."""
        files = [(file.stat().st_mtime, file) for file in self.folder.glob("*.png")]
        for _, file in sorted(files)[: max(0, len(files) - _MOST)]:
            file.unlink(missing_ok=True)


def _words(made_by: Mapping[str, Any]) -> str:
    return f"{_FORMAT} {json.dumps(made_by, sort_keys=True, default=str)}"
