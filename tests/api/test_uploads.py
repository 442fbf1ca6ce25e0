"""A form's file on disk: one copy while it is read, none once it is closed."""

from __future__ import annotations

import io

import pytest
from starlette.datastructures import UploadFile

from shared.api.uploads import FileOfForm
from shared.errors import Cancelled


def test_a_file_is_copied_once_and_not_after_it_was_closed():
    file = FileOfForm(UploadFile(io.BytesIO(b"RIFF"), size=4, filename="talk.WAV"))
    with file.used() as path:
        assert path.read_bytes() == b"RIFF" and path.suffix == ".wav"
    with file.used() as again:
        assert again == path
        file.close()  # the client left: what reads the file still finds it
        assert path.read_bytes() == b"RIFF"
    assert not path.parent.exists()
    with pytest.raises(Cancelled), file.used():  # work that begins as its client leaves
        pass
    assert not path.parent.exists()


def test_a_file_that_nobody_used_is_closed():
    upload = UploadFile(io.BytesIO(b"RIFF"), size=4, filename="talk.WAV")
    file = FileOfForm(upload)
    file.close()
    file.close()
    assert upload.file.closed
