"""The Hessian against closed forms, finite differences and torch's own dense one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from callbacks.sparsity import ERK, Masks, UnitScaled, generator_for, hessian, select
from callbacks.sparsity.analysis.curvature import ActiveGradient, hessian_vector_product, lanczos_extremes


class Problem:
    """A sparse network like LeNet-5, only small, and its loss on random images."""

    def __init__(self, dtype: torch.dtype = torch.float32, sparsity: float = 0.8) -> None:
        generator = generator_for(7)
        self.network = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 5)
        )
        selected = select(self.network, "*", ())
        shapes = {name: weight.parameter.shape for name, weight in selected.items()}
        self.masks = Masks.random(shapes, ERK()(shapes, sparsity), seed=0)
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(
                    UnitScaled()(selected[name], self.masks[name], generator)
                    if name in self.masks
                    else 0.1 * torch.randn(parameter.shape, generator=generator)
                )
        self.network.to(dtype)
        self.image = torch.randn(64, 1, 8, 8, generator=generator).to(dtype)
        self.label = torch.randint(0, 5, (64,), generator=generator)
        self.parameters = dict(self.network.named_parameters())

    def loss(self) -> Tensor:
        return nn.functional.cross_entropy(self.network(self.image), self.label)

    def active(self) -> Tensor:
        """Of all entries in a row, which are active."""
        return torch.cat([self.masks.get(n, torch.ones_like(p) > 0).flatten() for n, p in self.parameters.items()])


def reference_hessian(problem: Problem) -> Tensor:
    """Of all entries, by torch's own function of one long vector."""
    shapes = [parameter.shape for parameter in problem.parameters.values()]
    flat = torch.cat([parameter.detach().flatten() for parameter in problem.parameters.values()])

    def loss(vector: Tensor) -> Tensor:
        pieces = [p.view(s) for p, s in zip(vector.split([s.numel() for s in shapes]), shapes, strict=True)]
        logits = torch.func.functional_call(
            problem.network, dict(zip(problem.parameters, pieces, strict=True)), (problem.image,)
        )
        return nn.functional.cross_entropy(logits, problem.label)

    return torch.autograd.functional.hessian(loss, flat).double()


shapes = st.lists(st.lists(st.integers(1, 3), min_size=0, max_size=3), min_size=1, max_size=4)


@given(shapes, st.integers(0, 1000), st.sampled_from([torch.float32, torch.float64]))
def test_the_hessian_of_a_quadratic_is_its_matrix_at_the_active_entries(shapes, seed, dtype) -> None:
    generator = generator_for(seed)
    parameters = {
        str(i): torch.randn(s, generator=generator, dtype=dtype, requires_grad=True) for i, s in enumerate(shapes)
    }
    masks = {
        name: torch.rand(p.shape, generator=generator) < 0.5 for name, p in list(parameters.items())[1:]
    }  # the first is dense
    size = sum(p.numel() for p in parameters.values())
    matrix = torch.randint(-8, 9, (size, size), generator=generator).to(dtype)

    def loss() -> Tensor:
        flat = torch.cat([p.flatten() for p in parameters.values()])
        return flat @ matrix @ flat / 2 + flat.sum()

    active = torch.cat([masks.get(n, torch.ones(p.shape) > 0).flatten() for n, p in parameters.items()])
    expected = ((matrix + matrix.T) / 2).double()[active][:, active]
    assert torch.equal(hessian(loss, parameters, masks), expected)
    vector = torch.randint(-5, 6, (len(expected),), generator=generator)
    assert torch.equal(hessian_vector_product(loss, parameters, vector, masks), expected @ vector.double())


