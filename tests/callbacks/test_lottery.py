"""LotteryTicket: what each stage starts from and leaves, and that a kill changes nothing."""

from __future__ import annotations

import functools
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from fakes import write_mnist
from fits import TinyModule, data, loader, trainer
from lottery_run import STEPS, data_in, gmp, imp, make_trainer, module, run, stopping
from ranks import launch
from torch.utils.data import DataLoader, Subset

from callbacks import (
    FineTuning,
    IterativePruning,
    LearningRateRewinding,
    LotteryTicket,
    PruneAtStart,
    RandomReinit,
    ShuffledMask,
    SparseTraining,
    Ticket,
    WeightRewinding,
    read_masks,
)
from callbacks.lottery.stage import LotteryStage
from callbacks.lottery.ticket import TicketOwner
from callbacks.sparsity import KeepValues, Masks

SCRIPT = Path(__file__).parents[1] / "lottery_run.py"
SAVING = {"enable_checkpointing": True}


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("mnist"), train=64, test=32)


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load(path)["state_dict"]


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def masked(weights: dict[str, torch.Tensor], masks: Masks) -> dict[str, torch.Tensor]:
    return {name: weight * masks[name] if name in masks else weight for name, weight in weights.items()}


# --- the paper's way -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper(mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole lottery that nothing interrupted."""
    folder = tmp_path_factory.mktemp("lottery")
    with warnings.catch_warnings(action="ignore"):
        run(folder, mnist, rewind_step=2, runs=2)
    return folder


def test_the_ticket_is_the_final_mask_on_the_weights_of_the_step(paper: Path) -> None:
    ticket = Ticket.read(paper / "level-1/weights/ticket.ckpt")
    masks = read_masks(paper / "pretrain/end.ckpt")
    assert ticket.sparsity == pytest.approx(0.8, abs=1e-3)
    assert ticket.masks.digest() == masks.digest() == read_masks(ticket.path).digest()
    early = weights_of(paper / "pretrain/rewind.ckpt")
    assert_equal(dict(ticket.weights), masked(early, masks))
    assert any((early[name][~mask] != 0).any() for name, mask in masks.items()), "the kept weights are dense"
    assert_equal(weights_of(paper / "pretrain/start.ckpt"), dict(module().state_dict()))


def test_the_pretraining_is_a_plain_fit_with_the_callback(paper: Path, mnist: Path) -> None:
    plain = module()
    make_trainer([gmp()], paper, enable_checkpointing=False).fit(plain, data_in(mnist)(0))
    assert_equal(weights_of(paper / "pretrain/end.ckpt"), dict(plain.state_dict()))


@pytest.mark.parametrize("number", [0, 1])
def test_a_run_is_a_plain_fit_of_the_ticket_with_fresh_optimizer_and_full_schedule(
    paper: Path, mnist: Path, number: int
) -> None:
    ticket = Ticket.read(paper / "level-1/weights/ticket.ckpt")
    plain = module()
    ticket.apply(plain)
    owner = SparseTraining(masks_from=ticket.path, initialization=KeepValues())
    make_trainer([owner], paper, enable_checkpointing=False).fit(plain, data_in(mnist)(1 + number))
    assert load(ticket.trained[number])["global_step"] == STEPS
    assert_equal(weights_of(ticket.trained[number]), dict(plain.state_dict()))


def test_finished_stages_are_not_done_again_and_more_can_be_asked_for(paper: Path, mnist: Path) -> None:
    before = {path: path.read_bytes() for path in paper.rglob("*.ckpt")}
    assert not [path for path in before if path.name == "last.ckpt"]

    def refuse(callbacks: list[pl.Callback], folder: Path) -> pl.Trainer:
        raise AssertionError(f"{folder} was done")

    [ticket] = run(paper, mnist, refuse, rewind_step=2, runs=2)
    assert len(ticket.trained) == 2
    both = [WeightRewinding(), RandomReinit()]
    assert [t.retraining for t in run(paper, mnist, rewind_step=2, retraining=both)] == ["weights", "reinit"]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_mask_chosen_at_the_start_is_a_ticket_too(mnist: Path, tmp_path: Path) -> None:
    [ticket] = run(tmp_path, mnist, pruning=PruneAtStart(0.7))
    assert ticket.sparsity == pytest.approx(0.7, abs=1e-3)
    assert_equal(dict(ticket.weights), masked(weights_of(tmp_path / "pretrain/start.ckpt"), ticket.masks))


