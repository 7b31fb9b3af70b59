"""Packed gradients: byte by byte against NumPy, their laws, and real processes against float64 in one."""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, distributed, nn

from frazil.errors import OptionError
from frazil.learn.config import DDPConfig, OptimConfig
from frazil.learn.distributed.allreduce import InStep, codec_of, partner_of
from frazil.learn.distributed.compression import BLOCK, QSGD, Codec, Levels, Sign, Threshold, TopK
from frazil.learn.distributed.team import Team
from frazil.learn.train import Strategy, train_loop

pytestmark = pytest.mark.usefixtures("one_thread")
CODECS = (TopK(0.1), TopK(1.0), Threshold(0.5), Levels(8), Levels(4), QSGD(8), QSGD(4), Sign())
gradients = st.builds(
    lambda n, seed, scale: torch.from_numpy((scale * np.random.default_rng(seed).standard_normal(n)).astype("f4")),
    st.integers(1, 1500),
    st.integers(0, 1000),
    st.sampled_from([1e-12, 1e-3, 1.0, 1e6]),
)


def reference(codec: Codec, values: np.ndarray) -> np.ndarray:
    """What arrives of a gradient, float64, from the papers' equations; not for rounding at random."""
    g = values.astype(np.float64)
    if isinstance(codec, TopK):
        keep = np.argsort(-np.abs(g), kind="stable")[: min(max(round(codec.share * g.size), 1), g.size)]
        return np.where(np.isin(np.arange(g.size), keep), g, 0)
    if isinstance(codec, Threshold):
        return np.where(np.abs(g) >= np.float32(codec.size), codec.size * np.sign(g), 0)
    out = np.empty_like(g)
    for start in range(0, g.size, BLOCK):
        part = g[start : start + BLOCK]
        if isinstance(codec, Sign):
            out[start : start + BLOCK] = np.where(part >= 0, 1, -1) * np.abs(part).mean()
        else:
            assert isinstance(codec, Levels)
            step = np.abs(part).max() / (2 ** (codec.bits - 1) - 1)
            out[start : start + BLOCK] = np.rint(part / step) * step if step else 0
    return out


@pytest.mark.parametrize("codec", [c for c in CODECS if not isinstance(c, QSGD)], ids=str)
@given(values=gradients)
@settings(max_examples=40, deadline=None)
def test_what_arrives_is_what_the_paper_says(codec: Codec, values: Tensor) -> None:
    arrived = codec.unpack(codec.pack(values), values.numel()).double().numpy()
    expected = reference(codec, values.numpy())
    size = float(values.abs().max())
    if isinstance(codec, Levels):  # a value half-way between two levels may go to either in float32
        step = size / (2 ** (codec.bits - 1) - 1)
        away = np.abs(arrived - expected)
        assert ((away < 1e-5 * size) | (np.abs(away - step) < 1e-4 * size)).all()
        assert (away > 1e-5 * size).mean() < 0.01
    else:
        np.testing.assert_allclose(arrived, expected, atol=1e-5 * size)


