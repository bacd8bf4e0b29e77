"""Every setting, read from the environment as `DARKROOM_*`; the only place that looks there.

settings = Settings()          # raises pydantic.ValidationError, one line a wrong setting
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.network import LOOPBACK, Reach
from shared.pools import CLASS_PATTERN
from shared.redis_address import RedisAddress
from shared.store_address import StoreAddress
from shared.trust import checked_ca_file, file_of_certificates, readable
from shared.tuning import Attention, Tuning, VaePrecision


def _upper(word: object) -> object:
    return word.upper() if isinstance(word, str) else word


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _origins(text: str) -> str:
    if wrong := [origin for origin in _listed(text) if not _ORIGIN.fullmatch(origin)]:
        raise ValueError(
            f"{', '.join(wrong)}: an origin is written https://host or https://host:port, nothing behind it"
        )
    return text


def _networks(text: str) -> str:
    Reach.of(_listed(text))
    return text


def _redis_url(url: SecretStr) -> SecretStr:
    for name, file in RedisAddress.of(url.get_secret_value()).files.items():
        readable(name, Path(file))
    return url


def _store(endpoint: str | None) -> str | None:
    StoreAddress.of(endpoint or "")
    return endpoint


def _ca_file(path: Path | None) -> Path | None:
    return path and checked_ca_file(path)


def _file_of(word: object) -> object:
    return (file_of_certificates(word) or word) if isinstance(word, str) else word


def _unless_empty(path: object) -> object:
    return path or None


def _said(key: SecretStr | None) -> str:
    return key.get_secret_value() if key else ""


def wrong_settings(error: ValidationError) -> str:
    """Say which settings are wrong, one line each, by the names that they have in the environment."""
    return "\n".join(f"DARKROOM_{one['loc'][0]}".upper() + f": {one['msg']}" for one in error.errors())


def keep_compiled_code(folder: Path) -> None:
    """Let torch's compiler keep its code in `folder`, ours alone, unless TORCHINDUCTOR_CACHE_DIR says where.

    Torch reads that variable and has no other way to be told; Triton's code goes in there too. Whoever can write
    to the folder decides what the worker runs. Raises OSError if it isn't ours.
    """
    if _COMPILED_CODE in os.environ:
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    os.environ[_COMPILED_CODE] = str(folder)


SHORTEST_KEY: Final = 16
"""Characters of a key in the settings: those of 16 random ones can't be guessed."""

_NEW_KEYS: Final = (
    "`make secrets` writes new ones into .env, or take `python3 -c 'import secrets; print(secrets.token_hex(24))'`."
)
_HEADER: Final = re.compile(r"[!#-'*+\-.0-9A-Z^-z|~]+[ \t]*=[ !#-+\--:<-\[\]-~]*")
"""One of OpenTelemetry's list, as its SDK reads it (`opentelemetry.util.re`, 1.45)."""
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
"""As browsers write it: in small letters, and a port only where it is not the scheme's own."""
_PREFIX: Final = r"^(/[A-Za-z0-9._~-]+)*$"
_COMPILED_CODE: Final = "TORCHINDUCTOR_CACHE_DIR"

LogFormat = Literal["text", "json"]
_Place = Annotated[Path | None, BeforeValidator(_unless_empty)]
"""A file or a folder, or none: an empty word is not the folder that one is in."""

PREFIX: Final = "DARKROOM_"
_OF_DEPLOY: Final = frozenset({"DARKROOM_DATA", "DARKROOM_WORKERS", "DARKROOM_REDIS_PASSWORD"})
"""What `make run` and docker compose read beside the settings."""


