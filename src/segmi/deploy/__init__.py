"""Finished models: bundles on disk, networks from bundles, label maps from pictures."""

from segmi.deploy.bundle import load, save_bundle
from segmi.deploy.picture import predict_picture
from segmi.deploy.predict import predict_files

__all__ = ["load", "predict_files", "predict_picture", "save_bundle"]