# --- killed ----------------------------------------------------------------------------------------


class KilledError(BaseException):
    """Stands for a kill, after which nobody clears up."""


def crash() -> None:
    raise KilledError


@pytest.mark.parametrize(
    ("stage", "step"), [("pretrain", 1), ("pretrain", 5), ("pretrain", 10), ("run-0", 2), ("run-0", 7), ("run-1", 12)]
)
def test_a_crash_in_any_stage_changes_nothing(paper: Path, mnist: Path, tmp_path: Path, stage: str, step: int) -> None:
    with pytest.raises(KilledError):
        run(tmp_path, mnist, stopping(stage, step, crash), rewind_step=2, runs=2)
    products = {path: path.read_bytes() for path in tmp_path.rglob("*.ckpt") if path.name != "last.ckpt"}
    torch.manual_seed(step)  # a new process has drawn other random numbers
    run(tmp_path, mnist, rewind_step=2, runs=2)
    for product in paper.rglob("*.ckpt"):
        if "reinit" not in product.parts:
            assert_equal(weights_of(tmp_path / product.relative_to(paper)), weights_of(product))
    finished = [path for path in products if path.parent.name != stage]
    assert all(path.read_bytes() == products[path] for path in finished)


def test_a_kill_of_the_process_changes_nothing(paper: Path, mnist: Path, tmp_path: Path) -> None:
    done = launch(SCRIPT, [tmp_path, mnist, "run-0:8"])
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert [path.name for path in tmp_path.rglob("last.ckpt")] == ["last.ckpt"]
    run(tmp_path, mnist, rewind_step=2)
    for product in ("pretrain/end.ckpt", "level-1/weights/ticket.ckpt", "level-1/weights/run-0/end.ckpt"):
        assert_equal(weights_of(tmp_path / product), weights_of(paper / product))


@pytest.mark.parametrize("limit", [{"max_steps": STEPS}, {"max_steps": -1, "max_epochs": 3}])
def test_a_kill_between_the_last_step_and_the_product_changes_nothing(
    paper: Path, mnist: Path, tmp_path: Path, limit: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(callbacks: list[pl.Callback], folder: Path) -> pl.Trainer:
        return make_trainer(callbacks, folder, **limit)

    with monkeypatch.context() as patch:
        patch.setattr(LotteryStage, "on_train_end", lambda *_: crash())
        with pytest.raises(KilledError):
            run(tmp_path, mnist, make, rewind_step=2)
    assert load(tmp_path / "pretrain/last.ckpt")["global_step"] == STEPS
    run(tmp_path, mnist, make, rewind_step=2)
    for product in ("pretrain/end.ckpt", "level-1/weights/run-0/end.ckpt"):
        assert_equal(weights_of(tmp_path / product), weights_of(paper / product))
        assert load(tmp_path / product)["global_step"] == STEPS


PRODUCTS = ["pretrain/start.ckpt", "pretrain/rewind.ckpt", "pretrain/end.ckpt", "level-1/weights/ticket.ckpt"]


@pytest.mark.parametrize("name", [*PRODUCTS, "level-1/weights/run-0/end.ckpt"])
def test_a_file_cut_off_while_it_was_written_is_not_taken_for_the_product(
    mnist: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.save

    def cut_off(value: Any, file: Any, *arguments: Any, **named: Any) -> None:
        save(value, file, *arguments, **named)
        if str(tmp_path / name) in str(file):
            Path(file).write_bytes(Path(file).read_bytes()[:500])
            raise KilledError

    def cut_off_checkpoint(self: pl.Trainer, path: Any, *arguments: Any, **named: Any) -> None:
        cut_off(self._checkpoint_connector.dump_checkpoint(False), path)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", cut_off)
        patch.setattr(pl.Trainer, "save_checkpoint", cut_off_checkpoint)
        with pytest.raises(KilledError):
            run(tmp_path, mnist, rewind_step=2)
    [part] = (tmp_path / name).parent.glob(f"{Path(name).name}*.part")
    assert part.stat().st_size == 500
    assert not (tmp_path / name).exists()
    [ticket] = run(tmp_path, mnist, rewind_step=2)
    assert len(ticket.trained) == 1
    assert not list(tmp_path.rglob("*.part"))


# --- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_damaged_file_is_named(mnist: Path, tmp_path: Path, name: str) -> None:
    run(tmp_path, mnist, rewind_step=2)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:500])
    if name in ("pretrain/start.ckpt", "pretrain/rewind.ckpt"):
        (tmp_path / "level-1/weights/ticket.ckpt").unlink()  # else they are not needed any more
    with pytest.raises(ValueError, match=f"{name}' cannot be read as a checkpoint: it is damaged"):
        run(tmp_path, mnist, rewind_step=2)


