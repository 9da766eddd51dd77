"""Train the ConvNetJS network on crops of the pictures: `python convnetjs.py` (after sums.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

DATA = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(DATA.parent))

from labsupport.core.images.crops import crops  # noqa: E402
from labsupport.core.network.architectures.convnetjs import MEAN, STD, ConvNetJS  # noqa: E402
from labsupport.core.training import accuracy, random_shifts, seeded, train  # noqa: E402

PER_CLASS = 900
EPOCHS = 24
RATE = 0.03
DECAY = 1e-3


def normalized(images: torch.Tensor) -> torch.Tensor:
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def main() -> None:
    data, held_out = crops("train", per_class=PER_CLASS), crops("test", per_class=200)
    images = normalized(data.images)
    settings = {
        "epochs": EPOCHS,
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "augment": random_shifts(2),
    }
    frame = None
    for frame in train.frames(seeded(ConvNetJS), images, data.labels, **settings):
        if frame.step % 100 == 0:
            print(
                f"epoch {frame.epoch:.1f}: loss {frame.loss:.3f}, {frame.accuracy:.3f}", flush=True
            )
    module = frame.module.eval()
    print(f"training {accuracy(module, images, data.labels):.4f}")
    print(f"test {accuracy(module, normalized(held_out.images), held_out.labels):.4f}")
    save_file(module.state_dict(), DATA / "weights/convnetjs.safetensors")


if __name__ == "__main__":
    main()
