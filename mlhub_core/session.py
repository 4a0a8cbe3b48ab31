"""The session of a hub under the name that the reference client has for it."""

from mlhub_core.net.session import ANONYMOUS_PROFILE, Session, get_session

__all__ = ["ANONYMOUS_PROFILE", "Session", "get_session"]
