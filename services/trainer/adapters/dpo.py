"""The method `dpo`: LoRA on the parent, with the parent itself (the adapter switched off) as the reference."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import LoraConfig
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback, set_seed
from trl import DPOConfig

from services.trainer.adapters.candidate import save_candidate
from services.trainer.adapters.checkpoints import sync_folder
from services.trainer.adapters.epsilon_dpo import EpsilonCollator, EpsilonDPOTrainer
from services.trainer.adapters.preferences import load_pairs
from services.trainer.domain.guards import GO_ON, Metrics, Verdict, assess_metrics
from services.trainer.domain.recipe import Lora, Recipe
from services.trainer.domain.training import Interrupted, Job, Trained, TrainingFailed, Watch
from shared.errors import InvalidRequest

SPARE_PAD_TOKEN = "<|endoftext|>"


def set_threads(count: int) -> None:
    """Threads for tensor arithmetic; 0 leaves it to OMP_NUM_THREADS, else to torch."""
    if count:
        torch.set_num_threads(count)


def train_dpo(job: Job, watch: Watch) -> Trained:
    """Train, and save the candidate.

    Raises:
        TrainingFailed: the dataset cannot be used, or a guard stopped the run.
        Interrupted: the worker was told to stop; a checkpoint is there.
        StaleClaim: from the watch.
    """
    datasets.disable_progress_bars()
    watch.on_phase("loading")
    set_seed(job.recipe.seed)  # before the adapter is drawn; the trainer's own seeding comes after it
    model = AutoModelForCausalLM.from_pretrained(job.parent, dtype=torch.float32)
    parent_dtype = AutoConfig.from_pretrained(job.parent).dtype or torch.float32
    observer = Observer(job.recipe, watch)
    trainer = _build_trainer(job, model, observer, before_reference=lambda: watch.on_phase("reference"))
    trainer.remove_callback(PrinterCallback)
    watch.on_phase("training")
    trainer.train(resume_from_checkpoint=str(job.resume_from) if job.resume_from else None)
    if observer.verdict.action == "stop":
        raise TrainingFailed(observer.verdict.reason)
    if observer.interrupted:
        raise Interrupted(f"at step {trainer.state.global_step}")
    watch.on_phase("saving")
    merged = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().to(parent_dtype)
    return Trained(
        steps=trainer.state.global_step,
        weights_sha256=save_candidate(merged, job.parent, job.candidate),
        words=observer.verdict.reason or "all steps taken",
        pairs=len(trainer.train_dataset),
        refused=trainer.refused["train"],
    )


def _build_trainer(
    job: Job, model: Any, observer: "Observer", *, before_reference: Callable[[], None]
) -> EpsilonDPOTrainer:
    recipe = job.recipe
    tokenizer = AutoTokenizer.from_pretrained(job.parent)
    if tokenizer.pad_token in (None, tokenizer.eos_token):
        spare = SPARE_PAD_TOKEN in tokenizer.get_vocab()
        tokenizer.pad_token = SPARE_PAD_TOKEN if spare else tokenizer.eos_token
    try:
        return EpsilonDPOTrainer(
            model=model,
            args=build_arguments(recipe, job.checkpoints),
            losses=recipe.weighted_losses,
            before_reference=before_reference,
            data_collator=EpsilonCollator(pad_token_id=tokenizer.pad_token_id, max_length=recipe.max_length),
            train_dataset=load_pairs(job.dataset / "train.parquet"),
            eval_dataset=load_pairs(job.dataset / "validation.parquet") if recipe.eval_steps else None,
            processing_class=tokenizer,
            peft_config=build_adapter(recipe.lora, model),
            callbacks=[observer],
        )
    except InvalidRequest as error:
        raise TrainingFailed(f"the dataset cannot be trained on: {error.detail}") from error


def build_arguments(recipe: Recipe, checkpoints: Path) -> DPOConfig:
    """TRL's arguments, with nothing that matters left to its defaults."""
    return DPOConfig(
        output_dir=str(checkpoints),
        beta=recipe.beta,
        max_length=recipe.max_length,
        max_steps=recipe.max_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.lr_scheduler,
        warmup_steps=round(recipe.warmup_ratio * recipe.max_steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        precompute_ref_log_probs=True,
        precompute_ref_batch_size=recipe.batch_size,
        bf16=recipe.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        activation_checkpointing=False,
        seed=recipe.seed,
        data_seed=recipe.seed,
        save_steps=recipe.save_steps,
        save_total_limit=2,
        logging_steps=recipe.logging_steps,
        logging_nan_inf_filter=False,  # it would show the guards a finite loss in place of a NaN
        eval_strategy="steps" if recipe.eval_steps else "no",
        eval_steps=recipe.eval_steps,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to="none",
    )


def build_adapter(lora: Lora, model: Any) -> LoraConfig:
    """A LoRA adapter on the named modules, or on every linear one but the head, of all layers or of the last ones."""
    names = lora.target_modules
    head = model.get_output_embeddings()
    if names == "all-linear":
        linear = (name for name, module in model.named_modules() if _is_linear(module) and module is not head)
        names = tuple(sorted({name.rpartition(".")[2] for name in linear}))
    depth = model.config.num_hidden_layers
    layers = list(range(max(depth - lora.last_layers, 0), depth)) if lora.last_layers else None
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(names),
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
    )


def _is_linear(module: object) -> bool:
    return isinstance(module, torch.nn.Linear)


class Observer(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Tells the watch what happens, and has the guards judge what is logged."""

    def __init__(self, recipe: Recipe, watch: Watch) -> None:
        self._guards = recipe.guards
        self._watch = watch
        self._history: list[Metrics] = []
        self.verdict: Verdict = GO_ON
        self.interrupted = False

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.on_micro_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.on_step(state.global_step, state.max_steps)
        if self._watch.stopping and state.global_step < state.max_steps:
            self.interrupted = control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        if "train_runtime" in metrics:  # the summary after the last step
            return
        self._watch.on_metrics(state.global_step, metrics)
        if "loss" in metrics:
            self._history.append(metrics)
            self._judge(control)
            if self.verdict.action != "continue":
                self._watch.on_metrics(state.global_step, {f"guards/{self.verdict.action}": 1.0})

    def _judge(self, control: Any) -> None:
        guards = self._guards
        self.verdict = assess_metrics(
            self._history,
            max_gradient_norm=guards.max_gradient_norm,
            max_margin=guards.max_margin,
            patience=guards.patience,
        )
        if self.verdict.action != "continue":
            control.should_training_stop = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.verdict.action == "stop":
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        sync_folder(checkpoint)
        self._watch.on_checkpoint(checkpoint)
