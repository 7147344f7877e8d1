import copy
import math

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from experiments.analysis import barrier, evaluate, loss_along_line, re_estimate_norms
from experiments.analysis.interpolation import ALPHAS
from lightning_modules import SparseClassifier

# Evci et al. 2022, LeNet-5, training loss between a run and the pruning solution, digitized from the figure
POSITIONS = (-0.2, 0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
PAPER = {
    "Lottery (init)": (2.304, 2.303, 2.260, 2.156, 1.927, 1.516, 0.939, 0.404, 0.135, 0.057, 0.042, 0.060),
    "Lottery End": (0.034, 0.031, 0.035, 0.038, 0.041, 0.042, 0.043, 0.043, 0.042, 0.042, 0.042, 0.048),
    "Scratch (init)": (2.304, 2.303, 2.300, 2.274, 2.170, 1.898, 1.372, 0.676, 0.205, 0.064, 0.042, 0.071),
    "Scratch End": (0.251, 0.084, 0.322, 0.849, 1.536, 1.849, 1.544, 0.815, 0.246, 0.071, 0.042, 0.131),
}


def network(seed: int, norm: bool = False) -> nn.Sequential:
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(0.5)]
    made = nn.Sequential(*layers, nn.Linear(8, 3))
    if norm:
        nn.init.uniform_(layers[1].weight)
        nn.init.normal_(layers[1].running_mean)
    torch.set_rng_state(state)
    return made


def data(samples: int = 30) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    inputs, label = torch.randn(samples, 6, generator=generator), torch.randint(0, 3, (samples,), generator=generator)
    return list(zip(inputs.split(12), label.split(12), strict=True))


def numpy_loss(weights: dict[str, np.ndarray]) -> tuple[float, float]:
    inputs = np.concatenate([x.numpy() for x, _ in data()]).astype(float)
    label = np.concatenate([y.numpy() for _, y in data()])
    hidden = np.maximum(inputs @ weights["0.weight"].T + weights["0.bias"], 0)
    logs = scipy.special.log_softmax(hidden @ weights["4.weight"].T + weights["4.bias"], axis=1)
    return -logs[np.arange(len(label)), label].mean(), (logs.argmax(1) == label).mean()


def test_the_line_agrees_with_numpy() -> None:
    start, end = network(0).state_dict(), network(1).state_dict()
    profile = loss_along_line(network(2), start, end, data())
    assert profile.alphas == ALPHAS
    np.testing.assert_allclose(ALPHAS, np.linspace(-0.2, 1.2, 29), atol=1e-12)
    assert profile.accuracies is not None
    for alpha, loss, accuracy in zip(profile.alphas, profile.losses, profile.accuracies, strict=True):
        point = {
            name: (1 - alpha) * start[name].double().numpy() + alpha * end[name].double().numpy() for name in start
        }
        assert (loss, accuracy) == pytest.approx(numpy_loss(point), rel=1e-5)


@pytest.mark.parametrize("norm", [False, True])
def test_ends_equal_direct_evaluation_and_nothing_given_changes(norm: bool) -> None:
    solutions, module = (network(0, norm), network(1, norm)), network(2, norm)
    before = copy.deepcopy([m.state_dict() for m in (*solutions, module)])
    profile = loss_along_line(module, solutions[0].state_dict(), solutions[1].state_dict(), data(), alphas=(0, 1))
    after = [m.state_dict() for m in (*solutions, module)]
    for old, new in zip(before, after, strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())
    for index, solution in enumerate(solutions):
        re_estimate_norms(solution.eval(), data())
        assert (profile.losses[index], profile.accuracies[index]) == evaluate(solution, data())  # type: ignore[index]


def test_running_statistics_fit_the_point_on_the_line() -> None:
    """The statistics of neither end, nor their mean, fit the middle."""
    start, end = network(0, norm=True), network(1, norm=True)
    (loss,) = loss_along_line(start, start.state_dict(), end.state_dict(), data(30), alphas=(0.5,)).losses
    middle = {name: (tensor + end.state_dict()[name]) / 2 for name, tensor in start.state_dict().items()}
    mixed = network(2, norm=True).eval()
    mixed.load_state_dict(middle)
    assert evaluate(mixed, data())[0] != pytest.approx(loss, rel=0.01)
    re_estimate_norms(mixed, data())
    assert evaluate(mixed, data())[0] == pytest.approx(loss, rel=1e-6)


def test_the_trainer_state_of_a_fitted_lightning_module_is_no_obstacle() -> None:
    import fits

    module = fits.TinyModule()
    fits.fit(module, [], max_steps=2)
    start = copy.deepcopy(module.network.state_dict())
    assert loss_along_line(module.network, start, start, fits.loader(), alphas=(0, 0.5)).losses[0] > 0
    classifier = SparseClassifier(network(0), num_classes=3)
    assert loss_along_line(classifier, classifier.state_dict(), classifier.state_dict(), data(), alphas=[0]).losses


def test_parameters_alone_are_a_solution_and_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(6, 6)
            self.second = nn.Linear(6, 6)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    start, end = Tied(), Tied()
    whole = loss_along_line(start, start.state_dict(), end.state_dict(), data(), alphas=(0, 1))
    bare = loss_along_line(start, dict(start.named_parameters()), dict(end.named_parameters()), data(), alphas=(0, 1))
    assert whole == bare
    assert whole.losses[1] == evaluate(end, data())[0]


