"""What can go wrong with a local stack. Every message says what happened, why, and what to do or where to look."""


class StackFailed(RuntimeError):
    """The stack did not come up, or cannot do what was asked."""


class PostgresCannotRun(StackFailed):
    """Postgres refuses to run as root, and there is no other user to run it as; or its cluster cannot be made."""


class SupervisorFailed(StackFailed):
    """supervisord did not come up, or does not stop."""


class PreparationFailed(StackFailed):
    """A step between the servers and the services did not work."""
