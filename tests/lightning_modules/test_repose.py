"""RePose: sizes and costs as designed, and the same result however it runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from jsonargparse import ArgumentParser
from torch import nn

from callbacks.sparsity import multiply_adds, select
from lightning_modules.networks import Kinematics, RePose
from lightning_modules.networks.repose import Refinement

MPII = [(6, 2), (6, 3), (2, 1), (1, 0), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (7, 12), (12, 11), (11, 10), (7, 13)]
MPII += [(13, 14), (14, 15)]
LSP = [(12, 8), (8, 7), (7, 6), (12, 9), (9, 10), (10, 11), (12, 13), (12, 2), (2, 1), (1, 0), (12, 3), (3, 4), (4, 5)]
TREE = Kinematics(16, MPII, root=6)
UPDATES_OFF = Kinematics(16, MPII, root=6, passes=[])
OUTWARD = Kinematics(16, MPII, root=6, passes=["outward"])
TIED = Kinematics(16, MPII, root=6, tied=True)
LOOPY = Kinematics(16, [*MPII, (2, 3), (12, 13), (12, 2), (13, 3)], root=6)
LSP_TREE = Kinematics(14, LSP, root=12)
LSP_LOOPY = Kinematics(14, [*LSP, (2, 3), (8, 9), (8, 2), (9, 3)], root=12)
TINY = {"width": 8, "channels": 4, "hidden": 4, "stem": 8}

# graph, arguments, parameters in M, GFLOPs at 256 x 256 (two a multiply-add) where the decoder's 1x1 convolutions
# follow the upsampling: the design's table, computed by other code from its layer list
DESIGN = [
    (TREE, {}, 4.079, 13.56),
    (TREE, RePose.BASE, 4.079, 13.56),
    (LSP_TREE, {}, 3.913, 13.46),
    (LOOPY, {}, 4.226, 13.64),
    (LSP_LOOPY, {}, 4.061, 13.53),
    (UPDATES_OFF, {}, 2.933, 12.98),
    (UPDATES_OFF, {"extra_blocks": 4}, 4.115, 13.58),
    (OUTWARD, {}, 3.506, 13.27),
    (TIED, {}, 3.506, 13.56),
    (OUTWARD, {"hidden": 64}, 4.078, 13.56),
    (TREE, RePose.SMALL, 1.027, 3.48),
    (TREE, RePose.MEDIUM, 2.300, 7.69),
    (TIED, {"coarse_stride": 32}, 3.986, 13.10),
    (TREE, {"coarse_stride": 32}, 4.559, 13.10),
]


@pytest.mark.parametrize(("kinematics", "arguments", "millions", "gflops"), DESIGN)
def test_parameters_cost_and_shapes(
    kinematics: Kinematics, arguments: dict[str, int], millions: float, gflops: float
) -> None:
    with torch.device("meta"):
        network, image = RePose(kinematics, **arguments), torch.empty(1, 3, 256, 256)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.00051)
    counts = multiply_adds(network, image)
    saved = 3 * sum(count for name, count in counts.items() if name.endswith(".coarse.weight"))
    assert 2 * (sum(counts.values()) + saved) / 1e9 == pytest.approx(gflops, abs=0.0051)
    joints = kinematics.num_joints
    assert [heatmaps.shape for heatmaps in network(image)] == [(1, joints, 256 // s, 256 // s) for s in network.strides]
    assert network.strides == ((16, 8, 4) if "coarse_stride" not in arguments else (32, 16, 8, 4))


def test_cost_as_it_runs() -> None:
    with torch.device("meta"):
        counts = multiply_adds(RePose(TREE), torch.empty(1, 3, 256, 256))
    assert sum(counts.values()) / 1e9 == pytest.approx(6.67, abs=0.005)
    updates = sum(count for name, count in counts.items() if name.startswith("updates."))
    assert updates / 1e9 == pytest.approx(0.293, abs=0.0005)


def test_levels_of_the_skeletons() -> None:
    assert [len(k.levels()) for k in (TREE, LSP_TREE)] == [5, 4], "steps of a pass, instead of 16 and 14"


def test_fusing_before_the_upsampling_changes_nothing() -> None:
    torch.manual_seed(0)
    stage = Refinement(source=6, width=5, joints=2, blocks=0).eval()
    features, heatmaps, skip = torch.randn(2, 6, 4, 3), torch.randn(2, 2, 4, 3), torch.randn(2, 5, 8, 6)
    drawn = nn.Conv2d(6 + 2 + 5, 5, 1, bias=False)
    drawn.weight.data = torch.cat([stage.coarse.weight, stage.skip.weight], dim=1)
    up = F.interpolate(torch.cat([features, heatmaps], 1), scale_factor=2, mode="bilinear", align_corners=False)
    expected = F.relu(stage.norm(drawn(torch.cat([up, skip], 1))))
    torch.testing.assert_close(stage(features, heatmaps, skip)[0], expected)


@pytest.mark.parametrize("coarse_stride", [16, 32])
def test_without_alpha_it_is_the_network_without_updates(coarse_stride: int) -> None:
    network, without = (RePose(k, coarse_stride=coarse_stride, **TINY) for k in (TREE, UPDATES_OFF))
    missing = network.load_state_dict(without.state_dict(), strict=False)
    assert missing.missing_keys
    assert all(name.startswith("updates.") for name in missing.missing_keys)
    image = torch.rand(1, 3, 64, 96)
    for a, b in zip(network.eval()(image), without.eval()(image), strict=True):
        assert torch.equal(a, b)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = RePose(Kinematics(16, MPII, root=6, alpha=0.1), **TINY)
    sum(heatmaps.square().sum() for heatmaps in network(torch.rand(2, 3, 64, 64))).backward()
    assert all(bool(p.grad.any()) for p in network.parameters())


def test_starts_kaiming_with_small_heads() -> None:
    torch.manual_seed(0)
    network = RePose(LSP_TREE, **RePose.SMALL)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            std = 0.001 if name.endswith("head") else (2 / layer.weight[0].numel()) ** 0.5
            assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.15), name
            assert layer.bias is None or not layer.bias.any()
    with torch.no_grad():
        assert all(heatmaps.abs().max() < 0.5 for heatmaps in network(torch.rand(1, 3, 64, 64)))


def test_compiles_to_one_graph_and_runs_in_other_layouts_and_precisions() -> None:
    torch.manual_seed(0)
    network = RePose(Kinematics(14, LSP, root=12, alpha=0.1), **TINY)
    image = torch.rand(2, 3, 64, 64)
    expected = [heatmaps.detach() for heatmaps in network(image)]
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    last = network.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    with torch.autocast("cpu", torch.bfloat16):
        half = network(image)
    for heatmaps, a, b, c in zip(expected, compiled(image), last, half, strict=True):
        torch.testing.assert_close(a.detach(), heatmaps)
        torch.testing.assert_close(b.detach(), heatmaps)
        assert c.dtype == torch.bfloat16
        torch.testing.assert_close(c.detach().float(), heatmaps, rtol=0.1, atol=0.1 * float(heatmaps.abs().max()))


def test_heads_and_first_convolution_can_stay_dense() -> None:
    module = nn.ModuleDict({"network": RePose(LSP_TREE, **TINY)})
    left_out = set(select(module)) - set(select(module, exclude=["*.head*", "*.stem.0.*"]))
    heads = {"network.head.weight", "network.decoder.0.head.weight", "network.decoder.1.head.weight"}
    assert left_out == heads | {"network.stem.0.weight"}


def test_yaml_builds_it() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(RePose, "network")
    kinematics = {"num_joints": 3, "edges": [[0, 1], [1, 2]], "root": 1, "passes": ["outward"], "tied": False}
    config = parser.parse_object({"network": {"kinematics": kinematics, **TINY, "coarse_stride": 32}})
    network = parser.instantiate_classes(config).network
    assert [tuple(h.shape) for h in network(torch.zeros(2, 3, 32, 32))] == [(2, 3, s, s) for s in (1, 2, 4, 8)]


@pytest.mark.parametrize("shape", [(1, 3, 60, 64), (1, 3, 64, 72), (1, 1, 64, 64), (3, 64, 64)])
def test_images_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of the coarse stride 16"):
        RePose(LSP_TREE, **TINY)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coarse_stride": 8}, "coarse_stride is 8"),
        ({"hidden": 0}, "hidden is 0"),
        ({"extra_blocks": -1}, "extra_blocks is -1"),
    ],
)
def test_impossible_sizes(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RePose(LSP_TREE, **arguments)
