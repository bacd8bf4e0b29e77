"""Pictures in an S3 bucket: put, read, sign, list, delete. Knows keys and bytes, nothing of jobs.

Blocking: the gateway calls it in threads, the worker from its upload pool; one instance serves many
threads. The store keeps bytes and a media type only. Everything else about a picture stands in its
job, because some S3 servers forget metadata and overwrite an object that is tagged.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Final, NotRequired, Protocol, Self, TypedDict, cast, final
from urllib.parse import urlsplit

from boto3.session import Session  # pyright: ignore[reportMissingTypeStubs]: boto3 ships no types
from botocore import UNSIGNED  # pyright: ignore[reportMissingTypeStubs]
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]
from botocore.httpsession import get_cert_path  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from shared.errors import ImageNotFound, StoreUnavailable
from shared.network import LOOPBACK
from shared.settings import Settings
from shared.trust import bundle, tls_trouble

ATTEMPTS: Final = 3
CONNECT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 10.0
PROBE_TIMEOUT_S: Final = 2.0
POOL_SIZE: Final = 32
"""Connections kept: at least as many as threads that call at once."""
CHUNK_BYTES: Final = 256 * 1024

_SESSION_LOCK: Final = Lock()
_MISSING_BUCKET: Final = frozenset({"NoSuchBucket", "404", "NotFound"})
_MISSING_KEY: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_WRONG_KEY: Final = frozenset({"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden"})
_WRONG_REQUEST: Final = frozenset(
    {
        "AuthorizationHeaderMalformed",  # another region
        "EntityTooLarge",
        "InvalidArgument",
        "InvalidBucketName",
        "InvalidRequest",
        "MethodNotAllowed",
        "NotImplemented",
        "PermanentRedirect",
    }
)
"""Not all of 4xx: a bucket may be made again, a quota raised, a clock set, and 408, 409 and 429 pass by themselves."""

_DENIED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""rclone, asked without any signature, says 400."""


class _Body(Protocol):
    def read(self, amt: int | None = None) -> bytes: ...
    def close(self) -> None: ...


class _Found(TypedDict):
    Body: _Body
    ContentLength: NotRequired[int]


class _Listed(TypedDict):
    Key: str
    Size: int
    LastModified: datetime


class _Page(TypedDict):
    Contents: NotRequired[list[_Listed]]
    NextContinuationToken: NotRequired[str]


class _S3(Protocol):
    """The part of boto3's S3 client that is used here; boto3 makes its methods at run time."""

    def head_bucket(self, **kwargs: object) -> object: ...
    def create_bucket(self, **kwargs: object) -> object: ...
    def put_object(self, **kwargs: object) -> object: ...
    def get_object(self, **kwargs: object) -> _Found: ...
    def list_objects_v2(self, **kwargs: object) -> _Page: ...
    def delete_object(self, **kwargs: object) -> object: ...
    def generate_presigned_url(self, method: str, **kwargs: object) -> str: ...
    def close(self) -> None: ...


class _Session(Protocol):
    def client(self, service: str, **kwargs: object) -> _S3: ...


@final
@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the store lists it."""

    key: str
    num_bytes: int
    at: datetime
    """When it was stored last, by the store's clock."""


