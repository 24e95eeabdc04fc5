"""Float32 that is float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import backends

# Each of these decides for its kind of kernels whether float32 may be computed with fewer bits.
# torch adds them to its modules at run time, out of sight of the type checker.
cudnn: Any = backends.cudnn
mkldnn: Any = backends.mkldnn
KINDS: tuple[Any, ...] = (
    backends.cuda.matmul,
    cudnn.conv,
    cudnn.rnn,
    mkldnn.matmul,
    mkldnn.conv,
    mkldnn.rnn,
)


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute products and convolutions of float32 with all its bits, then restore the settings.

    TF32 and bfloat16 kernels round to about 1e-3 and 1e-2: no solve in them reaches 1e-6. The
    settings belong to the process, so other threads see them too. Autocast is left as it is.
    """
    # The older switches (allow_tf32, set_float32_matmul_precision) are views of these six, and
    # refuse to be read where the six do not agree with one another.
    before = [kind.fp32_precision for kind in KINDS]
    try:
        for kind in KINDS:
            kind.fp32_precision = "ieee"
        yield
    finally:
        for kind, setting in zip(KINDS, before, strict=True):
            kind.fp32_precision = setting
