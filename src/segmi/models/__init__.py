"""Networks by name (the paper's U-Net, torchvision, segmentation_models_pytorch) and inference with them."""

from segmi.models.adapters import list_encoders
from segmi.models.catalog import MODELS, Architecture, build_network, get_architecture, list_models
from segmi.models.inference import InferenceConfig, forward_padded, predict_labels
from segmi.models.layer_outputs import block_names, layer_names
from segmi.models.network import BuiltModule, Normalization, SegmentationNetwork
from segmi.models.unet import UNet

__all__ = [
    "MODELS", "Architecture", "BuiltModule", "InferenceConfig", "Normalization", "SegmentationNetwork", "UNet",
    "block_names", "build_network", "forward_padded", "get_architecture", "layer_names", "list_encoders", "list_models",
    "predict_labels",
]  # fmt: skip
