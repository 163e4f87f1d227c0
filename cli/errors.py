"""Expected failures end with one message and status 1, not with a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from confluent_kafka import KafkaException
from kafka.errors import KafkaError
from sqlalchemy.exc import OperationalError

from local.errors import StackFailed
from shared.errors import HeliotropeError


@contextmanager
def clear_errors() -> Iterator[None]:
    try:
        yield
    except (StackFailed, ValueError) as error:
        message = str(error)
    except HeliotropeError as error:
        message = error.detail
    except OperationalError as error:
        message = f"the database does not answer: {str(error.orig).strip()}"
    except KafkaException as error:
        message = f"Kafka says: {error.args[0].str()}"
    except KafkaError as error:
        message = f"Kafka says: {str(error) or type(error).__name__}"
    except KeyboardInterrupt:
        message = "interrupted"
    else:
        return
    sys.stderr.write(f"heliotrope: {message}\n")
    raise typer.Exit(1)
