"""The sparse model: a network that runs as fast as its sparsity allows."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .checks import check_input, check_module, choose_vector_width, warn_of_lanes
from .graph.trace import UntraceableError
from .kernels.processor import UnfitTargetError
from .plan import Draft, Plan
from .report import LayerReport, Report
from .run.program import PLAIN, address
from .run.surroundings import CPU, in_cpu_memory, in_float32, neutral_surroundings

PLANS = 8  # as many are kept, those of the shapes that came last

_Key = tuple[torch.Size, int]  # shape of the input, and threads


class SparseModel(nn.Module):
    """A network that gives the outputs of the module that it was made of; see :func:`compile_sparse`.

    It runs on the CPU in float32 and without gradients, on as many threads as ``torch.get_num_threads()`` says. Several
    threads may call it at once. Each shape of input has a plan of its own, made on its first call; the last 8 are kept.
    Autocast, inference mode and default dtypes and devices around a call change neither its plan nor its outputs, but
    for what parts in torch make in the default dtype. Batches of no image, and tensors of a subclass of
    ``torch.Tensor``, go to the module.

    Args:
        module: the network, as in :func:`compile_sparse`.
        vector_width: the floats in a vector, as in :func:`compile_sparse`.
        calibrate: whether layers are measured, as in :func:`compile_sparse`.
        dense: by the name of its weight, whether a layer takes it as dense; others are chosen.
        lanes: the name of ``vector_width`` before this release.
    """

    def __init__(
        self,
        module: nn.Module,
        vector_width: int | None = None,
        *,
        calibrate: bool = True,
        dense: Mapping[str, bool] | None = None,
        lanes: int | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.vector_width = choose_vector_width(vector_width, lanes)
        self.calibrate = calibrate
        self.dense = dict(dense or {})
        self.chosen: dict[_Key, Mapping[str, bool]] = {}  # outlasts the plans, so that outputs stay the same
        self.training = False
        self._forget_plans()

    @property
    def lanes(self) -> int:
        """Return ``vector_width``, by the name that it had before this release."""
        warn_of_lanes(stacklevel=3)
        return self.vector_width

    def _forget_plans(self) -> None:
        """Begin without a plan."""
        self._plans: OrderedDict[_Key, Plan | str] = OrderedDict()
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_plans", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = {
            "vector_width" if name == "lanes" else name: value for name, value in state.items()
        }  # its earlier name
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._forget_plans()

    def train(self, mode: bool = True) -> SparseModel:
        """Refuse to be trained.

        Raises:
            ValueError: the argument ``mode`` is True.
        """
        if mode:
            raise ValueError("a SparseModel cannot be trained: train the module it was made of and compile it again")
        return self

    def forward(self, image: Tensor) -> Any:
        """Return what the module returns for a float32 tensor on the CPU, images first.

        Raises:
            TypeError: the image is no tensor, not of float32, or nested.
            ValueError: the image is on another device, not dense, or without memory of its own, as in
                ``torch.func.vmap``; or a plan is to be made of a module that has changed and is no longer as
                :func:`compile_sparse` takes it.
        """
        check_input(image)
        plan = self._plan(image, torch.get_num_threads()) if type(image) in PLAIN and image.numel() else None
        if isinstance(plan, Plan):
            return plan(image)
        with in_float32(), in_cpu_memory():
            return self.module(image)

    def plans(self) -> list[Plan | str]:
        """Return the plans that are kept, or why there are none, the one that was used last at the end."""
        with self._lock:
            return list(self._plans.values())

    def reasons(self) -> list[str]:
        """Return why parts of the network run in torch, for the last input with a plan.

        The list is empty if all of it runs in kernels.

        Raises:
            RuntimeError: there was no such input.
        """
        _, _, plan = self._last_plan()
        return [plan] if isinstance(plan, str) else plan.reasons

    def report(self) -> Report:
        """Return what each layer takes either way and which was chosen, measured now for the shape that came last.

        Raises:
            RuntimeError: there was no input with a plan.
            ValueError: the module has changed and is no longer as :func:`compile_sparse` takes it.

        Example:
            >>> report = compile_sparse(nn.Linear(4, 2).eval(), torch.rand(1, 4)).report()
            >>> [(layer.layer, layer.shape, layer.chosen) for layer in report.layers]
            [('weight', (2, 4), 'dense')]
        """
        shape, threads, plan = self._last_plan()
        if isinstance(plan, str):
            return Report(shape, threads, (), (plan,))
        with neutral_surroundings():
            draft = self._draft(torch.zeros(shape, dtype=torch.float32, device=CPU), threads)
            seconds = draft.seconds(plan.dense.keys())
        shapes = {name: tuple(parameter.shape) for name, parameter in self.module.named_parameters()}
        rows = [
            LayerReport(
                layer.name,
                shapes.get(layer.name, tuple(layer.weight.shape)),
                1 - layer.density,
                1e3 * seconds[layer.name].dense,
                1e3 * seconds[layer.name].sparse,
                "dense" if plan.dense[layer.name] else "sparse",
            )
            for layer in draft.convolutions
        ]
        return Report(shape, threads, tuple(rows), tuple(plan.reasons))

    def _last_plan(self) -> tuple[torch.Size, int, Plan | str]:
        """Return the plan that was used last, or why there is none, and for which shape and threads it is."""
        with self._lock:
            if not self._plans:
                raise RuntimeError("nothing is known of this SparseModel before it is called: give it an image first")
            (shape, threads), plan = next(reversed(self._plans.items()))
        return shape, threads, plan

    def _draft(self, image: Tensor, threads: int) -> Draft:
        """Return the module as the draft of a plan."""
        check_module(self.module)
        return Draft(self.module, image, threads=threads, vector_width=self.vector_width)

    def _plan(self, image: Tensor, threads: int) -> Plan | str:
        """Return the plan for an image's shape, which is made if there is none, or why there can be none."""
        key = (image.shape, threads)
        with self._lock:
            if key in self._plans:
                self._plans.move_to_end(key)
                return self._plans[key]
        # Both are entered in this order everywhere, so that no two threads wait for each other.
        with neutral_surroundings(), self._lock:
            if key not in self._plans:
                self._plans[key] = self._new_plan(image, threads)
                if len(self._plans) > PLANS:
                    self._plans.popitem(last=False)
            return self._plans[key]

    def _new_plan(self, image: Tensor, threads: int) -> Plan | str:
        """Make a plan for an image's shape; return why there can be none."""
        address(image)  # fails if the image has no memory
        key = (image.shape, threads)
        try:
            draft = self._draft(image.detach().clone(), threads)  # a copy, as the network may change it
            known = {**self.chosen.get(key, {}), **self.dense}
            plan = draft.calibrated(known) if self.calibrate else draft.plan(known)
        except UntraceableError as error:
            return str(error)
        except UnfitTargetError as error:
            warnings.warn(f"the network runs in torch: {error}", stacklevel=2)
            return str(error)
        self.chosen[key] = plan.dense
        return plan


