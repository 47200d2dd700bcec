"""Decoded pictures on the disk: each file is decoded and resized once, and mapped into memory from then on."""

from __future__ import annotations

from segmi.data.cache.build import check_room, prepared, size
from segmi.data.cache.content import LABELS, PICTURES, Content, content_of
from segmi.data.cache.place import Entry, cache_folder, clear, entries
from segmi.data.cache.store import DamagedError, Store

__all__ = [
    "LABELS",
    "PICTURES",
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
