"""Kinematic updates: the grouped execution against one joint at a time, and by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.networks import Kinematics, KinematicUpdates

CHAIN = [(0, 1), (1, 2)]


@st.composite
def graphs(draw: st.DrawFn) -> Kinematics:
    """Trees, with loops half the time, and any order half the time."""
    joints = draw(st.integers(1, 7))
    edges = [(draw(st.integers(0, joint - 1)), joint) for joint in range(1, joints)]
    others = [(b, a) for a in range(joints) for b in range(a) if (b, a) not in edges]
    if others and draw(st.booleans()):
        edges += draw(st.lists(st.sampled_from(others), max_size=4, unique=True))
    order = draw(st.none() | st.permutations(range(joints)))
    passes = draw(st.lists(st.sampled_from(["inward", "outward", "together"]), max_size=3))
    return Kinematics(joints, edges, draw(st.integers(0, joints - 1)), passes, order=order, tied=draw(st.booleans()))


@settings(max_examples=60)
@given(graphs(), st.booleans(), st.integers(0, 99))
def test_levels_at_once_equal_one_joint_at_a_time(kinematics: Kinematics, training: bool, seed: int) -> None:
    torch.manual_seed(seed)
    fast = KinematicUpdates(kinematics, 2, 3).double().train(training)
    for value in fast.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5) if value.dim() == 1 else value.normal_()
    slow = copy.deepcopy(fast)
    x = torch.randn(2, 2 * kinematics.num_joints, 3, 4, dtype=torch.double)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [fast(inputs[0]), slow.one_by_one(inputs[1])]
    torch.testing.assert_close(*outputs)
    for output in outputs:
        (output * torch.arange(output.numel()).view_as(output)).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for (name, mine), other in zip(fast.named_parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, msg=name)
    for (name, mine), other in zip(fast.named_buffers(), slow.buffers(), strict=True):
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(mine, other, msg=name)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        # features 1, 2, 3 on the chain 0-1-2; a change is half the sum of what a joint sees
        ("outward", [4.0, 5.0, 7.0]),  # 1: 2 + 6/2 = 5; then 0: 1 + (1 + 5)/2, and 2: 3 + (3 + 5)/2
        ("inward", [2.5, 7.0, 5.5]),  # 2: 3 + 5/2 and 0: 1 + 3/2; then 1: 2 + (2 + 2.5 + 5.5)/2
        ("together", [2.5, 5.0, 5.5]),
    ],
)
@pytest.mark.parametrize("method", ["forward", "one_by_one"])
def test_a_chain_by_hand(direction: str, expected: list[float], method: str) -> None:
    updates = KinematicUpdates(Kinematics(3, CHAIN, root=1, passes=[direction], alpha=0.5), 1, 1).eval()
    for name, parameter in updates.named_parameters():
        if "conv" in name:
            torch.nn.init.zeros_(parameter)
            if parameter.dim() == 4:
                parameter.data[:, :, 1, 1] = 1
    for norm in updates.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.eps = 0.0
    features = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert getattr(updates, method)(features).flatten().tolist() == expected


@given(graphs())
def test_levels_have_every_joint_once_and_no_neighbours(kinematics: Kinematics) -> None:
    levels = kinematics.levels()
    assert sorted(joint for level in levels for joint in level) == list(range(kinematics.num_joints))
    place = {joint: kinematics.sequence().index(joint) for joint in range(kinematics.num_joints)}
    depth = {joint: number for number, level in enumerate(levels) for joint in level}
    for a, b in kinematics.edges:
        assert (place[a] < place[b]) == (depth[a] < depth[b])
        assert depth[a] != depth[b]


def test_breadth_first_and_a_given_order() -> None:
    edges = [(3, 1), (3, 0), (1, 2), (0, 4), (4, 1)]
    assert Kinematics(5, edges, root=3).sequence() == [3, 0, 1, 4, 2]
    assert Kinematics(5, edges, root=3).levels() == [[3], [0, 1], [4, 2]]
    assert Kinematics(5, edges, root=3, order=[2, 4, 1, 0, 3]).levels() == [[2, 4], [1, 0], [3]]


def test_without_alpha_nothing_changes_and_alpha_is_what_learns() -> None:
    updates = KinematicUpdates(Kinematics(3, CHAIN, root=1), 4, 4)
    x = torch.randn(2, 12, 4, 4)
    output = updates(x)
    assert torch.equal(output, x)
    output.square().sum().backward()
    assert all(bool(alpha.grad.ne(0).all()) for alpha in updates.alpha)
    assert list(updates.alphas()) == [f"{p}/{joint}" for p in ("0_inward", "1_outward") for joint in range(3)]
    updates.alpha[1].data[2] = 0.25
    assert updates.alphas()["1_outward/2"] == 0.25


def test_tied_passes_share_weights_and_nothing_else() -> None:
    torch.manual_seed(0)
    kinematics = Kinematics(3, CHAIN, root=1, tied=True, alpha=0.5)
    tied, single = (
        KinematicUpdates(k, 2, 2) for k in (kinematics, Kinematics(3, CHAIN, root=1, passes=["outward"], alpha=0.5))
    )
    assert len(list(tied.parameters())) == len(list(single.parameters())) + 1, "another alpha"
    tied(torch.randn(4, 6, 3, 3))
    first, second = (list(groups.buffers()) for groups in tied.passes)
    assert any(not torch.equal(a, b) for a, b in zip(first, second, strict=True)), "statistics of their own"
    loaded = KinematicUpdates(kinematics, 2, 2)
    loaded.load_state_dict(tied.state_dict())
    x = torch.randn(1, 6, 3, 3)
    assert torch.equal(loaded.eval()(x), tied.eval()(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_joints": 0}, "num_joints is 0"),
        ({"edges": [(0, 3)]}, r"edges has \(0, 3\).*joints 0 to 2"),
        ({"edges": [(0, 0)]}, r"edges has \(0, 0\)"),
        ({"edges": [(0, 1, 2)]}, r"edges has \(0, 1, 2\)"),
        ({"edges": [(0, 1), (1, 2), (1, 0)]}, "twice"),
        ({"edges": [(0, 1)]}, r"all joints but \[2\]"),
        ({"root": 3}, "root is 3"),
        ({"order": [0, 1]}, r"order is \[0, 1\]"),
        ({"order": [0, 1, 1]}, r"order is \[0, 1, 1\]"),
        ({"passes": ["inwards"]}, r"\['inwards'\]"),
    ],
)
def test_impossible_kinematics(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Kinematics(**({"num_joints": 3, "edges": CHAIN, "root": 1} | arguments))
