import inspect
import math
from collections.abc import Callable

import jsonargparse
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from callbacks.sparsity import ERK, select
from lightning_modules import networks
from lightning_modules.networks import (
    VGG16,
    VGG16BN,
    CIFARResNet,
    MobileNetV1,
    ResNet,
    ResNet18,
    ResNet20,
    ResNet32,
    ResNet34,
    ResNet44,
    ResNet50,
    ResNet56,
    SimpleBaseline,
    WideResNet,
)
from lightning_modules.networks.sizes import scaled

Build = Callable[[], nn.Module]
IMAGENET, CIFAR = (3, 224, 224), (3, 32, 32)

# network, input, output, parameters, multiply-adds of convolutions and linear layers in millions; above: their source
NETWORKS: dict[str, tuple[Build, tuple[int, ...], tuple[int, ...], int, float]] = {
    # torchvision's documentation: parameters and GFLOPS (it counts a multiply-add once)
    "resnet18": (ResNet18, IMAGENET, (1000,), 11_689_512, 1810),
    "resnet34": (ResNet34, IMAGENET, (1000,), 21_797_672, 3660),
    "resnet50": (ResNet50, IMAGENET, (1000,), 25_557_032, 4090),
    "resnet101": (lambda: ResNet(101), IMAGENET, (1000,), 44_549_160, 7800),
    "resnet152": (lambda: ResNet(152), IMAGENET, (1000,), 60_192_808, 11_510),
    # the 11.17 M parameters and 0.56 G multiply-adds of the usual ResNet-18 for CIFAR
    "resnet18 cifar": (lambda: ResNet18(10, cifar_stem=True), CIFAR, (10,), 11_173_962, 556),
    # He et al. 2016, table 6: 0.27 M, 0.46 M, 0.66 M, 0.85 M, 1.7 M. A block more in each stage is
    # 2 * 9 * (16^2 + 32^2 + 64^2) weights and 4 * (16 + 32 + 64) of norms, 97,216.
    "resnet20": (ResNet20, CIFAR, (10,), 269_722, 40.6),
    "resnet32": (ResNet32, CIFAR, (10,), 269_722 + 2 * 97_216, 68.9),
    "resnet44": (ResNet44, CIFAR, (10,), 269_722 + 4 * 97_216, 97.2),
    "resnet56": (ResNet56, CIFAR, (10,), 269_722 + 6 * 97_216, 125.5),
    "resnet110": (lambda: CIFARResNet(110), CIFAR, (10,), 269_722 + 15 * 97_216, 252.9),
    # two projections with norms more: 16 * 32 + 2 * 32 and 32 * 64 + 2 * 64
    "resnet20 B": (lambda: ResNet20(shortcut="B"), CIFAR, (10,), 269_722 + 576 + 2_176, 40.8),
    # Zagoruyko & Komodakis 2016, tables 4 and 5: 11.0 M, 36.5 M, 2.2 M, 8.9 M; Huang et al. 2018 (CondenseNet): 5.2 G
    "wrn-22-2": (WideResNet, CIFAR, (10,), 1_079_642, 157.7),
    "wrn-28-10": (lambda: WideResNet(28, width=10), CIFAR, (10,), 36_479_194, 5240),
    "wrn-16-8": (lambda: WideResNet(16, width=8), CIFAR, (10,), 10_961_370, 1550),
    "wrn-40-2": (lambda: WideResNet(40, width=2), CIFAR, (10,), 2_243_546, 328),
    "wrn-40-4": (lambda: WideResNet(40, width=4), CIFAR, (10,), 8_949_210, 1300),
    # kernels of thirteen convolutions, 14,710,464, and 512 * 1000; with norms and biases three values a channel more
    "vgg16": (VGG16, IMAGENET, (1000,), 14_710_464 + 512_000, 15_347),
    "vgg16 bn": (VGG16BN, IMAGENET, (1000,), 14_710_464 + 512_000 + 3 * 4_224 + 1_000, 15_347),
    # Keras' trainable parameters of MobileNet; Howard et al. 2017, table 6: 569, 325, 149, 41 million multiply-adds
    "mobilenet": (MobileNetV1, IMAGENET, (1000,), 4_231_976, 569),
    "mobilenet 0.75": (lambda: MobileNetV1(width=0.75), IMAGENET, (1000,), 2_585_560, 325),
    "mobilenet 0.5": (lambda: MobileNetV1(width=0.5), IMAGENET, (1000,), 1_331_592, 149.5),
    "mobilenet 0.25": (lambda: MobileNetV1(width=0.25), IMAGENET, (1000,), 470_072, 41),
    # torchvision's without fc, then 256 channels: three kernels of 4 x 4, norms, and 16 heatmaps with biases
    "simple baseline 18": (
        lambda: SimpleBaseline(16),
        (3, 256, 256),
        (16, 64, 64),
        11_689_512 - 513_000 + (512 + 256 + 256) * 256 * 16 + 3 * 512 + 256 * 16 + 16,
        3862,
    ),
    # Xiao et al. 2018: 34.0 M
    "simple baseline 50": (
        lambda: SimpleBaseline(16, 50),
        (3, 256, 192),
        (16, 64, 48),
        25_557_032 - 2_049_000 + (2048 + 256 + 256) * 256 * 16 + 3 * 512 + 256 * 16 + 16,
        5426,
    ),
}

