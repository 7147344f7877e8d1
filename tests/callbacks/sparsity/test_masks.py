import copy
import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from callbacks.sparsity import Masks, generator_for
from callbacks.sparsity.masks.packing import pack, unpack
from callbacks.sparsity.masks.zeros import zero_inactive

SHAPES = {"a": (3, 5), "b": (4, 2, 3, 3)}


@given(st.integers(0, 15), st.integers(0, 72), st.integers(0, 2**40))
def test_random_masks_have_exact_counts(a: int, b: int, seed: int) -> None:
    masks = Masks.random(SHAPES, {"a": a, "b": b}, seed=seed)
    assert masks.counts == {"a": a, "b": b}
    assert masks.sparsity == pytest.approx(1 - (a + b) / 87)
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == SHAPES


def test_random_masks_depend_on_the_seed_alone() -> None:
    counts = {"a": 7, "b": 30}
    first = Masks.random(SHAPES, counts, seed=1)
    torch.rand(3)
    assert first.digest() == Masks.random(SHAPES, counts, seed=1).digest()
    assert first.digest() != Masks.random(SHAPES, counts, seed=2).digest()


def test_random_positions_are_uniform() -> None:
    hits = sum(Masks.random({"a": (10,)}, {"a": 3}, seed=seed)["a"].float() for seed in range(2000))
    assert torch.allclose(torch.as_tensor(hits) / 2000, torch.full((10,), 0.3), atol=0.05)


def test_random_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match=r"counts\['a'\] is 16, but the tensor has 15"):
        Masks.random({"a": (3, 5)}, {"a": 16}, seed=0)


def test_masks_are_bool() -> None:
    with pytest.raises(TypeError, match="mask 'a' is torch.float32"):
        Masks({"a": torch.ones(2)})


def test_replace_gives_a_new_value_and_checks_names_and_shapes() -> None:
    masks = Masks.random(SHAPES, {"a": 7, "b": 30}, seed=0)
    changed = masks.replace({"a": torch.ones(3, 5, dtype=torch.bool)})
    assert masks.counts["a"] == 7
    assert changed.counts == {"a": 15, "b": 30}
    for bad in ({"c": masks["a"]}, {"a": masks["b"]}):
        with pytest.raises(ValueError, match="does not replace a mask"):
            masks.replace(bad)


def test_application_is_exact_and_beats_nan() -> None:
    masks = Masks({"w": torch.tensor([[True, False], [False, True]])})
    weight = torch.nn.Parameter(torch.tensor([[1.0, float("nan")], [-2.0, 3.0]]))
    weight.grad = torch.tensor([[1.0, float("inf")], [2.0, 3.0]])
    storage = weight.data_ptr()
    masks.apply_to_weights({"w": weight})
    masks.apply_to_gradients({"w": weight})
    assert weight.tolist() == [[1, 0], [0, 3]]
    assert weight.grad.tolist() == [[1, 0], [0, 3]]
    assert weight.data_ptr() == storage  # in place: views, DDP buckets and tied weights stay valid
    assert not torch.signbit(weight).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
        lambda p: torch.optim.RMSprop(p, 0.1, centered=True, momentum=0.9),
    ],
)
def test_optimizer_state_is_cleared_by_shape(make) -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = make([weight])
    (weight**2).sum().backward()
    optimizer.step()
    mask = torch.zeros(4, 3, dtype=torch.bool)
    mask[0] = True
    step = copy.deepcopy(optimizer.state[weight].get("step"))
    Masks({"w": mask}).apply_to_optimizer(optimizer, {"w": weight})
    tensors = [t for t in optimizer.state[weight].values() if torch.is_tensor(t) and t.shape == weight.shape]
    assert tensors
    for tensor in tensors:
        assert (tensor[1:] == 0).all()
        assert (tensor[0] != 0).all()
    assert optimizer.state[weight].get("step") == step


def test_state_dict_round_trip_is_bit_packed_and_safe_to_load() -> None:
    masks = Masks.random({"w": (1000, 80)}, {"w": 8000}, seed=0)
    buffer = io.BytesIO()
    torch.save(masks.state_dict(), buffer)
    assert buffer.tell() < 80_000 / 8 + 2000
    buffer.seek(0)
    again = Masks.from_state_dict(torch.load(buffer, weights_only=True))
    assert again.digest() == masks.digest()


