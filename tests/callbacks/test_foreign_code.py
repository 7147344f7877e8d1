"""What users, Lightning and other callbacks do around ours: each of these once went wrong, most of them silently."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from fits import TinyModule, TwoOptimizers, data, fit, loader, trainer
from logs import Memory
from methods import METHODS, WINDOW, Method
from pytorch_lightning.callbacks import LearningRateFinder
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks import GradientFlowMonitor, PruneAtStart, RigL, SparseTraining, read_masks
from callbacks.compatibility import check_optimizers
from callbacks.sparsity import SNIP, LinearDecay, UpdateWindow


class ByHand(TinyModule):
    """Manual optimization past Lightning: its hooks never run."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx) -> None:
        optimizer = self.optimizers(use_pl_optimizer=False)
        nn.functional.cross_entropy(self.network(batch[0]), batch[1]).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_steps_past_lightning_are_reported_at_the_latest_at_the_end(method: Method) -> None:
    def loss(module: ByHand, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(module(batch[0]), batch[1])

    at_start = isinstance(method.build(), PruneAtStart)
    owner = method.build(0.8, **({"loss": loss} if at_start else {}))  # training_step returns none
    starts_dense = method.prunes and not method.draws
    with pytest.raises(RuntimeError, match="saw no optimizer step" if starts_dense else "outside the masks are not 0"):
        fit(ByHand(), [owner], max_steps=-1, max_epochs=1)


def test_an_optimizer_without_sparse_weights_defers_nothing() -> None:
    memory = Memory()
    rigl = RigL(0.6, window=WINDOW, exclude="network.6.*")
    fit(TwoOptimizers(), [rigl], logger=memory, max_steps=-1, max_epochs=4)
    assert memory.of("sparsity/churn")
    assert not memory.of("sparsity/deferred")


def test_layers_that_finetuning_unfreezes_are_masked() -> None:
    class Unfreeze(TinyModule):
        def configure_optimizers(self):
            return torch.optim.SGD(self.network[5:].parameters(), lr=0.05, momentum=0.9)

        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                self.optimizers().optimizer.add_param_group({"params": list(self.network[:5].parameters())})

    owner = RigL(0.8, window=WINDOW)
    fit(Unfreeze(), [owner], log_every_n_steps=1)
    assert owner.masks.sparsity == pytest.approx(0.8, abs=1e-3)


# --- a second fit ---------------------------------------------------------------------------------


def test_weights_that_no_longer_fit_their_masks_are_not_silently_drawn_anew() -> None:
    owner, module = RigL(0.8, window=WINDOW), TinyModule()
    fit(module, [owner])
    with torch.no_grad():
        module.network[6].weight += 1  # as loading an earlier checkpoint would do
    with pytest.raises(ValueError, match="masked weights are no longer 0: load the weights that belong to the masks"):
        fit(module, [owner])


def test_an_exception_gives_the_trainer_its_clipping_back() -> None:
    class Fail(TinyModule):
        def on_before_optimizer_step(self, optimizer) -> None:
            if self.global_step == 4:
                raise KeyError("stop here")

    broken = trainer([RigL(window=WINDOW)], gradient_clip_val=0.1, gradient_clip_algorithm="value")
    with pytest.raises(KeyError, match="stop here"):
        broken.fit(Fail(), loader())
    assert broken.gradient_clip_val == 0.1


# --- checkpoints ----------------------------------------------------------------------------------


def test_a_dense_checkpoint_can_be_tested_with_a_sparse_callback_in_the_list(tmp_path: Path) -> None:
    class Tested(TinyModule):
        def test_step(self, batch, batch_idx) -> None:
            self.log("acc", (self.network(batch[0]).argmax(1) == batch[1]).float().mean())

    fitted = fit(Tested(), [])
    fitted.save_checkpoint(tmp_path / "dense.ckpt")
    tester = trainer([SparseTraining()])
    [values] = tester.test(Tested(), loader(), ckpt_path=tmp_path / "dense.ckpt", verbose=False)
    assert values["acc"] > 0.3


@pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:FutureWarning")  # the finder's own
def test_the_learning_rate_finder_works_beside_a_sparse_method(tmp_path: Path) -> None:
    class Tunable(TinyModule):
        lr = 0.01

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.lr)

    owner = RigL(0.8, window=WINDOW)
    fit(
        Tunable(),
        [LearningRateFinder(num_training_steps=10), owner],
        max_epochs=8,
        max_steps=-1,
        default_root_dir=tmp_path,
    )
    assert owner.masks.sparsity == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("content", [torch.zeros(3), {"callbacks": {"SparseTraining": {"masks": {}}}}, [1, 2]])
