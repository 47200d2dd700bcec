"""Two generated datasets: images with exact masks that need no download, the same on every machine."""

from segmi.datasets.scenes.objects import ObjectScenes
from segmi.datasets.scenes.street import StreetScenes

__all__ = ["ObjectScenes", "StreetScenes"]
