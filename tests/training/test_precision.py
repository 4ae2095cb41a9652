"""Products are halved only where the processor multiplies halves."""

import pytest
import torch

from training.precision import half_where_fast


@pytest.mark.parametrize(("supported", "kind"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_processor_without_bfloat16_keeps_single_precision(monkeypatch, supported, kind):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    one = torch.ones(2, 2)
    with half_where_fast("cpu"):
        assert (one @ one).dtype == kind
    assert (one @ one).dtype == torch.float32
