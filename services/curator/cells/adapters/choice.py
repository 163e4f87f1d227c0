"""Which embedder the settings ask for."""

from services.curator.cells.adapters.endpoint import EndpointEmbedder
from services.curator.cells.adapters.sentence_transformer import SentenceTransformerEmbedder
from services.curator.cells.adapters.universal_sentence_encoder import UniversalSentenceEncoder
from services.curator.cells.ports import Embedder
from services.curator.config.settings import CuratorSettings


def open_embedder(settings: CuratorSettings) -> Embedder:
    """Open an endpoint, a model in a folder, or the encoder that needs neither; nothing is loaded yet."""
    if settings.embedder_url:
        key = settings.embedder_api_key
        return EndpointEmbedder(settings.embedder_url, settings.embedder_model, key.get_secret_value() if key else None)
    if settings.embedder_folder:
        return SentenceTransformerEmbedder(settings.embedder_folder)
    return UniversalSentenceEncoder()
