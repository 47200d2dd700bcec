"""The gallery of the page: the same images for every method, as files beside it and as rows that it sorts."""

from __future__ import annotations

from segmi.report.images.folder import gallery_data, unreadable_layers, write_gallery
from segmi.report.images.rows import ImageRow, ImageSet, image_set

__all__ = ["ImageRow", "ImageSet", "gallery_data", "image_set", "unreadable_layers", "write_gallery"]
