"""Criteria against closed forms and slow numpy references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from callbacks.sparsity import ERK, SNIP, GraSP, OneShotMagnitude, SynFlow, Uniform, prune, select
from callbacks.sparsity.rules.criteria import Criterion
from callbacks.sparsity.rules.one_shot import choose_masks

RNG = np.random.default_rng(0)
X, TARGET = RNG.normal(size=(12, 5)), RNG.normal(size=12)


class Line(nn.Module):
    """y = w x, whose mean squared error / 2 has gradient X'(Xw - t)/n and Hessian X'X/n."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 1, bias=False, dtype=torch.float64)
        self.fc.weight.data = torch.tensor(np.random.default_rng(1).normal(size=(1, 5)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x)


def squared_error(network: nn.Module, batch) -> torch.Tensor:
    return 0.5 * (network(batch[0]).squeeze(1) - batch[1]).square().mean()


def batches(parts: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [
        (torch.tensor(x), torch.tensor(t)) for x, t in zip(np.split(X, parts), np.split(TARGET, parts), strict=True)
    ]


def scores(criterion: Criterion, network: nn.Module, parts: int) -> np.ndarray:
    [score] = criterion(network, {"fc.weight": network.fc.weight}, squared_error, batches(parts)).values()
    return score.detach().numpy()[0]


@pytest.mark.parametrize("parts", [1, 3])
def test_snip_and_grasp_of_a_line_in_closed_form(parts: int) -> None:
    network = Line()
    w = network.fc.weight.detach().numpy()[0]
    g, hessian = X.T @ (X @ w - TARGET) / 12, X.T @ X / 12
    np.testing.assert_allclose(scores(SNIP(), network, parts), np.abs(w * g), rtol=1e-12)
    np.testing.assert_allclose(scores(GraSP(), network, parts), w * (hessian @ g), rtol=1e-10)


def test_what_grasp_removes_first_leaves_the_most_gradient_flow() -> None:
    network = Line()
    network.fc.weight.data *= 1e-4  # so that first order is all there is
    w = network.fc.weight.detach().numpy()[0]

    def flow(w: np.ndarray) -> float:
        g = X.T @ (X @ w - TARGET) / 12
        return float(g @ g)

    without = [flow(np.where(np.arange(5) == i, 0.0, w)) for i in range(5)]
    assert list(np.argsort(scores(GraSP(), network, 1))) == list(np.argsort(without)[::-1])
    mask = choose_masks(network, {"fc.weight": 4}, GraSP(), loss=squared_error, batches=batches(1))["fc.weight"]
    assert int((~mask[0]).nonzero()) == int(np.argmax(without))


def test_grasp_of_a_curved_network_agrees_with_differences_of_the_gradient() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    weights = {name: p for name, p in network.named_parameters() if p.dim() == 2}

    def gradient(w: np.ndarray) -> np.ndarray:
        """By hand, of both matrices, flattened."""
        w1, w2 = w[:20].reshape(4, 5), w[20:].reshape(1, 4)
        h = np.tanh(X @ w1.T + network[0].bias.detach().numpy())
        error = (h @ w2.T + network[2].bias.detach().numpy())[:, 0] - TARGET
        back = error[:, None] * w2 * (1 - h**2)
        return np.concatenate([(back.T @ X / 12).ravel(), error @ h / 12])

    w = np.concatenate([p.detach().numpy().ravel() for p in weights.values()])
    g = gradient(w)
    product = (gradient(w + 1e-5 * g) - gradient(w - 1e-5 * g)) / 2e-5
    found = GraSP()(network, weights, squared_error, batches(2))
    flat = np.concatenate([score.detach().numpy().ravel() for score in found.values()])
    np.testing.assert_allclose(flat, w * product, rtol=1e-6, atol=1e-10)


# --- SynFlow ---------------------------------------------------------------------------------------


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 3, 2, groups=1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 6, bias=False),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(6, 5, bias=False),
    )


