"""An address of the store with its keys: as it is written, what is refused, and that no message repeats a key."""

from __future__ import annotations

import pytest

from shared.settings import Settings, wrong_settings
from shared.store_address import StoreAddress

SECRET = "a-secret-word"


def test_an_address_carries_both_keys_and_the_bucket() -> None:
    address = StoreAddress.of("https://KEY:SEC%2FRET%40@store.example:8334/pictures")

    assert address == StoreAddress("https://store.example:8334", "pictures", "KEY", "SEC/RET@")
    assert "SEC" not in repr(address)


def test_a_store_below_a_path_and_in_a_region_has_one_too() -> None:
    address = StoreAddress.of("https://K:S@[fd00::1]/storage/s3/pictures/?region=eu-central-1")

    assert address == StoreAddress("https://[fd00::1]/storage/s3", "pictures", "K", "S", "eu-central-1")


@pytest.mark.parametrize("plain", ["", "http://store:8333", "https://host.example/storage/v1/s3"])
def test_one_without_keys_is_an_endpoint_as_before(plain: str) -> None:
    assert StoreAddress.of(plain) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (f"https://{SECRET}@store.example/pictures", "one key of two"),
        (f"https://K:{SECRET}@store.example:8334/", "behind the host goes the bucket"),
        (f"s3://K:{SECRET}@store.example/pictures", "is written https://"),
        (f"https://K:{SECRET}/x@store.example/pictures", "it is no URL"),
        (f"https://store.example/K:{SECRET}@pictures", "is written https://"),
        (f"https://K:{SECRET}@store.example/pictures?reg=x", "[?]region="),
    ],
)
def test_what_is_no_such_address_is_refused_without_a_word_of_it(wrong: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        StoreAddress.of(wrong)
    assert SECRET not in str(caught.value)


def test_what_the_address_says_counts_instead_of_the_single_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_S3_ENDPOINT", f"https://K:{SECRET}@store.example:8334/pictures")
    monkeypatch.setenv("DARKROOM_S3_ACCESS_KEY", "of-make-secrets")
    monkeypatch.setenv("DARKROOM_S3_REGION", "eu-central-1")

    settings = Settings()

    assert (settings.s3_endpoint, settings.s3_bucket) == ("https://store.example:8334", "pictures")
    assert settings.s3_access_key
    assert settings.s3_secret_key
    assert settings.s3_access_key.get_secret_value() == "K"
    assert settings.s3_secret_key.get_secret_value() == SECRET
    assert settings.s3_region == "eu-central-1"
    assert SECRET not in repr(settings)


def test_a_wrong_one_is_told_by_its_setting_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_S3_ENDPOINT", f"https://{SECRET}@store.example:8334/pictures")

    with pytest.raises(ValueError, match="one key of two") as caught:
        Settings()

    said = wrong_settings(caught.value)  # pyright: ignore[reportArgumentType]: pydantic's is a ValueError
    assert said.startswith("DARKROOM_S3_ENDPOINT: ")
    assert SECRET not in said + str(caught.value)
