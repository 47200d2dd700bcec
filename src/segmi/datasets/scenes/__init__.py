"""Two generated datasets: images with exact masks that need no download and are equal on every machine."""

from segmi.datasets.scenes.object_scenes import ObjectScenes
from segmi.datasets.scenes.street_scenes import StreetScenes

__all__ = ["ObjectScenes", "StreetScenes"]
