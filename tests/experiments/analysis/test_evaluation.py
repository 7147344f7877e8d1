import math

import numpy as np
import pytest
import scipy.special
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from experiments.analysis import evaluate, re_estimate_norms


def images(samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 2, 4, 4, generator=generator) * 3 + 1
    return inputs, torch.randint(0, 3, (samples,), generator=generator)


def test_loss_and_accuracy_are_means_over_samples_not_batches() -> None:
    logits, label = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    batches = [(logits[:5], label[:5]), (logits[5:], label[5:])]
    log_probabilities = scipy.special.log_softmax(logits.double().numpy(), axis=1)
    loss, accuracy = evaluate(nn.Identity(), batches)
    assert loss == pytest.approx(-np.mean(log_probabilities[np.arange(7), label.numpy()]), rel=1e-6)
    assert accuracy == pytest.approx(np.mean(log_probabilities.argmax(1) == label.numpy()))


def test_a_loader_and_a_list_are_the_same() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
    inputs, label = images(10)
    loader = DataLoader(TensorDataset(inputs, label), batch_size=4)
    assert evaluate(network, loader) == pytest.approx(evaluate(network, list(loader)))
    assert evaluate(network, loader) == pytest.approx(evaluate(network, [(inputs, label)]))


def test_an_own_loss_of_labels_that_are_not_classes() -> None:
    network, inputs = nn.Flatten(), torch.ones(4, 2)
    assert evaluate(network, [(inputs, torch.zeros(4, 2))], nn.functional.mse_loss) == (1.0, None)
    # one output a sample, without a dimension of classes
    assert evaluate(nn.Flatten(0), [(inputs, torch.zeros(8))], nn.functional.mse_loss) == (1.0, None)


def test_predictions_a_pixel() -> None:
    logits, label = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long)
    logits[:, 1, 0] = 5.0
    assert evaluate(nn.Identity(), [(logits, label)])[1] == 0.75


def test_norm_statistics_are_those_of_the_data() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2, momentum=0.3), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.9))
    network[0].running_mean.fill_(math.inf)  # of a run that diverged
    parts = [images(8)[0], images(3, 1)[0]]
    re_estimate_norms(network, [(part, torch.zeros(len(part))) for part in parts])
    pixels = [part.double().transpose(0, 1).flatten(1).numpy() for part in parts]
    mean = np.concatenate(pixels, axis=1).mean(1)  # pooled: batches count by their size
    variance = (8 * pixels[0].var(1, ddof=1) + 3 * pixels[1].var(1, ddof=1)) / 11
    np.testing.assert_allclose(network[0].running_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(network[0].running_var, variance, rtol=1e-5)
    # the second norm saw what the first gave with the statistics of each batch
    seen = [
        network[1](nn.functional.batch_norm(p, None, None, network[0].weight, network[0].bias, True)) for p in parts
    ]
    mean = torch.cat(seen).mean((0, 2, 3)).detach()
    np.testing.assert_allclose(network[2].running_mean, mean, atol=1e-5)
    assert not any(layer.training for layer in network)
    assert network[0].momentum == 0.3


def test_norms_without_statistics_are_left_alone() -> None:
    network = nn.Sequential(nn.Flatten(), nn.LayerNorm(32), nn.BatchNorm1d(32, track_running_stats=False))
    re_estimate_norms(network, [images(4)])
    assert not network.training


@pytest.mark.parametrize("network", [nn.BatchNorm2d(2), nn.Flatten()])
def test_bad_data_is_refused(network: nn.Module) -> None:
    pair = images(4)
    for bad, error, message in (
        ([], ValueError, "batches is empty"),
        ([(pair[0][:0], pair[1][:0])], ValueError, "batches is empty"),
        (iter([pair]), TypeError, "batches is a list_iterator, which can be read only once"),
        ((pair for _ in range(2)), TypeError, "batches is a generator"),
        ([pair[0]], TypeError, "batches holds a Tensor"),
        ([{"image": pair[0], "label": pair[1]}], TypeError, "batches holds a dict"),
        ([(*pair, pair[1])], TypeError, r"a pair of tensors \(input, label\)"),
    ):
        with pytest.raises(error, match=message):
            evaluate(network, bad, lambda output, _: output.mean())
        if isinstance(network, nn.BatchNorm2d):
            with pytest.raises(error, match=message):
                re_estimate_norms(network, bad)


def test_infinite_losses_stay_infinite() -> None:
    batches = [(torch.tensor([[0.0, math.inf]]), torch.tensor([0]))]
    assert not math.isfinite(evaluate(nn.Identity(), batches)[0])
