from shared.link.fetch import (
    Caption,
    LinkInfo,
    Part,
    Video,
    download,
    download_archive,
    human_captions,
    look,
    parse_link,
)
from shared.link.reasons import link_error

__all__ = ["Caption", "LinkInfo", "Part", "Video", "download", "download_archive", "human_captions", "link_error",
           "look", "parse_link"]
