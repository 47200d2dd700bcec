"""Finished models: bundles on disk, networks from bundles, label maps from images."""

from segmi.deploy.bundle import load, save_bundle
from segmi.deploy.files import Prediction, predict_files, predictions
from segmi.deploy.image import predict, predict_image, predict_images

__all__ = [
    "Prediction",
    "load",
    "predict",
    "predict_files",
    "predict_image",
    "predict_images",
    "predictions",
    "save_bundle",
]