def test_files_of_another_lottery_are_refused(paper: Path, mnist: Path, tmp_path: Path) -> None:
    for other in ({"seed": 1}, {"rewind_step": 3}, {"pruning": imp()}):
        with pytest.raises(ValueError, match="pretrain/end.ckpt' is of pretrain of a lottery with Gradual.*, not of"):
            run(paper, mnist, **{"rewind_step": 2, "runs": 2, **other})
    with pytest.raises(KilledError):
        run(tmp_path, mnist, stopping("pretrain", 5, crash), rewind_step=2)
    with pytest.raises(ValueError, match="pretrain/last.ckpt' is of pretrain of a lottery with .*seed=0, not of"):
        run(tmp_path, mnist, rewind_step=2, seed=1)
    plain = trainer([], max_steps=1)
    plain.fit(TinyModule(), loader())
    plain.save_checkpoint(tmp_path / "pretrain/end.ckpt")
    with pytest.raises(ValueError, match="end.ckpt' is of an unknown run"):
        run(tmp_path, mnist, rewind_step=2)
    with pytest.raises(ValueError, match="end.ckpt' is not the file of a ticket"):
        Ticket.read(tmp_path / "pretrain/end.ckpt")


def test_another_network_is_refused(paper: Path, mnist: Path) -> None:
    ticket = Ticket.read(paper / "level-1/weights/ticket.ckpt")
    message = r"network.fc1.weight': \(12, 784\) there, \(13, 784\) here; .*3 differ"
    with pytest.raises(ValueError, match=message):
        ticket.apply(module((13, 8)))
    with pytest.raises(ValueError, match="'network.0.weight': nothing there"):
        ticket.apply(TinyModule())
    settings = {"pruning": gmp(), "rewind_step": 2, "save_every": 3}
    with pytest.raises(ValueError, match=message):
        next(LotteryTicket(paper, **settings).run(module((13, 8)), data_in(mnist), make_trainer))
    settings["retraining"] = [RandomReinit(7)]  # whose ticket is not there yet
    with pytest.raises(ValueError, match="the run in '.*pretrain' is of another network than this TinyModule"):
        next(LotteryTicket(paper, **settings).run(TinyModule(), data_in(mnist), make_trainer))


