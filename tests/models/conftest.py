import pytest
import torch

# What makes each architecture small enough for a test, and the side of images it can take.
SMALLEST = {
    "unet": {"width": 4},
    "smp_unet": {"decoder_channels": [16, 8, 8, 8, 8]},
    "smp_unetplusplus": {"decoder_channels": [16, 8, 8, 8, 8]},
    "smp_manet": {"decoder_channels": [16, 8, 8, 8, 8], "decoder_pab_channels": 8},
    "smp_fpn": {"decoder_pyramid_channels": 16, "decoder_segmentation_channels": 32},
    "smp_pspnet": {"psp_out_channels": 16},
    "smp_deeplabv3": {"decoder_channels": 16},
    "smp_deeplabv3plus": {"decoder_channels": 16},
    "smp_upernet": {"decoder_channels": 16},
    "smp_segformer": {"decoder_segmentation_channels": 16},
    "smp_dpt": {
        "encoder": "tu-vit_tiny_patch16_224",
        "decoder_intermediate_channels": [8, 8, 8, 8],
        "decoder_fusion_channels": 8,
    },
}
SIDE = {"smp_pan": 128}  # its pooling pyramid halves a map of 1/16 three times


@pytest.fixture(autouse=True)
def _one_thread_and_one_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def smallest():
    """The arguments of ``build_network`` that make an architecture small, and a side of images that it takes."""

    def arguments(name):
        encoder = {"encoder": "tu-mobilenetv3_small_050"} if name.startswith("smp_") else {}
        return {"architecture": name, **encoder, **SMALLEST.get(name, {})}, SIDE.get(name, 64)

    return arguments
