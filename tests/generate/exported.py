"""A folder with an exported tiny model and a byte tokenizer, as `RUN/model` is."""

import pytest
import torch

from weft.data import ByteTokenizer
from weft.model import Decoder, preset


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "exported"
    torch.manual_seed(0)
    Decoder(preset("nano-d4-tiny").model).save(folder)
    ByteTokenizer().save(folder)
    return folder
