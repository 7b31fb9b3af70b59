"""Settings of label propagation, and of choosing them; what they do stands in `frazil.learn.propagation`.

References:
    Khaleghian (2022), paper 2, equations 5 to 14, and the papers that `frazil.learn.propagation.graph` names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from frazil.errors import OptionError
from frazil.learn.config.base import Settings, check_choice

_MOST_PAIRS = 100


@dataclass(frozen=True, kw_only=True)
class PropagationConfig(Settings):
    """How labels spread.

    Attributes:
        k: neighbours of a sample.
        gamma: exponent of the affinity.
        alpha: share of what a sample takes from its neighbours, below 1.
        tolerance: of the solution, relative to the right-hand side, class by class.
        iterations: of conjugate gradients at most. The papers stop after 20, where α = 0.99 leaves an error of about
            one percent; some 40 reach 1e-5.
        seeds: ``"per_class"`` gives each class the same total, 1/n to each of its n labels; ``"one_hot"`` is equation 7
            to the letter, under which the class with the most labels floods the graph.
        mass: how much of all samples without a label each class is to have (class mass normalisation of Zhu et al.
            2003): ``"none"`` as in the paper, what the graph gives it; ``"labels"``, its share of the labels;
            ``"uniform"``, the same for all classes that have a label.
        weights: ``"entropy"`` as in the paper; ``"relative"`` divides them by the largest, as published codes do.
        search: how neighbours are found: ``"exact"``, or ``"approximate"`` by an inverted file of faiss.
    """

    k: int = 50
    gamma: float = 3.0
    alpha: float = 0.99
    tolerance: float = 1e-6
    iterations: int = 50
    seeds: Literal["per_class", "one_hot"] = "per_class"
    mass: Literal["none", "labels", "uniform"] = "none"
    weights: Literal["entropy", "relative"] = "entropy"
    search: Literal["exact", "approximate"] = "exact"

    def __post_init__(self) -> None:
        if self.k < 1 or self.iterations < 1:
            raise OptionError(f"k and iterations must be 1 or more; got {self.k} and {self.iterations}.")
        if not self.gamma > 0 or not 0 < self.alpha < 1 or not self.tolerance > 0:
            raise OptionError(
                "gamma and tolerance must be above 0 and alpha between 0 and 1; "
                f"got {self.gamma}, {self.tolerance} and {self.alpha}."
            )
        check_choice("seeds", self.seeds, ("per_class", "one_hot"))
        check_choice("mass", self.mass, ("none", "labels", "uniform"))
        check_choice("weights", self.weights, ("entropy", "relative"))
        check_choice("search", self.search, ("exact", "approximate"))


@dataclass(frozen=True, kw_only=True)
class ChoiceConfig(Settings):
    """Whether `PropagationConfig.k` and `PropagationConfig.alpha` are chosen, by what, and of which values.

    Every pair of the two lists is tried; the one whose labels are right most often, class by class, is taken.

    Attributes:
        by: ``"nothing"``: k and alpha stay as they are set. ``"validation"``: by samples of validation scenes, which
            are described but never learnt from. ``"labels"``: by leaving each label out in turn. ``"best"``: by
            validation samples where there are any, by labels in turn elsewhere.
        k: neighbours to try.
        alpha: shares to try, each between 0 and 1.
    """

    by: Literal["nothing", "best", "validation", "labels"] = "nothing"
    k: tuple[int, ...] = (5, 10, 20, 50)
    alpha: tuple[float, ...] = (0.5, 0.9, 0.99)

    def __post_init__(self) -> None:
        check_choice("choice.by", self.by, ("nothing", "best", "validation", "labels"))
        for name, values in (("choice.k", self.k), ("choice.alpha", self.alpha)):
            if not values or len(set(values)) != len(values):
                raise OptionError(f"{name} {list(values)} must hold one value or more, and none twice.")
        if min(self.k) < 1 or not all(0 < a < 1 for a in self.alpha):
            raise OptionError(
                "choice.k must hold whole numbers of 1 or more and choice.alpha numbers between 0 and 1; "
                f"got {list(self.k)} and {list(self.alpha)}."
            )
        if len(self.k) * len(self.alpha) > _MOST_PAIRS:
            raise OptionError(
                f"choice.k and choice.alpha make {len(self.k) * len(self.alpha)} pairs; at most {_MOST_PAIRS}."
            )
