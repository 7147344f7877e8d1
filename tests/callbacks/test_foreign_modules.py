"""Modules, optimizers and training loops as other people write them: right, or refused with the cause and a way out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from fits import trainer
from pytorch_lightning.callbacks import BackboneFinetuning, ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from callbacks import GradualPruning, MaskObserver, MaskOwner, RigL, SparseTraining, SRigL, TopKAST
from callbacks.sparsity import PruningWindow, Uniform, UpdateWindow, select

WINDOW = UpdateWindow(5, stop=1.0)


def data() -> DataLoader[Any]:
    x = torch.randn(128, 20, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=16)


def layers(width: int = 64) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))


class Classifier(pl.LightningModule):
    def __init__(self, network: nn.Module | None = None, optimizer: Callable[[Any], Optimizer] | None = None) -> None:
        super().__init__()
        self.network = network or layers()
        self.optimizer = optimizer or (lambda parameters: AdamW(parameters, lr=1e-3))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
        return F.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return self.optimizer([p for p in self.parameters() if p.requires_grad])


def fit(module: pl.LightningModule, *callbacks: pl.Callback, max_steps: int = 20, **arguments: Any) -> pl.Trainer:
    fitted = trainer(list(callbacks), max_steps=max_steps, **{"log_every_n_steps": 1, **arguments})
    fitted.fit(module, data())
    return fitted


def zeros(weights: Iterable[Tensor]) -> float:
    flat = torch.cat([weight.flatten() for weight in weights])
    return float((flat == 0).float().mean())


def matrices(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters() if p.dim() > 1]


# --- what trains ------------------------------------------------------------------------------------


class Transfer(Classifier):
    """Lightning's documented recipe: an extractor that runs without gradients, whose weights an optimizer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = self.network[:4], nn.Linear(64, 30)
        self.last = nn.Linear(30, 2)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        with torch.no_grad():
            features = self.backbone(batch[0])
        return F.cross_entropy(self.last(self.head(features)), batch[1])


def test_an_extractor_without_gradients_keeps_its_weights_and_the_others_train_as_without_it() -> None:
    ends = []
    for exclude in ((), "network.*"):
        torch.manual_seed(1)
        module, owner = Transfer(), RigL(0.9, window=WINDOW, exclude=exclude)
        before = matrices(module.backbone)
        if exclude:
            fit(module, owner, max_steps=19)
        else:
            with pytest.warns(UserWarning, match=r"the loss does not depend on network\.0\.weight, network\.2\.weight"):
                fit(module, owner, max_steps=20)  # a step more: the first one changes nothing
        assert all(map(torch.equal, before, matrices(module.backbone)))
        assert list(owner.masks) == ["head.weight", "last.weight"]
        assert owner.masks.sparsity == pytest.approx(0.9, abs=1e-3)
        ends.append(owner.masks.counts)
    assert ends[0] == ends[1]


