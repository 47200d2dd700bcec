"""Decoded images on the disk: each file is decoded and resized once, and mapped into memory from then on."""

from __future__ import annotations

from segmi.datasets.cache.build import check_room, prepared, size
from segmi.datasets.cache.content import IMAGES, LABELS, Content, content_of
from segmi.datasets.cache.place import Entry, cache_folder, clear, entries
from segmi.datasets.cache.store import DamagedError, Store

__all__ = [
    "IMAGES",
    "LABELS",
    "Content",
    "DamagedError",
    "Entry",
    "Store",
    "cache_folder",
    "check_room",
    "clear",
    "content_of",
    "entries",
    "prepared",
    "size",
]