def test_a_trainer_without_the_callbacks_or_used_before_is_refused(mnist: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make_trainer gave a Trainer without GradualPruning"):
        run(tmp_path, mnist, lambda callbacks, folder: make_trainer(callbacks[1:], folder))
    used = make_trainer([], tmp_path, enable_checkpointing=False)
    used.fit(module(), data_in(mnist)(0))

    def reuse(callbacks: list[pl.Callback], folder: Path) -> pl.Trainer:
        used.callbacks.extend(callbacks)
        return used

    with pytest.raises(ValueError, match="a Trainer that is at step 12: make a new one each time"):
        run(tmp_path, mnist, reuse)


def test_a_step_never_reached_ends_the_lottery(mnist: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="RewindPoint.step is 50, but the run ends after 12"):
        run(tmp_path, mnist, rewind_step=50)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LotteryTicket("x", gmp(), runs=0), "runs is 0"),
        (lambda: LotteryTicket("x", gmp(), retraining=[]), r"retraining is \[\]"),
        (lambda: LotteryTicket("x", gmp(), retraining=[RandomReinit(), RandomReinit()]), "'reinit', 'reinit'"),
        (lambda: IterativePruning(share=1.0), "share is 1.0"),
        (lambda: IterativePruning(levels=0), "levels is 0"),
        (lambda: IterativePruning(scope="all"), "scope is 'all'"),
        (lambda: FineTuning(0.0), "learning_rate is 0.0"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# --- what training starts from ---------------------------------------------------------------------


def test_learning_rate_rewinding_and_fine_tuning_keep_the_final_weights(mnist: Path, tmp_path: Path) -> None:
    options = [LearningRateRewinding(), FineTuning(), FineTuning(0.02)]
    rates: dict[str, list[float]] = {}

    class Rates(pl.Callback):
        def __init__(self, name: str) -> None:
            self.seen = rates.setdefault(name, [])

        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            self.seen.append(optimizer.param_groups[0]["lr"])
            if not self.seen[1:]:
                assert not optimizer.state, "momentum is fresh"

    def make(callbacks: list[pl.Callback], folder: Path) -> pl.Trainer:
        return make_trainer([Rates(folder.parent.name), *callbacks], folder)

    tickets = run(tmp_path, mnist, make, rewind_step=4, retraining=options)
    end = weights_of(tmp_path / "pretrain/end.ckpt")
    for ticket in tickets:
        assert_equal(dict(ticket.weights), end)
        assert load(ticket.trained[0])["global_step"] == STEPS
    pretrained = rates[tmp_path.name]
    assert rates["learning-rate"] == pretrained[4:]
    assert rates["fine-tune"] == [pretrained[-1]] * STEPS
    assert pretrained[-1] > 0
    assert rates["fine-tune-0.02"] == [0.02] * STEPS


def test_a_crash_while_fine_tuning_changes_nothing(mnist: Path, tmp_path: Path) -> None:
    [whole] = run(tmp_path / "whole", mnist, retraining=[FineTuning(0.02)])
    with pytest.raises(KilledError):
        run(tmp_path / "parts", mnist, stopping("run-0", 7, crash), retraining=[FineTuning(0.02)])
    [ticket] = run(tmp_path / "parts", mnist, retraining=[FineTuning(0.02)])
    assert_equal(weights_of(ticket.trained[0]), weights_of(whole.trained[0]))


@pytest.mark.parametrize("crash_at", [None, 5, 10])
def test_weights_rewound_with_their_optimizer_train_the_remaining_steps(
    mnist: Path, tmp_path: Path, crash_at: int | None
) -> None:
    """A hand-written reference: weights, momentum and learning rate of step 4, masked, and the 8 steps that remain."""
    option = WeightRewinding(remaining=True)
    if crash_at:
        with pytest.raises(KilledError):
            run(tmp_path, mnist, stopping("run-0", crash_at, crash), rewind_step=4, retraining=[option])
    [ticket] = run(tmp_path, mnist, rewind_step=4, retraining=[option])
    rewound = load(tmp_path / "pretrain/rewind.ckpt")
    reference = module()
    reference.load_state_dict(masked(rewound["state_dict"], ticket.masks))
    parameters = dict(reference.named_parameters())
    configured = reference.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    optimizer.load_state_dict(rewound["optimizer_states"][0])
    scheduler.load_state_dict(rewound["lr_schedulers"][0])
    for name, mask in ticket.masks.items():
        optimizer.state[parameters[name]]["momentum_buffer"].mul_(mask)
    digits = data_in(mnist)(1)
    digits.setup()
    batches = digits.train_dataloader()
    for epoch in (1, 2):
        batches.sampler.set_epoch(epoch)
        for image, label in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(reference(image), label).backward()
            for name, mask in ticket.masks.items():
                parameters[name].grad.mul_(mask)
            optimizer.step()
            scheduler.step()
    trained = weights_of(ticket.trained[0])
    for name, parameter in parameters.items():
        torch.testing.assert_close(trained[name], parameter.detach(), rtol=1e-5, atol=1e-7)


def test_controls_change_the_weights_or_the_places_alone(mnist: Path, tmp_path: Path) -> None:
    options = [WeightRewinding(), RandomReinit(), RandomReinit(1), ShuffledMask()]
    ticket, reinit, other, shuffle = run(tmp_path, mnist, rewind_step=2, retraining=options)
    assert ticket.masks.digest() == reinit.masks.digest() == other.masks.digest() != shuffle.masks.digest()
    assert shuffle.masks.counts == ticket.masks.counts
    early = weights_of(tmp_path / "pretrain/rewind.ckpt")
    assert_equal(dict(shuffle.weights), masked(early, shuffle.masks))
    name = "network.fc1.weight"
    start, mask = weights_of(tmp_path / "pretrain/start.ckpt")[name], ticket.masks[name]
    values = set(start.flatten().tolist())
    for fresh in (reinit, other):
        kept = fresh.weights[name][mask]
        assert set(kept.tolist()) <= values
        assert (kept == start[mask]).float().mean() < 0.05
    assert not torch.equal(reinit.weights[name], other.weights[name])


def test_a_module_with_a_recipe_that_cannot_be_copied(tmp_path: Path) -> None:
    tiny = TinyModule()
    tiny.recipe = functools.partial(list, (i for i in range(3)))  # as the command line leaves behind
    [ticket] = LotteryTicket(tmp_path, gmp()).run(tiny, loader(), lambda c, _: trainer(c, max_steps=10, **SAVING))
    assert ticket.sparsity == pytest.approx(0.8, abs=1e-3)


def test_data_drawn_when_a_fit_starts_is_the_same_after_a_restart(tmp_path: Path) -> None:
    def some(number: int) -> DataLoader[Any]:
        return DataLoader(Subset(data(), torch.randperm(96)[:80].tolist()), batch_size=16)

    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)  # two processes
        make = lambda callbacks, _: trainer(callbacks, max_steps=10, **SAVING)  # noqa: E731
        [ticket] = LotteryTicket(tmp_path / str(seed), gmp()).run(TinyModule(), some, make)
        ends.append(weights_of(ticket.trained[0]))
    assert_equal(*ends)