def compile_sparse(
    module: nn.Module,
    example_input: Tensor,
    *,
    vector_width: int | None = None,
    calibrate: bool = True,
    lanes: int | None = None,
) -> SparseModel:
    """Return a network of the same outputs that is fast where weights are 0.

    Norms are folded into weights; ReLU and sums become part of the kernels, which skip zeros. A layer runs with sparse
    or dense weights, whichever is faster. What there is no kernel for runs in torch; :meth:`SparseModel.report` names
    it. Weights are taken as they are now: compile again when they change.

    Args:
        module: a network in eval mode, in float32 on the CPU. It takes one tensor, images first, and treats each image
            by itself.
        example_input: a batch of the usual shape.
        vector_width: the floats in a vector: 16, 8 or 4; by default as many as those of this machine have.
        calibrate: whether layers between 25 % and 80 % dense are run both ways to see which is faster; if not, weights
            count as dense from 45 % on.
        lanes: the name of ``vector_width`` before this release.

    Raises:
        ValueError: the module is in train mode, or its parameters are not in float32 on the CPU; or ``vector_width`` is
            another number.
        TypeError: the example input is not a float32 tensor.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)).eval()
        >>> image = torch.rand(1, 1, 8, 8)
        >>> fast = compile_sparse(network, image)
        >>> torch.allclose(fast(image), network(image), atol=1e-5)
        True
    """
    check_module(module)
    model = SparseModel(module, choose_vector_width(vector_width, lanes), calibrate=calibrate)
    model(example_input)
    return model
