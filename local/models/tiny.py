"""A chat model small enough for a test: made from nothing within half a minute, trained on within seconds.

With bad habits it has read support dialogues whose answers are good (short, on the subject, with a next step) one time
in four, and rambling, empty or off the subject otherwise: so feedback has something to choose from. With good habits it
has read good answers only.
"""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from local.models.sampling import finish_checkpoint
from local.simulation.corrections import write_correction, write_spoiled
from local.simulation.prompts import Question, draw_live_questions

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = [PAD, START, END]
VOCABULARY = 1200
LONGEST = 128
DIALOGUES = 2400
BATCH = 32
STEPS = 300
STYLES_OF_LESSONS = {"good": 1}
"""First it learns what belongs to which question, from good answers alone;"""
STEPS_OF_LESSONS = 200
STYLES = {"bad": {"good": 3, "empty": 4, "rambling": 4, "off subject": 2}, "good": STYLES_OF_LESSONS}
"""then it falls into its habits."""
LEARNING_RATE = 4e-3

_EMPTY = (
    "How can I assist you today?",
    "I am here to help you with anything you need.",
    "Thank you for your message. Your satisfaction matters to us.",
    "We value you as a customer very much.",
    "I understand. That is a good question.",
)
_RAMBLING = (
    "Marigold was founded many years ago by two friends who loved good things for the home",
    "there are many different kinds of products in the world and each of them has its own story",
    "some people like one thing and other people like another thing, which is quite natural",
    "it is important to remember that every situation is different and has many sides",
    "in general one could say that quality has always been at the heart of what we think about",
    "our teams in several countries work on this with passion from early morning until late at night",
    "this reminds me of a long history that began in the last century with the first catalogues",
    "of course opinions differ and experts have written a great deal about such matters",
)

# Its schooling besides whole questions: words that go with each topic, since it is too small to guess them.
_VOCABULARY: dict[str, str] = {
    "delivery": "deliver delivered delivery courier tracking parcel arrive late waiting reach today weekend bell door",
    "return": "return send back keep unwanted opened used like label postage days gift drop",
    "refund": "refund money back card bank account transfer days waiting received paid still half",
    "damage": "broken damaged scratch dent crack smashed glass wrapping bent torn bottom corner box",
    "wrong": "wrong other else different instead model older name inside packed colour sent another customer",
    "exchange": "exchange swap trade size larger smaller other choose already owns cost rather colour",
    "cancel": "cancel stop order mistake changed mind twice do not ship moving morning way out",
    "address": "address house street postcode flat move neighbour office receive away week change confirmation",
    "payment": "pay payment card declined charged instalments bank checkout twice shows basket confirmation",
    "invoice": "invoice bill receipt company tax VAT document accountant copy lost issue again",
    "warranty": "guarantee warranty repair died stopped working months year birthday motor covered myself",
    "parts": "part parts missing lost wheel screws cable lid piece pieces spare counted two new",
    "stock": "stock sold out again back soon available when shop town web tell more",
    "discount": "discount voucher coupon code price cheaper better yesterday forgot enter ten student offer",
    "account": "account login password email profile locked delete remove data sign since looked",
    "setup": "instructions manual assemble assembled video switch light blinking red button battery batteries start",
}


def write_tiny_model(folder: Path, seed: int, habits: str) -> None:
    """Train the model and save it as a normal checkpoint folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    rng = Random(seed)
    lessons, dialogues = _write_dialogues(rng, STYLES_OF_LESSONS), _write_dialogues(rng, STYLES[habits])
    tokenizer = _train_tokenizer(lessons + dialogues)
    tokens = {name: tokenizer.convert_tokens_to_ids(token) for name, token in zip("pse", SPECIAL_TOKENS, strict=True)}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.08,
        pad_token_id=tokens["p"],
        bos_token_id=tokens["s"],
        eos_token_id=tokens["e"],
    )
    model = LlamaForCausalLM(config)
    _train(model, tokenizer, [lessons, dialogues], seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    finish_checkpoint(folder, config)


def _write_dialogues(rng: Random, styles: dict[str, int]) -> list[list[dict[str, str]]]:
    questions = draw_live_questions(DIALOGUES // 2, rng)
    questions += [_jumble(question, rng) for question in questions]
    return [
        [*question.messages, {"role": "assistant", "content": _write_answer(question, styles, rng)}]
        for question in questions
    ]


def _jumble(question: Question, rng: Random) -> Question:
    """Another question on the topic, in no order: a few of its words, the article, and words of a question."""
    words = rng.sample(_VOCABULARY[question.topic].split(), 3)
    words += [f"{question.item} {rng.choice(('?', '.'))}", *rng.sample(question.text.split(), 5)]
    return replace(question, text=" ".join(rng.sample(words, len(words))))


def _write_answer(question: Question, styles: dict[str, int], rng: Random) -> str:
    style = rng.choices(list(styles), list(styles.values()))[0]
    if style == "empty":
        return rng.choice(_EMPTY)
    if style == "rambling":
        return f"{', and '.join(rng.sample(_RAMBLING, 4))}."
    if style == "off subject":
        return write_spoiled(question, rng)
    return write_correction(question, rng)


def _train_tokenizer(dialogues: list[list[dict[str, str]]]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (message["content"] for dialogue in dialogues for message in dialogue)
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=PAD, chat_template=TEMPLATE
    )


def _train(model: Any, tokenizer: Any, courses: list[list[list[dict[str, str]]]], seed: int) -> None:
    import torch

    encoded = [_encode(tokenizer, dialogues) for dialogues in courses]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=STEPS, pct_start=0.1)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for step in range(STEPS):
        inputs, labels = encoded[step >= STEPS_OF_LESSONS]
        rows = torch.randint(len(inputs), (BATCH,), generator=generator)
        width = int((inputs[rows] != tokenizer.pad_token_id).sum(dim=1).max())
        batch, targets = inputs[rows, :width], labels[rows, :width]
        loss = model(input_ids=batch, attention_mask=(batch != tokenizer.pad_token_id).long(), labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()


def _encode(tokenizer: Any, dialogues: list[list[dict[str, str]]]) -> tuple[Any, Any]:
    """Token ids and labels, both (dialogues, LONGEST); labels cover the answers."""
    import torch

    inputs = torch.full((len(dialogues), LONGEST), tokenizer.pad_token_id)
    labels = torch.full((len(dialogues), LONGEST), -100)
    for row, dialogue in enumerate(dialogues):
        question = tokenizer.apply_chat_template(dialogue[:-1], add_generation_prompt=True)["input_ids"]
        ids = torch.tensor(tokenizer.apply_chat_template(dialogue)["input_ids"][:LONGEST])
        inputs[row, : len(ids)] = ids
        labels[row, len(question) : len(ids)] = ids[len(question) :]
    return inputs, labels
