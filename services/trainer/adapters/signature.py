"""What a candidate takes and gives, where MLflow looks for it."""

from pathlib import Path


def save_signature(candidate: Path) -> None:
    """Leave an `MLmodel` file: chat messages in, text out. It names no flavour, for model servers load the files."""
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Object, Property, Schema

    message = Object([Property("role", DataType.string), Property("content", DataType.string)])
    signature = ModelSignature(
        inputs=Schema([ColSpec(Array(message), "messages")]), outputs=Schema([ColSpec(DataType.string, "content")])
    )
    Model(artifact_path="model", signature=signature).save(candidate / "MLmodel")