def test_every_learning_rate_has_a_folder_of_its_own() -> None:
    assert FineTuning(0.02).name == "fine-tune-0.02"
    assert FineTuning(0.1).name != FineTuning(0.10000001).name


class Tied(TinyModule):
    """Two layers of one weight, whose state has it under two names."""

    def __init__(self) -> None:
        super().__init__()
        layers = [torch.nn.Linear(24, 24) for _ in range(2)]
        layers[1].weight = layers[0].weight
        self.network = torch.nn.Sequential(*self.network[:5], *layers, self.network[6])


def test_a_tied_weight_is_masked_and_drawn_anew_under_both_its_names(tmp_path: Path) -> None:
    tied = Tied()
    lottery = LotteryTicket(tmp_path, gmp(), retraining=[WeightRewinding(), RandomReinit()])
    make = lambda callbacks, _: trainer(callbacks, max_steps=10, **SAVING)  # noqa: E731
    rewound, reinit = lottery.run(tied, loader(), make)
    for ticket in (rewound, reinit):
        assert torch.equal(ticket.weights["network.5.weight"], ticket.weights["network.6.weight"])
        module = Tied()
        ticket.apply(module)
        weight, mask = module.network[5].weight, ticket.masks["network.5.weight"]
        assert not weight[~mask].any()
        assert torch.equal(weight[mask], tied.network[5].weight[mask]) == (ticket is rewound)


