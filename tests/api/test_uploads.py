"""A form's file on disk: one copy while it is read, none once it is closed."""

from __future__ import annotations

import io

import pytest
from starlette.datastructures import UploadFile

from shared.api.uploads import FileOfForm
from shared.errors import Cancelled


def test_a_file_is_copied_once_and_not_after_it_was_closed():
    file = FileOfForm(UploadFile(io.BytesIO(b"RIFF"), size=4, filename="talk.WAV"))
    path = file.path()
    assert path.read_bytes() == b"RIFF" and path.suffix == ".wav" and file.path() == path
    file.close()
    assert not path.parent.exists()
    with pytest.raises(Cancelled):  # work that begins as its client leaves
        file.path()
    assert not path.parent.exists()
