"""What is asked of torch's libraries where tensors are on a GPU."""

from __future__ import annotations

import pytest
import torch

from onehop.nn.attention.attend import _kernels
from onehop.nn.recurrent import _unrounded


class OnGpu(torch.Tensor):
    """A tensor that says that it is on a GPU."""

    is_cuda = True


HERE = torch.zeros(1).as_subclass(OnGpu)


class TestAttention:
    def test_cudnn_does_not_plan_for_each_shape(self) -> None:
        before = torch.backends.cuda.cudnn_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled()
        with _kernels(HERE):
            assert not torch.backends.cuda.cudnn_sdp_enabled()
            assert torch.backends.cuda.flash_sdp_enabled()
        assert (torch.backends.cuda.cudnn_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled()) == before


class TestRecurrence:
    @pytest.mark.parametrize("rounded", [True, False])
    def test_float32_is_not_rounded_and_what_was_set_stays(self, rounded: bool) -> None:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=rounded):
            with _unrounded(HERE):
                assert not torch.backends.cudnn.allow_tf32
                assert torch.backends.cudnn.enabled
            assert torch.backends.cudnn.allow_tf32 == rounded