def test_synaptic_flow_is_conserved_from_layer_to_layer() -> None:
    network = convolutional()
    weights = {name: weight.parameter for name, weight in select(network).items()}
    flow = SynFlow()(network, weights, None, [torch.randn(7, 2, 8, 8)])
    sums = [float(score.sum()) for score in flow.values()]
    assert len(sums) == 4
    assert sums == pytest.approx([sums[0]] * 4, rel=1e-12)
    with torch.no_grad():
        output = network(torch.ones(1, 2, 8, 8, dtype=torch.float64))  # absolute by now
    assert sums[0] == pytest.approx(float(output.sum()), rel=1e-12)
    into, out = flow["6.weight"].sum(1), flow["9.weight"].sum(0)
    torch.testing.assert_close(into, out, rtol=1e-12, atol=0.0)  # and through every hidden unit


def test_norms_and_biases_are_made_absolute_and_used_as_in_evaluation() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, eps=1e-30), nn.Linear(2, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        network[0].bias.copy_(torch.tensor([-1.0, 0.0]))
        network[1].running_mean.copy_(torch.tensor([-1.0, 2.0]))
        network[1].running_var.copy_(torch.tensor([4.0, 1.0]))
        network[1].weight.copy_(torch.tensor([-1.0, 1.0]))
        network[1].bias.copy_(torch.tensor([0.5, -0.5]))
        network[2].weight.copy_(torch.tensor([[-10.0, 1.0]]))
    weights = {name: weight.parameter for name, weight in select(network).items()}
    flow = SynFlow()(network, weights, None, [(torch.zeros(3, 2), "labels")])
    # unit 0: (1 + 2 + 1 - 1) / 2 + 0.5 = 2; unit 1: (3 + 4 - 2) / 1 + 0.5 = 5.5
    assert flow["2.weight"].tolist() == [[20.0, 5.5]]
    assert flow["0.weight"].tolist() == [[1 / 2 * 10, 2 / 2 * 10], [3.0, 4.0]]


def slow_synflow(one: np.ndarray, two: np.ndarray, keep: int, rounds: int) -> list[np.ndarray]:
    """Masks of two matrices, one round after the other."""
    one, two, total = np.abs(one), np.abs(two), one.size + two.size
    alive = np.ones(total, bool)
    for i in range(1, rounds + 1):
        mask1, mask2 = alive[: one.size].reshape(one.shape), alive[one.size :].reshape(two.shape)
        a, b = one * mask1, two * mask2
        score = np.concatenate([(b.sum(0)[:, None] * a).ravel(), (b * a.sum(1)).ravel()])
        score[~alive] = -1
        alive = np.zeros(total, bool)
        alive[np.argsort(-score, kind="stable")[: round(total * (keep / total) ** (i / rounds))]] = True
    return [alive[: one.size].reshape(one.shape), alive[one.size :].reshape(two.shape)]


@pytest.mark.parametrize("rounds", [1, 7, 100])
def test_synflow_prunes_like_a_slow_reference(rounds: int) -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Linear(9, 8, bias=False), nn.ReLU(), nn.Linear(8, 6, bias=False))
    expected = slow_synflow(network[0].weight.detach().double().numpy(), network[2].weight.detach().numpy(), 24, rounds)
    found = choose_masks(
        network, {"0.weight": 14, "2.weight": 10}, SynFlow(rounds), scope="global", batches=[torch.zeros(1, 9)]
    )
    for mask, wanted in zip(found.values(), expected, strict=True):
        assert np.array_equal(mask.numpy(), wanted)


def test_synflow_empties_no_layer_where_one_round_would() -> None:
    torch.manual_seed(0)
    sizes = [40, 40, 40, 3]
    network = nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in zip([40, *sizes], sizes, strict=False)))
    counts = Uniform()({name: w.parameter.shape for name, w in select(network).items()}, 0.995)
    arguments = {"scope": "global", "batches": [torch.zeros(1, 40)]}
    kept = choose_masks(network, counts, SynFlow(), **arguments)
    assert min(kept.counts.values()) > 0
    assert sum(kept.counts.values()) == sum(counts.values())
    with pytest.raises(ValueError, match=r"leaves '\d.weight' without a weight: prune less, exclude the layer or"):
        choose_masks(network, counts, SynFlow(1), **arguments)


