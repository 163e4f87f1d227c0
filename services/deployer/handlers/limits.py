"""The limits that a rollout opens with, and those that it opened with."""

import msgspec

from services.deployer.domain.limits import BREAKER_SHARE, Limits
from services.deployer.settings import DeployerSettings
from shared.tables.deployer import Rollout


def derive_limits(settings: DeployerSettings) -> Limits:
    """Derive what a rollout that opens now is held to."""
    return Limits(
        stages=settings.stages,
        holdback_percent=settings.holdback_percent,
        alpha=settings.alpha,
        alpha_advance=settings.alpha_advance,
        delta=settings.delta,
        minimum_seconds=settings.minimum_stage_seconds,
        minimum_votes=settings.minimum_stage_votes,
        exposure_seconds=settings.exposure_seconds,
        silence=settings.silence_value,
        deadline_seconds=settings.stage_deadline_seconds,
        breaker_errors=settings.breaker_errors,
        breaker_share=settings.breaker_share,
        breaker_window=settings.breaker_window,
        breaker_alpha_share=BREAKER_SHARE,
        approvals=settings.approvals,
        shadow_percent=settings.shadow_percent,
        shadow_prompts=settings.shadow_prompts,
        shadow_length_factor=settings.shadow_length_factor,
    )


def load_limits(rollout: Rollout, settings: DeployerSettings) -> Limits:
    """Load what a rollout was opened with; of one that release 0.1.0 opened, what the settings say."""
    return derive_limits(settings) if rollout.limits is None else msgspec.convert(rollout.limits, Limits)