def test_softmax_regression_has_its_textbook_hessian() -> None:
    generator = np.random.default_rng(0)
    x, label = generator.normal(size=(20, 4)), generator.integers(0, 3, 20)
    weight = torch.tensor(generator.normal(size=(3, 4)), requires_grad=True)
    mask = torch.tensor(generator.random((3, 4)) < 0.6)
    found = hessian(
        lambda: nn.functional.cross_entropy(torch.tensor(x) @ weight.T, torch.tensor(label)),
        {"weight": weight},
        {"weight": mask},
    )
    odds = np.exp(x @ weight.detach().numpy().T)
    p = odds / odds.sum(1, keepdims=True)
    # d2L / dw_ai dw_bj = mean of p_a (1[a = b] - p_b) x_i x_j
    expected = np.einsum("nab,ni,nj->aibj", p[:, :, None] * (np.eye(3) - p[:, None, :]), x, x).reshape(12, 12) / 20
    active = mask.flatten().numpy()
    np.testing.assert_allclose(found.numpy(), expected[active][:, active], atol=1e-12)
    assert torch.linalg.eigvalsh(found)[0] > -1e-12, "the loss is convex"


def test_finite_differences_of_the_gradient_agree() -> None:
    problem = Problem(torch.float64)
    found = hessian(problem.loss, problem.parameters, problem.masks)
    parameters = list(problem.parameters.values())
    active = problem.active()

    def gradient() -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(problem.loss(), parameters)])[active]

    place = [(p, i) for p in parameters for i in range(p.numel())]
    for row, index in list(enumerate(active.nonzero().flatten().tolist()))[::7]:
        parameter, entry = place[index]
        with torch.no_grad():
            parameter.view(-1)[entry] += 1e-6
            above = gradient_of(gradient)
            parameter.view(-1)[entry] -= 2e-6
            below = gradient_of(gradient)
            parameter.view(-1)[entry] += 1e-6
        torch.testing.assert_close(found[row], (above - below) / 2e-6, atol=1e-6, rtol=1e-4)


def gradient_of(gradient) -> Tensor:
    with torch.enable_grad():
        return gradient()


