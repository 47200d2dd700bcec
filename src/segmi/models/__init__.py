"""Networks by name: the paper's U-Net, torchvision's and segmentation_models_pytorch's, behind one contract."""

from segmi.models.catalogue import MODELS, Architecture, architecture_named, build_network, list_models
from segmi.models.label_maps import decided, decided_tiles
from segmi.models.layers import blocks, layer_names
from segmi.models.network import Parts, SegmentationNetwork, Statistics, logits_of_any_size
from segmi.models.smp_models import encoders as list_encoders
from segmi.models.unet import UNet
from segmi.models.windows import Tile, blended_tiles

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
    "decided",
    "decided_tiles",
    "layer_names",
    "list_encoders",
    "list_models",
    "logits_of_any_size",
]