# one small network of each family
TINY: dict[str, tuple[Build, tuple[int, ...]]] = {
    "basic": (lambda: ResNet18(7, width=0.125), (3, 64, 32)),
    "bottleneck": (lambda: ResNet50(7, width=0.125, cifar_stem=True, in_channels=1), (1, 16, 16)),
    "cifar A": (lambda: ResNet20(7, width=0.25), (3, 16, 20)),
    "cifar B": (lambda: ResNet20(7, width=0.25, shortcut="B"), (3, 15, 17)),
    "wide": (lambda: WideResNet(16, 7, width=0.5, dropout=0.3), (3, 16, 16)),
    "vgg": (lambda: VGG16(7, width=0.125), (3, 32, 48)),
    "vgg bn": (lambda: VGG16BN(7, width=0.125, in_channels=2), (2, 32, 32)),
    "mobilenet": (lambda: MobileNetV1(7, width=0.25), (3, 64, 64)),
    "pose": (lambda: SimpleBaseline(7, width=0.125, channels=8), (3, 64, 32)),
}


def on_meta(build: Build) -> nn.Module:
    with torch.device("meta"):
        return build()


def output(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    out = network(image)
    return out[0] if isinstance(out, tuple) else out


def multiply_adds(network: nn.Module, shape: tuple[int, ...]) -> tuple[torch.Size, int]:
    total = 0

    def count(layer: nn.Module, args: tuple[torch.Tensor], out: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.ConvTranspose2d):  # each input value meets the kernel of its channel
            total += args[0].numel() * layer.weight[0].numel()
        else:
            total += out.numel() * layer.weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            layer.register_forward_hook(count)
    return output(network, torch.empty(2, *shape, device="meta")).shape, total // 2


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_parameters_and_multiply_adds(name: str) -> None:
    build, source, target, parameters, millions = NETWORKS[name]
    network = on_meta(build)
    assert sum(p.numel() for p in network.parameters()) == parameters
    shape, total = multiply_adds(network, source)
    assert shape == (2, *target)
    assert total / 1e6 == pytest.approx(millions, rel=5e-3)


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_learns_in_channels_last_too(name: str) -> None:
    build, shape = TINY[name]
    torch.manual_seed(0)
    network = build()
    image = torch.randn(4, *shape)
    out = output(network, image)
    assert out.shape[:2] == (4, 7)
    out.square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.any(), key
    out = output(network.eval(), image)
    last = output(network.to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last))
    assert torch.allclose(last, out, rtol=1e-3, atol=1e-5)


# by falling ERK ratio: 138 / 1280, 50 / 512, 25 / 432, 98 / 2048, 194 / 8192
WRN_SMALLEST = ["fc", "layer1.0.shortcut", "conv1", "layer2.0.shortcut", "layer3.0.shortcut"]

