"""How strongly a policy is held to its reference, step by step."""


def next_kl_coefficient(coefficient: float, kl: float, *, target: float, gain: float = 0.1) -> float:
    """The coefficient after a step that measured this KL (nats per answer): larger above the target, smaller below it.

    Ziegler et al. 2019, section 2.2: the error relative to the target, clipped to 0.2, times the gain. So it moves by
    at most 2% a step at the default gain. A KL that is not finite leaves it as it is: a guard's affair.
    """
    error = kl / target - 1.0
    if not -float("inf") < error < float("inf"):
        return coefficient
    return coefficient * (1.0 + gain * max(-0.2, min(0.2, error)))