def test_a_module_with_norms_and_frozen_parameters_and_a_loader_that_shuffles(tmp_path: Path) -> None:
    class Untrained(pl.Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            assert not pl_module.losses, "no fit sees what another left in the module"

    def lottery(folder: Path) -> list[Ticket]:
        tiny = TinyModule()
        tiny.network[6].bias.requires_grad_(False)
        torch.nn.init.constant_(tiny.network[6].bias[:2], 0.5)
        found = LotteryTicket(folder, gmp(), rewind_step=6, retraining=[WeightRewinding(), RandomReinit()], runs=2)
        shuffling = DataLoader(data(), batch_size=16, shuffle=True)
        tickets = list(found.run(tiny, shuffling, lambda c, _: trainer([*c, Untrained()], max_steps=12, **SAVING)))
        assert not tiny.losses
        return tickets

    rewound, reinit = lottery(tmp_path / "a")
    assert int(rewound.weights["network.1.num_batches_tracked"]) == 6
    assert int(reinit.weights["network.1.num_batches_tracked"]) == 0
    assert reinit.weights["network.6.bias"].tolist() == [0.5, 0.5, *TinyModule().network[6].bias[2:].tolist()]
    first, second = map(weights_of, rewound.trained)
    assert not torch.equal(first["network.4.weight"], second["network.4.weight"]), "runs shuffle differently"
    torch.rand(7)
    again, _ = lottery(tmp_path / "b")
    assert_equal(weights_of(again.trained[1]), second)


def test_learning_rates_of_another_optimizer_are_refused(paper: Path, mnist: Path) -> None:
    ticket = Ticket.read(paper / "level-1/weights/ticket.ckpt")
    other = Ticket(1, "x", ticket.masks, ticket.weights, ticket.path, learning_rates=((0.1,),))
    plain = module()
    other.apply(plain)
    with pytest.raises(ValueError, match=r"learning rates \(\(0.1,\),\) .* has \[2\] groups"):
        make_trainer([TicketOwner(other)], paper, enable_checkpointing=False).fit(plain, data_in(mnist)(0))


# --- iterative pruning -----------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_levels_of_iterative_pruning(mnist: Path, tmp_path: Path, scope: str) -> None:
    tickets = run(tmp_path, mnist, pruning=imp(scope=scope, share=0.4, levels=3), rewind_step=2)
    size = tickets[0].masks.size
    assert size == 784 * 12 + 12 * 8 + 8 * 10
    left, previous = size, read_masks(tmp_path / "pretrain/end.ckpt")
    assert previous.sparsity == 0
    trained = weights_of(tmp_path / "pretrain/end.ckpt")
    early = weights_of(tmp_path / "pretrain/rewind.ckpt")
    for level, ticket in enumerate(tickets, 1):
        assert ticket.level == level
        assert ticket.sparsity == pytest.approx(1 - 0.6**level, abs=1e-3)
        assert_equal(dict(ticket.weights), masked(early, ticket.masks))
        if scope == "layer":
            assert ticket.masks.counts == {name: round(n * 0.6) for name, n in previous.counts.items()}
        else:
            left = round(left * 0.6)
            assert sum(ticket.masks.counts.values()) == left
        for names in [[name] for name in previous] if scope == "layer" else [list(previous)]:
            kept = torch.cat([trained[n][ticket.masks[n]].abs() for n in names])
            gone = torch.cat([trained[n][previous[n] & ~ticket.masks[n]].abs() for n in names])
            assert kept.min() >= gone.max()
        assert not any((ticket.masks[name] & ~previous[name]).any() for name in previous)
        previous, trained = ticket.masks, weights_of(ticket.trained[0])


def test_iterative_pruning_goes_on_after_a_crash_and_takes_more_levels(mnist: Path, tmp_path: Path) -> None:
    options = {"retraining": [WeightRewinding(), ShuffledMask()]}
    whole = run(tmp_path / "whole", mnist, pruning=imp(), **options)
    for stage in ("pretrain", "level-1/shuffle/run-0", "level-2/weights/run-0"):
        with pytest.raises(KilledError):
            run(tmp_path / "parts", mnist, stopping(stage, 7, crash), pruning=imp(), **options)
    run(tmp_path / "parts", mnist, pruning=imp(levels=1))
    parts = run(tmp_path / "parts", mnist, pruning=imp(), **options)
    assert [(t.level, t.retraining) for t in parts] == [(1, "weights"), (1, "shuffle"), (2, "weights"), (2, "shuffle")]
    alone = run(tmp_path / "alone", mnist, pruning=imp())
    assert alone[1].masks.digest() == whole[2].masks.digest(), "the first retraining is what is pruned on"
    for a, b in zip(whole, parts, strict=True):
        assert_equal(weights_of(a.trained[0]), weights_of(b.trained[0]))


def test_iterative_pruning_never_empties_a_layer() -> None:
    masks = Masks({name: torch.ones(4, dtype=torch.bool) for name in "ab"})
    weights = {"a": torch.ones(4), "b": torch.zeros(4)}
    with pytest.raises(ValueError, match="leaves 'b' without a weight"):
        IterativePruning(share=0.5)(masks, weights)
    with pytest.raises(ValueError, match="removing 0.9 of 4 weights leaves none in 'a'"):
        IterativePruning(share=0.9, scope="layer")(masks, weights)


# --- two processes ---------------------------------------------------------------------------------


def test_two_ranks_agree_and_go_on_after_a_crash(mnist: Path, tmp_path: Path) -> None:
    done = launch(SCRIPT, [tmp_path, mnist], ranks=2)
    assert done.returncode == 0, done.stderr[-3000:]
    zero, one = (torch.load(tmp_path / f"rank-{rank}.pt") for rank in (0, 1))
    assert list(zero) == list(one) == ["level-1", "level-2"]
    for level in zero:
        assert zero[level][0] == one[level][0]
        assert_equal(zero[level][1], one[level][1])
        product = f"{level}/weights/run-0/end.ckpt"
        assert_equal(weights_of(tmp_path / "parts" / product), weights_of(tmp_path / "whole" / product))
    assert not list(tmp_path.rglob("*.part"))
