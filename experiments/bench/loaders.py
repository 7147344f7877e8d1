"""A bench of loaders: whether images keep up with training, and the speed against a plain Dataset that uses Pillow.

What is compared is timed in turns in one process: a machine's speed changes from minute to minute.
"""

from __future__ import annotations

import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from datamodules import CIFAR10DataModule, ImageNetDataModule
from datamodules.cifar.images import CIFARImages
from datamodules.imagenet.samples import MEAN, STD
from lightning_modules.networks import ResNet20, ResNet50

from ..run.console_tables import number_table

ROUNDS, WORKERS = 5, 2
Sample = tuple[Tensor, int]
Mirror = Image.Transpose.FLIP_LEFT_RIGHT


def normalised(image: Image.Image, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
    return planes.sub_(torch.tensor(mean)[:, None, None]).div_(torch.tensor(std)[:, None, None])


class PlainCIFAR(Dataset[Sample]):
    """The augmentation of CIFAR10DataModule, image by image."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        padded = ImageOps.expand(Image.fromarray(self.images[index]), 4, (125, 123, 114))
        x, y = random.randint(0, 8), random.randint(0, 8)
        image = padded.crop((x, y, x + 32, y + 32))
        image = image.transpose(Mirror) if random.random() < 0.5 else image
        return normalised(image, CIFAR10DataModule.mean, CIFAR10DataModule.std), self.labels[index]


class PlainImageNet(Dataset[Sample]):
    """The augmentation of ImageNetDataModule, image by image."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*/*"))
        self.classes = sorted({path.parent for path in self.paths})

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        path = self.paths[index]
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        image = image.crop(self.part(*image.size)).resize((224, 224), Image.Resampling.BILINEAR)
        image = image.transpose(Mirror) if random.random() < 0.5 else image
        return normalised(image, MEAN, STD), self.classes.index(path.parent)

    def part(self, width: int, height: int) -> tuple[int, int, int, int]:
        for _ in range(10):
            area, ratio = random.uniform(0.08, 1) * width * height, math.exp(random.uniform(-1, 1) * math.log(4 / 3))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if w <= width and h <= height:
                x, y = random.randint(0, width - w), random.randint(0, height - h)
                return x, y, x + w, y + h
        return 0, 0, width, height


def training(network: nn.Module, images: Tensor, classes: int) -> Callable[[], int]:
    """Return a function that makes a step of SGD and returns how many images it took."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    labels = torch.arange(len(images)) % classes

    def step() -> int:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return len(images)

    return step


def rates(loaders: Mapping[str, DataLoader[Any]], step: Callable[[], int], steps: int) -> dict[str, float]:
    """Return median images/s of training and of loaders after their first batch, which waits for the workers."""
    speeds: dict[str, list[float]] = {name: [] for name in ("training", *loaders)}
    step()
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        seen = sum(step() for _ in range(steps))
        speeds["training"].append(seen / (time.perf_counter() - begun))
        for name, loader in loaders.items():
            batches = iter(loader)
            next(batches)
            begun = time.perf_counter()
            seen = sum(len(labels) for _, labels in batches)
            speeds[name].append(seen / (time.perf_counter() - begun))
    return {name: statistics.median(values) for name, values in speeds.items()}


def identity(batch: Any) -> Any:
    return batch


def report(console: Console, title: str, speeds: Mapping[str, float]) -> None:
    table = number_table(title, "what", "images/s", "times training", "times plain")
    for name, rate in speeds.items():
        table.add_row(name, f"{rate:.0f}", f"{rate / speeds['training']:.1f}", f"{rate / speeds['plain, Pillow']:.1f}")
    console.print(table)


def cifar(console: Console, count: int = 6400, batch: int = 128) -> dict[str, float]:
    """Measure made-up images of CIFAR-10."""
    data = CIFAR10DataModule(batch_size=batch)
    images, labels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8), torch.arange(count) % 10
    samples = CIFARImages(images, labels, data.preprocess, augmentation=True)
    speeds = rates(
        {
            "CIFAR10DataModule": DataLoader(samples, batch, shuffle=True, collate_fn=identity),
            "plain, Pillow": DataLoader(PlainCIFAR(images, labels), batch, shuffle=True),
        },
        training(ResNet20(), torch.randn(batch, 3, 32, 32), 10),
        steps=3,
    )
    report(console, f"CIFAR-10 against ResNet-20, batch {batch}, in one process", speeds)
    return speeds


def imagenet(
    console: Console, count: int = 384, batch: int = 32, size: tuple[int, int] = (500, 375)
) -> dict[str, float]:
    """Measure made-up photos of about the size and bytes of those of ImageNet."""
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), count, *size)
        data = ImageNetDataModule(folder, batch_size=batch, num_workers=WORKERS)
        plain = PlainImageNet(Path(folder) / "train")
        speeds = rates(
            {
                "ImageNetDataModule": data.train_dataloader(),
                "plain, Pillow": DataLoader(plain, batch, shuffle=True, num_workers=WORKERS),
            },
            training(ResNet50(), torch.randn(8, 3, 224, 224), 1000),
            steps=1,
        )
    report(console, f"ImageNet against ResNet-50, photos of {size[0]}x{size[1]} px, {WORKERS} workers", speeds)
    return speeds


def write_photos(folder: Path, count: int, width: int, height: int) -> None:
    """Write smooth noise as JPEG at quality 90, about 100 kB at 500x375."""
    generator = np.random.default_rng(0)
    for n in range(count):
        noise = cv2.GaussianBlur(generator.standard_normal((height, width, 3), np.float32), (0, 0), 1.2)
        path = folder / "train" / f"n{n % 2}" / f"{n}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.clip(128 + 250 * noise, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])


def main() -> None:
    console = Console()
    torch.manual_seed(0)
    cifar(console)
    imagenet(console)
