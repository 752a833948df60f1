"""Mean Teacher: agree with the average of your own past."""

from __future__ import annotations

from .consistency import ConsistencyLossHead
from .parts.base import Norm
from .parts.distances import Distance


class MeanTeacherLossHead(ConsistencyLossHead):
    """Asks the network to predict what the average of its past weights predicts.

    Tarvainen & Valpola, "Mean teachers are better role models", 2017, arXiv 1703.01780. The teacher
    has the weights ``theta' <- a theta' + (1 - a) theta`` (`model.ema`, a its decay) and gets no
    gradients. With p and p' the class probabilities of student and teacher on two views::

        loss = 1/C sum_c (p_c - p'_c)^2

    The paper averages over all rows of the batch: reduction ``mean``. As in the Pi-model the
    weight grows from zero along exp(-5 (1 - t)^2).

    Args:
        input_data: The loader of unlabeled images.
        student_view: The view that the student sees.
        teacher_view: The view that the teacher sees.
        distance: ``mse``, ``kl`` (KL(teacher || student)), or a callable of student and teacher
            logits (N, C) that returns (N,).
        network: The student, which returns `logits` (N, C).
        teacher: The teacher.
        student_norm: What BatchNorm does for the student's view: update | batch | eval, see
            :class:`Forward`. With ``batch`` the labeled rows alone move the running statistics.
        teacher_norm: What BatchNorm does for the teacher's view. The published teachers normalize
            by the statistics of their batch, ``batch``; ``update`` takes their averaged ones.
        labelled_data: The loader of labeled images, which then take part as well, as in the paper,
            whose batches are of both; null asks it of `input_data` alone.
        labelled_student_view: Its view that the student sees, that of the supervised loss.
        labelled_teacher_view: Its view that the teacher sees.

    Raises:
        ValueError: If there is no such distance.

    Example::

        ema: {decay: 0.999}
        regularization_loss_heads:
          mean_teacher:
            head: {_target_: sesemi_like.models.heads.loss.MeanTeacherLossHead}
            scheduler: {_target_: sesemi_like.schedulers.SigmoidSchedule, duration: 40000}
            scale_factor: 100
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        student_view: str = "weak",
        teacher_view: str = "weak_2",
        distance: str | Distance = "mse",
        network: str = "classifier",
        teacher: str = "teacher",
        student_norm: Norm = "update",
        teacher_norm: Norm = "update",
        labelled_data: str | None = None,
        labelled_student_view: str = "image",
        labelled_teacher_view: str = "weak_2",
    ) -> None:
        super().__init__(
            input_data,
            first=student_view,
            second=teacher_view,
            distance=distance,
            target_grad=False,
            network=network,
            target_network=teacher,
            first_norm=student_norm,
            second_norm=teacher_norm,
            labelled_data=labelled_data,
            labelled_first=labelled_student_view,
            labelled_second=labelled_teacher_view,
        )
