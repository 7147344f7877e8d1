import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from callbacks import SparseTraining, read_masks
from callbacks.packed import load_sparse, read_sparse, save_sparse
from callbacks.packed.positions import decode, encode
from callbacks.sparsity import Masks
from lightning_modules.networks import Kinematics, LeNet5, RePose


def sparse_network(sparsity: float = 0.9) -> tuple[nn.Module, Masks]:
    network = LeNet5()
    shapes = {name: weight.shape for name, weight in network.named_parameters() if weight.dim() > 1}
    masks = Masks.random(shapes, {n: round(s.numel() * (1 - sparsity)) for n, s in shapes.items()}, seed=0)
    masks.apply_to_weights({name: network.get_parameter(name) for name in masks})
    return network, masks


def drawn(size: int, density: float, seed: int) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) < density


@hypothesis.given(st.integers(1, 3000), st.sampled_from([0.0, 0.001, 0.03, 0.1, 0.4, 1.0]), st.integers(0, 9))
def test_positions_come_back(size: int, density: float, seed: int) -> None:
    active = drawn(size, density, seed)
    positions = active.nonzero().flatten()
    assert torch.equal(decode(encode(active), size, len(positions)), positions)


def test_positions_take_little_more_than_their_entropy() -> None:
    active = torch.randperm(1_000_000, generator=torch.Generator().manual_seed(0)) < 100_000
    assert 8 * sum(part.nbytes for part in encode(active).values()) < 1.13 * 469_000


@hypothesis.given(st.integers(8, 500), st.floats(0.01, 0.3), st.integers(0, 200), st.integers(0, 7))
def test_damaged_positions_are_refused_or_still_positions(size: int, density: float, place: int, bit: int) -> None:
    active = drawn(size, density, size)
    count = int(active.sum())
    parts = encode(active)
    damaged = next(iter(parts.values())).clone()
    damaged.view(-1)[place % damaged.numel()] ^= 1 << bit
    try:
        positions = decode({**parts, next(iter(parts)): damaged}, size, count)
    except ValueError:
        return
    assert len(positions) == count
    assert count == 0 or (positions.max() < size and (positions.diff() > 0).all())


@pytest.mark.parametrize("sparsity", [0.3, 0.9, 0.99])
def test_what_is_saved_is_loaded_to_the_bit(tmp_path: Path, sparsity: float) -> None:
    network, masks = sparse_network(sparsity)
    save_sparse(network, tmp_path / "net.safetensors", masks=masks)
    other = load_sparse(tmp_path / "net.safetensors", LeNet5())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    assert Masks(read_sparse(tmp_path / "net.safetensors").masks).replace(masks).digest() == masks.digest()
    assert not list(tmp_path.glob("*.part"))


def test_without_masks_zeros_say_what_is_inactive_and_nan_is_no_zero(tmp_path: Path) -> None:
    network, masks = sparse_network()
    network.fc1.weight.data[masks["fc1.weight"]] = torch.nan
    save_sparse(network, tmp_path / "net")
    state, found = read_sparse(tmp_path / "net")
    assert all(torch.equal(found[name], mask) for name, mask in masks.items())
    assert torch.equal(state["fc1.weight"].isnan(), masks["fc1.weight"])


def test_a_dense_network_is_stored_as_it_is(tmp_path: Path) -> None:
    save_sparse(LeNet5(), tmp_path / "net")
    assert read_sparse(tmp_path / "net").masks == {}
    assert "conv1.weight" in load_file(tmp_path / "net")


def test_active_weights_of_zero_stay_active_where_masks_are_given(tmp_path: Path) -> None:
    network, masks = sparse_network()
    for weight in network.parameters():
        weight.data.zero_()
    save_sparse(network, tmp_path / "net", masks=masks)
    assert read_masks(tmp_path / "net").counts == masks.counts


def test_masks_go_back_into_training(tmp_path: Path) -> None:
    network, masks = sparse_network()
    save_sparse(network, tmp_path / "net", masks=masks)
    assert read_masks(tmp_path / "net").digest() == Masks(read_sparse(tmp_path / "net").masks).digest()
    assert SparseTraining(0.0, masks_from=tmp_path / "net").parts[0].method.masks_from == tmp_path / "net"
    assert len(read_masks(tmp_path / "net")) == 5


