"""Finished models: bundles on disk, networks from bundles, label maps from pictures."""

from segmi.deploy.bundle import load, save_bundle
from segmi.deploy.picture import predict_picture, predict_pictures
from segmi.deploy.predict import Prediction, predict_files, predictions

__all__ = ["Prediction", "load", "predict_files", "predict_picture", "predict_pictures", "predictions", "save_bundle"]