class Settings(BaseSettings):
    """Where the parts find each other, and the limits that an operator may set."""

    # What is wrong is said without what it is: it may be a password.
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] = SecretStr("redis://127.0.0.1:6379/0")
    """A URL that may carry a password: `redis://` or `rediss://` (TLS), and with sentinels `redis+sentinel://` or
    `rediss+sentinel://`. docs/operations/machines.md has each."""
    redis_replicas: int = Field(default=0, ge=0)
    """Replicas of Redis that must have what a gateway wrote before it answers: what it has acknowledged outlives the
    master. With fewer there, nothing new is accepted."""
    ca_file: Annotated[_Place, BeforeValidator(_file_of), AfterValidator(_ca_file)] = None
    """Certificates (PEM) of a CA of one's own, which Redis' and the store's may be signed by, too: a file, or in its
    place what it holds, in base64 on one line."""

    s3_endpoint: Annotated[str | None, AfterValidator(_store)] = "http://127.0.0.1:9000"
    """The object store as workers and gateway reach it; empty for AWS' own. It may carry the keys and the bucket,
    `https://KEY:SECRET@host:8334/bucket`, which then count instead of the four settings below."""
    s3_public_endpoint: str | None = None
    """The store as browsers reach it. Set: pictures are redirects to presigned URLs; unset: they
    come through the gateway."""
    s3_region: str = "us-east-1"
    s3_bucket: str = "darkroom"
    s3_access_key: SecretStr | None = None
    """With `s3_secret_key` unset too: boto3's own chain (instance role, profile)."""
    s3_secret_key: SecretStr | None = None

    model: str = "auto"
    """`auto`, a hub id or a folder. `auto`: SSD-1B where CUDA is available, else the demo model."""
    model_cache: _Place = None
    """Where downloaded models are kept, and what was measured of them; unset: the Hugging Face cache."""
    vae: str | None = None
    """Another VAE than the model's own: a folder, or a hub id with its commit."""

    # How a worker computes (`tuning`): what each is worth and does to the pixels is in docs/operators.md.
    channels_last: bool | None = None
    """Weights of convolutions with the channels innermost; unset: on CUDA, not on a CPU."""
    fused_qkv: bool = False
    """Query, key and value by one matrix product instead of three."""
    attention: Attention = Attention.AUTO
    """Torch's kernel for the UNet's attention."""
    compile: bool = False
    """Compile the UNet's transformer blocks at the start; needs a C compiler where the worker runs."""
    fp16_accumulation: bool = False
    """CUDA only: add products up in fp16."""
    tf32: bool = True
    """CUDA only: multiply fp32 numbers, which are the VAE's, with ten bits of mantissa."""
    vae_precision: VaePrecision = VaePrecision.AUTO
    """The VAE's arithmetic."""
    pool: str | None = Field(default=None, pattern=rf"^{CLASS_PATTERN}$")
    """The class of the worker's GPU, such as `l4`: small letters, digits and dashes. Workers of a model that say
    different ones wait at queues of their own. Unset: none; the model's workers share one queue."""
    presets: str = "all"
    """Which of the model's presets are offered: `all`, or names such as `quality,draft`; empty: none. One with an
    adapter needs the memory of another UNet. All workers of a model need the same."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    ui_host: str = "127.0.0.1"
    ui_port: int = Field(default=7860, ge=0, le=65535)
    ui_prefix: str = Field(default="", pattern=_PREFIX)
    """The path under which a proxy serves the page, and which it takes away: `/darkroom`. Empty: none."""
    api_url: str = "http://127.0.0.1:8000"
    """The gateway as the page reaches it."""
    styles_file: _Place = None
    """Styles that the page offers in place of its own; `ui/styles.toml` shows the form."""
    allow_open_network: bool = False
    """The word that lets the page, which whoever reaches it may use, bind another address than loopback, and lets the
    gateway serve without keys there."""
    cors_origins: Annotated[str, AfterValidator(_origins)] = ""
    """Web pages of which origins may ask the gateway from a browser: `https://a.example,https://b.example:8443`."""

    lease_s: float = Field(default=5.0, gt=0)
    """How long a worker may be silent before its jobs go to another."""
    max_attempts: int = Field(default=3, ge=1)
    pool_patience_s: float = Field(default=30.0, ge=0)
    """How long a pool may be without workers before its jobs go to another pool of their model; never to one that their
    requests ruled out by naming a class."""
    hung_step_s: float = Field(default=120.0, gt=0)
    """A worker whose engine makes no progress for so long stops renewing its leases."""
    max_batch: int = Field(default=8, ge=1, le=8)
    """Pictures that a worker draws at once, at most: as many as it finds worth it. In company a picture's bytes may
    differ in a few pixels; one that is asked to be deterministic is drawn alone."""
    drain_s: float = Field(default=3.0, ge=0)
    """On SIGTERM a worker ends what takes at most so long, and hands the rest to the others."""
    preview_s: float = Field(default=0.3, ge=0)
    """Between two previews of a running job. 0: none are made, and its readers see steps alone."""
    state_file: _Place = None
    """Where a worker writes with each heartbeat that it is `warming`, `ready` or `draining`, for probes that ask no
    Redis: the file's age tells whether it lives. Unset: nowhere."""
    store_patience_s: float = Field(default=60.0, ge=0)
    """How long a worker holds finished pictures while the object store is away; then their jobs wait again."""
    spool: _Place = None
    """Where they are held: each worker makes a folder of its own in there. Unset: the system's temporary folder."""
    spool_mb: int = Field(default=1024, ge=0)
    """Most megabytes of them a worker; what has no room waits in memory, eight pictures at most."""
    max_waiting: int = Field(default=10_000, ge=1)
    """Waiting jobs in all; one more is refused with 429."""
    max_tenant_waiting: int = Field(default=5_000, ge=1)
    """Waiting jobs of one tenant; one more is refused with 429."""
    max_tenant_running: int = Field(default=0, ge=0)
    """Jobs of one tenant that run at once; the others wait though workers are free. 0: any number."""
    max_job_cost: int = Field(default=2_000_000, ge=1)
    """What one job may cost at most: thousands of pixels times steps, twice with guidance, over all pictures."""
    bulk_percent: int = Field(default=20, ge=1, le=99)
    """The part of the work that the bulk lane gets while both lanes wait."""
    reuse_results: bool = True
    """Give a job the pictures of a tenant's other with the same model, parameters and seed; a job may opt out."""
    max_requests_per_minute: int = Field(default=3000, ge=0)
    """Of a tenant with keys, and of each visitor; one more is refused with 429. 0: any number. Who needs no key is not
    counted, nor are this file's keys, unless a limit is set for their tenant."""
    max_held: int = Field(default=10_000, ge=1)
    """Answers that a gateway holds open at once: streams of events, reads that wait, calls in a dialect; one more is
    refused with 429. Fewer if the system allows it fewer open files."""
    max_tenant_held: int = Field(default=2_000, ge=1)
    """Of those, one tenant's."""
    keep_finished_s: int = Field(default=30 * 24 * 3600, ge=180)
    """How long an ended job and its pictures are kept: longer than a canceled job's worker may still be uploading."""
    require_keys: bool = False
    """Ask for a key on loopback too. Elsewhere the gateway always does, unless `allow_open_network` says otherwise."""
    operator_key: SecretStr | None = None
    """A key with every scope, by which the first keys are made. Empty: none."""
    page_key: SecretStr | None = None
    """The page's key, the same for gateway and page: it asks for pictures, for itself and its visitors. Empty: none."""
    watch_key: SecretStr | None = None
    """The key of what measures and scales the fleet: it opens figures, nobody's jobs. Empty: none."""
    visitor_secret: SecretStr | None = None
    """Signs the cookies by which the page knows its visitors again. Empty: the page's key does."""

    webhook_networks: Annotated[str, AfterValidator(_networks)] = ""
    """Networks to which webhooks may be sent beside public addresses, such as `10.1.0.0/16,fd00:1::/64`; there also by
    plain http. None: whoever may name a webhook could else reach what only this machine can."""
    webhook_timeout_s: float = Field(default=15.0, gt=0, le=60)
    """How long a receiver may take to answer."""
    webhook_dead_after_s: int = Field(default=5 * 24 * 3600, ge=60)
    """A webhook whose receiver has taken nothing for so long is switched off."""

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = "INFO"
    """In capitals or not."""
    log_format: LogFormat = "text"
    """A line an event: `text` for people, `json` for what collects logs."""

    trust_traceparent: bool = False
    """Let callers decide which of their requests are traced, and go on with their traces (`traceparent`). Else a trace
    begins here, and links to theirs."""

    @model_validator(mode="before")
    @classmethod
    def _open_the_store(cls, given: dict[str, object]) -> dict[str, object]:
        endpoint = given.get("s3_endpoint")
        try:
            address = StoreAddress.of(endpoint) if isinstance(endpoint, str) else None
        except ValueError:
            return given  # the field says so, by its name
        return {**given, **address.settings} if address else given

    @property
    def redis_address(self) -> RedisAddress:
        """Where Redis is."""
        return RedisAddress.of(self.redis_url.get_secret_value())

    @property
    def webhook_reach(self) -> Reach:
        """Where webhooks may be sent."""
        return Reach.of(_listed(self.webhook_networks))

    @property
    def tuning(self) -> Tuning:
        """How a worker shall compute."""
        return Tuning.model_validate({name: getattr(self, name) for name in Tuning.model_fields})

    @property
    def allowed_origins(self) -> frozenset[str]:
        """Whose web pages may ask the gateway."""
        return frozenset(_listed(self.cors_origins))

    @property
    def needs_keys(self) -> bool:
        """True if the gateway serves nobody without a key."""
        return self.require_keys or not (self.api_host in LOOPBACK or self.allow_open_network)

    @property
    def cookie_secret(self) -> str | None:
        """What signs the cookies of the page's visitors; None if nothing is kept that could."""
        if secret := _said(self.visitor_secret):
            return secret
        key = _said(self.page_key)
        return hmac.new(key.encode(), b"visitors", hashlib.sha256).hexdigest() if key else None

    def keyless_refusal(self) -> str | None:
        """Say why the gateway must not start with the keys that it has; None if it may."""
        keys = [key for key in map(_said, (self.operator_key, self.page_key, self.watch_key)) if key]
        named = "DARKROOM_OPERATOR_KEY, DARKROOM_PAGE_KEY and DARKROOM_WATCH_KEY"
        if any(len(key) < SHORTEST_KEY for key in keys):
            return f"{named} need {SHORTEST_KEY} characters or more: {_NEW_KEYS}"
        if len(keys) != len(set(keys)):
            return f"{named} open different doors, and two of them are the same: {_NEW_KEYS}"
        draws = _said(self.operator_key) or _said(self.page_key)  # by the third alone nobody could ask for a picture
        if draws or not self.needs_keys:
            return None
        first = f"and there is none to make the first one with. Set DARKROOM_OPERATOR_KEY: {_NEW_KEYS}"
        if self.require_keys:
            return f"DARKROOM_REQUIRE_KEYS=true asks for keys, {first}"
        return (
            f"DARKROOM_API_HOST={self.api_host} asks for keys, {first} Or, where the network is trusted, say "
            "DARKROOM_ALLOW_OPEN_NETWORK=true, and everyone who reaches this machine is served without any key."
        )

    def open_network_refusal(self, host: str, variable: str) -> str | None:
        """Say why a server without keys must not bind `host`, which `variable` set; None if it may."""
        if host in LOOPBACK or self.allow_open_network:
            return None
        return (
            f"{variable}={host} would serve everyone who reaches this machine, without any key. "
            "Set DARKROOM_ALLOW_OPEN_NETWORK=true if that network is trusted, or keep 127.0.0.1."
        )