def test_masks_from_any_foreign_file_names_the_file(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match=r"foreign.ckpt' holds no masks"):
        read_masks(tmp_path / "foreign.ckpt")


# --- refused until they are supported ---------------------------------------------------------------


def test_a_fused_optimizer_under_a_gradient_scaler_is_refused() -> None:
    optimizer = torch.optim.AdamW(nn.Linear(2, 2).parameters(), fused=True)
    stub = SimpleNamespace(optimizers=[optimizer], precision_plugin=SimpleNamespace(scaler=object()))
    with pytest.raises(ValueError, match="does not support the fused AdamW with precision 16-mixed"):
        check_optimizers(stub, "RigL")  # type: ignore[arg-type]
    stub.precision_plugin.scaler = None
    check_optimizers(stub, "RigL")  # type: ignore[arg-type]


def test_schedules_and_windows_that_cannot_work_are_refused_before_the_first_step() -> None:
    with pytest.raises(ValueError, match="drop_fraction ends at 1.5"):
        RigL(drop_fraction=LinearDecay(0.3, 1.5))
    with pytest.raises(ValueError, match="no step is left to train"):
        RigL(window=UpdateWindow(1))
    with pytest.raises(ValueError, match="starts at step 12 and stops at 10 of this run: it never opens"):
        fit(TinyModule(), [RigL(window=UpdateWindow(2, start=0.5, stop=10))])


# --- the probe ------------------------------------------------------------------------------------


def probes(module: pl.LightningModule, **options: object) -> dict[int, float]:
    memory = Memory()
    monitor = GradientFlowMonitor(every_n_steps=2, probe_batch=16)
    fit(module, [monitor, RigL(0.8, window=WINDOW)], logger=memory, max_steps=6, **options)
    return memory.of("grad_flow/probe")


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own while it traces Lightning
def test_a_compiled_module_is_probed_like_a_plain_one() -> None:
    class Traceable(TinyModule):
        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    plain, module = probes(Traceable()), Traceable()
    assert probes(torch.compile(module, backend="eager")) == pytest.approx(plain, rel=1e-4)
    assert plain[0] > 0
    assert module.network[1].num_batches_tracked == 6, "the run's own statistics are untouched"


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_probes_follow_the_precision(precision: str) -> None:
    assert list(probes(TinyModule(), precision=precision)) == [0, 2, 4]


def test_a_training_step_without_batch_idx_is_probed() -> None:
    class Short(TinyModule):
        def training_step(self, batch):
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    assert probes(Short()) == pytest.approx(probes(TinyModule()))


def test_a_probe_that_cannot_run_says_what_to_give() -> None:
    class Attached(TinyModule):
        def training_step(self, batch, batch_idx):
            assert self.trainer.world_size == 1
            return super().training_step(batch, batch_idx)

    with pytest.raises(RuntimeError, match="could not run a detached copy of Attached .* give a probe_loss"):
        probes(Attached())
    with pytest.raises(ValueError, match="manual optimization needs a probe_loss"):
        trainer([GradientFlowMonitor(probe_batch=8)]).fit(ByHand(), loader())


def test_a_data_set_with_random_numbers_of_its_own_is_left_as_it_was() -> None:
    import random

    class Noisy(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 96

        def __getitem__(self, index: int):
            image, label = data()[index]
            return image + random.random(), label

    losses = []
    for probe_batch in (None, 16):
        random.seed(0)
        module = TinyModule()
        trainer([GradientFlowMonitor(probe_batch=probe_batch)], max_steps=4).fit(
            module, DataLoader(Noisy(), batch_size=16)
        )
        losses.append(module.losses)
    assert losses[0] == losses[1]


def test_sparse_embedding_gradients_are_measured() -> None:
    class Words(TinyModule):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 4, sparse=True)

        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) + self.words(batch[1]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    memory = Memory()
    fit(Words(), [GradientFlowMonitor(per_layer=True), SparseTraining()], logger=memory, max_steps=2)
    assert memory.of("grad_flow/active/words.weight")[0] > 0


def test_a_module_that_keeps_a_recipe_that_cannot_be_copied_is_looked_at() -> None:
    class FromYAML(TinyModule):
        """The command line gives a module partial functions bound to its parser."""

        def __init__(self) -> None:
            super().__init__()
            self.recipe = functools.partial(list, (i for i in range(3)))

    memory = Memory()
    owner = PruneAtStart(0.8, criterion=SNIP())
    fit(FromYAML(), [GradientFlowMonitor(probe_batch=8), owner], logger=memory, max_steps=3)
    assert memory.of("grad_flow/probe")[0] > 0
    assert owner.masks.sparsity == pytest.approx(0.8, abs=1e-3)
