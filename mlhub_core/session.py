"""The session of a hub under the name that the reference client has for it."""

from typing import TypedDict

from mlhub_core.net.session import ANONYMOUS_PROFILE, Session, get_session

__all__ = ["ANONYMOUS_PROFILE", "Login", "Session", "get_session"]


class Login(TypedDict, total=False):
    """Where the API key comes from, as :func:`get_session` takes it."""

    api_key: str | None
    """The key itself."""
    profile: str | None
    """The name of the profile that has it."""


def given_or_known(given: Login, known: Login) -> Login:
    """What was given; where that is nothing, what was known before."""
    return {
        "api_key": given.get("api_key") or known.get("api_key"),
        "profile": given.get("profile") or known.get("profile"),
    }
