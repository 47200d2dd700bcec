"""Networks by name: the paper's U-Net, torchvision's and segmentation_models_pytorch's, behind one contract."""

from segmi.models.catalog import MODELS, Architecture, architecture_named, build_network, list_models
from segmi.models.label_maps import predict_label_tiles, predict_labels
from segmi.models.layers import blocks, layer_names
from segmi.models.network import Parts, SegmentationNetwork, Statistics, forward_padded
from segmi.models.sliding_window import Tile, blended_tiles
from segmi.models.smp_models import encoders as list_encoders
from segmi.models.unet import UNet

__all__ = [
    "MODELS",
    "Architecture",
    "Parts",
    "SegmentationNetwork",
    "Statistics",
    "Tile",
    "UNet",
    "architecture_named",
    "blended_tiles",
    "blocks",
    "build_network",
    "forward_padded",
    "layer_names",
    "list_encoders",
    "list_models",
    "predict_label_tiles",
    "predict_labels",
]
