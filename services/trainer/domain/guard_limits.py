"""What the guards of a run allow."""

from typing import Annotated

from msgspec import Meta

from services.trainer.domain.recipe_part import Part, PositiveFloat, PositiveInt, Share


class Guards(Part, frozen=True, kw_only=True):
    """When to stop by itself; see `services.trainer.domain.guards`."""

    max_gradient_norm: PositiveFloat = 1000.0
    max_gradient_ratio: Annotated[float, Meta(gt=1)] | None = 30.0
    """Times the running median that the gradient norm may last at. None: any."""
    max_margin: PositiveFloat = 20.0
    """Mean reward margin, in nats, above which the pairs have nothing left to teach."""
    max_kl: PositiveFloat | None = None
    """Nats to the parent: of a token for `rloo`, of an answer for `ppo`, as each logs it. None: any."""
    max_adjustments: Annotated[int, Meta(ge=0)] = 3
    """How often learning rate and price of KL may be adjusted while the KL is between its ceiling and twice that."""
    max_roll_backs: Annotated[int, Meta(ge=0)] = 2
    """How often an attempt may go back to its last good checkpoint."""
    min_entropy_share: Share = 0.1
    """Share of its entropy at the start that a sampling policy must keep."""
    min_reward_spread: Annotated[float, Meta(ge=0)] = 1e-4
    """Rewards closer together than this teach nothing."""
    max_length_ratio: Annotated[float, Meta(gt=1)] | None = 4.0
    """Times their length at the start that sampled answers may be longer or shorter. None: any."""
    min_distinct_share: Share = 0.3
    """Share of its start that distinct-2 must keep: the share of different bigrams in the sampled answers."""
    max_preference_drop: Share = 0.15
    """How far the share of validation pairs ranked right may fall below its best while the reward rises."""
    eval_patience: PositiveInt | None = 5
    """Measurements of the validation loss without a new best. None: any."""
    patience: PositiveInt = 5
    """Logged steps that a state must last for, and that figures are smoothed over."""
