# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""Every training stage at a tiny size, stopped and gone on with."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from worker.demo_model.architecture import SCALING_FACTOR, build_autoencoder
from worker.demo_model.autoencoder import AutoencoderPlan, latents_of, whiten
from worker.demo_model.checkpoint import Checkpoint, learning_rate, load_checkpoint, save_checkpoint
from worker.demo_model.data import DataPlan, draw_pictures, open_pictures
from worker.demo_model.denoiser import DenoiserPlan, denoiser_checkpoint
from worker.demo_model.export import begin_from, export_checkpoint, folder_bytes, load_pipeline
from worker.demo_model.fastpath import use_fast_norms
from worker.demo_model.latents import importance_of
from worker.demo_model.team import Team, work_together
from worker.demo_model.text import TextPlan
from worker.demo_model.train import STAGES, TrainingPlan, arguments, planned, train

TINY = TrainingPlan(
    data=DataPlan(square=24, oblong=8),
    autoencoder=AutoencoderPlan(crop_steps=2, picture_steps=1, decoder_steps=1, batch=4),
    text=TextPlan(steps=2, batch=4),
    denoiser=DenoiserPlan(steps=2, batch=4, save_every=1),
    encoded=1.0,
    processes=1,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Train everything for a step or two; return the work folder and the exported one."""
    work = tmp_path_factory.mktemp("training")
    train(TINY, work, work / "exported", list(STAGES))
    return work, work / "exported"


def without_denoiser(work: Path, copy: Path) -> Path:
    """Copy a work folder as it was before the denoiser's training."""
    shutil.copytree(work, copy)
    shutil.rmtree(denoiser_checkpoint(copy).parent)
    return copy


def test_the_exported_folder_loads_and_draws(trained: tuple[Path, Path]) -> None:
    pipeline = load_pipeline(trained[1])
    picture = cast("Any", pipeline)("red", width=160, height=96, num_inference_steps=1).images[0]
    assert picture.size == (160, 96)
    assert folder_bytes(trained[1]) <= 10_000_000


def test_the_command_line_s_defaults_are_the_plan_s() -> None:
    assert planned(arguments().parse_args([])) == TrainingPlan()


def test_a_finished_stage_is_not_run_again(trained: tuple[Path, Path]) -> None:
    work, exported = trained
    before = {p: p.stat().st_mtime_ns for p in work.rglob("*.pt")}
    train(TINY, work, exported, ["data", "autoencoder"])
    assert {p: p.stat().st_mtime_ns for p in work.rglob("*.pt")} == before


def test_a_stopped_training_goes_on_to_the_same_weights(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(TINY, denoiser=replace(TINY.denoiser, steps=3))
    at_once, stopped = (without_denoiser(trained[0], tmp_path / name) for name in ("at_once", "stopped"))
    train(plan, at_once, tmp_path, ["denoiser"])

    def save_and_stop(path: Path, state: Checkpoint) -> None:
        save_checkpoint(path, state)
        if state["step"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("worker.demo_model.denoiser.save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(plan, stopped, tmp_path, ["denoiser"])
    train(plan, stopped, tmp_path, ["denoiser"])

    expected, found = (load_checkpoint(denoiser_checkpoint(work)) for work in (at_once, stopped))
    assert expected is not None
    assert found is not None
    assert found["step"] == expected["step"] == 3
    for part in ("model", "average"):
        assert all(torch.equal(found[part][name], value) for name, value in expected[part].items())


def test_two_processes_train_as_one(trained: tuple[Path, Path], tmp_path: Path) -> None:
    work = without_denoiser(trained[0], tmp_path / "work")
    train(replace(TINY, processes=2), work, tmp_path, ["denoiser"])
    state = load_checkpoint(denoiser_checkpoint(work))
    assert state is not None
    assert state["step"] == TINY.denoiser.steps


def test_a_teams_gradient_is_its_members_mean(tmp_path: Path) -> None:
    work_together(2, write_averaged_gradients, tmp_path)
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True).tolist() == [1.5, 15.0]


def write_averaged_gradients(team: Team, folder: Path) -> None:
    """Average gradients of 1 and 10 times the member's number, from 1, and write what came of them."""
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    for weight, times in zip(weights, (1.0, 10.0), strict=True):
        weight.grad = torch.tensor([times * (team.rank + 1)])
    team.average_gradients(weights)
    torch.save(torch.cat([cast("torch.Tensor", weight.grad) for weight in weights]), folder / f"{team.rank}.pt")


def test_a_new_run_begins_from_an_exported_folder(trained: tuple[Path, Path], tmp_path: Path) -> None:
    begin_from(trained[1], tmp_path)
    plan = replace(TINY, denoiser=replace(TINY.denoiser, steps=1, peak_rate=0.0, average=0.0))
    train(plan, tmp_path, tmp_path / "exported", list(STAGES))
    before, after = (
        load_file(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
        for folder in (trained[1], tmp_path / "exported")
    )
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(FileExistsError, match="new --work"):
        begin_from(trained[1], tmp_path)


def test_export_needs_what_was_trained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="stage first"):
        export_checkpoint(tmp_path, tmp_path / "exported")


def test_whitened_latents_have_unit_spread_and_decode_alike(tmp_path: Path) -> None:
    draw_pictures(DataPlan(square=32, oblong=2), tmp_path)
    pictures = np.array(open_pictures(tmp_path, (128, 128)))
    torch.manual_seed(0)
    autoencoder = cast("Any", build_autoencoder().eval())
    before = latents_of(autoencoder, pictures[:4])
    decoded = autoencoder.post_quant_conv(before)
    whiten(autoencoder, pictures)
    after = latents_of(autoencoder, pictures[:4])
    assert not torch.allclose(before, after, rtol=0.1)
    again = autoencoder.post_quant_conv(after)
    assert torch.allclose(decoded, again, atol=0.1 * float(decoded.detach().std()) + 0.02)
    everywhere = latents_of(autoencoder, pictures) * SCALING_FACTOR
    assert 0.5 < float(everywhere.std()) < 1.5


def test_the_fast_norm_is_the_stock_one() -> None:
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(4, 16)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    sources = [torch.randn(3, 16, 5, 7) for _ in range(1)] * 2
    inputs = [s.to(memory_format=torch.channels_last).requires_grad_() for s in map(torch.clone, sources)]
    outer = torch.randn(3, 16, 5, 7)
    gradients: list[list[torch.Tensor]] = []
    results: list[torch.Tensor] = []
    for x in inputs:
        results.append(norm(x))
        leaves = [x, norm.weight, norm.bias]
        gradients.append(list(torch.autograd.grad((results[-1] * outer).sum(), leaves)))
        use_fast_norms(norm)
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)
    for stock, fast in zip(*gradients, strict=True):
        torch.testing.assert_close(stock, fast, rtol=1e-4, atol=1e-4)


def test_importance_marks_objects_and_their_edges() -> None:
    picture = np.full((1, 128, 128, 3), 250, np.uint8)
    picture[:, 40:88, 40:88] = (200, 20, 20)
    marks = importance_of(picture)[0]
    assert marks[0, 0] == 0
    assert marks[7, 7] == 1 or marks[7, 7] == 2
    assert marks[5, 5] >= 1


def test_the_rate_rises_and_falls() -> None:
    rates = [learning_rate(step, 1000, 1.0) for step in range(1000)]
    assert rates[0] < 0.01
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[-1] < 0.03