@given(values=gradients)
@settings(max_examples=30, deadline=None)
def test_no_message_is_longer_than_it_says(values: Tensor) -> None:
    n = values.numel()
    blocks = -(-n // BLOCK)
    assert Levels(8).pack(values).numel() == blocks * (BLOCK + 4)
    assert Levels(4).pack(values).numel() == QSGD(4).pack(values).numel() == blocks * (BLOCK // 2 + 4)
    assert Sign().pack(values).numel() == blocks * (BLOCK // 8 + 4)
    assert TopK(0.01).pack(values).numel() == 8 * max(round(0.01 * n), 1)
    size = float(values.abs().median()) or 1.0
    assert Threshold(size).pack(values).numel() == 4 * int((values.abs() >= size).sum())


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_zero_stays_zero(codec: Codec) -> None:
    for n in (1, BLOCK, BLOCK + 1):
        assert not codec.unpack(codec.pack(torch.zeros(n)), n).any()


@pytest.mark.parametrize("bits", [8, 4])
def test_qsgd_is_right_on_average_and_as_uncertain_as_its_lemma_says(bits: int) -> None:
    """Alistarh et al., lemma 3.1: unbiased, and variance at most min(n / s², √n / s) ‖v‖²."""
    values = torch.from_numpy(np.random.default_rng(0).standard_normal(BLOCK).astype(np.float32))
    codec, n, s = QSGD(bits), BLOCK, 2 ** (bits - 1) - 1
    torch.manual_seed(0)
    drawn = torch.stack([codec.unpack(codec.pack(values), n) for _ in range(3000)]).double().numpy()
    norm2 = float(values.double().square().sum())
    variance = ((drawn - values.double().numpy()) ** 2).sum(1).mean()
    assert variance <= min(n / s**2, np.sqrt(n) / s) * norm2 * 1.01
    error = drawn.mean(0) - values.numpy()
    assert np.abs(error).max() < 5 * np.sqrt(variance / n / 3000) * 3


class Descending(Strategy):
    """A linear network on data of its process: gradients of many sizes."""

    def __init__(self, rank: int) -> None:
        torch.manual_seed(1)
        self.network = nn.Sequential(nn.Linear(30, 25), nn.Tanh(), nn.Linear(25, 3))
        self.networks, self.result = {"network": self.network}, self.network
        self.x, self.y = data_of(rank)

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        del step
        return (self.network(self.x) - self.y).square().mean(), {}


def data_of(rank: int) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(100 + rank)
    x = random.standard_normal((20, 30)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(x[:, :3] * 2 + rank)


OPTIM = OptimConfig(
    optimiser="sgd", steps=12, lr=0.05, momentum=0.0, weight_decay=0.0, warmup=0, schedule="constant", clip=0.0
)


#: What real processes are asked for: name -> how many, settings.
RUNS: dict[str, dict[str, Any]] = {
    "topk": {"hook": "topk", "share": 0.05},
    "topk, nothing remembered": {"hook": "topk", "share": 0.05, "error_feedback": False},
    "threshold": {"hook": "threshold", "threshold": 0.01},
    "8 bits": {"hook": "levels", "bits": 8},
    "4 bits": {"hook": "levels", "bits": 4},
    "qsgd": {"hook": "qsgd", "bits": 8},
    "sign": {"hook": "sign"},
    "gossip": {"average_every": 2, "average_with": "pair"},
}
WORLD = 3


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    for name, chosen in RUNS.items():
        strategy = Descending(rank)
        together = InStep(strategy, DDPConfig(**chosen), Team(rank, WORLD, rank), OPTIM.steps, seed=3)
        train_loop(together, OPTIM)
        torch.save(strategy.network.state_dict(), f"{folder}/{name}-{rank}.pt")
        together.close()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Tensor]]]:
    """The weights that real processes end with, by name of the run: started once for all of them."""
    folder = tmp_path_factory.mktemp("processes")
    started = [
        multiprocessing.get_context("spawn").Process(target=_process, args=(rank, str(folder))) for rank in range(WORLD)
    ]
    for one in started:
        one.start()
    for one in started:
        one.join(240)
        assert one.exitcode == 0
    return {
        name: [torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in range(WORLD)] for name in RUNS
    }


def in_one_process(world: int, codec: Codec | None, *, feedback: bool) -> dict[str, Tensor]:
    """The same in float64, step by step: gradients of all, packed by `reference`, averaged, descended."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(30, 25), nn.Tanh(), nn.Linear(25, 3)).double()
    parameters = list(network.parameters())
    lost = [np.zeros(sum(p.numel() for p in parameters)) for _ in range(world)]
    order: list[int] | None = None
    for _ in range(OPTIM.steps):
        total = np.zeros_like(lost[0])
        for rank in range(world):
            x, y = (t.double() for t in data_of(rank))
            network.zero_grad()
            (network(x) - y).square().mean().backward()  # type: ignore[no-untyped-call]
            # the bucket holds parameters as gradients become ready: from the last to the first
            order = list(range(len(parameters)))[::-1] if order is None else order
            gradient = np.concatenate([parameters[i].grad.flatten().numpy() for i in order])  # type: ignore[union-attr]
            whole = gradient + lost[rank]
            sent = whole if codec is None else reference(codec, whole)
            lost[rank] = whole - sent if feedback else lost[rank]
            total += sent / world
        start = 0
        for i in order or []:
            p = parameters[i]
            p.data -= OPTIM.lr * torch.from_numpy(total[start : start + p.numel()]).view_as(p)
            start += p.numel()
    return network.state_dict()


@pytest.mark.parametrize("name", ["topk", "topk, nothing remembered", "threshold", "8 bits", "4 bits"])
def test_processes_descend_as_float64_in_one_does(name: str, ended: dict[str, list[dict[str, Tensor]]]) -> None:
    chosen, got, exact = RUNS[name], ended[name], "bits" not in name
    want = in_one_process(WORLD, codec_of(DDPConfig(**chosen)), feedback=chosen.get("error_feedback", True))
    plain = in_one_process(WORLD, None, feedback=False)
    for key, value in want.items():
        for one in got:
            torch.testing.assert_close(one[key], got[0][key], atol=0, rtol=0)
        # A value half-way between two levels may go to either; what that loses is in the next gradient.
        torch.testing.assert_close(got[0][key].double(), value, atol=2e-5 if exact else 1e-2, rtol=0)
        assert float((got[0][key].double() - value).abs().mean()) < (1e-5 if exact else 1e-3)
    apart = max(float((want[k] - plain[k]).abs().max()) for k in want)
    assert apart > 1e-3 or not exact  # it was not the plain mean that was computed


def test_random_rounding_is_drawn_by_each_process_and_all_end_alike(ended: dict[str, list[dict[str, Tensor]]]) -> None:
    got = ended["qsgd"]
    for key, value in in_one_process(WORLD, None, feedback=False).items():
        for one in got[1:]:
            torch.testing.assert_close(one[key], got[0][key], atol=0, rtol=0)
        torch.testing.assert_close(got[0][key].double(), value, atol=0.05, rtol=0)


def test_signs_alone_descend(ended: dict[str, list[dict[str, Tensor]]]) -> None:
    """A bit a value is enough to descend: held against the loss before the first step."""

    def loss(weights: dict[str, Tensor]) -> float:
        network = nn.Sequential(nn.Linear(30, 25), nn.Tanh(), nn.Linear(25, 3))
        network.load_state_dict({k: v.float() for k, v in weights.items()})
        with torch.no_grad():
            return float(np.mean([float((network(x) - y).square().mean()) for x, y in map(data_of, range(WORLD))]))

    torch.manual_seed(1)
    first = loss(nn.Sequential(nn.Linear(30, 25), nn.Tanh(), nn.Linear(25, 3)).state_dict())
    assert loss(ended["sign"][0]) < 0.8 * first


@given(world=st.integers(2, 9), step=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_partners_are_each_others(world: int, step: int) -> None:
    pairs = [partner_of(Team(rank, world, rank), 7, step) for rank in range(world)]
    assert pairs.count(None) == world % 2
    for rank, partner in enumerate(pairs):
        assert partner is None or (partner != rank and pairs[partner] == rank)
    assert len({partner_of(Team(0, world, 0), 7, s) for s in range(60)}) >= min(world - 1, 5)


def test_gossip_keeps_the_mean_and_ends_with_it(ended: dict[str, list[dict[str, Tensor]]]) -> None:
    """Averages of two keep the mean of all; after the last step all have it."""
    got = ended["gossip"]
    for key in got[0]:
        for one in got[1:]:
            torch.testing.assert_close(one[key], got[0][key], atol=1e-6, rtol=0)
    alone = [Descending(rank) for rank in range(3)]
    team = [Team(rank, 3, rank) for rank in range(3)]
    for step in range(OPTIM.steps):
        for single in alone:
            single.network.zero_grad()
            single.step(step)[0].backward()  # type: ignore[no-untyped-call]
            for p in single.network.parameters():
                assert p.grad is not None
                p.data -= OPTIM.lr * p.grad
        if (step + 1) % 2 == 0 and step + 1 < OPTIM.steps:
            partners = [partner_of(t, 3, step) for t in team]
            before = [{k: v.clone() for k, v in single.network.state_dict().items()} for single in alone]
            for single, mine, partner in zip(alone, before, partners, strict=True):
                if partner is not None:
                    single.network.load_state_dict({k: (v + before[partner][k]) / 2 for k, v in mine.items()})
    for key in got[0]:
        mean = torch.stack([single.network.state_dict()[key] for single in alone]).mean(0)
        torch.testing.assert_close(got[0][key], mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hook": "topk", "share": 0.0}, "share is 0.0"),
        ({"hook": "topk", "share": 1.5}, "share is 1.5"),
        ({"hook": "threshold", "threshold": 0.0}, "size above 0"),
        ({"hook": "levels", "bits": 3}, "choose 4 or 8"),
        ({"hook": "sign", "average_every": 5}, "Choose one of the two"),
        ({"average_with": "pair"}, "needs average_every"),
    ],
)
def test_settings_that_mean_nothing_are_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        DDPConfig(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"hook": "sign"}, {"average_every": 5}])
def test_one_process_has_nobody_to_send_to(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="several processes in step; this is one"):
        Team().join(DDPConfig(**given), torch.device("cpu"))
