"""Networks that are measured: with random masks, or trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from pytorch_lightning.cli import LightningCLI
from torch import Tensor, nn

from callbacks.sparsity import Masks, Uniform, select
from datamodules import LSP_SKELETON
from lightning_modules import networks

from ...pose.costs import kinematics

PLAIN = ("LeNet5", "LeNet300100", "MobileNetV1", "ResNet18", "ResNet20", "ResNet34", "ResNet50", "ResNet56", "VGG16")
NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(1024, 1024),
    "RePose": lambda: networks.RePose(kinematics(LSP_SKELETON)),
    **{name: getattr(networks, name) for name in PLAIN},
}

IMAGES: Mapping[str, tuple[int, ...]] = {  # the inputs of networks that do not take 3 x 224 x 224
    "Linear": (1024,),
    **dict.fromkeys(("LeNet5", "LeNet300100"), (1, 28, 28)),
    **dict.fromkeys(("ResNet20", "ResNet56"), (3, 32, 32)),
}


def sparse_network(name: str, sparsity: float, seed: int) -> nn.Module:
    """Return a network of :data:`NETWORKS` in eval mode with random uniform masks; its first layer is dense.

    What is left of the weights is larger, so that activations stay as large as without masks.
    """
    torch.manual_seed(seed)
    network = NETWORKS[name]().eval()
    weights = {weight: selected.parameter for weight, selected in select(network).items()}
    shapes = {weight: parameter.shape for weight, parameter in weights.items()}
    counts = Uniform(first_layer_dense=len(shapes) > 1)(shapes, sparsity)
    masks = Masks.random(shapes, counts, seed=seed)
    masks.apply_to_weights(weights)
    with torch.no_grad():
        for weight, density in masks.density.items():
            weights[weight].div_(density**0.5)
    return network


def sparsity_of(network: nn.Module) -> float:
    """Return the fraction of zeros in all kernels together."""
    kernels = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    return 1 - sum(int(kernel.count_nonzero()) for kernel in kernels) / sum(kernel.numel() for kernel in kernels)


def test_image(cli: LightningCLI) -> Tensor:
    """Return the first image of a module's test data, as a batch."""
    cli.datamodule.prepare_data()
    cli.datamodule.setup("test")
    batch = next(iter(cli.datamodule.test_dataloader()))
    images: Tensor = batch["image"] if isinstance(batch, Mapping) else batch[0]
    return images[:1]
