"""MONAI Label's own authentication, by tokens of a Keycloak realm, as the installed PyJWT takes them."""

from __future__ import annotations

from typing import Annotated, Any

import jwt
import requests
from fastapi import Depends, HTTPException
from monailabel.config import settings
from monailabel.endpoints.user import auth

ALGORITHMS = ["RS256", "RS384", "RS512"]  # those of a public key alone: a token must not choose "none" or a password


def current_user(token: Annotated[str, Depends(auth.oauth2_scheme)]) -> auth.User:
    """Who asks, in place of MONAI Label's function.

    That one names no algorithm, so PyJWT refuses every token; and it fetches the realm's key in the event loop.

    Args:
        token: of the request.

    Returns:
        The user with the roles that the realm gives.

    Raises:
        HTTPException: 401 where the token is not valid, 503 where the realm does not tell its key.
    """
    try:
        key = auth.get_public_key(settings.MONAI_LABEL_AUTH_REALM_URI)
    except (requests.RequestException, KeyError, ValueError) as error:
        line = f"the realm {settings.MONAI_LABEL_AUTH_REALM_URI} does not tell its key ({type(error).__name__})"
        raise HTTPException(503, f"{line}; see that it runs and MONAI_LABEL_AUTH_REALM_URI is right") from error
    try:
        content = jwt.decode(token, key, algorithms=ALGORITHMS, options={"verify_aud": False, "require": ["exp"]})
        return auth.User(
            username=content[settings.MONAI_LABEL_AUTH_TOKEN_USERNAME],
            email=content.get(settings.MONAI_LABEL_AUTH_TOKEN_EMAIL),
            name=content.get(settings.MONAI_LABEL_AUTH_TOKEN_NAME),
            roles=_roles(content),
        )
    except (jwt.PyJWTError, KeyError, ValueError) as error:
        line = f"the token is not valid ({' '.join(str(error).split())[:200]}); log in again"
        raise HTTPException(401, line, {"WWW-Authenticate": "Bearer"}) from error


def _roles(content: dict[str, Any]) -> list[str]:
    """Of a token's content; none where it has none at the place that the settings name."""
    part: Any = content
    for name in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        part = part.get(name) if isinstance(part, dict) else None
    return part if isinstance(part, list) else []
