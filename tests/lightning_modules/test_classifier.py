import math

import pytest
import pytorch_lightning as pl
import torch
from fits import trainer
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules import SparseClassifier
from lightning_modules.networks import LeNet5, LeNet300100


def batches(samples: int, batch_size: int) -> DataLoader[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(samples, 1, 28, 28, generator=generator)
    return DataLoader(TensorDataset(image, torch.arange(samples) % 10), batch_size=batch_size)


def test_accuracy_and_loss_are_those_of_all_samples_whatever_the_batches() -> None:
    module = SparseClassifier(LeNet300100((8, 8)), num_classes=10)
    loader = batches(50, 16)  # a last batch of 2
    values = trainer([]).test(module, loader, verbose=False)[0]
    image, label = loader.dataset.tensors
    with torch.no_grad():
        logits = module(image)
    assert values["test/acc"] == pytest.approx((logits.argmax(1) == label).float().mean().item())
    assert values["test/loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, label).item(), rel=1e-5)


def test_it_learns_and_logs_under_the_documented_keys() -> None:
    torch.manual_seed(0)
    module = SparseClassifier(LeNet300100((32, 16)), num_classes=10)
    fitted = trainer([], max_steps=60)
    fitted.fit(module, batches(32, 32), batches(32, 32))
    assert {"train/loss", "val/loss", "val/acc"} <= fitted.callback_metrics.keys()
    assert fitted.callback_metrics["train/loss"] < 0.9 * math.log(10)


def test_channels_last_is_a_layout_alone() -> None:
    torch.manual_seed(0)
    network = LeNet5()
    image = torch.rand(3, 1, 28, 28)
    expected = network(image)
    module = SparseClassifier(network, num_classes=10, channels_last=True)
    weights = [weight for weight in module.parameters() if weight.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    torch.testing.assert_close(module(image), expected)


def test_weight_decay_spares_biases_and_the_scheduler_steps_with_the_optimizer() -> None:
    module = SparseClassifier(
        LeNet5(),
        num_classes=10,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=1e-3),
        scheduler=lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10),
    )
    fitted = trainer([], max_steps=5)
    fitted.fit(module, batches(64, 8))
    optimizer = fitted.optimizers[0]
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in module.named_parameters()} == {
        name: 1e-3 if name.endswith("weight") else 0.0 for name, _ in module.named_parameters()
    }
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_predictions_are_probabilities() -> None:
    module = SparseClassifier(LeNet5(), num_classes=10)
    [probabilities] = trainer([]).predict(module, batches(4, 4))
    assert torch.allclose(probabilities.sum(1), torch.ones(4))


def test_label_smoothing_reaches_the_loss() -> None:
    pl.seed_everything(0, verbose=False)
    network, batch = LeNet5(), next(iter(batches(8, 8)))
    smooth = SparseClassifier(network, num_classes=10, label_smoothing=0.1)
    smooth.log = lambda *_, **__: None  # type: ignore[method-assign]
    expected = torch.nn.functional.cross_entropy(network(batch[0]), batch[1], label_smoothing=0.1)
    assert torch.equal(smooth.training_step(batch, 0), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"num_classes": 1}, "num_classes is 1"), ({"num_classes": 10, "label_smoothing": 1.0}, "label_smoothing is 1.0")],
)
def test_impossible_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SparseClassifier(LeNet5(), **arguments)
