"""The paper's claims, on rows that agree with them and on rows that do not."""

from __future__ import annotations

import copy

import pytest

from experiments.paper.claims import CLAIMS, TICKETS, judge


def agreeing() -> dict[str, list[dict[str, str]]]:
    accuracy = {
        "dense": 0.991,
        "pruned": 0.985,
        **dict.fromkeys(TICKETS, 0.982),
        "rigl-unit": 0.983,
        "set-unit": 0.98,
        "scratch-unit": 0.97,
    }
    runs = [{"arm": arm, "test_acc": str(acc), "failed": "0"} for arm, acc in accuracy.items()]
    groups = {
        "lottery, ticket 0": (0.004, 98.5, 98.6),
        "diff. pruned": (0.02, 98.3, 99.0),
        "scratch (diff. init)": (0.03, 97, 98),
    }
    lines = {("lottery-0", "end"): (0.04, 0.05, 0.04), ("scratch-unit", "end"): (0.1, 2.0, 0.04)}
    changes = {"rigl-unit": 1.0, "set-unit": 0.1, "rigl-inverted-unit": 0.0}
    return {
        "runs": [*runs, {"arm": "scratch-dense", "test_acc": "0.1135", "failed": "1"}],
        "similarity": [
            {"group": group, "disagreement": str(d), "accuracy": str(a), "ensemble": str(e)}
            for group, (d, a, e) in groups.items()
        ],
        "interpolation": [
            {"arm": arm, "seed": "0", "from": kind, "alpha": str(alpha), "loss": str(loss)}
            for (arm, kind), losses in lines.items()
            for alpha, loss in zip((0.0, 0.5, 1.0), losses, strict=True)
        ],
        "gradient_change": [{"arm": arm, "step": "100", "change": str(change)} for arm, change in changes.items()],
    }


def verdicts(tables) -> list[bool]:
    return [judge(claim, tables)[1] == "holds" for claim in CLAIMS]


def test_all_claims_hold_on_rows_that_agree() -> None:
    assert all(verdicts(agreeing()))


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "failing"),
    [
        ("runs", {"arm": "dense"}, "test_acc", "0.989", {0}),
        ("runs", {"arm": "pruned"}, "test_acc", "0.989", {1, 2}),
        ("runs", {"arm": "lottery-3"}, "test_acc", "0.5", {2}),
        ("runs", {"arm": "set-unit"}, "test_acc", "0.99", {3}),
        ("runs", {"arm": "scratch-unit"}, "test_acc", "0.96", {3}),
        ("runs", {"arm": "scratch-dense"}, "failed", "0", {4}),
        ("similarity", {"group": "lottery, ticket 0"}, "disagreement", "0.025", {5}),
        ("similarity", {"group": "diff. pruned"}, "ensemble", "98.5", {6}),
        ("similarity", {"group": "lottery, ticket 0"}, "ensemble", "98.9", {6}),
        ("interpolation", {"arm": "lottery-0", "alpha": "0.5"}, "loss", "0.2", {7}),
        ("interpolation", {"arm": "scratch-unit", "alpha": "0.5"}, "loss", "1.0", {7}),
        ("gradient_change", {"arm": "rigl-inverted-unit"}, "change", "-0.2", {8}),
        ("gradient_change", {"arm": "rigl-unit"}, "change", "0.05", {8}),
    ],
)
def test_a_claim_fails_on_rows_that_do_not(table, row, column, value, failing) -> None:
    tables = copy.deepcopy(agreeing())
    [found] = [entry for entry in tables[table] if row.items() <= entry.items()]
    found[column] = value
    assert {index for index, holds in enumerate(verdicts(tables)) if not holds} == failing


def test_what_has_not_run_is_not_judged() -> None:
    empty: dict[str, list[dict[str, str]]] = {name: [] for name in agreeing()}
    assert all(judge(claim, empty) == ("-", "not run yet") for claim in CLAIMS)
