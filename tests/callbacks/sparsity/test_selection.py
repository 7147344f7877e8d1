import pytest
from torch import nn

from callbacks.sparsity import select


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.grouped = nn.Conv2d(8, 8, 3, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.up = nn.ConvTranspose2d(8, 4, 2)
        self.norm = nn.BatchNorm2d(8)
        self.embedding = nn.Embedding(10, 8)
        self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
        self.lstm = nn.LSTM(8, 8)
        self.position = nn.Parameter(nn.init.zeros_(nn.Linear(4, 4).weight))
        self.head = nn.Linear(8, 10)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)


DEFAULT = [
    "conv.weight",
    "grouped.weight",
    "up.weight",
    "attention.in_proj_weight",
    "attention.out_proj.weight",
    "lstm.weight_ih_l0",
    "lstm.weight_hh_l0",
    "head.weight",
]


def test_defaults_take_matrices_and_leave_the_rest_dense() -> None:
    assert list(select(Everything())) == sorted(DEFAULT, key=[n for n, _ in Everything().named_parameters()].index)


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["lstm.*"], [], ["lstm.weight_ih_l0", "lstm.weight_hh_l0"]),
        ("lstm.*", "*_hh_l0", ["lstm.weight_ih_l0"]),  # one pattern needs no list
        (["Conv2d"], [], ["conv.weight", "grouped.weight"]),
        (["Conv*"], ["ConvTranspose2d"], ["conv.weight", "grouped.weight"]),
        (["head.weight", "*.in_proj_weight"], [], ["attention.in_proj_weight", "head.weight"]),
        (["depthwise.weight"], [], ["depthwise.weight"]),  # by its exact name
        (["embedding.weight", "conv.weight"], [], ["conv.weight", "embedding.weight"]),
        (["position", "head.*"], [], ["position", "head.weight"]),
        (["frozen.weight"], [], ["frozen.weight"]),
    ],
)
def test_patterns(include: list[str], exclude: list[str], expected: list[str]) -> None:
    assert sorted(select(Everything(), include, exclude)) == sorted(expected)


@pytest.mark.parametrize(
    ("include", "exclude", "message"),
    [
        (["haed.*"], [], "include pattern 'haed.*' matches no parameter name and no layer class"),
        (["*"], ["fc.*"], "exclude pattern 'fc.*' matches no"),
        (["norm.*", "Embedding"], [], "leave nothing to make sparse"),
        (["*"], ["*"], "leave nothing to make sparse"),
        (["head.bias"], [], r"'head.bias' has shape \(10,\); only weights of two or more"),
    ],
)
def test_what_selects_nothing_is_an_error(include: list[str], exclude: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select(Everything(), include, exclude)


def test_a_tied_weight_is_taken_once_and_stays_dense_as_an_embedding() -> None:
    tied = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False))
    tied[2].weight = tied[0].weight
    assert list(select(tied)) == ["1.weight"]


def test_lazy_layers_are_named() -> None:
    with pytest.raises(ValueError, match="'0.weight' has no shape yet"):
        select(nn.Sequential(nn.LazyLinear(4)))


def test_layouts() -> None:
    selected = select(Everything())
    assert selected["up.weight"].transposed
    assert selected["grouped.weight"].groups == 2
    assert selected["conv.weight"].by_unit(selected["conv.weight"].parameter).shape == (1, 8, 3, 9)
    assert selected["up.weight"].by_unit(selected["up.weight"].parameter).shape == (1, 4, 8, 4)
