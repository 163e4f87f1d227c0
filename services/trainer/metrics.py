"""The trainer's metrics."""

from prometheus_client import Counter, Gauge

from shared.metrics import start_at_zero

RUNS = Gauge("heliotrope_training_runs", "Training runs by state", ["state"])
OPEN_RUNS = Gauge("heliotrope_training_open_runs", "Training runs that wait or run: what workers are scaled on")
SWEPT = Counter("heliotrope_training_runs_swept_total", "What the sweeper did about runs", ["action"])
STEP = Gauge("heliotrope_training_step", "Step that the running run is at (0: none runs)")
STEPS = Gauge("heliotrope_training_steps", "Steps that the running run will take (0: none runs)")
LOSS = Gauge("heliotrope_training_loss", "Newest loss of the running run")
MARGIN = Gauge("heliotrope_training_reward_margin_nats", "Newest mean reward margin of the running run")
SECONDS_LEFT = Gauge("heliotrope_training_left_seconds", "Estimated time until the running run is done")
STEPS_PER_SECOND = Gauge("heliotrope_training_steps_per_second", "Pace of the running run since its attempt began")
KL = Gauge("heliotrope_training_kl_nats", "Newest KL to the reference, of methods that log it (NaN: not logged)")
REWARD = Gauge("heliotrope_training_reward", "Newest mean reward of sampled answers (NaN: not logged)")
TOKENS_PER_SECOND = Gauge(
    "heliotrope_training_tokens_per_second", "Pace of the running run in tokens that are no padding (0: not counted)"
)
PEAK_MEMORY = Gauge("heliotrope_training_peak_memory_bytes", "Most memory that the running run has had (0: none runs)")
GUARDED = Gauge("heliotrope_training_guarded_runs", "Runs that a guard ended, by what it said", ["action"])
FAILED = Gauge(
    "heliotrope_training_failed_runs",
    "Runs that failed, by cause: setup, guard, memory, disk, deadline, registration, launcher, error",
    ["cause"],
)

LEFT = Gauge("heliotrope_training_left_jobs", "Jobs elsewhere of runs that are over, which no worker has ended yet")

start_at_zero(SWEPT, ["enqueued", "closed", "announced"])
