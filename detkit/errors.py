"""What a user can mend: errors whose message is a sentence, not a traceback."""


class UserError(Exception):
    """Something outside the code is wrong: a config, a path, a data set, a checkpoint.

    The message says what is wrong, where, and what to write instead. The command line prints it and exits with
    status 2; ``--debug`` shows the traceback.
    """


class MissingPackage(UserError):  # noqa: N818 (it says what it is)
    """Something needs an optional package that is not installed; the message says how to install it."""