# --- prune -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", [OneShotMagnitude(), SNIP(), GraSP(), SynFlow(3)])
def test_choosing_leaves_the_network_as_it_is(criterion: Criterion) -> None:
    network = convolutional()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = (torch.randn(4, 2, 8, 8), torch.tensor([0, 1, 2, 3]))
    shapes = {name: weight.parameter.shape for name, weight in select(network).items()}
    masks = choose_masks(
        network,
        ERK()(shapes, 0.7),
        criterion,
        loss=lambda net, b: nn.functional.cross_entropy(net(b[0]), b[1]),
        batches=[batch],
    )
    assert masks.counts == ERK()(shapes, 0.7)
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    for name, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_prune_keeps_the_largest_and_zeroes_the_rest(scope: str) -> None:
    network = convolutional()
    dense = {name: weight.parameter.detach().clone() for name, weight in select(network).items()}
    masks = prune(network, 0.75, scope=scope)
    budget = Uniform()({name: weight.shape for name, weight in dense.items()}, 0.75)
    assert sum(masks.counts.values()) == sum(budget.values())
    assert (masks.counts == budget) == (scope == "layer")
    for name, weight in dense.items():
        assert torch.equal(network.get_parameter(name), weight * masks[name])
    groups = [list(dense)] if scope == "global" else [[name] for name in dense]
    for group in groups:
        kept = torch.cat([dense[name][masks[name]].abs() for name in group])
        gone = torch.cat([dense[name][~masks[name]].abs() for name in group])
        assert gone.max() <= kept.min()


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_pruning_again_chooses_among_what_was_left(scope: str) -> None:
    network = convolutional()
    first = prune(network, 0.5, scope=scope)
    with torch.no_grad():
        for name, mask in first.items():
            network.get_parameter(name)[~mask] = 9.0  # would be kept otherwise
    second = prune(network, 0.75, scope=scope, masks=first)
    assert not any((second[name] & ~mask).any() for name, mask in first.items())
    assert sum(second.counts.values()) == sum(
        Uniform()({name: mask.shape for name, mask in first.items()}, 0.75).values()
    )
    with pytest.raises(ValueError, match="active weights, fewer than the|but there are"):
        prune(network, 0.1, scope=scope, masks=first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 1.0}, "sparsity is 1.0"),
        ({"scope": "all"}, "scope is 'all'; choose layer or global"),
        ({"include": "fc*"}, "include pattern 'fc.' matches no parameter"),
        ({"criterion": SNIP()}, r"SNIP\(\) needs the gradient of a loss: give loss and at least one batch"),
        ({"criterion": SynFlow()}, "SynFlow needs a batch, for the shape of a sample"),
        ({"criterion": SynFlow(), "batches": [torch.zeros(1, dtype=torch.int64)]}, "found no tensor of floats"),
        ({"criterion": GraSP(), "loss": lambda n, b: n(b).sum() * torch.nan, "batches": [torch.ones(1, 2, 8, 8)]},
         r"GraSP\(\) rates '0.weight' with numbers that are not finite"),
        ({"criterion": SNIP(), "loss": lambda n, b: n(b).sum() * 0, "batches": [torch.ones(1, 2, 8, 8)]},
         r"SNIP\(\) rates every weight 0, which chooses none"),
        ({"masks": {}}, "masks is empty: None is what says that all weights are active"),
        ({"masks": {"6.weight": torch.ones(2, 2, dtype=torch.bool)}}, r"'6.weight' \(2, 2\) does not replace a mask"),
    ],
)  # fmt: skip
def test_what_cannot_be_pruned_is_refused_and_left_alone(arguments: dict, message: str) -> None:
    network = convolutional()
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(ValueError, match=message):
        prune(network, **{"sparsity": 0.5, **arguments})
    assert all(torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True))


def test_synflow_of_a_network_without_forward() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

    with pytest.raises(ValueError, match="Parts has no forward: give it one, or SynFlow.forward="):
        prune(Parts(), 0.5, criterion=SynFlow(), batches=[torch.zeros(1, 4)])
    own = SynFlow(forward=lambda network, inputs: network.fc(inputs))
    assert prune(Parts(), 0.5, criterion=own, batches=[torch.zeros(1, 4)]).counts == {"fc.weight": 6}
    with pytest.raises(ValueError, match="SynFlow.iterations is 0"):
        SynFlow(0)