def sparse(seed: int, masks: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: w * masks[name] if name in masks else w for name, w in network(seed).state_dict().items()}


def test_masks_that_differ_are_refused() -> None:
    masks = {"0.weight": torch.eye(8, 6, dtype=torch.bool)}
    others = {"0.weight": torch.eye(8, 6, dtype=torch.bool).flip(0)}
    start, module = sparse(0, masks), network(2)
    line = loss_along_line(module, start, sparse(1, masks), data(), start_masks=masks, end_masks=masks, alphas=[0.5])
    assert len(line.losses) == 1
    end = sparse(1, others)
    for start_masks, end_masks, message in (
        (masks, others, "start and end have different masks for '0.weight'"),
        (masks, None, r"only one of them has \['0.weight'\]"),
        ({}, {}, "masks of start is empty: None is what says that all weights are active"),
        (None, others, r"only one of them has \['0.weight'\]"),
        (masks, masks, r"end\['0.weight'\] has 6 weights that are not 0 outside its mask"),
    ):
        with pytest.raises(ValueError, match=message):
            loss_along_line(module, start, end, data(), start_masks=start_masks, end_masks=end_masks)
    assert loss_along_line(module, start, end, data(), alphas=[0.5]).losses  # the dense space, if so wanted
    for wrong, error, message in (
        ({"0.weight": torch.ones(8, 6)}, TypeError, "mask '0.weight' is torch.float32"),
        ({"0.weight": torch.ones(6, dtype=torch.bool)}, ValueError, r"mask '0.weight' has shape \(6,\)"),
        ({"9.weight": torch.ones(6, dtype=torch.bool)}, ValueError, "no such weight"),
    ):
        with pytest.raises(error, match=message):
            loss_along_line(module, start, start, data(), start_masks=wrong, end_masks=wrong)


def test_solutions_of_another_architecture_or_of_nan_are_refused() -> None:
    module, good = network(0), network(0).state_dict()
    for bad, message in (
        ({k: v for k, v in good.items() if k != "4.bias"}, r"end is of another architecture .* lacks \['4.bias'\]"),
        ({**good, "7.bias": torch.zeros(3)}, r"has \['7.bias'\] too many"),
        ({f"network.{k}": v for k, v in good.items()}, r"lacks \['0.weight', '0.bias'"),
        ({**good, "4.bias": torch.zeros(4)}, r"end\['4.bias'\] has shape \(4,\), but that of Sequential has \(3,\)"),
        ({**good, "4.bias": torch.tensor([1, math.nan, 0])}, r"end\['4.bias'\] holds NaN"),
        ({**good, "4.bias": torch.tensor([1, math.inf, 0])}, r"end\['4.bias'\] holds NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            loss_along_line(module, good, bad, data())
        with pytest.raises(ValueError, match=message.replace("end", "start")):
            loss_along_line(module, bad, good, data())


def test_other_buffers_must_agree() -> None:
    class Scaled(nn.Linear):
        def __init__(self, scale: float) -> None:
            super().__init__(6, 3)
            self.register_buffer("scale", torch.tensor(scale))

    start, end = Scaled(1.0), Scaled(2.0)
    with pytest.raises(ValueError, match=r"end\['scale'\] is a buffer that differs"):
        loss_along_line(start, start.state_dict(), end.state_dict(), data())


def test_bad_data_and_positions_are_refused() -> None:
    module = network(0)
    state = module.state_dict()
    with pytest.raises(ValueError, match="batches is empty"):
        loss_along_line(module, state, state, [])
    with pytest.raises(TypeError, match="can be read only once"):
        loss_along_line(module, state, state, iter(data()))
    for alphas in ((), (0.0, math.nan)):
        with pytest.raises(ValueError, match="alphas is"):
            loss_along_line(module, state, state, data(), alphas=alphas)
    with pytest.raises(ValueError, match=r"the loss at position -0\.2 is nan: batches hold NaN"):
        loss_along_line(module, state, state, [(torch.full((2, 6), math.nan), torch.tensor([0, 1]))])


@pytest.mark.parametrize(
    ("curve", "height", "error"), [("Scratch End", 1.77, 0.01), ("Lottery End", 0.0, 0.01), ("Lottery (init)", 0, 0)]
)
def test_barriers_of_the_paper(curve: str, height: float, error: float) -> None:
    assert barrier(PAPER[curve], POSITIONS) == pytest.approx(height, abs=error)


@given(st.lists(st.floats(0, 100), min_size=29, max_size=29))
def test_barrier_against_a_loop(losses: list[float]) -> None:
    top = max(loss for alpha, loss in zip(ALPHAS, losses, strict=True) if -1e-9 < alpha < 1 + 1e-9)
    assert barrier(losses) == top - max(losses[4], losses[24]) >= 0


def test_barrier_refuses_what_has_none() -> None:
    for losses, alphas, message in (
        ([1.0, 2.0], [0.0, 0.5, 1.0], "2 losses at 3 positions"),
        ([1.0, 2.0], [0.0, 0.5], "0 and 1 among the positions"),
        ([1.0, math.nan, 1.0], [0.0, 0.5, 1.0], "NaN"),
        ([math.inf, 2.0, 1.0], [0.0, 0.5, 1.0], "infinite ends"),
    ):
        with pytest.raises(ValueError, match=message):
            barrier(losses, alphas)
    assert barrier([1.0, math.inf, 1.0], [0, 0.5, 1]) == math.inf
