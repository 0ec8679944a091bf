"""Asks the application for user and password, once for each connect."""

from __future__ import annotations

from .errors import ConfigError, ConnectError, SeqCacheError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import Config

    Credentials = tuple[str | None, str | None]


def ask(config: Config) -> Credentials:
    """Return (user or None, password or None) for the next connect.

    Raises ConnectError if the callable fails (its error is the cause), ConfigError
    if it returns anything else than such a pair.
    """
    if config.credentials is None:
        return config.username, config.password
    import inspect  # ten milliseconds for those who need it

    try:
        answer = config.credentials()
    except SeqCacheError:
        raise
    except Exception as error:
        raise _no_credentials(config, error) from error
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise ConfigError(
            "credentials is a coroutine function: the blocking face cannot await it",
            option="credentials",
        )
    return _credentials(answer)


async def ask_asyncio(config: Config) -> Credentials:
    """Do as `ask`; a plain callable runs in a thread, a coroutine is awaited."""
    call = config.credentials
    if call is None:
        return config.username, config.password
    import asyncio
    import inspect

    try:
        if inspect.iscoroutinefunction(call):
            answer = await call()
        else:
            answer = await asyncio.to_thread(call)  # it may ask a vault, or a disk
            if inspect.isawaitable(answer):
                answer = await answer
    except SeqCacheError:
        raise
    except Exception as error:
        raise _no_credentials(config, error) from error
    return _credentials(answer)


def _credentials(answer: object) -> Credentials:
    if isinstance(answer, tuple | list) and len(answer) == 2:
        user, password = answer
        if isinstance(password, str) and isinstance(user, str | None):
            return user or None, password
    raise ConfigError(
        "credentials must return (user or None, password), both str",
        option="credentials",
    )


def _no_credentials(config: Config, error: Exception) -> ConnectError:
    # Its text is the application's own and may hold anything: it is chained only.
    return ConnectError(
        f"{config.address}: the credentials callable raised {type(error).__name__}"
    )
