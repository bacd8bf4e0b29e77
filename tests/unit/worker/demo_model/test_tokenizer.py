# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""The tokenizer's files and what they make of texts."""

import json
import random
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from worker.demo_model.captions import caption, every_wording
from worker.demo_model.scene import training_scene
from worker.demo_model.tokenizer import END, read_tokenizer, write_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, every_wording(), pad_token=END)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> CLIPTokenizer:
    return read_tokenizer(folder)


def test_the_folder_has_the_classic_two_files(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    expected = {"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"}
    assert names == expected


def test_every_word_of_a_caption_is_one_token(tokenizer: CLIPTokenizer) -> None:
    rng = random.Random(1)
    for _ in range(300):
        text = caption(training_scene((128, 128), rng, pairs=0.4), rng)
        tokens = tokenizer.tokenize(text)
        assert all(token.endswith("</w>") for token in tokens), text
        assert len(tokens) == len(text.replace(",", " ,").split())


def test_an_unknown_word_falls_into_letters(tokenizer: CLIPTokenizer) -> None:
    assert len(tokenizer.tokenize("zebra")) > 1
    assert tokenizer.tokenize("RED") == ["red</w>"]


def test_texts_are_marked_padded_and_cut_to_77(tokenizer: CLIPTokenizer) -> None:
    texts = ["a red circle", "red " * 200]
    ids = tokenizer(texts, padding="max_length", max_length=77, truncation=True).input_ids
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert [len(row) for row in ids] == [77, 77]
    assert ids[0][0] == ids[1][0] == start
    assert ids[0][4] == ids[1][76] == end


def test_the_vocabulary_depends_on_the_words_alone(folder: Path, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, reversed(every_wording()), pad_token=END)
    first = json.loads((folder / "vocab.json").read_text())
    assert json.loads((tmp_path / "vocab.json").read_text()) == first
