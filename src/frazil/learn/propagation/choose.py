"""k and α of label propagation, chosen by samples whose labels are known: a small grid, every pair of it tried.

The judges are validation samples, which lie in the graph without their label; or the labels themselves, each left out
in turn. The latter costs one solution for each label left out and not one for each label and class: ψ is linear in the
seeds and the graph is symmetric, so that the columns of (I − αΞ)⁻¹ at the labels hold all that is asked.

What is maximised is the mean recall over classes. Of pairs that are equal in it, as many are where a dozen labels
judge, the one that is surest of the truth is taken: the largest mean logarithm of ψ̂ there.

References:
    Zhu, X., Ghahramani, Z., Lafferty, J. (2003), Semi-supervised learning using Gaussian fields and harmonic
    functions. ICML 2003. Section 6, on choosing the graph by what the labels say.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import sparse

from frazil.errors import OptionError
from frazil.learn.config import ChoiceConfig, PropagationConfig
from frazil.learn.propagation.graph import NOWHERE, graph_of, mass_factors, propagate_labels, solve
from frazil.learn.propagation.neighbours import nearest_neighbours

_MOST_LEFT_OUT = 200  # labels; more only cost
_COLUMNS = 32  # right-hand sides at a time: memory for all labels of a large set would be gigabytes
_SURE = 1e-6  # ψ̂ below it counts as this much; where no label reaches it is 0


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A pair of the grid and how it did.

    Attributes:
        k: neighbours.
        alpha: share taken from them.
        recall: mean over the classes that judge, 0…1; a sample that no label reaches counts as wrong.
        surety: mean natural logarithm of ψ̂ at the truth, at most 0.
    """

    k: int
    alpha: float
    recall: float
    surety: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen.

    Attributes:
        k, alpha: of the best pair.
        by: what judged: ``"validation"`` samples, or ``"labels"`` left out in turn.
        judges: how many there were.
        tried: all pairs, in the order of the grid.
    """

    k: int
    alpha: float
    by: Literal["validation", "labels"]
    judges: int
    tried: tuple[Tried, ...]

    def apply(self, config: PropagationConfig) -> PropagationConfig:
        """Settings with k and alpha as chosen."""
        return replace(config, k=self.k, alpha=self.alpha)

    def to_json(self) -> dict[str, Any]:
        """As model cards hold it."""
        return {**asdict(self), "tried": [asdict(one) for one in self.tried]}


def choose_propagation(
    features: np.ndarray,
    labels: np.ndarray,
    choice: ChoiceConfig,
    config: PropagationConfig,
    *,
    held_out: np.ndarray | None = None,
    n_classes: int | None = None,
    device: str = "cpu",
) -> Choice:
    """The pair of k and α whose propagated labels are right most often.

    Args:
        features: (sample, feature) descriptors.
        labels: integer (sample,), −1 without one.
        choice: by what, and of which values.
        config: all other settings.
        held_out: integer (sample,) labels of validation samples, −1 elsewhere; `labels` there are not looked at.
        n_classes: how many classes there are; by default one more than the largest label.
        device: where neighbours are searched.

    Raises:
        OptionError: nothing that could judge: no validation sample, or no class with two labels.
    """
    labels = np.asarray(labels)
    judged = np.zeros(len(labels), bool) if held_out is None else np.asarray(held_out) != NOWHERE
    by: Literal["validation", "labels"] = "validation" if judged.any() and choice.by != "labels" else "labels"
    if by == "labels" and choice.by == "validation":
        raise OptionError("There are no validation samples to choose k and alpha by. Choose by labels.")
    known = np.where(judged, NOWHERE, labels)
    if not (known != NOWHERE).any():
        raise OptionError("There is no label to propagate. Give at least one sample a class code of 0 or more.")
    n_classes = (
        int(max(known.max(), NOWHERE if held_out is None else held_out.max())) + 1 if n_classes is None else n_classes
    )
    judges = np.flatnonzero(judged) if by == "validation" else _left_out(known)
    neighbour, cosine = nearest_neighbours(features, max(choice.k), search=config.search, device=device)
    tried = []
    for k in choice.k:
        graph = graph_of(neighbour[:, :k], cosine[:, :k], config.gamma)
        for alpha in choice.alpha:
            settings = replace(config, k=k, alpha=alpha)
            if by == "validation":
                assert held_out is not None
                truth = held_out[judges]
                score = propagate_labels(features, known, n_classes=n_classes, config=settings, graph=graph).score[
                    judges
                ]
            else:
                truth = known[judges]
                score = leave_out(graph, known, judges, n_classes, settings)
            tried.append(Tried(k=k, alpha=alpha, recall=mean_recall(truth, score), surety=_surety(truth, score)))
    # Rounding must not decide: equal is what is equal to six digits. Of pairs equal in both the first is taken.
    best = max(tried, key=lambda one: (round(one.recall, 6), round(one.surety, 6)))
    return Choice(k=best.k, alpha=best.alpha, by=by, judges=len(judges), tried=tuple(tried))


def leave_out(
    graph: sparse.csr_array, labels: np.ndarray, judges: np.ndarray, n_classes: int, config: PropagationConfig
) -> np.ndarray:
    """ψ float32 (judge, class) of labelled samples, each as if it had no label and all others had theirs.

    Args:
        graph: Ξ, (sample, sample).
        labels: (sample,), −1 without one.
        judges: positions of the samples to leave out, all with a label.
        n_classes: how many classes there are.
        config: α, seeds, mass, tolerance and iterations. Masses are those with all labels: one more or less is little.
    """
    given = np.flatnonzero(labels != NOWHERE)
    member = labels[given][:, None] == np.arange(n_classes)  # (label, class)
    score = np.zeros((len(judges), n_classes), np.float32)
    for first in range(0, len(judges), _COLUMNS):
        some = judges[first : first + _COLUMNS]
        seeds = np.zeros((len(labels), len(some)), np.float32)
        seeds[some, np.arange(len(some))] = 1
        spread = np.maximum(solve(graph, seeds, config)[0][given], 0)  # (label, judge)
        spread[given[:, None] == some[None, :]] = 0  # what a label says of itself
        part = spread.T @ member.astype(np.float32)
        if config.seeds == "per_class":
            part /= np.maximum(member.sum(axis=0) - member[np.searchsorted(given, some)], 1)
        score[first : first + len(some)] = part
    if config.mass != "none":
        every = propagate_labels(
            np.zeros((len(labels), 1)), labels, n_classes=n_classes, config=replace(config, mass="none"), graph=graph
        )
        prior = np.bincount(labels[given], minlength=n_classes)
        score *= mass_factors(every.score[labels == NOWHERE], prior if config.mass == "labels" else prior > 0)
    return score


def _left_out(labels: np.ndarray) -> np.ndarray:
    """Positions of the labels that can judge: those of classes that have another; at most 200, classes in turn."""
    count = np.bincount(labels[labels != NOWHERE])
    usable = np.flatnonzero((labels != NOWHERE) & (count[np.maximum(labels, 0)] > 1))
    if not usable.size:
        raise OptionError(
            "No class has two labels, so that none can be left out to choose k and alpha by. Give more labels, or "
            "validation samples."
        )
    usable = usable[np.random.default_rng(0).permutation(usable.size)]
    code = labels[usable]
    turn = np.zeros(usable.size, int)
    for one in np.unique(code):
        turn[code == one] = np.arange((code == one).sum())
    return np.sort(usable[np.argsort(turn, kind="stable")[:_MOST_LEFT_OUT]])


def mean_recall(truth: np.ndarray, score: np.ndarray) -> float:
    """Mean recall, 0…1, over the classes of (sample,) by the largest of ψ (sample, class); rows of zeros are wrong."""
    right = (score.argmax(axis=1) == truth) & (score.sum(axis=1) > 0)
    return float(np.mean([right[truth == code].mean() for code in np.unique(truth)]))


def _surety(truth: np.ndarray, score: np.ndarray) -> float:
    total = score.sum(axis=1)
    there = score[np.arange(len(truth)), truth]
    share = np.divide(there, total, out=np.zeros(len(truth), np.float64), where=total > 0)
    return float(np.log(np.maximum(share, _SURE)).mean())
