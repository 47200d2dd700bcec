"""Two generated data sets: pictures with exact masks that need no download, the same on every machine."""

from segmi.data.scenes.objects import ObjectScenes
from segmi.data.scenes.street import StreetScenes

__all__ = ["ObjectScenes", "StreetScenes"]
