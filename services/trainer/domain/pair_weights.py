"""How much each pair counts, from its probability ε of being the wrong way round."""

from collections.abc import Sequence

from shared.errors import InvalidRequest


def calculate_pair_weights(epsilons: Sequence[float], factors: Sequence[float] | None = None) -> list[float]:
    """Return weights proportional to 1 - 2ε, times the factors, with mean 1 over the dataset: batches of any make-up
    stay comparable.

    A pair that is as likely wrong as right (ε = 1/2) weighs nothing.

    Raises:
        InvalidRequest: an ε outside [0, 1/2], or no pair that weighs anything.
    """
    if any(not 0.0 <= epsilon <= 0.5 for epsilon in epsilons):
        raise InvalidRequest("epsilon must lie in [0, 0.5]")
    raw = [
        (1.0 - 2.0 * epsilon) * factor
        for epsilon, factor in zip(epsilons, factors or [1.0] * len(epsilons), strict=True)
    ]
    total = sum(raw)
    if total <= 0.0:
        raise InvalidRequest(
            "no pair of the dataset says anything: there is none, or every epsilon is 0.5, or its rule weighs 0"
        )
    return [weight * len(raw) / total for weight in raw]
