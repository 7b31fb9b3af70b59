"""Teacher and student around label propagation (TSLP-SSL).

Stage 1: the teacher learns from the labelled patches. Stage 2, epoch by epoch: labels are propagated over the teacher's
descriptors of all patches; with these labels and weights the teacher learns on, slowly, and a student learns from
scratch, fast. The student maps scenes.

Labels and weights stay fixed within an epoch, so it does not matter whether the student's epoch comes after the
teacher's or beside it: here both step on the same batch.

References:
    Khaleghian, S., Ullah, H., Kræmer, T., Eltoft, T., Marinoni, A. (2021), Deep semisupervised teacher–student model
    based on label propagation for sea ice classification. IEEE J. Sel. Top. Appl. Earth Obs. Remote Sens. 14,
    10761–10772. doi:10.1109/JSTARS.2021.3119485.
"""

from __future__ import annotations

from torch import Tensor, nn

from frazil.learn.config import OptimConfig, TeacherStudentConfig
from frazil.learn.data.pool import PoolBatches
from frazil.learn.propagation.pseudo import PseudoLabels, hits
from frazil.learn.strategies.building import Parts
from frazil.learn.strategies.plan import Plan
from frazil.learn.train import Strategy, scheduled


class TeacherStudent(Strategy):
    """A teacher that labels, a student that is kept.

    Args:
        teacher: a patch classifier.
        student: another, of other random weights.
        batches: one view of labelled and unlabelled patches.
        pseudo: their labels and weights.
        plan: where stages and epochs begin.
        settings: of the strategy.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        batches: PoolBatches,
        pseudo: PseudoLabels,
        plan: Plan,
        settings: TeacherStudentConfig,
    ) -> None:
        self.networks, self.result = {"teacher": teacher, "student": student}, student
        self.batches, self.pseudo, self.plan, self.settings = batches, pseudo, plan, settings

    def step(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and logs of one step."""
        teacher, student = self.networks["teacher"], self.networks["student"]
        logs: dict[str, float] = {}
        if self.plan.begins_epoch(step, self.settings.refresh_epochs):
            logs |= self.pseudo.refresh(teacher)
        (image,), places = self.batches(step)
        n = min(self.settings.labelled, len(places))
        logits = teacher(image)
        loss = self.pseudo.loss(logits, places)
        logs["loss_teacher"] = float(loss.detach())
        if step >= self.plan.first:
            logits = student(image)
            of_student = self.pseudo.loss(logits, places)
            logs["loss_student"] = float(of_student.detach())
            loss = loss + of_student  # no weight is shared: each network sees the gradient of its own term
        accuracy = hits(logits[:n], self.pseudo.label[places[:n]])
        return loss, {"loss": float(loss.detach()), "accuracy": accuracy, **logs}

    def rates(self, step: int, config: OptimConfig) -> dict[str, float]:
        """See `TeacherStudentConfig`; each stage has a schedule of its own."""
        first = self.plan.first
        if step < first:
            return {"teacher": scheduled(config, self.settings.first_lr, step, first), "student": 0.0}
        student = scheduled(config, config.lr, step - first, config.steps - first)
        slow = scheduled(config, self.settings.teacher_lr, step - first, config.steps - first)
        return {"teacher": student if self.settings.equal_rates else slow, "student": student}

    def tensors(self) -> dict[str, Tensor]:
        """The pseudo-labels of the epoch."""
        return self.pseudo.tensors()

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self.pseudo.load_tensors(tensors)

    def notes(self) -> dict[str, object]:
        """The k and alpha that were chosen."""
        return self.pseudo.notes()


def build(settings: TeacherStudentConfig, parts: Parts) -> TeacherStudent:
    """See `frazil.learn.strategies.make_strategy`."""
    pseudo = PseudoLabels(parts.pool, parts.n_classes, settings, parts.device, parts.validation)
    student, views = parts.another_network(), parts.views(settings.labelled, parts.weak)
    return TeacherStudent(parts.network, student, views, pseudo, parts.plan, settings)