@final
@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object on its way: read it to the end or close it, else its connection stays taken."""

    num_bytes: int | None
    """What the store announced; None if it said nothing."""
    _body: _Body

    def read(self) -> bytes:
        """Read the next chunk, empty at the end; raise StoreUnavailable if the store goes away."""
        with _translated("read a picture"):
            return self._body.read(CHUNK_BYTES)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")

    def close(self) -> None:
        """Give up the connection. A second call does nothing."""
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@final
class ObjectStore:
    """One bucket. Every method raises StoreUnavailable when the store does not answer or refuses."""

    def __init__(self, *, s3: _S3, probe: _S3, public: _S3, bucket: str, region: str) -> None:
        self._s3 = s3
        self._probe = probe
        self._public = public
        self._bucket = bucket
        self._region = region

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Connect lazily: no request is sent before the first call. Takes up to half a second of CPU."""
        s3 = _connect(settings, settings.s3_endpoint, attempts=ATTEMPTS, read_timeout_s=READ_TIMEOUT_S)
        probe = _connect(settings, settings.s3_endpoint, attempts=1, read_timeout_s=PROBE_TIMEOUT_S)
        public = s3
        if settings.s3_public_endpoint:
            public = _connect(settings, settings.s3_public_endpoint, attempts=1, read_timeout_s=READ_TIMEOUT_S)
        return cls(s3=s3, probe=probe, public=public, bucket=settings.s3_bucket, region=settings.s3_region)

    @classmethod
    def of_a_stranger(cls, settings: Settings) -> Self:
        """The same bucket, where its public side is, for who has no key. Sends nothing either."""
        endpoint = settings.s3_public_endpoint or settings.s3_endpoint
        s3 = _connect(settings, endpoint, attempts=1, read_timeout_s=PROBE_TIMEOUT_S, signs=False)
        return cls(s3=s3, probe=s3, public=s3, bucket=settings.s3_bucket, region=settings.s3_region)

    def close(self) -> None:
        """Close the pooled connections."""
        for client in (self._s3, self._probe, self._public):
            client.close()

    def ensure_bucket(self) -> None:
        """Make the bucket unless it is there, without retries: an answer in some 2 s at most.

        Safe to run in several processes at once, and cheap enough to be the check of health.
        """
        if self._bucket_exists():
            return
        try:
            # The oldest region is the one that must not be named.
            where = {} if self._region == "us-east-1" else {"LocationConstraint": self._region}
            with _translated(f"create the bucket {self._bucket}"):
                self._probe.create_bucket(
                    Bucket=self._bucket, **({"CreateBucketConfiguration": where} if where else {})
                )
        except StoreUnavailable:
            # Another process may have been quicker, which servers report in several ways.
            if not self._bucket_exists():
                raise

    def _bucket_exists(self) -> bool:
        with _translated(f"reach the bucket {self._bucket}"):
            try:
                self._probe.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if _code(error) in _MISSING_BUCKET:
                    return False
                raise
            return True

    def put(self, key: str, data: bytes, media_type: str) -> None:
        """Store `data` under `key`, replacing what is there: a second attempt may repeat it."""
        with _translated("store a picture"):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=data, ContentType=media_type)

    def get(self, key: str) -> bytes:
        """Read a whole object; raise ImageNotFound if there is none."""
        with self.open(key) as found:
            return b"".join(found)

    def open(self, key: str) -> OpenObject:
        """Start to read an object, to be read in chunks; raise ImageNotFound if there is none."""
        with _translated("read a picture"):
            try:
                found = self._s3.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if _code(error) in _MISSING_KEY:
                    raise ImageNotFound("The picture is no longer in the object store.") from error
                raise
        return OpenObject(found.get("ContentLength"), found["Body"])

    def presigned_url(self, key: str, *, media_type: str, disposition: str, expires_s: int) -> str:
        """Sign a GET of `key` for whoever holds the URL, on the public endpoint. Sends nothing.

        `media_type` and `disposition` become the answer's Content-Type and Content-Disposition.
        """
        params = {
            "Bucket": self._bucket,
            "Key": key,
            "ResponseContentType": media_type,
            "ResponseContentDisposition": disposition,
        }
        with _translated("sign a picture's URL"):
            return self._public.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_s)

    def pages(self, prefix: str) -> Iterator[tuple[Stored, ...]]:
        """List the objects whose keys begin so, some hundreds at a time, in the store's order."""
        token: str | None = None
        while True:
            more = {"ContinuationToken": token} if token else {}
            with _translated("list the pictures"):
                page = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more)
            yield tuple(Stored(one["Key"], one["Size"], one["LastModified"]) for one in page.get("Contents", ()))
            token = page.get("NextContinuationToken")
            if token is None:
                return

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; a missing one is fine.

        One request a key: the bulk call needs a checksum header that not every S3 server knows.
        """
        for key in keys:
            with _translated("delete a picture"):
                self._s3.delete_object(Bucket=self._bucket, Key=key)


def _connect(
    settings: Settings, endpoint: str | None, *, attempts: int, read_timeout_s: float, signs: bool = True
) -> _S3:
    config = Config(
        signature_version="s3v4" if signs else UNSIGNED,
        s3={"addressing_style": "path"},
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        max_pool_connections=POOL_SIZE,
        # Newer checksums break several S3 servers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A proxy from the environment can't reach a store on this machine.
        proxies={} if endpoint and urlsplit(endpoint).hostname in LOOPBACK else None,
    )
    access, secret = settings.s3_access_key, settings.s3_secret_key
    with _SESSION_LOCK:
        return _session().client(
            "s3",
            endpoint_url=endpoint or None,
            region_name=settings.s3_region,
            aws_access_key_id=access.get_secret_value() if access else None,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=config,
            # boto3 takes one file, in place of the CAs that it knows.
            verify=str(bundle(_public_cas(), settings.ca_file)) if settings.ca_file else None,
        )


def _public_cas() -> Path:
    """Find the CAs that boto3 trusts by itself."""
    return Path(get_cert_path(True))


@cache
def _session() -> _Session:
    """Make boto3's session once: it reads megabytes of models. It may not make two clients at a time."""
    return cast("_Session", Session())


def is_refusal(error: StoreUnavailable) -> bool:
    """Tell whether the store refused what waiting does not mend: the key, its rights or the request are wrong."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and _code(cause) in _WRONG_KEY | _WRONG_REQUEST


def is_denial(error: StoreUnavailable) -> bool:
    """Tell whether the store answered that it does not do this for who asked; stores have many words for that."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return False
    response = cast("dict[str, dict[str, object]]", cause.response)  # pyright: ignore[reportUnknownMemberType]
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode") in _DENIED


def _code(error: ClientError) -> str:
    response = cast("dict[str, dict[str, object]]", error.response)
    return str(response.get("Error", {}).get("Code", ""))


@contextmanager
def _translated(doing: str) -> Generator[None]:
    """Turn botocore's errors into ours; `doing` completes "could not ..."."""
    try:
        yield
    except ClientError as error:
        code = _code(error)
        hint = (
            "Create it, or start the gateway or a worker: they create it."
            if code in _MISSING_BUCKET
            else "Check DARKROOM_S3_ACCESS_KEY, DARKROOM_S3_SECRET_KEY and the rights of that key."
            if code in _WRONG_KEY
            else "Try again shortly."
        )
        raise StoreUnavailable(f"The object store refused ({code}): could not {doing}. {hint}") from error
    except BotoCoreError as error:
        if trouble := tls_trouble(error):
            raise StoreUnavailable(f"The object store can't be reached safely: could not {doing}. {trouble}") from error
        raise StoreUnavailable(
            f"The object store does not answer: could not {doing}. Pictures that it holds are safe; try again shortly."
        ) from error
