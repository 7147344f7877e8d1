"""The pose estimator on a few drawn figures: it learns, scores, resumes, predicts and stays sparse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fits import trainer
from pose_fits import estimator, figures
from torch import Tensor, nn

from callbacks import RigL
from callbacks.sparsity import UpdateWindow
from datamodules import LSP_SKELETON
from lightning_modules import Argmax, PartBasedPoseEstimator, PCKh
from lightning_modules.networks import SimpleBaseline
from lightning_modules.pose.heatmaps import encode
from lightning_modules.pose.photo import map_points


class Perfect(nn.Module):
    """Knows the joints of the images it is shown: heatmaps at stride 4 of ``joints``, whatever the image."""

    def __init__(self, joints: Tensor, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("joints", joints)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        visible = torch.ones(self.joints.shape[:2], dtype=torch.bool)
        return (encode(self.joints, visible, (self.size // 4, self.size // 4))[0],)


def test_it_logs_loss_score_and_alphas() -> None:
    module = estimator()
    fitted = trainer([], max_steps=6, log_every_n_steps=1)
    fitted.fit(module, figures())
    assert {"train/loss", "val/loss", "val/pck@0.2"} <= set(fitted.callback_metrics)
    alphas = {name for name in fitted.callback_metrics if name.startswith("alpha/")}
    assert alphas == {f"alpha/{number}/{k}" for number in ("0_inward", "1_outward") for k in range(14)}
    [tested] = fitted.test(module, figures(), verbose=False)
    assert 0 <= tested["test/pck@0.2"] <= 1


def test_exact_heatmaps_score_one_and_come_back_in_px_of_the_photo() -> None:
    data = figures(input_size=64)
    batch = next(iter(data.test_dataloader()))
    module = estimator(network=Perfect(batch["joints"], 64), flip_test=False)
    [tested] = trainer([]).test(module, data, verbose=False)
    assert tested["test/pck@0.2"] == 1.0
    found = module.predict_step(batch, 0)
    expected = map_points(batch["joints"], batch["to_image"])
    assert (found["joints"] - expected).norm(dim=2).mean() < 1.0
    assert torch.equal(found["index"], batch["index"])
    wrong = estimator(network=Perfect(batch["joints"].roll(1, dims=1), 64), flip_test=False)
    [tested] = trainer([]).test(wrong, data, verbose=False)
    assert tested["test/pck@0.2"] < 0.5


def test_the_flip_test_averages_with_the_mirrored_image() -> None:
    module = estimator().eval()
    image = torch.rand(2, 3, 32, 32)
    plain, flipped = module(image)[-1], module(image.flip(-1))[-1]
    expected = torch.stack(
        [(plain[:, k] + flipped[:, other].flip(-1)) / 2 for k, other in enumerate(LSP_SKELETON.mirror)], dim=1
    )
    assert torch.allclose(module.heatmaps(image), expected)
    module.flip_test = False
    assert torch.equal(module.heatmaps(image), plain)


def test_the_loss_of_a_network_that_says_nothing_is_about_one_a_level() -> None:
    class Nothing(nn.Module):
        def forward(self, image: Tensor) -> list[Tensor]:
            return [image.new_zeros(len(image), 14, 128 // stride, 128 // stride) for stride in (16, 8, 4)]

    data = figures(input_size=128)
    [tested] = trainer([]).test(estimator(network=Nothing(), flip_test=False), data, verbose=False)
    assert tested["test/loss"] == pytest.approx(3, abs=0.1)


def test_another_network_and_metric() -> None:
    torch.manual_seed(0)
    module = estimator(network=SimpleBaseline(14, width=0.125, channels=8), metric=PCKh(0.5), decoder=Argmax())
    fitted = trainer([], max_steps=3)  # an epoch
    fitted.fit(module, figures())
    assert "val/pckh@0.5" in fitted.callback_metrics


def test_stopping_and_resuming_equals_not_stopping(tmp_path: Path) -> None:
    def run(steps: int, ckpt: Path | None = None) -> PartBasedPoseEstimator:
        module = estimator()
        rigl = RigL(0.5, exclude=["*head*", "network.stem.0.weight"], window=UpdateWindow(every=4, stop=12))
        fitted = trainer([rigl], max_steps=steps)
        fitted.fit(module, figures(), ckpt_path=ckpt)
        fitted.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return module

    whole = run(13).state_dict()
    run(7)
    resumed = run(13, tmp_path / "7.ckpt").state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_sparse_with_heads_and_first_convolution_dense() -> None:
    rigl = RigL(0.8, exclude=["*head*", "network.stem.0.weight"], window=UpdateWindow(every=4, stop=1.0))
    module = estimator()
    trainer([rigl], max_steps=9).fit(module, figures())
    assert rigl.masks.sparsity == pytest.approx(0.8, abs=1e-3)
    names = set(rigl.masks)
    assert not any("head" in name or name == "network.stem.0.weight" for name in names)
    assert any("updates" in name for name in names)
    weights = dict(module.named_parameters())
    for name, mask in rigl.masks.items():
        assert not weights[name][~mask].any()


def test_predict_takes_any_photo_and_changes_nothing() -> None:
    module = estimator().train()
    module.network.stem[1].eval()  # a frozen norm stays frozen
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    photo = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    joints, scores = module.predict(photo)
    assert joints.shape == (14, 2)
    assert scores.shape == (14,)
    assert joints.isfinite().all()
    assert ((joints[:, 0] > -1) & (joints[:, 0] < 80)).all()
    assert module.training
    assert not module.network.stem[1].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    boxed, _ = module.predict(photo[..., 0], box=(10, 10, 30, 40))
    assert ((boxed[:, 0] > 20 - 19 - 1) & (boxed[:, 0] < 20 + 19 + 1)).all()


@pytest.mark.parametrize("mirror", [[1, 2, 0], [0, 0, 1], [0, 1, 5]])
def test_a_mirror_that_is_none(mirror: list[int]) -> None:
    with pytest.raises(ValueError, match="exchanges pairs of the 3 joints: each .* names it in turn"):
        estimator(mirror=mirror)


def test_people_without_visible_joints_give_no_nan() -> None:
    module = estimator()
    batch = next(iter(figures().train_dataloader()))
    batch["visible"] = torch.zeros_like(batch["visible"])
    module.trainer = trainer([])
    loss = module._loss(module(batch["image"]), batch)
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_a_module_that_was_validated_can_be_trained() -> None:
    module, fitted = estimator(), trainer([], max_steps=1, num_sanity_val_steps=1)
    fitted.validate(module, figures(), verbose=False)  # in inference mode, whose tensors cannot change afterwards
    fitted.fit(module, figures())
