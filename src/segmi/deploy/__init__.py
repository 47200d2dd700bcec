"""Finished models: bundles on disk, networks from bundles, label maps from pictures."""

from segmi.deploy.bundle import load, save_bundle
from segmi.deploy.files import Prediction, predict_files, predictions
from segmi.deploy.picture import predict, predict_picture, predict_pictures

__all__ = [
    "Prediction",
    "load",
    "predict",
    "predict_files",
    "predict_picture",
    "predict_pictures",
    "predictions",
    "save_bundle",
]
