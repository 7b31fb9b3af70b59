"""Distillation losses against float64 by the letter, finite differences, and symmetries of feature spaces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frazil.learn.distributed.losses import feature_distillation, output_distillation, pairwise_distances


def features(n: int = 12, d: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


def by_the_letter(student: np.ndarray, teachers: list[np.ndarray], normalised: bool) -> float:
    """float64, one pair after the other."""

    def distances(x: np.ndarray) -> np.ndarray:
        out = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in x] for a in x.astype(np.float64)])
        return out / (out.sum() / (len(x) * (len(x) - 1))) if normalised else out

    n = len(student)
    sums = [np.abs(distances(student) - distances(t)).sum() for t in teachers]
    return float(np.mean(sums) / (n * (n - 1) if normalised else n))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("m", [1, 3])
def test_agrees_with_the_equations(normalised: bool, m: int) -> None:
    student, teachers = features(), [features(d=4 + i, seed=i + 1) for i in range(m)]
    got = float(feature_distillation(student, teachers, normalised=normalised))
    assert got == pytest.approx(by_the_letter(student.numpy(), [t.numpy() for t in teachers], normalised), rel=1e-5)


@pytest.mark.parametrize("normalised", [True, False])
def test_gradient_agrees_with_finite_differences(normalised: bool) -> None:
    student, teacher = features(7, 3).requires_grad_(), features(7, 5, seed=2)
    feature_distillation(student, [teacher], normalised=normalised).backward()
    assert student.grad is not None
    x, h = student.detach().numpy().astype(np.float64), 1e-6
    for i, j in ((0, 0), (3, 2), (6, 1)):
        up, down = x.copy(), x.copy()
        up[i, j] += h
        down[i, j] -= h
        slope = by_the_letter(up, [teacher.numpy()], normalised) - by_the_letter(down, [teacher.numpy()], normalised)
        assert float(student.grad[i, j]) == pytest.approx(slope / (2 * h), rel=1e-3, abs=1e-5)


def test_angles_are_those_of_float64_and_know_no_length() -> None:
    student, teacher = features(9, 5), features(9, 7, seed=4)

    def angles(x: np.ndarray) -> np.ndarray:
        unit = x.astype(np.float64) / np.sqrt((x.astype(np.float64) ** 2).sum(1, keepdims=True))
        return 1 - unit @ unit.T

    expected = np.abs(angles(student.numpy()) - angles(teacher.numpy())).sum() / 9
    got = float(feature_distillation(student, [teacher], normalised=False, distance="cosine"))
    assert got == pytest.approx(expected, rel=1e-5)
    longer = student * torch.rand(9, 1).add(0.1)
    assert float(feature_distillation(student, [longer], normalised=False, distance="cosine")) < 1e-4
    assert float(feature_distillation(student, [longer], normalised=False)) > 0.1
    zero = torch.zeros(4, 3, requires_grad=True)
    feature_distillation(zero, [features(4, 3)], distance="cosine").backward()
    assert zero.grad is not None
    assert torch.isfinite(zero.grad).all()


def test_turned_mirrored_and_shifted_spaces_are_alike() -> None:
    x = features(20, 8)
    turn, _ = torch.linalg.qr(features(8, 8, seed=3))
    other = x @ turn + 5.0
    assert float(feature_distillation(x, [x])) == 0.0
    assert float(feature_distillation(x, [other])) < 1e-5
    assert float(feature_distillation(x, [other], normalised=False)) < 1e-4
    assert float(feature_distillation(x, [3.0 * other])) < 1e-5  # scale counts only to the letter
    assert float(feature_distillation(x, [3.0 * other], normalised=False)) > 1.0
    assert float(feature_distillation(x, [features(20, 8, seed=9)])) > 0.1


def test_normalised_does_not_depend_on_the_batch_size() -> None:
    losses = {n: float(feature_distillation(features(n, 16), [features(n, 16, seed=1)])) for n in (32, 256)}
    assert losses[256] == pytest.approx(losses[32], rel=0.15)
    raw = {
        n: float(feature_distillation(features(n, 16), [features(n, 16, seed=1)], normalised=False)) for n in (32, 256)
    }
    assert raw[256] > 6 * raw[32]


@pytest.mark.parametrize("normalised", [True, False])
def test_duplicates_and_zeros_have_finite_gradients(normalised: bool) -> None:
    x = features(10, 4)
    x[3] = x[4]
    x[7] = 0
    for student in (x, torch.zeros(10, 4), torch.full((10, 4), 1e4)):
        student = student.clone().requires_grad_()
        loss = feature_distillation(student, [features(10, 4, seed=5)], normalised=normalised)
        loss.backward()
        assert torch.isfinite(loss)
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


def test_distances_are_exact_where_samples_are_close() -> None:
    x = features(50, 64) + 100
    x[1] = x[0] + 1e-4
    d = pairwise_distances(x).numpy()
    assert (np.diag(d) == 0).all()
    exact = np.linalg.norm(x.numpy().astype(np.float64)[:, None] - x.numpy().astype(np.float64)[None], axis=2)
    np.testing.assert_allclose(d, exact, rtol=1e-5, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert pairwise_distances(x.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("width", [3, 1024])
def test_distances_and_their_gradients_are_those_of_all_differences(scale: float, width: int) -> None:
    x = features(40, width, seed=3) * scale
    x[7] = x[3]
    x[8] = x[3] + 1e-4 * x[9]
    mine, theirs = x.clone().requires_grad_(), x.double().requires_grad_()
    squares = (theirs[:, None] - theirs[None]).square().sum(2)
    want = torch.where(squares > 0, squares, 1.0).sqrt() * (squares > 0)
    got = pairwise_distances(mine)
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=0)
    weight = torch.from_numpy(np.random.default_rng(1).uniform(size=(40, 40)))
    (got.double() * weight).sum().backward()
    (want * weight).sum().backward()
    assert mine.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-4, atol=1e-5)


def test_gradients_go_to_the_student_alone() -> None:
    student, teacher = features().requires_grad_(), features(seed=1).requires_grad_()
    (feature_distillation(student, [teacher]) + output_distillation(student, [teacher])).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_without_teachers_or_samples_there_is_nothing_to_learn() -> None:
    student = features().requires_grad_()
    for loss in (feature_distillation(student, []), output_distillation(student, [])):
        assert float(loss.detach()) == 0.0
        loss.backward()
    assert float(feature_distillation(features(1), [features(1, seed=1)])) == 0.0
    assert torch.isfinite(feature_distillation(features(1), [features(1, seed=1)]))


def test_output_distillation_is_least_at_the_teachers() -> None:
    teachers = [features(30, 4, seed=s) for s in (1, 2)]
    mean = torch.stack([t.softmax(1) for t in teachers]).mean(0)
    least = float(output_distillation(mean.log(), teachers))
    assert least == pytest.approx(float(-(mean * mean.log()).sum(1).mean()), rel=1e-6)
    for seed in range(5):
        assert float(output_distillation(mean.log() + 0.1 * features(30, 4, seed=seed), teachers)) > least
