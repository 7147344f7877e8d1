"""Learning rates step by step."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from lightning_modules import WarmUpCosine, WarmUpSteps


def optimizer() -> torch.optim.Optimizer:
    parameters = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    return torch.optim.SGD([{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.2}], lr=1.6)


def rates(schedule: LRScheduler, steps: int) -> list[list[float]]:
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in schedule.optimizer.param_groups])
        schedule.optimizer.step()
        schedule.step()
    return found


def test_without_warm_up_they_are_torchs_own() -> None:
    pairs = [
        (WarmUpSteps(optimizer(), [3, 7], factor=0.2), MultiStepLR(optimizer(), [3, 7], gamma=0.2)),
        (WarmUpCosine(optimizer(), 10), CosineAnnealingLR(optimizer(), 10)),
    ]
    for ours, theirs in pairs:
        assert torch.tensor(rates(ours, 10)).allclose(torch.tensor(rates(theirs, 10)), atol=1e-7)


def test_rigls_resnet50() -> None:
    epoch = 1_281_167 / 4096
    schedule = WarmUpSteps(optimizer(), [round(epoch * k) for k in (30, 70, 90)], warm_up=round(5 * epoch))
    expected = {0: 0.0, 782: 0.8, 1564: 1.6, 9_382: 1.6, 9_384: 0.16, 21_896: 0.016, 28_151: 0.0016}
    assert {step: round(1.6 * schedule.factor_at(step), 4) for step in expected} == expected


def test_it_goes_on_from_a_checkpoint() -> None:
    for make in (lambda o: WarmUpSteps(o, [3, 6], warm_up=2), lambda o: WarmUpCosine(o, 10, warm_up=2)):
        whole, first = rates(make(optimizer()), 8), make(optimizer())
        rates(first, 4)
        second = make(optimizer())
        second.load_state_dict(first.state_dict())
        second.optimizer.load_state_dict(first.optimizer.state_dict())
        assert rates(second, 4) == whole[4:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"milestones": [5, 3]}, r"milestones is \[5, 3\]"),
        ({"milestones": [3, 3]}, r"milestones is \[3, 3\]"),
        ({"milestones": [3], "warm_up": 4}, "after the warm-up of 4"),
        ({"milestones": [3], "warm_up": -1}, "warm_up is -1"),
        ({"milestones": [3], "factor": 0.0}, "factor is 0.0"),
        ({"total_steps": 4, "warm_up": 4}, "total_steps is 4"),
        ({"total_steps": 4, "warm_up": -1}, "warm_up is -1"),
    ],
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    cls = WarmUpSteps if "milestones" in arguments else WarmUpCosine
    with pytest.raises(ValueError, match=message):
        cls(optimizer(), **arguments)