# network, kernel weights, sparsity, layers that ERK leaves dense, sparsities of some others: they depend on all shapes.
# Computed for the networks of RigL and of the gradient-flow paper with another implementation of ERK.
ERK_GOLDEN: dict[str, tuple[Build, int, float, list[str], dict[str, float]]] = {
    "resnet50 80 %": (
        ResNet50,
        25_502_912,
        0.80,
        [
            *("layer1.0.conv1", "layer1.0.conv3", "layer1.0.downsample.0", "layer1.1.conv1", "layer1.1.conv3"),
            *("layer1.2.conv1", "layer1.2.conv3", "layer2.0.conv1"),
        ],
        {
            "conv1": 0.143,
            "layer1.1.conv2": 0.638,
            "layer2.1.conv2": 0.823,
            "layer3.1.conv2": 0.913,
            "layer4.1.conv2": 0.957,
            "layer3.1.conv1": 0.513,
            "layer4.1.conv1": 0.757,
            "fc": 0.852,
        },
    ),
    "resnet50 90 %": (
        ResNet50,
        25_502_912,
        0.90,
        ["layer1.0.conv1"],
        {"conv1": 0.580, "layer1.0.conv2": 0.823, "layer4.0.conv2": 0.979, "fc": 0.927},
    ),
    "vgg16 80 %": (
        VGG16,
        15_222_464,
        0.80,
        ["features.0", "features.2"],
        {
            "features.5": 0.134,
            "features.7": 0.427,
            "features.10": 0.574,
            "features.14": 0.717,
            "features.17": 0.7885,
            "features.28": 0.859,
            "classifier": 0.0478,  # 0.0465 as the released code's 1x1 convolution: 1514 / 1512 of the density
        },
    ),
    "wrn-22-2 80 %": (WideResNet, 1_076_912, 0.80, WRN_SMALLEST, {"layer3.1.conv2": 0.866}),
    "wrn-22-2 90 %": (WideResNet, 1_076_912, 0.90, WRN_SMALLEST[:4], {"layer3.1.conv2": 0.936}),
    "wrn-22-2 95 %": (WideResNet, 1_076_912, 0.95, WRN_SMALLEST[:3], {"layer3.1.conv2": 0.969}),
}


@pytest.mark.parametrize("name", ERK_GOLDEN)
def test_erk_finds_the_layers_of_the_papers(name: str) -> None:
    build, kernels, sparsity, dense, others = ERK_GOLDEN[name]
    shapes = {key.removesuffix(".weight"): s.parameter.shape for key, s in select(on_meta(build)).items()}
    assert sum(shape.numel() for shape in shapes.values()) == kernels
    kept = ERK()(shapes, sparsity)
    assert [key for key, shape in shapes.items() if kept[key] == shape.numel()] == sorted(dense, key=list(shapes).index)
    for key, expected in others.items():
        assert 1 - kept[key] / shapes[key].numel() == pytest.approx(expected, abs=6e-4), key


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_resnet50_has_the_keys_of_torchvision() -> None:
    keys = list(on_meta(ResNet50).state_dict())
    assert len(keys) == 53 * 6 + 2
    first = ["conv1.weight", *(f"bn1.{k}" for k in NORM), "layer1.0.conv1.weight", *(f"layer1.0.bn1.{k}" for k in NORM)]
    assert keys[: len(first)] == first
    last = ["layer4.2.conv3.weight", *(f"layer4.2.bn3.{k}" for k in NORM), "fc.weight", "fc.bias"]
    assert keys[-len(last) :] == last
    assert [key for key in keys if "downsample" in key] == [
        f"layer{stage}.0.downsample.{rest}"
        for stage in (1, 2, 3, 4)
        for rest in ("0.weight", *(f"1.{k}" for k in NORM))
    ]


def test_resnet18_projects_where_torchvision_does() -> None:
    keys = on_meta(ResNet18).state_dict()
    assert [key for key in keys if "downsample.0" in key] == [f"layer{i}.0.downsample.0.weight" for i in (2, 3, 4)]


def test_vgg16_has_the_feature_keys_of_torchvision() -> None:
    keys = list(on_meta(VGG16BN).state_dict())
    first = ["features.0.weight", "features.0.bias", *(f"features.1.{k}" for k in NORM), "features.3.weight"]
    last = ["features.40.weight", "features.40.bias", *(f"features.41.{k}" for k in NORM)]
    assert keys[: len(first)] == first
    assert keys[-len(last) - 2 :] == [*last, "classifier.weight", "classifier.bias"]
    convolutions = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
    assert [k for k in keys if f"{k.rpartition('.')[0]}.running_mean" not in keys and k.endswith("weight")] == [
        *(f"features.{i}.weight" for i in convolutions),
        "classifier.weight",
    ]
    plain = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert list(on_meta(lambda: VGG16(bias=True)).state_dict())[:-2] == [
        f"features.{i}.{k}" for i in plain for k in ("weight", "bias")
    ]


def test_simple_baseline_has_the_keys_of_its_authors_and_loads_a_resnet() -> None:
    network, resnet = SimpleBaseline(5, 50, width=0.125, channels=8), ResNet50(10, width=0.125)
    missing, unexpected = network.load_state_dict(resnet.state_dict(), strict=False)
    assert unexpected == ["fc.weight", "fc.bias"]
    layers = [f"deconv_layers.{3 * i}.weight" for i in range(3)]
    norms = [f"deconv_layers.{3 * i + 1}.{k}" for i in range(3) for k in NORM[:4]]  # torch never misses a counter
    assert set(missing) == {*layers, *norms, "final_layer.weight", "final_layer.bias"}
    image = torch.randn(2, 3, 32, 32)
    assert torch.equal(network.eval().features(image), resnet.eval().features(image))


