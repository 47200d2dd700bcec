"""Bundles of trained networks on disk, and prediction with them."""

from segmi.deploy.bundle import load, save_bundle
from segmi.deploy.predict_files import Prediction, iter_predictions, predict_files
from segmi.deploy.prediction import predict, predict_images

__all__ = ["Prediction", "iter_predictions", "load", "predict", "predict_files", "predict_images", "save_bundle"]
