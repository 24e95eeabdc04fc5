"""Choose how a flow finds its gradients.

A trainer takes the choice from its config and makes it once, after the flow is built or loaded:

    backprop: Backprop = "plain"    # in the config: plain, checkpoint, invertible or reuse
    ...
    set_backprop(flow, cfg.backprop)

Nothing else changes: the weights keep their names, so runs may be saved with one choice and resumed
with another, and `log_prob`, `sample` and the bijection's own methods are called as before. Next to
the loss it should log `flow.bijection.reconstruction` (see `Reconstruction`) and reset it: a
fallback now and then costs time only, many of them say that the flow can hardly be inverted. Recall
that `sample` works without gradients; whoever differentiates by latents calls `bijection.inverse`.
"""

from common.bijections.base import Chain
from common.bijections.reversible import BOUND, Backprop, Reversible
from common.errors import UserError
from common.flows.flow import Flow


def set_backprop(
    flow: Flow,
    backprop: Backprop,
    *,
    bound: float | None = BOUND,
    anchor_every: int | None = None,
) -> Flow:
    """Let a flow find its gradients in the given way; the flow itself is changed and returned.

    Args:
        flow: with a chain of bijections.
        backprop: plain, checkpoint, invertible or reuse; see `Reversible`.
        bound: see `Reversible`.
        anchor_every: see `Reversible`.

    Raises:
        UserError: the bijection is no chain, or an argument is out of range.
    """
    chain = flow.bijection
    if type(chain) not in (Chain, Reversible):
        raise UserError(
            f"backprop {backprop}: expected a flow whose bijection is a Chain, "
            f"got {type(chain).__name__}"
        )
    found = Reversible(chain.links, backprop, bound=bound, anchor_every=anchor_every)  # type: ignore[arg-type]
    found.training = chain.training  # that of the links stays as it is
    flow.bijection = found
    return flow