class Taught(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = layers(128)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        with torch.no_grad():
            taught = self.teacher(batch[0])
        return F.mse_loss(self.network(batch[0]), taught)

    def configure_optimizers(self) -> Optimizer:
        return AdamW(self.network.parameters())


def test_a_teacher_that_no_optimizer_holds_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    module = Taught()
    before = matrices(module.teacher)
    with caplog.at_level("INFO"):
        fitted = fit(module, GradualPruning(0.9, scope="global", window=PruningWindow(2)))
    assert all(map(torch.equal, before, matrices(module.teacher)))
    assert zeros(matrices(module.network)) == pytest.approx(0.9, abs=1e-3)
    assert fitted.callback_metrics["sparsity/actual"] == pytest.approx(0.9, abs=1e-3)
    assert "GradualPruning makes 3 of 6 matrices sparse, which hold 22% of 24,704 weights" in caplog.text
    assert "left dense: teacher.0.weight (in no optimizer), teacher.2.weight (in no optimizer)" in caplog.text


class Target(Classifier):
    """A target network, as of BYOL: a copy that follows slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.target = copy.deepcopy(self.network)

    def configure_optimizers(self) -> Optimizer:
        return AdamW(self.network.parameters())

    def on_train_batch_end(self, *_: object) -> None:
        with torch.no_grad():
            for ours, theirs in zip(self.target.parameters(), self.network.parameters(), strict=True):
                ours.lerp_(theirs, 0.1)


def test_a_target_network_is_never_masked_and_is_named_when_it_is_no_copy_any_more() -> None:
    module, owner = Target(), RigL(0.9, window=WINDOW)
    with pytest.warns(UserWarning, match=r"target\.0\.weight of network\.0\.weight, .* was a copy, and no longer is"):
        fit(module, owner)
    assert list(owner.masks) == [f"network.{index}.weight" for index in (0, 2, 4)]
    assert zeros(matrices(module.target)) < 0.1


def test_resuming_and_fitting_again_leave_the_same_weights_dense(tmp_path: Path) -> None:
    module, owner = Transfer(), RigL(0.9, window=WINDOW)
    with pytest.warns(UserWarning, match="the loss does not depend on"):
        fit(module, owner, max_steps=8).save_checkpoint(tmp_path / "epoch.ckpt")
    again = trainer([RigL(0.9, window=WINDOW)], max_steps=16)
    rest = Transfer()
    again.fit(rest, data(), ckpt_path=tmp_path / "epoch.ckpt")
    assert zeros(matrices(rest.backbone)) == 0
    masks = dict(owner.masks)
    fit(module, owner, max_steps=3)
    assert owner.masks.keys() == masks.keys()
    assert zeros(matrices(module.backbone)) == 0


def test_weights_that_a_callback_lets_train_later_are_refused_at_the_start() -> None:
    class Frozen(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = self.network[:4]

    pruning = GradualPruning(0.9, window=PruningWindow(2))
    with pytest.raises(ValueError, match=r"BackboneFinetuning freezes network\.0\.weight, network\.2\.weight, and"):
        fit(Frozen(), BackboneFinetuning(1, verbose=False), pruning)
    kept = GradualPruning(0.9, window=PruningWindow(2), exclude="backbone.*")
    fit(Frozen(), BackboneFinetuning(1, verbose=False), kept)
    assert list(kept.masks) == ["network.4.weight"]


def test_a_layer_that_is_replaced_during_the_fit_is_named() -> None:
    class NewHead(Classifier):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                self.network[4] = nn.Linear(64, 4)
                self.optimizers().optimizer.add_param_group({"params": list(self.network[4].parameters())})

    with pytest.raises(RuntimeError, match=r"'network\.4\.weight' is no longer the parameter of NewHead .* at step 8"):
        fit(NewHead(), RigL(0.9, window=WINDOW))


# --- steps ------------------------------------------------------------------------------------------


class Sharp(Optimizer):
    """SAM: climbs to the worst point nearby, takes the gradient there, and steps from where it was."""

    def __init__(self, parameters: Any, *, twice: bool) -> None:
        super().__init__(parameters, {})
        self.inner, self.twice = SGD(self.param_groups, lr=0.05, momentum=0.9), twice
        self.param_groups = self.inner.param_groups

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Any:
        closure = torch.enable_grad()(closure)
        loss = closure() if self.twice else None
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        home = [p.clone() for p in moved]
        size = torch.cat([p.grad.flatten() for p in moved]).norm()
        for parameter in moved:
            parameter.add_(parameter.grad, alpha=float(0.05 / size))
        self.zero_grad()
        closure()
        for parameter, was in zip(moved, home, strict=True):
            parameter.copy_(was)
        self.inner.step()
        return loss


class SharpByHand(Classifier):
    """The usual recipe in manual optimization: a backward, then a step whose closure is another one."""

    def __init__(self) -> None:
        super().__init__(optimizer=lambda parameters: Sharp(parameters, twice=False))
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        def closure() -> Tensor:
            loss = F.cross_entropy(self.network(batch[0]), batch[1])
            self.manual_backward(loss)
            return loss

        optimizer = self.optimizers()
        closure()
        optimizer.step(closure=closure)
        optimizer.zero_grad()


class Updates(MaskObserver):
    """Notes at which step masks change, and checks that inactive weights are exactly 0 around it."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_after_mask_update(self, trainer: pl.Trainer, pl_module: pl.LightningModule, masks: Any) -> None:
        self.steps.append(trainer.global_step)


def check_zeros(module: nn.Module, owner: MaskOwner) -> None:
    for name, mask in owner.masks.items():
        assert not (module.get_parameter(name)[~mask] != 0).any(), name


@pytest.mark.parametrize("owner", [lambda: RigL(0.9, window=WINDOW), lambda: TopKAST(0.9, window=WINDOW)])
@pytest.mark.parametrize("by_hand", [False, True])
def test_an_optimizer_that_calls_its_closure_twice_has_one_clock(owner: Callable[[], MaskOwner], by_hand: bool) -> None:
    module = SharpByHand() if by_hand else Classifier(optimizer=lambda p: Sharp(p, twice=True))
    sparse, updates = owner(), Updates()
    fit(module, updates, sparse)
    check_zeros(module, sparse)
    if isinstance(sparse, RigL):
        assert updates.steps == [5, 10, 15]


def test_an_update_is_due_by_the_steps_that_the_optimizer_really_did() -> None:
    class Seldom(Classifier):
        """Steps for each fourth batch, as Lightning's documentation of optimizer_step shows."""

        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            if (batch_idx + 1) % 4 == 0:
                optimizer.step(closure=optimizer_closure)
            else:
                optimizer_closure()

    updates, rigl = Updates(), RigL(0.9, window=UpdateWindow(3, stop=1.0))
    fit(Seldom(), updates, rigl, max_steps=40)
    assert updates.steps == [15, 27, 39]  # each a fourth step later than three others
    assert rigl.explored() > sum(rigl.masks.counts.values())


def test_two_optimizers_that_hold_the_same_weights_forget_what_is_dropped() -> None:
    class Alternating(Classifier):
        automatic_optimization = False

        def configure_optimizers(self) -> list[Optimizer]:
            return [SGD(self.parameters(), lr=0.05, momentum=0.9), AdamW(self.parameters())]

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
            optimizer = self.optimizers()[batch_idx % 2]
            optimizer.zero_grad()
            self.manual_backward(F.cross_entropy(self.network(batch[0]), batch[1]))
            optimizer.step()

    module, owner = Alternating(), RigL(0.9, window=UpdateWindow(3, stop=1.0))
    fitted = fit(module, owner, max_steps=40)
    assert owner.explored() > sum(owner.masks.counts.values())
    for optimizer in fitted.optimizers:
        for name, mask in owner.masks.items():
            for state in optimizer.state[module.get_parameter(name)].values():
                assert state is None or state.shape != mask.shape or not state[~mask].any()


@pytest.mark.parametrize("algorithm", ["value", "norm"])
def test_clipping_of_ones_own_finds_gradients_at_an_update(algorithm: str) -> None:
    class Clipping(Classifier):
        def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
            assert all(p.grad is not None for p in self.parameters())
            self.clip_gradients(optimizer, gradient_clip_val=0.5, gradient_clip_algorithm=algorithm)

    owner = RigL(0.9, window=WINDOW)
    fit(Clipping(), owner)
    assert owner.explored() > sum(owner.masks.counts.values())


class Bytes(Optimizer):
    """Keeps its momentum in a byte an entry, whose values a table names, as optimizers of 8 bits do."""

    def __init__(self, parameters: Any, table: str = "qmap1") -> None:
        super().__init__(parameters, {})
        self.table = table

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state[self.table] = torch.linspace(-1, 1, 255)
                    state["state1"] = torch.full_like(parameter, 127, dtype=torch.uint8)  # 0
                momentum = 0.9 * state[self.table][state["state1"].int()] + parameter.grad
                state["state1"].copy_(((momentum.clamp(-1, 1) + 1) * 127).round())
                parameter.add_(momentum, alpha=-0.05)
        return loss


def test_state_of_eight_bits_is_cleared_by_its_own_code_or_refused_by_name() -> None:
    module, owner = Classifier(optimizer=Bytes), RigL(0.9, window=WINDOW)
    fitted = fit(module, owner)
    for name, mask in owner.masks.items():
        assert (fitted.optimizers[0].state[module.get_parameter(name)]["state1"][~mask] == 127).all()
    with pytest.raises(TypeError, match=r"Bytes keeps its state 'state1' as Tensor of torch\.uint8, of which"):
        fit(Classifier(optimizer=lambda p: Bytes(p, table="codes")), RigL(0.9, window=WINDOW))


@pytest.mark.parametrize(
    ("optimizer", "key", "fresh"),
    [
        (lambda p: torch.optim.Adagrad(p, lr=0.01, initial_accumulator_value=0.1), "sum", 0.1),
        (lambda p: torch.optim.Rprop(p, lr=1e-3), "step_size", 1e-3),
    ],
)
def test_dropped_weights_leave_the_state_that_a_new_parameter_has(optimizer: Any, key: str, fresh: float) -> None:
    found: list[Tensor] = []

    class Look(MaskObserver):
        def on_after_mask_update(self, trainer: pl.Trainer, pl_module: Any, masks: Any) -> None:
            state = trainer.optimizers[0].state[pl_module.network[2].weight][key]
            moved = rigl.masks["network.2.weight"] != masks["network.2.weight"]
            found.append(state[(pl_module.network[2].weight == 0) & masks["network.2.weight"]])
            assert not moved.any()

    rigl = RigL(0.9, window=WINDOW)
    fit(Classifier(optimizer=optimizer), Look(), rigl)
    assert all(len(values) and torch.equal(values, torch.full_like(values, fresh)) for values in found)


# --- starts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_a_second_fit_never_draws_the_weights_of_a_module_anew(sparsity: float) -> None:
    starts: list[list[Tensor]] = []

    class Start(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            starts.append(matrices(pl_module))

    module, owner = Classifier(), RigL(sparsity, window=WINDOW)
    fit(module, owner)
    trained = matrices(module)
    fit(module, owner, Start(), max_steps=3)
    assert all(map(torch.equal, trained, starts[0]))
    other = Classifier()
    fit(other, owner, Start(), max_steps=1)
    assert not any(map(torch.equal, trained, starts[1])), "another module starts anew"


def test_a_trainer_with_other_optimizers_in_the_middle_of_a_fit_is_refused() -> None:
    class Two(Classifier):
        automatic_optimization = False

        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
            found = self.optimizers()
            self.manual_backward(F.cross_entropy(self.network(batch[0]), batch[1]))
            for optimizer in found if isinstance(found, list) else [found]:
                optimizer.step()

        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                self.trainer.optimizers = [SGD(part.parameters(), lr=0.1) for part in (self.network[:2], self.network)]

    with pytest.raises(RuntimeError, match=r"SGD is about to step at step 8, but was not there when the fit started"):
        fit(Two(), RigL(0.9, window=WINDOW))


class HeadFirst(Classifier):
    """Registers its last layer first or last; it is used last."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        body, head = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 10)
        del self.network
        for name, part in [("head", head), ("body", body)] if first else [("body", body), ("head", head)]:
            self.add_module(name, part)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self.head(self.body(batch[0])), batch[1])


@pytest.mark.parametrize("outputs", [None, "head.*"])
@pytest.mark.parametrize("first", [False, True])
def test_the_output_layer_keeps_its_neurons_wherever_it_is_registered(first: bool, outputs: str | None) -> None:
    srigl = SRigL(0.9, gamma=0.95, distribution=Uniform(), window=WINDOW, outputs=outputs)
    fit(HeadFirst(first), srigl)
    neurons = {name: int(mask.any(1).sum()) for name, mask in srigl.masks.items()}
    assert neurons["head.weight"] == 10
    assert neurons["body.2.weight"] < 64
    with pytest.raises(ValueError, match=r"outputs pattern 'tail' matches none of the selected weights body\.0"):
        fit(HeadFirst(False), SRigL(0.5, outputs="tail"))


# --- layers -----------------------------------------------------------------------------------------


class Conv1D(nn.Module):
    """A linear layer of another library, with its weight as (inputs, outputs)."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) * 0.1), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


@pytest.mark.parametrize("include", ["Conv1D", "network.[02].*", ["network.0.weight", "network.2.weight"]])
def test_layers_of_other_libraries_are_taken_by_class_glob_and_name(include: Any) -> None:
    module = Classifier(nn.Sequential(Conv1D(64, 20), nn.ReLU(), Conv1D(2, 64)))
    owner = RigL(0.9, window=WINDOW, include=include, distribution=Uniform())
    fit(module, owner)
    assert list(owner.masks) == ["network.0.weight", "network.2.weight"]


def test_layers_of_other_libraries_are_said_to_be_dense(caplog: pytest.LogCaptureFixture) -> None:
    module = Classifier(nn.Sequential(Conv1D(64, 20), nn.ReLU(), nn.Linear(64, 2)))
    with caplog.at_level("INFO"):
        fit(module, SparseTraining(0.9))
    assert "makes 1 of 2 matrices sparse, which hold 9% of 1,408 weights; left dense: network.0.weight" in caplog.text


class Tied(nn.Module):
    """An embedding whose weight is the output layer's too, and a layer that is reached by two names."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.decoder = nn.Linear(8, 30, bias=False) if first else None
        self.embedding = nn.Embedding(30, 8)
        self.layer = nn.Linear(8, 8)
        self.alias = self.layer
        self.decoder = self.decoder or nn.Linear(8, 30, bias=False)
        self.decoder.weight = self.embedding.weight


@pytest.mark.parametrize("first", [False, True])
def test_what_one_name_of_a_tied_weight_says_holds_for_the_weight(first: bool) -> None:
    module = Tied(first)
    name = "decoder.weight" if first else "embedding.weight"
    assert list(select(module)) == ["layer.weight"], "an embedding"
    assert set(select(module, include=["*", "decoder.weight"])) == {name, "layer.weight"}
    assert set(select(module, include=["*", "embedding.weight"])) == {name, "layer.weight"}
    assert list(select(module, include=["*", "decoder.weight"], exclude="embedding*")) == ["layer.weight"]
    with pytest.raises(ValueError, match="leave nothing to make sparse"):
        select(module, exclude="alias*")


class Adapted(nn.Linear):
    """A linear layer with a low-rank adapter that starts at 0, as of LoRA, and noise with a scale of its own."""

    def __init__(self) -> None:
        super().__init__(8, 8)
        self.lora_A, self.lora_B = nn.Parameter(torch.randn(2, 8)), nn.Parameter(torch.zeros(8, 2))
        self.weight_sigma = nn.Parameter(torch.ones(8, 8))


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_of_a_layer_the_matrix_that_multiplies_its_input_is_taken() -> None:
    module = nn.Sequential(Adapted(), nn.GRU(8, 8), nn.MultiheadAttention(8, 2), nn.Linear(8, 8, dtype=torch.complex64))
    module.append(nn.Linear(0, 3))
    assert list(select(module)) == [
        "0.weight",
        "1.weight_ih_l0",
        "1.weight_hh_l0",
        "2.in_proj_weight",
        "2.out_proj.weight",
    ]
    assert list(select(module, include=["0.lora_A"])) == ["0.lora_A"]
    with pytest.raises(ValueError, match=r"'3\.weight' is torch\.complex64; only real floating-point weights"):
        select(module, include=["3.weight"])


def test_the_orientation_of_other_layers_can_be_said() -> None:
    module = nn.Sequential(Conv1D(6, 4), nn.Linear(6, 3))
    plain, turned = (select(module, include=["Conv1D", "*"], transposed=said) for said in ((), "Conv1D"))
    assert (plain["0.weight"].neurons, turned["0.weight"].neurons) == (4, 6)
    assert turned["1.weight"].neurons == 3
    with pytest.raises(ValueError, match="transposed pattern 'Conv2D' matches no"):
        select(module, transposed="Conv2D")


def test_gradients_that_are_sparse_tensors_are_refused() -> None:
    module = nn.Sequential(nn.Embedding(50, 32, sparse=True), nn.Linear(32, 2))
    with pytest.raises(ValueError, match=r"'0\.weight' has gradients that are sparse tensors"):
        select(module, include=["0.weight", "1.weight"])


# --- what a fit says --------------------------------------------------------------------------------


def test_a_best_checkpoint_from_before_the_pruning_is_warned_of(tmp_path: Path) -> None:
    class Validated(Classifier):
        def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
            self.log("epochs", torch.tensor(float(self.current_epoch)))  # lower is better: the first epoch is the best

    best = ModelCheckpoint(tmp_path, monitor="epochs")
    fitted = trainer([GradualPruning(0.9, window=PruningWindow(2, start=0.5)), best], enable_checkpointing=True)
    with pytest.warns(UserWarning, match=r"has a sparsity of 0\.0000, but the fit ends with 0\.89.*'epochs' was best"):
        fitted.fit(Validated(), data(), data())


def test_masks_of_a_compiled_module_fit_the_plain_one(tmp_path: Path) -> None:
    module = Classifier()
    module.network = torch.compile(module.network, backend="eager")
    fit(module, RigL(0.9, window=WINDOW)).save_checkpoint(tmp_path / "compiled.ckpt")
    plain = SparseTraining(masks_from=tmp_path / "compiled.ckpt")
    fit(Classifier(), plain)
    assert plain.masks.sparsity == pytest.approx(0.9, abs=1e-3)


def test_a_trial_of_a_few_steps_needs_no_window_that_ends_in_it() -> None:
    pruning = GradualPruning(0.9, window=PruningWindow(100, start=300, stop=700))
    trainer([pruning], fast_dev_run=True).fit(Classifier(), data())
    with pytest.raises(ValueError, match="ends after the run of 20 steps"):
        fit(Classifier(), pruning)


def test_weights_that_are_not_numbers_are_said_to_be_that() -> None:
    half = Classifier(optimizer=lambda parameters: AdamW(parameters, lr=1e-3, eps=1e-8))
    with pytest.raises(RuntimeError, match=r"weights are NaN or infinite\. In half precision the eps of Adam"):
        fit(half, SparseTraining(0.9), precision="16-true")


def test_frozen_weights_are_named_when_nothing_is_left() -> None:
    with pytest.raises(ValueError, match=r"leave nothing to make sparse .* Frozen are 0\.weight, 2\.weight, 4\.weight"):
        select(layers().requires_grad_(False))