@pytest.mark.parametrize(
    ("network", "side", "expected"),
    [
        (ResNet18(width=0.125), 64, (64, 2, 2)),
        (ResNet50(width=0.125), 65, (256, 3, 3)),
        (ResNet18(width=0.125, cifar_stem=True), 32, (64, 4, 4)),
        (ResNet20(width=0.25), 32, (16, 8, 8)),
        (WideResNet(16, width=0.25), 32, (16, 8, 8)),
        (VGG16(width=0.125), 32, (64, 2, 2)),
        (MobileNetV1(width=0.25), 64, (256, 2, 2)),
    ],
)
def test_features_are_the_maps_that_are_pooled_and_classified(
    network: nn.Module, side: int, expected: tuple[int, ...]
) -> None:
    image = torch.randn(2, 3, side, side)
    network.eval()
    maps = network.features(image)
    assert maps.shape == (2, *expected)
    assert maps.min() >= 0
    head = network.classifier if isinstance(network, VGG16) else network.fc
    assert torch.allclose(network(image), head(maps.flatten(2).mean(2)), atol=1e-5)


def test_a_bottleneck_strides_in_its_3x3_convolution() -> None:
    block = ResNet50(width=0.125).layer2[0]
    assert [conv.stride for conv in (block.conv1, block.conv2, block.conv3)] == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize("depth", [18, 50])
def test_blocks_start_as_their_shortcuts_if_asked(depth: int) -> None:
    network = ResNet(depth, width=0.125, zero_init_residual=True)
    for stage in (network.layer1, network.layer4):
        x = torch.randn(2, stage[1].conv1.in_channels, 6, 6)
        assert torch.equal(stage[1](x), x.relu())
        x = torch.randn(2, stage[0].conv1.in_channels, 6, 6)
        assert torch.equal(stage[0](x), (x if stage[0].downsample is None else stage[0].downsample(x)).relu())
    x = torch.randn(2, network.layer4[1].conv1.in_channels, 6, 6)
    assert not torch.equal(ResNet(depth, width=0.125).layer4[1](x), x.relu())


def test_shortcut_a_drops_every_other_pixel_and_adds_channels_of_zeros() -> None:
    block = ResNet20(width=0.25).layer2[0]
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 4, 5, 6)
    expected = torch.zeros(2, 8, 3, 3)
    for channel in range(4):
        for row in range(3):
            for column in range(3):
                expected[:, channel, row, column] = x[:, channel, 2 * row, 2 * column]
    assert torch.equal(block(x), expected)


def test_wide_blocks_pass_the_raw_input_or_project_the_activated_one() -> None:
    first, second = WideResNet(16, width=0.5).layer2.eval()
    for block in (first, second):
        nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 16, 6, 6)
    assert torch.equal(second(x), x)
    x = torch.randn(2, 8, 6, 6)
    first.bn1.running_mean.fill_(0.5)
    expected = nn.functional.conv2d((x - 0.5).relu(), first.shortcut.weight, stride=2)
    assert torch.allclose(first(x), expected, atol=1e-4)


def test_dropout_acts_between_the_convolutions_of_wide_blocks_in_training_only() -> None:
    torch.manual_seed(0)
    block = WideResNet(16, width=2, dropout=0.5).layer1[1]
    x = torch.randn(2, 32, 6, 6)
    seen: list[torch.Tensor] = []
    block.conv2.register_forward_hook(lambda *call: seen.append(call[1][0]))
    zeros = []
    for mode in (True, False):
        block.train(mode)(x)
        zeros.append((seen.pop() == 0).float().mean().item())
    assert zeros == pytest.approx([0.75, 0.5], abs=0.05)  # ReLU zeroes a half


def test_vgg16_without_norms_and_biases_is_homogeneous() -> None:
    network, image = VGG16(10, width=0.125), torch.randn(2, 3, 32, 32)
    assert torch.allclose(network(4 * image), 4 * network(image), rtol=1e-4)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def test_depth_wise_kernels_stay_dense_by_default() -> None:
    network = on_meta(MobileNetV1)
    depthwise = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    assert len(depthwise) == 13
    assert all(layer.groups == layer.in_channels == layer.out_channels for layer in depthwise)
    assert list(select(network)) == ["conv1.weight", *(f"blocks.{i}.pointwise.weight" for i in range(13)), "fc.weight"]


