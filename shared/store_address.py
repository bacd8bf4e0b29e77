"""An address of the object store that carries its keys, as DARKROOM_S3_ENDPOINT may be one. Connects to nothing.

    https://ACCESS_KEY:SECRET_KEY@store.example.net:8334/bucket
    https://ACCESS_KEY:SECRET_KEY@s3.eu-central-1.amazonaws.com/bucket?region=eu-central-1

No message of this module repeats what it was given: there are keys in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

_WHOLE: Final = "https://ACCESS_KEY:SECRET_KEY@store.example.net:8334/bucket"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """An endpoint, and what opens it."""

    endpoint: str
    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str | None = None

    @classmethod
    def of(cls, url: str) -> Self | None:
        """Read a URL; None of one without keys. Raises ValueError, with a sentence that has nothing of it."""
        try:
            split = urlsplit(url)
            _ = split.port
        except ValueError:
            raise ValueError("it is no URL: a / in a key is written %2F, a + may stay") from None
        if "@" not in url:
            return None
        if split.scheme not in {"https", "http"} or "@" not in split.netloc or not split.hostname:
            raise ValueError(f"with keys in it, it is written {_WHOLE}. A / in a key is written %2F, an @ %40")
        login, _, host = split.netloc.rpartition("@")
        access_key, _, secret_key = login.partition(":")
        if not (access_key and secret_key):
            raise ValueError(f"it has one key of two: {_WHOLE}")
        path, _, bucket = split.path.rstrip("/").rpartition("/")
        if not bucket:
            raise ValueError(f"behind the host goes the bucket: {_WHOLE}")
        asked = dict(parse_qsl(split.query))
        if asked.keys() - {"region"} or split.fragment:
            raise ValueError("behind the bucket goes ?region=... and nothing else")
        endpoint = f"{split.scheme}://{host}{path}"
        return cls(endpoint, unquote(bucket), unquote(access_key), unquote(secret_key), asked.get("region"))

    @property
    def settings(self) -> dict[str, str]:
        """Say the same as settings, by their names."""
        region = {"s3_region": self.region} if self.region else {}
        keys = {"s3_access_key": self.access_key, "s3_secret_key": self.secret_key}
        return {"s3_endpoint": self.endpoint, "s3_bucket": self.bucket, **keys, **region}
