"""The trainer's metrics."""

from prometheus_client import Counter, Gauge

RUNS = Gauge("heliotrope_training_runs", "Training runs by state", ["state"])
SWEPT = Counter("heliotrope_training_runs_swept_total", "What the sweeper did about runs", ["action"])
STEP = Gauge("heliotrope_training_step", "Step that the running run is at (0: none runs)")
STEPS = Gauge("heliotrope_training_steps", "Steps that the running run will take (0: none runs)")
LOSS = Gauge("heliotrope_training_loss", "Newest loss of the running run")
MARGIN = Gauge("heliotrope_training_reward_margin_nats", "Newest mean reward margin of the running run")
SECONDS_LEFT = Gauge("heliotrope_training_left_seconds", "Estimated time until the running run is done")
