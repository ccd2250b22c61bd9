"""Rows that were made where no gradients are taken."""

from torch import Tensor


def for_gradients(x: Tensor) -> Tensor:
    """The rows, or a copy of those that ``torch.inference_mode`` made, which autograd does not keep.

    Call it where that mode is off, as it is inside ``private_param_store``.
    """
    return x.clone() if x.is_inference() else x
