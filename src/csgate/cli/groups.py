"""What to tell a person when nurseries report their failures as a group."""

from csgate.errors import ConfigError, CsgateError


def one_reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that explains the others: our own sentence first, then what the system said, then Ctrl-C.

    The group itself comes back where nobody expected what is in it: that is a bug, and its traceback is wanted.
    """
    refused, _ = group.split(CsgateError)
    if refused is not None:
        return _first(refused)
    system, rest = group.split(OSError)
    if system is not None and rest is None:
        return _sentence(_first(system))
    stopped, rest = group.split(KeyboardInterrupt)
    return KeyboardInterrupt() if stopped is not None and rest is None else group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _sentence(error: BaseException) -> ConfigError:
    assert isinstance(error, OSError)
    where = f" '{error.filename}'" if error.filename else ""
    return ConfigError(f"The system refuses{where}: {error.strerror or error}.")
