"""Sparse networks that run as fast as their sparsity allows."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .graph.trace import UntraceableError
from .kernels.processor import UnfitTargetError, widest_vector
from .plan import Draft, Plan
from .report import LayerReport, Report
from .run.program import PLAIN, address
from .run.surroundings import CPU, in_cpu_memory, in_float32, unsurrounded

PLANS = 8

_Key = tuple[torch.Size, int]  # shape of the input, and threads


class SparseModel(nn.Module):
    """A network that gives the outputs of the module it was made of; see :func:`compile_sparse`.

    Runs on the CPU in float32 and without gradients, on as many threads as ``torch.get_num_threads()`` says. Several
    threads may call it at once. Each shape of input has a plan of its own, made on its first call; the last 8 are kept.
    Autocast, inference mode and default dtypes and devices around a call change neither its plan nor its outputs, but
    for what parts in torch make in the default dtype. Batches of no image, and tensors of a subclass of
    ``torch.Tensor``, go to the module.

    Args:
        module: as in :func:`compile_sparse`.
        lanes: floats in a vector.
        calibrate: as in :func:`compile_sparse`.
        dense: by the name of its weight, whether a layer takes it as dense, for layers where that is not to be chosen.
    """

    def __init__(
        self, module: nn.Module, lanes: int, *, calibrate: bool = True, dense: Mapping[str, bool] | None = None
    ) -> None:
        super().__init__()
        self.module = module
        self.lanes = lanes
        self.calibrate = calibrate
        self.dense = dict(dense or {})
        self.chosen: dict[_Key, Mapping[str, bool]] = {}  # outlasts the plans, so that outputs stay the same
        self.training = False
        self._start_anew()

    def _start_anew(self) -> None:
        self._plans: OrderedDict[_Key, Plan | str] = OrderedDict()
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_plans", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._start_anew()

    def train(self, mode: bool = True) -> SparseModel:
        """Refuse to be trained.

        Raises:
            ValueError: ``mode`` is True.
        """
        if mode:
            raise ValueError("a SparseModel cannot be trained: train the module it was made of and compile it again")
        return self

    def forward(self, image: Tensor) -> Any:
        """What the module returns for a float32 tensor on the CPU, images first.

        Raises:
            TypeError: ``image`` is no tensor, not of float32, or nested.
            ValueError: it is on another device, not dense, or without memory of its own, as in ``torch.func.vmap``; or
                a plan is to be made of a module that has changed and is no longer as :func:`compile_sparse` takes it.
        """
        _check_input(image)
        plan = self._plan(image, torch.get_num_threads()) if type(image) in PLAIN and image.numel() else None
        if isinstance(plan, Plan):
            return plan(image)
        with in_float32(), in_cpu_memory():
            return self.module(image)

    def reasons(self) -> list[str]:
        """Why parts of the network run in torch, for the last input with a plan; empty if all of it runs in kernels.

        Raises:
            RuntimeError: there was none.
        """
        _, _, plan = self._last()
        return [plan] if isinstance(plan, str) else plan.reasons

    def report(self) -> Report:
        """What each layer takes either way and which was chosen, measured now for the shape that came last.

        Raises:
            RuntimeError: there was none.
            ValueError: the module has changed and is no longer as :func:`compile_sparse` takes it.

        Example:
            >>> report = compile_sparse(nn.Linear(4, 2).eval(), torch.rand(1, 4)).report()
            >>> [(layer.layer, layer.shape, layer.chosen) for layer in report.layers]
            [('weight', (2, 4), 'dense')]
        """
        shape, threads, plan = self._last()
        if isinstance(plan, str):
            return Report(shape, threads, (), (plan,))
        with unsurrounded():
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

    def _last(self) -> tuple[torch.Size, int, Plan | str]:
        with self._lock:
            if not self._plans:
                raise RuntimeError("nothing is known of this SparseModel before it is called: give it an image first")
            (shape, threads), plan = next(reversed(self._plans.items()))
        return shape, threads, plan

    def _draft(self, image: Tensor, threads: int) -> Draft:
        _check_module(self.module)
        return Draft(self.module, image, threads=threads, lanes=self.lanes)

    def _plan(self, image: Tensor, threads: int) -> Plan | str:
        key = (image.shape, threads)
        with self._lock:
            if key in self._plans:
                self._plans.move_to_end(key)
                return self._plans[key]
        with unsurrounded(), self._lock:  # in this order everywhere, so that no two threads wait for each other
            if key not in self._plans:
                self._plans[key] = self._made(image, threads)
                if len(self._plans) > PLANS:
                    self._plans.popitem(last=False)
            return self._plans[key]

    def _made(self, image: Tensor, threads: int) -> Plan | str:
        address(image)
        key = (image.shape, threads)
        try:
            draft = self._draft(image.detach().clone(), threads)  # which the network may change
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
    module: nn.Module, example_input: Tensor, *, lanes: int | None = None, calibrate: bool = True
) -> SparseModel:
    """A network of the same outputs that is fast where weights are 0.

    Norms are folded into weights; ReLU and sums become part of the kernels, which skip zeros. A layer runs with sparse
    or dense weights, whichever is faster. What there is no kernel for runs in torch; :meth:`SparseModel.report` names
    it. Weights are taken as they are now: compile again when they change.

    Args:
        module: in eval mode, in float32 on the CPU. It takes one tensor, images first, and treats each image by itself.
        example_input: a batch of the usual shape.
        lanes: floats in a vector: 16, 8 or 4; by default as many as this machine's have.
        calibrate: whether layers between 25 % and 80 % dense are run both ways to see which is faster; if not, weights
            count as dense from 45 % on.

    Raises:
        ValueError: the module is in train mode, or its parameters are not in float32 on the CPU; another number of
            ``lanes``.
        TypeError: ``example_input`` is not a float32 tensor.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)).eval()
        >>> image = torch.rand(1, 1, 8, 8)
        >>> fast = compile_sparse(network, image)
        >>> torch.allclose(fast(image), network(image), atol=1e-5)
        True
    """
    _check_module(module)
    width = widest_vector() if lanes is None else lanes
    if width not in (4, 8, 16):
        raise ValueError(f"lanes is {width}; a vector has 4, 8 or 16 floats")
    model = SparseModel(module, width, calibrate=calibrate)
    model(example_input)
    return model


def _check_module(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if part.training:
            raise ValueError(f"{f'{name!r} of ' if name else ''}the module is in train mode: call module.eval() first")
    parameters = dict(module.named_parameters())
    for name, tensor in (*parameters.items(), *module.named_buffers()):
        if not tensor.is_cpu or (name in parameters and tensor.dtype != torch.float32):
            raise ValueError(f"{name!r} is {tensor.dtype} on {tensor.device}: call module.float().cpu() first")


def _check_input(image: Any) -> None:
    if not isinstance(image, Tensor) or image.dtype != torch.float32:
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"the input is {kind}; a SparseModel takes a torch.float32 tensor: convert it with .float()")
    if image.is_nested:
        raise TypeError("the input is a nested tensor; a SparseModel takes images of one size: call it once a size")
    if not image.is_cpu or image.layout != torch.strided:
        way = ".to_dense()" if image.is_cpu else ".cpu()"
        raise ValueError(f"the input is on {image.device}, {image.layout}; a SparseModel runs on the CPU: use {way}")