def test_a_foreign_state_is_refused() -> None:
    with pytest.raises(ValueError, match="mask 'w' needs 'shape' and 'bits'"):
        Masks.from_state_dict({"w": {"shape": [2]}})
    with pytest.raises(ValueError, match="does not hold 9 entries"):
        Masks.from_state_dict({"w": {"shape": [9], "bits": torch.zeros(1, dtype=torch.uint8)}})


@given(st.lists(st.booleans(), max_size=40))
def test_pack_is_invertible_and_agrees_with_a_reference(bits: list[bool]) -> None:
    mask = torch.tensor(bits, dtype=torch.bool)
    packed = pack(mask)
    assert packed.tolist() == [
        sum(2**place for place, bit in enumerate(bits[start : start + 8]) if bit) for start in range(0, len(bits), 8)
    ]
    assert torch.equal(unpack(packed, mask.shape), mask)


def test_packing_every_byte_and_any_view() -> None:
    every = torch.tensor([[bool(value >> place & 1) for place in range(8)] for value in range(256)])
    assert pack(every).tolist() == list(range(256))
    for view in (every.T, every[1:, 1:], every.flatten()[3:], every[:0]):
        assert torch.equal(unpack(pack(view), view.shape), view)


def test_digest_sees_names_shapes_and_entries() -> None:
    mask = torch.tensor([[True, False, True, False]])
    digests = {
        Masks(m).digest() for m in ({"a": mask}, {"b": mask}, {"a": mask.view(2, 2)}, {"a": ~mask}, {"a": mask.clone()})
    }
    assert len(digests) == 4
    assert 0 <= Masks({"a": mask}).digest() < 2**63


def test_memory_is_a_byte_a_weight() -> None:
    masks = Masks.random({"w": (100, 100)}, {"w": 500}, seed=0)
    assert masks["w"].untyped_storage().nbytes() == 10_000


def test_generators_differ_by_every_counter() -> None:
    draws = {
        tuple(torch.rand(2, generator=generator_for(*c)).tolist()) for c in ((0, 1, 2), (0, 2, 1), (1, 1, 2), (0, 12))
    }
    assert len(draws) == 4


def test_zeroing_views_touches_nothing_else() -> None:
    generator = generator_for(0)
    whole, mask = torch.randn(700, 800, generator=generator), torch.rand(700, 400, generator=generator) < 0.5
    before = whole.clone()
    zero_inactive(whole[:, ::2], mask)
    assert torch.equal(whole[:, 1::2], before[:, 1::2])
    assert torch.equal(whole[:, ::2], before[:, ::2].masked_fill(~mask, 0))
    zero_inactive(whole.T, torch.zeros(800, 700, dtype=torch.bool))
    assert not whole.any()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_zeroing_large_tensors_of_every_layout(layout: torch.memory_format, dtype: torch.dtype) -> None:
    generator = generator_for(0)
    mask = torch.rand(300, 100, 3, 3, generator=generator) < 0.3  # larger than a piece
    tensor = torch.randn(mask.shape, generator=generator).to(dtype).to(memory_format=layout)
    expected = tensor.masked_fill(~mask, 0)
    zero_inactive(tensor, mask)
    assert torch.equal(tensor, expected)


def test_masks_lie_as_their_weights_do() -> None:
    masks = Masks.random(
        {"conv": (6, 4, 3, 3), "one": (6, 4, 1, 1), "fc": (5, 4)}, {"conv": 60, "one": 3, "fc": 7}, seed=0
    )
    last = {"conv": torch.zeros(6, 4, 3, 3).to(memory_format=torch.channels_last), "one": torch.zeros(6, 4, 1, 1)}
    moved = masks.to_match({**last, "fc": torch.zeros(4, 5).T})
    assert moved["conv"].stride() == last["conv"].stride()
    assert moved["one"].is_contiguous()
    assert moved["fc"].is_contiguous()
    assert moved.digest() == masks.digest()
    plain = moved.to_match({name: torch.zeros(mask.shape) for name, mask in masks.items()})
    assert plain["conv"].is_contiguous()
    assert plain.digest() == masks.digest()