@pytest.mark.parametrize(
    ("network", "layer", "std"),
    [
        (ResNet18(width=0.5), "layer2.0.conv1", math.sqrt(2 / (64 * 9))),  # fan_out; fan_in is half
        (ResNet18(width=0.5), "fc", 0.01),
        (ResNet20(), "layer3.0.conv1", math.sqrt(2 / (64 * 9))),
        (WideResNet(), "layer3.0.conv1", math.sqrt(2 / (128 * 9))),
        (MobileNetV1(), "blocks.12.depthwise", math.sqrt(2 / 9)),
        (MobileNetV1(), "blocks.5.pointwise", math.sqrt(2 / 256)),
        (VGG16(), "features.10", math.sqrt(2 / (128 * 9))),
        (VGG16(), "classifier", math.sqrt(2 / 512)),
        (VGG16BN(), "classifier", 0.01),
        (SimpleBaseline(16, width=0.5), "layer2.0.conv1", math.sqrt(2 / (64 * 9))),
        (SimpleBaseline(16, width=0.5), "deconv_layers.0", 0.001),
        (SimpleBaseline(16, width=0.5), "final_layer", 0.001),
    ],
)
def test_weights_start_as_documented(network: nn.Module, layer: str, std: float) -> None:
    owner = network.get_submodule(layer)
    assert owner.weight.std().item() == pytest.approx(std, rel=0.05)
    assert owner.bias is None or not owner.bias.any()


@given(st.sampled_from([16, 32, 64, 512]), st.floats(0.0625, 16))
def test_width_rounds_down_to_whole_channels(channels: int, width: float) -> None:
    assert scaled(channels, width) <= channels * width < scaled(channels, width) + 1
    assert scaled(channels, 1.0) == channels


def test_width_of_the_small_dense_networks() -> None:
    """RigL matches stored bytes, a bit a weight for the mask included: 23.6 % of the weights at 80 % sparsity."""
    kernels = [
        sum(p.numel() for p in on_meta(b).parameters() if p.dim() > 1)
        for b in (lambda: ResNet50(width=0.465), ResNet50)
    ]
    assert kernels[0] / kernels[1] == pytest.approx(0.236, abs=5e-4)
    assert sum(p.numel() for p in on_meta(lambda: VGG16(width=0.44)).parameters()) == pytest.approx(
        0.2 * 15_222_464, rel=0.02
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ResNet(20), r"depth is 20; it is one of \(18, 34, 50, 101, 152\)"),
        (lambda: ResNet18(0), "num_classes is 0; it is at least 1"),
        (lambda: ResNet18(in_channels=0), "in_channels is 0"),
        (lambda: ResNet18(width=0.01), "width is 0.01; .* at least 0.015625"),
        (lambda: ResNet18(width=-1.0), "width is -1.0"),
        (lambda: ResNet18(width=math.nan), "width is nan"),
        (lambda: ResNet18(width=math.inf), "width is inf"),
        (lambda: CIFARResNet(18), r"depth is 18; it is 6 n \+ 2"),
        (lambda: CIFARResNet(2), "depth is 2;"),
        (lambda: ResNet20(shortcut="C"), "shortcut is 'C'"),
        (lambda: ResNet20(-1), "num_classes is -1"),
        (lambda: WideResNet(20), r"depth is 20; it is 6 n \+ 4"),
        (lambda: WideResNet(4), "depth is 4;"),
        (lambda: WideResNet(dropout=1.0), "dropout is 1.0"),
        (lambda: WideResNet(in_channels=0), "in_channels is 0"),
        (lambda: VGG16(0), "num_classes is 0"),
        (lambda: VGG16(width=0.0), "width is 0.0"),
        (lambda: MobileNetV1(0), "num_classes is 0"),
        (lambda: MobileNetV1(width=0.03), "width is 0.03; .* at least 0.03125"),
        (lambda: SimpleBaseline(0), "num_joints is 0"),
        (lambda: SimpleBaseline(14, 20), "depth is 20"),
        (lambda: SimpleBaseline(14, channels=0), "channels is 0"),
        (
            lambda: SimpleBaseline(14, width=0.125, channels=8)(torch.zeros(1, 3, 64, 40)),
            r"image has shape \(1, 3, 64, 40\)",
        ),
    ],
)
def test_impossible_arguments(build: Build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "name", [n for n in networks.__all__ if inspect.signature(getattr(networks, n)).parameters.get("options")]
)
def test_presets_are_found_and_built_by_name_with_the_options_of_their_family(name: str) -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--network", type=nn.Module)
    arguments = [f"--network={name}", "--network.num_classes=3", "--network.width=0.0625", "--network.in_channels=2"]
    built = parser.instantiate_classes(parser.parse_args(arguments)).network
    assert type(built) is getattr(networks, name)
    assert built.eval()(torch.zeros(1, 2, 32, 32)).shape == (1, 3)
