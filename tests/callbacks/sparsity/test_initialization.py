import pytest
import torch
from torch import nn

from callbacks.sparsity import KeepValues, LayerScaled, Masks, SparseWeight, UnitScaled, generator_for, select


def mask_of_fan_in(fan_in: list[int], width: int) -> torch.Tensor:
    mask = torch.zeros(len(fan_in), width, dtype=torch.bool)
    for unit, n in enumerate(fan_in):
        mask[unit, torch.randperm(width, generator=generator_for(unit))[:n]] = True
    return mask


def sparse_weight(layer: nn.Module) -> SparseWeight:
    return select(layer)["weight"]


def test_variance_is_two_over_fan_in_for_each_unit() -> None:
    fan_in = [4000, 1000, 50, 2000]
    mask = mask_of_fan_in(fan_in, 4000)
    weight = sparse_weight(nn.Linear(4000, 4))
    draws = torch.stack([UnitScaled()(weight, mask, generator_for(seed)) for seed in range(20)])
    for unit, n in enumerate(fan_in):
        values = draws[:, unit][:, mask[unit]]
        assert values.var().item() == pytest.approx(2 / n, rel=0.12), f"fan-in {n}"
        assert abs(values.mean().item()) < 4 * (2 / n / values.numel()) ** 0.5
    assert (draws[:, ~mask] == 0).all()


def test_a_unit_without_inputs_is_zero_and_never_nan() -> None:
    mask = mask_of_fan_in([0, 3], 6)
    values = UnitScaled()(sparse_weight(nn.Linear(6, 2)), mask, generator_for(0))
    assert torch.isfinite(values).all()
    assert (values[0] == 0).all()
    assert (values[1] != 0).sum() == 3


def test_uniform_distribution_has_the_same_variance_and_its_bound() -> None:
    weight = sparse_weight(nn.Linear(300, 300))
    mask = torch.ones(300, 300, dtype=torch.bool)
    values = UnitScaled(distribution="uniform", scale=1.0, mode="fan_avg")(weight, mask, generator_for(0))
    assert values.var().item() == pytest.approx(1 / 300, rel=0.05)
    assert values.abs().max() <= (3 / 300) ** 0.5  # Glorot's bound, sqrt(6 / (fan_in + fan_out))
    assert values.abs().max() > 0.98 * (3 / 300) ** 0.5


def test_full_mask_is_he_initialization() -> None:
    layer = nn.Conv2d(16, 64, 3)
    values = UnitScaled()(sparse_weight(layer), torch.ones_like(layer.weight, dtype=torch.bool), generator_for(0))
    assert values.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.05)


def test_full_mask_keeps_the_normal_untruncated() -> None:
    layer = nn.Linear(500, 500)
    values = UnitScaled()(sparse_weight(layer), torch.ones_like(layer.weight, dtype=torch.bool), generator_for(0))
    assert values.abs().max() > 4 * (2 / 500) ** 0.5


def reference_fans(layer: nn.Module, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fan-in and fan-out of every connection, counted one by one."""
    transposed = isinstance(layer, nn.ConvTranspose2d)
    groups = getattr(layer, "groups", 1)
    fan_in, fan_out = torch.zeros(mask.shape), torch.zeros(mask.shape)
    ends = {}
    for index in torch.cartesian_prod(*(torch.arange(n) for n in mask.shape)).tolist():
        a, b = index[0], index[1]
        if transposed:  # weight (in, out / groups, ...)
            group = a // (mask.shape[0] // groups)
            ends[tuple(index)] = (("out", group, b), ("in", a))
        else:  # weight (out, in / groups, ...)
            group = a // (mask.shape[0] // groups)
            ends[tuple(index)] = (("out", a), ("in", group, b))
    for index, (out, into) in ends.items():
        fan_in[index] = sum(bool(mask[other]) for other, (o, _) in ends.items() if o == out)
        fan_out[index] = sum(bool(mask[other]) for other, (_, i) in ends.items() if i == into)
    return fan_in, fan_out


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 3),
        nn.Conv2d(4, 6, 2),
        nn.Conv2d(4, 6, 2, groups=2),
        nn.ConvTranspose2d(4, 6, 2),
        nn.ConvTranspose2d(4, 6, 2, groups=2),
    ],
    ids=["linear", "conv", "grouped", "transposed", "transposed-grouped"],
)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
def test_fans_of_every_layout_agree_with_counting(layer: nn.Module, mode: str) -> None:
    weight = sparse_weight(layer)
    mask = torch.rand(weight.parameter.shape, generator=generator_for(7)) < 0.5
    fan_in, fan_out = reference_fans(layer, mask)
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    noise = torch.empty(mask.shape).normal_(generator=generator_for(1))
    expected = (noise * (2 / n.clamp_min(1)).sqrt()).masked_fill(~mask, 0)
    values = UnitScaled(mode=mode)(weight, mask, generator_for(1))  # type: ignore[arg-type]
    torch.testing.assert_close(values, expected)


def test_dense_keeps_the_values() -> None:
    layer = nn.Linear(6, 4)
    mask = mask_of_fan_in([1, 2, 3, 6], 6)
    assert torch.equal(KeepValues()(sparse_weight(layer), mask, generator_for(0)), layer.weight.detach() * mask)


def test_layer_scaled_divides_by_the_root_of_the_density() -> None:
    layer = nn.Linear(6, 4)
    mask = mask_of_fan_in([1, 2, 3, 0], 6)
    values = LayerScaled()(sparse_weight(layer), mask, generator_for(0))
    torch.testing.assert_close(values, layer.weight.detach() * mask / (6 / 24) ** 0.5)
    assert torch.isfinite(LayerScaled()(sparse_weight(layer), torch.zeros_like(mask), generator_for(0))).all()


def test_unit_scaled_equals_layer_scaled_he_for_constant_fan_in() -> None:
    mask = mask_of_fan_in([100] * 400, 400)
    layer = nn.Linear(400, 400)
    nn.init.normal_(layer.weight, std=(2 / 400) ** 0.5)
    liu = LayerScaled()(sparse_weight(layer), mask, generator_for(0))
    ours = UnitScaled()(sparse_weight(layer), mask, generator_for(0))
    assert ours[mask].std().item() == pytest.approx(liu[mask].std().item(), rel=0.02)


def test_values_keep_dtype_and_do_not_touch_the_weight() -> None:
    layer = nn.Linear(6, 4, dtype=torch.float64)
    before = layer.weight.detach().clone()
    mask = Masks.random({"w": (4, 6)}, {"w": 5}, seed=0)["w"]
    for initialization in (KeepValues(), LayerScaled(), UnitScaled()):
        assert initialization(sparse_weight(layer), mask, generator_for(0)).dtype == torch.float64
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"mode": "fan"}, "mode is 'fan'"), ({"distribution": "cauchy"}, "'cauchy'"), ({"scale": 0.0}, "scale is 0")],
)
def test_unknown_settings_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnitScaled(**arguments)  # type: ignore[arg-type]
