"""Decoded images on disk: each file is decoded and resized once, and mapped into memory by every later run."""

from __future__ import annotations

from segmi.datasets.cache.cache_folder import EntryInfo, cache_folder, clear, entries, entry_info
from segmi.datasets.cache.identity import IMAGES, LABELS, EntryKey, entry_key
from segmi.datasets.cache.preparation import check_disk_space, format_bytes, prepare
from segmi.datasets.cache.store import DamagedError, Store

__all__ = [
    "IMAGES",
    "LABELS",
    "DamagedError",
    "EntryInfo",
    "EntryKey",
    "Store",
    "cache_folder",
    "check_disk_space",
    "clear",
    "entries",
    "entry_info",
    "entry_key",
    "format_bytes",
    "prepare",
]