class ClientSettings(BaseSettings):
    """What the `darkroom` command takes from the environment. What is empty is unset."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    api_url: str = "http://127.0.0.1:8000"
    """The gateway."""
    api_key: SecretStr | None = None
    """Who asks. Never a word of the command line, where everybody on the machine can read it."""
    api_key_file: Path | None = None
    """A file with the key in it, instead."""


class Telemetry(BaseSettings):
    """Whether traces are sent, in OpenTelemetry's own variables. Its SDK reads the rest. What is empty is unset."""

    # Never said: an endpoint may carry a password.
    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    otel_exporter_otlp_endpoint: str | None = None
    """Where a receiver of OTLP over HTTP is, `http://collector:4318`; traces go to `/v1/traces` there."""
    otel_exporter_otlp_traces_endpoint: str | None = None
    """The same for traces alone, with its path."""
    otel_exporter_otlp_headers: SecretStr | None = None
    """What opens it, `Authorization=Basic%20...`."""
    otel_exporter_otlp_traces_headers: SecretStr | None = None
    otel_exporter_otlp_protocol: str = "http/protobuf"
    otel_exporter_otlp_traces_protocol: str | None = None
    otel_traces_exporter: str = "otlp"
    """`none`: nothing is sent."""
    otel_sdk_disabled: str = "false"

    @property
    def is_wanted(self) -> bool:
        """True if traces are to be sent."""
        is_off = self.otel_sdk_disabled.strip().lower() == "true" or self.otel_traces_exporter.strip() == "none"
        return not is_off and self._endpoint is not None

    @property
    def trouble(self) -> str:
        """Say why traces can't be sent as these variables ask; empty if they can."""
        protocol = self.otel_exporter_otlp_traces_protocol or self.otel_exporter_otlp_protocol
        if protocol.strip() != "http/protobuf":
            where = "a collector listens for OTLP over HTTP on port 4318"
            return f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not spoken here. Say http/protobuf; {where}."
        if self.otel_traces_exporter.strip() != "otlp":
            return f"OTEL_TRACES_EXPORTER={self.otel_traces_exporter} is not known here. Say otlp, or none."
        if not (self._endpoint or "").startswith(("http://", "https://")):
            return "OTEL_EXPORTER_OTLP_ENDPOINT is no address such as http://collector:4318."
        headers = self.otel_exporter_otlp_traces_headers or self.otel_exporter_otlp_headers
        if headers is not None and not _are_headers(headers.get_secret_value()):
            form = "Say name=value,name=value, and in a value %20 for a space, %2C for a comma"
            return f"OTEL_EXPORTER_OTLP_HEADERS, which is not shown here, is no list of headers. {form}."
        return ""

    @property
    def _endpoint(self) -> str | None:
        return self.otel_exporter_otlp_traces_endpoint or self.otel_exporter_otlp_endpoint


def _are_headers(said: str) -> bool:
    """Tell whether the SDK can read and send them; it would quote what it can't in the log."""
    return all(
        _HEADER.fullmatch(one) and unquote(one).isascii() and unquote(one).isprintable()
        for one in map(str.strip, said.split(","))
        if one
    )


class Terminal(BaseSettings):
    """What terminals say of themselves; no setting of ours, so without our prefix."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    term: str = ""
    term_program: str = ""
    lc_terminal: str = ""
    kitty_window_id: str = ""


def unknown_settings() -> dict[str, str | None]:
    """Name what the environment sets as `DARKROOM_*` and nothing here reads, each with the nearest name that is."""
    known = {f"{PREFIX}{name}".upper() for kind in (Settings, ClientSettings) for name in kind.model_fields}
    known |= _OF_DEPLOY
    strange = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: next(iter(get_close_matches(name.upper(), sorted(known), 1)), None) for name in strange}
