"""The gallery of the page: the same pictures for every method, as files beside it and as rows that it sorts."""

from __future__ import annotations

from segmi.report.pictures.folder import gallery_data, unreadable_layers, write_gallery
from segmi.report.pictures.rows import PictureRow, PictureSet, picture_set

__all__ = ["PictureRow", "PictureSet", "gallery_data", "picture_set", "unreadable_layers", "write_gallery"]