@pytest.mark.parametrize("masks", [{}, Masks({})])
def test_no_masks_are_not_those_of_a_sparse_network(tmp_path: Path, masks: Mapping[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"masks is empty.*read_masks\(checkpoint\)"):
        save_sparse(sparse_network()[0], tmp_path / "net", masks=masks)
    assert not list(tmp_path.iterdir())


def test_a_file_of_a_dense_network_holds_no_masks_to_train_with(tmp_path: Path) -> None:
    save_sparse(LeNet5(), tmp_path / "net")
    with pytest.raises(ValueError, match="net' holds no masks"):
        read_masks(tmp_path / "net")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_the_size_in_half_the_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    network, masks = sparse_network()
    save_sparse(network, tmp_path / "full", masks=masks)
    save_sparse(network, tmp_path / "half", masks=masks, dtype=dtype)
    assert (tmp_path / "half").stat().st_size < 0.7 * (tmp_path / "full").stat().st_size
    half = load_sparse(tmp_path / "half", LeNet5())
    for name, tensor in network.state_dict().items():
        loaded = half.state_dict()[name]
        assert torch.equal(loaded, tensor.to(dtype).float() if tensor.dim() > 1 else tensor)


def test_tied_weights_are_stored_once_and_norms_in_their_own_precision(tmp_path: Path) -> None:
    sizes = {"width": 16, "channels": 8, "hidden": 8, "stem": 8}
    chain = Kinematics(3, [(0, 1), (1, 2)], 1, tied=True)
    save_sparse(RePose(chain, **sizes), tmp_path / "tied", dtype=torch.float16)
    untied = RePose(Kinematics(3, [(0, 1), (1, 2)], 1), **sizes)
    save_sparse(untied, tmp_path / "untied", dtype=torch.float16)
    second = sum(weight.numel() for weight in untied.updates.passes[1].parameters() if weight.dim() > 1)
    assert (tmp_path / "untied").stat().st_size - (tmp_path / "tied").stat().st_size > 2 * second
    network = load_sparse(tmp_path / "tied", RePose(chain, **sizes))
    first, second = (network.updates.passes[i][0].conv1.weight for i in (0, 1))
    assert first is second
    assert read_sparse(tmp_path / "tied").state["stem.1.running_var"].dtype == torch.float32


def test_a_layer_without_a_weight(tmp_path: Path) -> None:
    network, _ = sparse_network()
    network.fc2.weight.data.zero_()
    save_sparse(network, tmp_path / "net")
    assert not load_sparse(tmp_path / "net", LeNet5()).fc2.weight.any()
    assert read_masks(tmp_path / "net").counts["fc2.weight"] == 0


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    network, masks = sparse_network()
    with pytest.raises(ValueError, match="no such weight"):
        save_sparse(network, tmp_path / "net", masks={"fc9.weight": torch.ones(2, dtype=torch.bool)})
    with pytest.raises(ValueError, match="not 0 outside its mask"):
        save_sparse(LeNet5(), tmp_path / "net", masks=masks)
    with pytest.raises(ValueError, match="floating type"):
        save_sparse(network, tmp_path / "net", dtype=torch.int8)
    network.fc1.weight.data[masks["fc1.weight"]] = 1e6
    with pytest.raises(ValueError, match=r"fc1.weight.*too large for torch.float16"):
        save_sparse(network, tmp_path / "net", dtype=torch.float16)
    assert not list(tmp_path.iterdir())


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_foreign_and_damaged_files_are_refused_and_nothing_is_executed(tmp_path: Path) -> None:
    network, masks = sparse_network()
    good = tmp_path / "good"
    save_sparse(network, good, masks=masks)
    content = good.read_bytes()
    files = {
        "cut": content[:-100],
        "cut in the header": content[:40],
        "empty": b"",
        "pickle": pickle.dumps(Touch(tmp_path / "executed"), protocol=2),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    save_file({"weight": torch.zeros(2)}, tmp_path / "other safetensors")
    for name in [*files, "other safetensors"]:
        with pytest.raises(ValueError, match=f"'.*{name}' cannot be read as a file of save_sparse"):
            read_sparse(tmp_path / name)
        with pytest.raises(ValueError, match=name):
            read_masks(tmp_path / name)
    assert not (tmp_path / "executed").exists()
    with pytest.raises(FileNotFoundError, match="no file"):
        read_sparse(tmp_path / "missing")
    with pytest.raises(ValueError, match="of another network"):
        load_sparse(good, LeNet5(LeNet5.SMALL_DENSE))


@pytest.mark.parametrize("shape", [[10, 50], [500], "x", [-1, 2], [10**9, 10**9]])
def test_a_header_that_lies_is_refused(tmp_path: Path, shape: object) -> None:
    network = nn.Linear(100, 10)
    network.weight.data[torch.rand(10, 100) > 0.05] = 0
    save_sparse(network, tmp_path / "good")
    header = {"format": "sparse-lightning 1", "shapes": json.dumps({"weight": shape}), "same": "{}"}
    save_file(load_file(tmp_path / "good"), tmp_path / "bad", header)
    with pytest.raises(ValueError, match="cannot be read"):
        read_sparse(tmp_path / "bad")
    with pytest.raises(ValueError, match="cannot be read"):
        read_masks(tmp_path / "bad")


class TiedHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50)
        self.head.weight = self.embedding.weight


@pytest.mark.parametrize("names", [["head.weight"], ["embedding.weight"], ["embedding.weight", "head.weight"]])
def test_a_mask_under_any_name_of_a_weight_is_written(names: list[str], tmp_path: Path) -> None:
    module, mask = TiedHead(), drawn(400, 0.1, seed=0).view(50, 8)
    with torch.no_grad():
        module.head.weight *= mask
    save_sparse(module, tmp_path / "net", masks=dict.fromkeys(names, mask))
    found = read_sparse(tmp_path / "net").masks
    assert torch.equal(found["embedding.weight"], mask)
    assert torch.equal(found["head.weight"], mask)


def test_two_masks_of_one_weight_are_refused(tmp_path: Path) -> None:
    module = TiedHead()
    nn.init.zeros_(module.head.weight)
    masks = {name: drawn(400, 0.1, seed).view(50, 8) for seed, name in enumerate(["embedding.weight", "head.weight"])}
    with pytest.raises(ValueError, match="'head.weight' and 'embedding.weight' are one weight, but masks has two"):
        save_sparse(module, tmp_path / "net", masks=masks)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.complex64])
