"""What decides a large model's memory and time: its shape, experts included; and shapes of published models."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A decoder with grouped queries and SwiGLU, whose feed-forward part may be a mixture of experts."""

    layers: int
    hidden: int
    intermediate: int
    """Of the feed-forward part; of a mixture, of its dense layers."""
    query: int
    """Width of all queries together."""
    key_value: int
    """Width of the keys, and of the values."""
    vocabulary: int
    experts: int = 0
    """In each mixture; 0: the model has none."""
    experts_per_token: int = 0
    shared_experts: int = 0
    """Which every token goes through."""
    expert_intermediate: int = 0
    dense_layers: int = 0
    """Of a mixture's layers, those without experts."""
    tied: bool = False
    """Whether the output's matrix is the embedding."""
    attention_weights: int | None = None
    """Of a layer, where it is not the four matrices that the widths say (DeepSeek's latent attention)."""

    @property
    def mixture_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def expert_weights(self) -> int:
        """Weights in all experts that are chosen among."""
        return self.mixture_layers * self.experts * self._expert

    @property
    def other_weights(self) -> int:
        """All weights but those: attention, dense and shared feed-forward parts, routers, embeddings."""
        attention = self.attention_weights or 2 * self.hidden * (self.query + self.key_value)
        dense = (self.layers - self.mixture_layers) * 3 * self.hidden * self.intermediate
        mixtures = self.mixture_layers * (self.shared_experts * self._expert + self.hidden * self.experts)
        embeddings = (1 if self.tied else 2) * self.vocabulary * self.hidden
        return self.layers * attention + dense + mixtures + embeddings

    @property
    def weights(self) -> int:
        """All weights: what memory and checkpoints are made of."""
        return self.other_weights + self.expert_weights

    @property
    def active_weights(self) -> int:
        """Weights that a token meets: what its arithmetic is made of. The embedding is looked up, not multiplied."""
        chosen = self.mixture_layers * self.experts_per_token * self._expert
        looked_up = 0 if self.tied else self.vocabulary * self.hidden
        return self.other_weights - looked_up + chosen

    @property
    def largest_layer(self) -> int:
        """Weights of the largest layer: what a divided model puts together at a time."""
        attention = self.attention_weights or 2 * self.hidden * (self.query + self.key_value)
        mixture = (self.experts + self.shared_experts) * self._expert
        return attention + (mixture if self.experts else 3 * self.hidden * self.intermediate)

    @property
    def layer_outputs(self) -> float:
        """Numbers that autograd keeps of a layer for each token, as `memory._estimate_activations` counts them."""
        feed_forward = 4 * self.intermediate
        if self.experts:
            through = self.experts_per_token + self.shared_experts
            feed_forward = through * (4 * self.expert_intermediate + 2 * self.hidden)  # and copies, sent and received
        return 7 * self.hidden + 2 * self.query + 3 * self.key_value + feed_forward

    @property
    def _expert(self) -> int:
        return 3 * self.hidden * self.expert_intermediate

    def count_lora(self, r: int) -> int:
        """Count an adapter's weights on attention and feed-forward part; each expert has one of its own."""
        h, q, kv = self.hidden, self.query, self.key_value
        attention = self.layers * 2 * (2 * h + q + kv)
        dense = (self.layers - self.mixture_layers) * 3 * (h + self.intermediate)
        experts = self.mixture_layers * (self.experts + self.shared_experts) * 3 * (h + self.expert_intermediate)
        return r * (attention + dense + experts)


SHAPES = {
    "llama-8b": Shape(layers=32, hidden=4096, intermediate=14_336, query=4096, key_value=1024, vocabulary=128_256),
    "llama-70b": Shape(layers=80, hidden=8192, intermediate=28_672, query=8192, key_value=1024, vocabulary=128_256),
    "llama-405b": Shape(
        layers=126, hidden=16_384, intermediate=53_248, query=16_384, key_value=1024, vocabulary=128_256
    ),
    "mixtral-8x7b": Shape(
        layers=32, hidden=4096, intermediate=0, query=4096, key_value=1024, vocabulary=32_000, experts=8,
        experts_per_token=2, expert_intermediate=14_336,
    ),
    "qwen3-30b-a3b": Shape(
        layers=48, hidden=2048, intermediate=6144, query=4096, key_value=512, vocabulary=151_936, experts=128,
        experts_per_token=8, expert_intermediate=768,
    ),
    "qwen3-235b-a22b": Shape(
        layers=94, hidden=4096, intermediate=12_288, query=8192, key_value=512, vocabulary=151_936, experts=128,
        experts_per_token=8, expert_intermediate=1536,
    ),
    "gpt-oss-120b": Shape(
        layers=36, hidden=2880, intermediate=2880, query=4096, key_value=512, vocabulary=201_088, experts=128,
        experts_per_token=4, expert_intermediate=2880,
    ),
    "deepseek-v3": Shape(
        layers=61, hidden=7168, intermediate=18_432, query=20_480, key_value=512, vocabulary=129_280, experts=256,
        experts_per_token=8, shared_experts=1, expert_intermediate=2048, dense_layers=3, attention_weights=187_105_280,
    ),
}  # fmt: skip
"""Published models by name."""