@pytest.mark.parametrize("order", [1, -1], ids=["in-order", "reversed"])
def test_it_agrees_with_torchs_own_in_any_order_of_the_parameters(order: int) -> None:
    problem = Problem()
    problem.parameters = dict(list(problem.parameters.items())[::order])
    expected, active = reference_hessian(problem), problem.active()
    found = hessian(problem.loss, problem.parameters, problem.masks)
    assert torch.equal(found, found.T)
    torch.testing.assert_close(found, expected[active][:, active], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(hessian(problem.loss, problem.parameters), expected, atol=1e-6, rtol=1e-4)


def test_only_active_rows_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, rows, row = Problem(), [], ActiveGradient.row
    monkeypatch.setattr(ActiveGradient, "row", lambda self, *at: rows.append(at) or row(self, *at))
    found = hessian(problem.loss, problem.parameters, problem.masks)
    assert len(rows) == len(found) == int(problem.active().sum()) < 200


def test_products_agree_with_the_matrix() -> None:
    problem = Problem()
    matrix = hessian(problem.loss, problem.parameters, problem.masks)
    vector = torch.randn(len(matrix), generator=generator_for(1))
    found = hessian_vector_product(problem.loss, problem.parameters, vector, problem.masks)
    torch.testing.assert_close(found, matrix @ vector.double(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("k", [1, 3])
def test_lanczos_finds_the_extremes_of_the_exact_spectrum(k: int) -> None:
    problem = Problem()
    exact = torch.linalg.eigvalsh(hessian(problem.loss, problem.parameters, problem.masks))
    smallest, largest = lanczos_extremes(problem.loss, problem.parameters, problem.masks, k=k)
    assert exact[0] < -0.01
    torch.testing.assert_close(smallest, exact[:k], rtol=1e-3, atol=0)
    torch.testing.assert_close(largest, exact[-k:], rtol=1e-3, atol=0)


def test_measuring_leaves_no_gradients_and_no_other_values() -> None:
    problem = Problem()
    before = {name: parameter.clone() for name, parameter in problem.parameters.items()}
    lanczos_extremes(problem.loss, problem.parameters, problem.masks)
    with torch.no_grad():  # as in a hook
        hessian(problem.loss, problem.parameters, problem.masks)
    assert all(parameter.grad is None for parameter in problem.parameters.values())
    assert all(torch.equal(before[name], parameter) for name, parameter in problem.parameters.items())


# --- losses without curvature, and without meaning -------------------------------------------------


def test_unused_parameters_and_linear_ones_have_no_curvature() -> None:
    w, linear, unused = (torch.tensor([2.0, 3.0], requires_grad=True) for _ in range(3))
    parameters = {"unused": unused, "linear": linear, "w": w}
    found = hessian(lambda: (w**3).sum() + linear.sum(), parameters)
    assert torch.equal(found, torch.diag(torch.tensor([0.0, 0, 0, 0, 12, 18])).double())
    smallest, largest = lanczos_extremes(lambda: linear.sum(), parameters)
    assert smallest.tolist() == largest.tolist() == [0.0]


def test_a_coupling_of_two_parameters_shows_in_both_rows() -> None:
    a, b = (torch.ones(1, requires_grad=True) for _ in range(2))
    assert hessian(lambda: (a * b).sum(), {"a": a, "b": b}).tolist() == [[0, 1], [1, 0]]


def test_what_is_not_finite_is_named() -> None:
    w, v = torch.ones(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    with pytest.raises(ValueError, match="the loss is nan, so it has no curvature"):
        hessian(lambda: (w * torch.nan).sum(), {"w": w})
    rooted = lambda: (w**2).sum() + (v**1.5).sum()  # noqa: E731  # its second derivative at 0 is infinite
    with pytest.raises(ValueError, match="second derivatives by 'v' are not finite"):
        hessian(rooted, {"w": w, "v": v})
    with pytest.raises(ValueError, match="product of the Hessian and a vector is not finite"):
        lanczos_extremes(rooted, {"w": w, "v": v})


def test_a_matrix_too_large_is_refused_with_its_size_before_the_loss_is_computed() -> None:
    weight = torch.zeros(210, 210, requires_grad=True)

    def loss() -> Tensor:
        raise AssertionError("computed")

    with pytest.raises(
        ValueError, match=r"of 44,100 entries takes 14.5 GiB, more than max_gib=2.0: use LanczosSpectrum"
    ):
        hessian(loss, {"weight": weight})


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (
            {"v": torch.ones(2, dtype=torch.bool)},
            "masks\\['v'\\] torch.bool .* is not a bool mask of a parameter",
        ),
        ({"w": torch.ones(3, dtype=torch.bool)}, "masks\\['w'\\] torch.bool \\(3,\\)"),
        ({"w": torch.ones(2)}, "masks\\['w'\\] torch.float32"),
        ({"w": torch.zeros(2, dtype=torch.bool)}, "no parameter has an active entry"),
    ],
)
def test_masks_that_do_not_fit(masks, message: str) -> None:
    w = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=message):
        hessian(lambda: (w**2).sum(), {"w": w}, masks)


def test_arguments_that_do_not_fit() -> None:
    w = torch.ones(4, requires_grad=True)
    with pytest.raises(ValueError, match="parameter 'w' is torch.float32, requires_grad=False"):
        hessian(lambda: w.sum(), {"w": torch.ones(4)})
    with pytest.raises(ValueError, match="parameter 'h' is torch.bfloat16"):
        hessian(lambda: w.sum(), {"h": w.detach().bfloat16().requires_grad_()})
    with pytest.raises(ValueError, match=r"the loss is \(4,\), requires_grad=True; it is one number"):
        hessian(lambda: w**2, {"w": w})
    with pytest.raises(ValueError, match=r"the loss is \(\), requires_grad=False"):
        hessian(lambda: w.detach().sum(), {"w": w})
    with pytest.raises(ValueError, match=r"vector is \(3,\), but the Hessian has 4"):
        hessian_vector_product(lambda: (w**2).sum(), {"w": w}, torch.ones(3))
    for k in (0, 2):
        with pytest.raises(ValueError, match=f"k is {k}; it lies between 1 and half of the 4"):
            lanczos_extremes(lambda: (w**2).sum(), {"w": w}, k=k)