def test_a_weight_of_any_type_comes_back(dtype: torch.dtype, tmp_path: Path) -> None:
    layer = nn.Linear(40, 30, bias=False)
    values = (torch.randint(1, 9, (30, 40)) * drawn(1200, 0.1, seed=0).view(30, 40)).to(dtype)
    layer.weight = nn.Parameter(values, requires_grad=False)
    save_sparse(layer, tmp_path / "net")
    state, masks = read_sparse(tmp_path / "net")
    assert state["weight"].dtype == dtype
    assert torch.equal(state["weight"].view(torch.uint8), values.view(torch.uint8))
    assert torch.equal(masks["weight"], values != 0)


def test_extra_state_is_refused_by_name(tmp_path: Path) -> None:
    class Scaled(nn.Linear):
        def get_extra_state(self) -> dict[str, float]:
            return {"scale": 2.0}

    with pytest.raises(ValueError, match="'_extra_state' in the state_dict is a dict, .* plain tensors"):
        save_sparse(Scaled(3, 2), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_module_on_meta_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'weight' is on meta"):
        save_sparse(nn.Linear(3, 2, device="meta"), tmp_path / "net")


def test_a_module_that_the_file_does_not_fit_keeps_its_values(tmp_path: Path) -> None:
    save_sparse(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), tmp_path / "net")
    other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 4))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"net' is of another network"):
        load_sparse(tmp_path / "net", other)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
