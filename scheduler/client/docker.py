"""Digests of Docker images: what ``{{docker.image[NAME][TAG]}}`` stands for.

Asked for at the cluster's registry, so that a job names the very image and not a tag that moves. Source:
``aurora/client/docker/docker_client.py``; Docker Registry HTTP API V2.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from scheduler.client.clusters import DOCKER_REGISTRY, Cluster
from scheduler.client.errors import InvalidConfiguration
from thermos.config import Binder

#: What kinds of manifest are understood; without this a registry answers with the digest of an old form.
_ACCEPT: Final = "application/vnd.docker.distribution.manifest.v2+json"
_TIMEOUTS_S: Final = (10.0, 30.0)
_REFERENCE: Final = re.compile(r"docker\.image\[([^\[\]]+)\]\[([^\[\]]+)\]")
_DIGEST: Final = re.compile(r"[a-z0-9+._-]+:[0-9a-f]{32,}")
_CHALLENGE: Final = re.compile(r'([a-z]+)="([^"]*)"')


def image_binder(cluster: Cluster) -> Binder:
    """Gives ``docker.image[NAME][TAG]`` its value, NAME@DIGEST, as the registry of *cluster* knows it."""
    known: dict[str, str] = {}

    def bind(address: str) -> str | None:
        found = _REFERENCE.fullmatch(address)
        if found is None:
            return None
        if address not in known:
            known[address] = resolve(cluster.get("docker_registry", DOCKER_REGISTRY) or "", found[1], found[2])
        return known[address]

    return bind


def any_image(address: str) -> str | None:
    """Gives ``docker.image[NAME][TAG]`` the value NAME:TAG, without asking: where the image does not matter."""
    found = _REFERENCE.fullmatch(address)
    return f"{found[1]}:{found[2]}" if found is not None else None


def resolve(registry: str, name: str, tag: str) -> str:
    """*name* with the digest that *tag* stands for, and with the registry's host where it is not Docker's own.

    Raises:
        InvalidConfiguration: the registry does not answer, or has no such image.
    """
    base = registry.rstrip("/")
    host = urlsplit(base).netloc
    if not host:
        raise InvalidConfiguration(f"docker_registry '{registry}' is no URL: write https://HOST")
    try:
        with requests.Session() as session:
            session.trust_env = False  # credentials of ~/.netrc are for the scheduler; private registries need others
            reply = _head(session, f"{base}/v2/", "")
            if reply.headers.get("Docker-Distribution-Api-Version") != "registry/2.0":
                raise InvalidConfiguration(f"{base} is no Docker registry of version 2 (HTTP {reply.status_code})")
            digest = _digest(session, base, name, tag)
    except requests.RequestException as error:
        raise InvalidConfiguration(f"image {name}:{tag}: no answer from the registry {base}: {_words(error)}") from None
    return f"{name if base == DOCKER_REGISTRY else f'{host}/{name}'}@{digest}"


def _digest(session: requests.Session, base: str, name: str, tag: str) -> str:
    url = f"{base}/v2/{name}/manifests/{tag}"
    reply = _head(session, url, "")
    if reply.status_code == 401:
        reply = _head(session, url, _token(session, reply, f"image {name}:{tag}"))
    digest = reply.headers.get("Docker-Content-Digest", "")
    if reply.status_code == 404:
        raise InvalidConfiguration(f"image {name}:{tag}: {base} has no such image or tag")
    if reply.status_code in (401, 403):
        raise InvalidConfiguration(
            f"image {name}:{tag}: {base} gives it only to those it knows, which is not possible here"
        )
    if reply.status_code != 200 or not _DIGEST.fullmatch(digest):
        raise InvalidConfiguration(f"image {name}:{tag}: {base} gives no digest (HTTP {reply.status_code})")
    return digest


def _head(session: requests.Session, url: str, token: str) -> requests.Response:
    headers = {"Accept": _ACCEPT} | ({"Authorization": f"Bearer {token}"} if token else {})
    return session.head(url, headers=headers, timeout=_TIMEOUTS_S, allow_redirects=True)


def _token(session: requests.Session, reply: requests.Response, image: str) -> str:
    """What the registry's own token service gives to anybody."""
    scheme, _, rest = reply.headers.get("WWW-Authenticate", "").partition(" ")
    fields = dict(_CHALLENGE.findall(rest))
    realm = fields.pop("realm", "")
    if scheme.lower() != "bearer" or not realm.startswith(("http://", "https://")):
        raise InvalidConfiguration(f"{image}: the registry asks for a password, which is not possible here")
    answer = session.get(realm, params=fields, timeout=_TIMEOUTS_S)
    try:
        body: Any = answer.json()
        token = body.get("token") or body.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if answer.status_code != 200 or not isinstance(token, str):
        raise InvalidConfiguration(f"{image}: {realm} gives no token (HTTP {answer.status_code})")
    return token


def _words(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "it takes too long"
    if isinstance(error, requests.ConnectionError):
        return "it cannot be reached"
    return str(error)
