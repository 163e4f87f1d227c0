"""A baseline: what a team gets that only fine-tunes on the chosen answers, with a plain TRL script.

`python -m local.models.sft PARENT TRAIN_PARQUET RECIPE QUESTIONS_JSON MAX_NEW_TOKENS` prints progress, and then the
answers to the questions (each a list of messages), as lines of JSON. Adapter, rate, batch and steps are those of the
named recipe.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from local.layout import find_checkout
from local.models.sampling import SAMPLING

BATCH = 32


def tell(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def train_on_chosen(parent: str, train_parquet: str, recipe_name: str) -> tuple[Any, Any]:
    """Return the tuned model and its tokenizer."""
    import pyarrow.parquet as pq
    import torch
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from services.trainer.adapters.artifacts.recipe_files import load_recipe
    from services.trainer.adapters.methods.models import build_lora_config

    class Teller(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            tell({"doing": "SFT on the chosen answers, step", "done": state.global_step, "total": state.max_steps})

    disable_progress_bars()
    recipe = load_recipe(find_checkout() / "recipes", recipe_name)
    rows = pq.read_table(train_parquet, columns=["prompt", "chosen"]).to_pylist()
    tokenizer = AutoTokenizer.from_pretrained(parent)
    model = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                max_steps=recipe.steps,
                learning_rate=recipe.learning_rate,
                lr_scheduler_type=recipe.lr_scheduler,
                warmup_steps=round(recipe.warmup_ratio * recipe.steps),
                per_device_train_batch_size=recipe.batch_size,
                gradient_accumulation_steps=recipe.gradient_accumulation_steps,
                max_length=recipe.length,
                completion_only_loss=True,
                use_cpu=not torch.cuda.is_available(),
                bf16=False,
                seed=recipe.seed,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]),
            processing_class=tokenizer,
            peft_config=build_lora_config(recipe.lora, model),
            callbacks=[Teller()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return trainer.model.merge_and_unload().eval(), tokenizer


def answer(model: Any, tokenizer: Any, questions: list[list[dict[str, str]]], max_new_tokens: int) -> list[str]:
    """Return one sampled answer to each question, with the sampling that the stack serves with."""
    import torch

    tokenizer.padding_side = "left"
    texts: list[str] = []
    for start in range(0, len(questions), BATCH):
        part = questions[start : start + BATCH]
        encoded = tokenizer.apply_chat_template(
            part, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True
        )
        with torch.no_grad():
            ids = model.generate(
                input_ids=encoded["input_ids"],
                attention_mask=encoded["attention_mask"],
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                **SAMPLING,
            )
        texts += tokenizer.batch_decode(ids[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
        tell({"doing": "its answers to the held-out prompts,", "done": len(texts), "total": len(questions)})
    return texts


def main() -> None:
    parent, train_parquet, recipe, questions, max_new_tokens = sys.argv[1:]
    model, tokenizer = train_on_chosen(parent, train_parquet, recipe)
    tell({"answers": answer(model, tokenizer, json.loads(Path(questions).read_text()), int(max_new_tokens))})


if __name__ == "__main__":
    main()
