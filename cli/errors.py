"""Expected failures end with one message and status 1, not with a traceback."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from kafka.errors import KafkaError
from sqlalchemy.exc import OperationalError

from local.errors import StackFailed
from shared.errors import HeliotropeError


@contextmanager
def clear_errors(tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """End with status 1 and the message on the error output; `tell` takes it too, for whoever reads it as data."""
    try:
        yield
    except (StackFailed, ValueError) as error:
        message = str(error)
    except HeliotropeError as error:
        message = error.detail
    except OperationalError as error:
        message = f"the database does not answer: {str(error.orig).strip()}"
    except KafkaError as error:
        message = f"Kafka says: {str(error) or type(error).__name__}"
    except KeyboardInterrupt:
        message = "interrupted"
    except Exception as error:
        if not _is_of_librdkafka(error):
            raise
        message = f"Kafka says: {error.args[0].str()}"
    else:
        return
    sys.stderr.write(f"heliotrope: {message}\n")
    if tell is not None:
        tell(message)
    raise typer.Exit(1)


def _is_of_librdkafka(error: Exception) -> bool:
    """Say whether it is an error of a client that only some installations have."""
    library = sys.modules.get("confluent_kafka")
    return library is not None and isinstance(error, library.KafkaException)
