"""Train LeNet-5 on the bundled digits: `python lenet.py` (after digits.py and sums.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

DATA = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(DATA.parent))

from labsupport.core.images.sets import LabelledImages, digits  # noqa: E402
from labsupport.core.network.architectures.lenet import LeNet5  # noqa: E402

EPOCHS = 30
BATCH = 64
RATE = 2e-3
SHIFT = 2  # pixels, at random, in each direction


def shifted(images: Tensor, random: torch.Generator) -> Tensor:
    """Each image moved by up to SHIFT pixels; black comes in."""
    side = images.shape[-1]
    padded = functional.pad(images, (SHIFT,) * 4)
    corners = torch.randint(0, 2 * SHIFT + 1, (len(images), 2), generator=random).tolist()
    moved = [
        image[:, top : top + side, left : left + side]
        for image, (top, left) in zip(padded, corners, strict=True)
    ]
    return torch.stack(moved)


def accuracy(network: LeNet5, data: LabelledImages) -> float:
    network.eval()
    with torch.no_grad():
        return float((network(data.images).argmax(1) == data.labels).float().mean())


def train(network: LeNet5, data: LabelledImages, seed: int = 0) -> None:
    random = torch.Generator().manual_seed(seed)
    steps = EPOCHS * (len(data) // BATCH)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    network.train()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(data), generator=random)
        for chosen in order.split(BATCH)[: len(data) // BATCH]:
            scores = network(shifted(data.images[chosen], random))
            loss = functional.cross_entropy(scores, data.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}", flush=True)


def main() -> None:
    torch.manual_seed(0)
    network = LeNet5()
    train(network, digits("train"))
    print(f"training {accuracy(network, digits('train')):.4f}")
    print(f"test {accuracy(network, digits('test')):.4f}")
    (DATA / "weights").mkdir(exist_ok=True)
    save_file(network.state_dict(), DATA / "weights/lenet5.safetensors")


if __name__ == "__main__":
    main()
