"""Stratified minibatches."""

import torch
from cases import build
from known import Below

from inference import SVI, Settings


def test_few_labelled_rows_make_a_stratum():
    x, given = (torch.rand(300, 6) > 0.5).float(), torch.full((300,), -1)
    given[[7, 150, 290]] = torch.tensor([0, 1, 2])
    svi = SVI(build("ss_vae"), x, given, Settings(objective="enum", batch_size=20))
    weight = torch.zeros(300)
    count = 99  # 198 labelled rows are 66 passes, 99 x 18 = 1782 others are 6 passes of 297
    for step in range(count):
        rows = svi.rows(step)
        assert len(rows) == 20
        assert (given[rows] >= 0).sum() == 2
        weight.index_add_(0, rows, svi.minibatches.weights)
    torch.testing.assert_close(weight, torch.full((300,), 20 * count / 300))  # every row counts alike
    assert (
        SVI(build("ss_vae"), x, given.clamp(min=0), Settings(objective="enum", batch_size=20)).minibatches.weights
        is None
    )


class FewLabels(Below):
    """`Below` with a few labels, which model and guide do not use."""

    missing = -1

    def model(self, x, given, total=None):
        super().model(x, total)

    def guide(self, x, given, total=None):
        super().guide(x, total)


def test_few_labels_make_no_stratum_where_the_model_sums_with_one_scale_for_all():
    given = torch.full((100,), -1)
    given[:2] = 0
    svi = SVI(FewLabels(), torch.randn(100, 1), given, Settings(objective="enum", batch_size=20))
    assert len(svi.minibatches.strata) == 1
    assert torch.isfinite(svi.train_step())
