"""A checkpoint of another architecture is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rgt_cli.checkpoints.foreign import foreign_architecture
from rgt_cli.checkpoints.load import load_network
from rgt_cli.errors import CheckpointError
from tests.helpers.checkpoints import OFFICIAL
from tests.helpers.odd_checkpoints import good

GROUP = "layers.0.residual_group."
SWIN = ["conv_first.weight", GROUP + "blocks.0.norm1.weight", GROUP + "blocks.0.mlp.fc1.bias"]
RRDB = ["conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_last.weight"]
DAT = ["conv_first.weight", "before_RG.1.weight", "layers.0.blocks.0.attn.attns.0.rpe_biases"]
NAMES = {
    "ESRGAN or Real-ESRGAN (RRDBNet)": RRDB,
    "ESRGAN or Real-ESRGAN (RRDBNet) old": ["model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"],
    "ESRGAN or Real-ESRGAN (RRDBNet) trunk": ["conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight"],
    "MM-RealSR": [*RRDB, "am_list.0.fc.0.weight"],
    "SPSR": ["model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight", "b_fea_conv.0.weight"],
    "Real-ESRGAN compact (SRVGG)": ["body.0.bias", "body.0.weight", "body.1.weight", "body.2.bias"],
    "SwinIR": [*SWIN, GROUP + "blocks.0.attn.relative_position_bias_table"],
    "Swin2SR": [*SWIN, "patch_embed.proj.weight", GROUP + "blocks.0.attn.logit_scale"],
    "SRFormer": [*SWIN, GROUP + "blocks.0.attn.relative_position_bias_table",
                 GROUP + "blocks.0.attn.aligned_relative_position_index"],
    "HAT": [*SWIN, GROUP + "blocks.0.attn.relative_position_bias_table",
            GROUP + "overlap_attn.relative_position_bias_table"],
    "DAT": [*DAT, "layers.0.blocks.0.ffn.sg.norm.weight",
            "layers.0.blocks.0.attn.channel_interaction.1.weight"],
    "CAT": [*DAT, "layers.0.blocks.0.attn.get_v.weight", "layers.0.blocks.0.mlp.fc1.weight"],
    "DRCT": ["conv_first.weight", "layers.0.swin1.attn.relative_position_bias_table"],
    "ATD": ["conv_first.weight", GROUP + "layers.0.attn_atd.scale",
            GROUP + "layers.0.attn_win.relative_position_bias_table"],
    "CRAFT": ["conv_first.weight", GROUP + "hf_blocks.0.attn.temperature"],
    "MambaIR": ["conv_first.weight", GROUP + "blocks.0.self_attention.A_logs"],
    "GRL": ["conv_first.weight", "layers.0.blocks.0.attn.window_attn.attn_transform.logit_scale"],
    "OmniSR": ["input.weight", "residual_layer.0.residual_layer.0.layer.0.fn.0.weight", "up.0.weight"],
    "SPAN": ["conv_1.sk.weight", "block_1.c1_r.sk.weight", "conv_cat.weight"],
    "PLKSR or RealPLKSR": ["feats.0.weight", "feats.1.lk.conv.weight", "feats.1.channe_mixer.0.weight"],
    "MAN": ["head.weight", "body.0.body.0.LKA.LKA7.0.weight"],
    "SAFMN": ["to_feat.weight", "feats.0.safm.mfr.0.weight"],
    "SeemoRe": ["conv_1.weight", "body.0.local_block.norm_1.weight"],
    "MoSR": ["gblocks.0.weight", "gblocks.1.norm.weight"],
    "MoESR": ["in_to_dim.weight", "blocks.0.blocks.0.gamma"],
    "FDAT": ["conv_first.weight", "groups.0.blocks.0.inter.cg.1.weight"],
    "RCAN": ["head.0.weight", "body.0.body.0.body.3.conv_du.0.weight", "tail.1.weight"],
    "RCAN of BasicSR": ["conv_first.weight", "body.0.residual_group.0.rcab.0.weight"],
    "EDSR": ["head.0.weight", "tail.0.0.weight", "body.0.body.0.weight"],
    "EDSR of BasicSR": ["conv_after_body.weight", "conv_first.weight", "body.0.conv1.weight"],
    "SRResNet": ["conv_first.weight", "body.0.conv1.weight", "upconv1.weight"],
    "Real-CUGAN": ["unet1.conv1.conv.0.weight", "unet1.conv_bottom.weight"],
    "GFPGAN": ["toRGB.0.weight", "stylegan_decoder.style_mlp.1.weight"],
    "CodeFormer": ["position_emb", "idx_pred_layer.1.weight", "quantize.embedding.weight"],
    "NAFNet": ["intro.weight", "middle_blks.0.beta"],
    "Restormer": ["patch_embed.proj.weight", "encoder_level1.0.attn.temperature"],
    "SCUNet": ["m_head.0.weight", "m_down1.0.trans_block.ln1.weight"],
    "FBCNN": ["m_head.weight", "m_down1.0.res.0.weight", "qf_pred.0.res.0.weight"],
    "DRUNet": ["m_head.weight", "m_down1.0.res.0.weight"],
    "Stable Diffusion": ["model.diffusion_model.input_blocks.0.0.weight"],
    "a LoRA": ["lora_unet_down_blocks_0.lora_down.weight"],
    "a language model": ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"],
    "a discriminator, which only training needs": ["conv0.weight", "conv1.weight_orig"],
}  # fmt: skip
"""Architecture, perhaps with a remark -> names of some of its tensors."""


@pytest.mark.parametrize("name", NAMES)
def test_other_architectures_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "other.safetensors"
    save_file({key: torch.zeros(1) for key in NAMES[name]}, path)
    with pytest.raises(CheckpointError) as caught:
        load_network(path)
    message = str(caught.value).removeprefix(f"{path}: contains ")
    found, _, rest = message.partition("; ")
    assert rest == "rgt loads RGT and RGT-S only"
    architecture = found.removesuffix(", another architecture")
    assert name.startswith(architecture)
    assert (architecture == found) == found.startswith("a ")


@pytest.mark.parametrize("content", [{"params_ema": 0}, {"params": 0, "step": 5}, {"state_dict": 0}])
def test_wrapped_and_mixed_contents_are_named_too(tmp_path: Path, content: dict[str, object]) -> None:
    path = tmp_path / "other.pth"
    state = {f"module.{key}": torch.zeros(1) for key in NAMES["HAT"]} | {"module.note": "text"}
    torch.save({key: state if value == 0 else value for key, value in content.items()}, path)
    with pytest.raises(CheckpointError, match="contains HAT, another architecture; rgt loads RGT and"):
        load_network(path)


@pytest.mark.parametrize("name", OFFICIAL)
def test_published_checkpoints_are_not_foreign(name: str) -> None:
    assert foreign_architecture(OFFICIAL[name]) is None


def test_a_damaged_rgt_is_not_taken_for_another_architecture() -> None:
    for missing in good():
        assert foreign_architecture(key for key in good() if key != missing) is None
    assert foreign_architecture(["weight"]) is None
    assert foreign_architecture([]) is None


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n", "not a checkpoint, but an image: -m names a model"),
        (b"\xff\xd8\xff\xe0", "not a checkpoint, but an image: -m names a model"),
        (b"<!DOCTYPE html>", "not a checkpoint, but a web page: download the file again"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, start: bytes, reason: str) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(start + bytes(100))
    with pytest.raises(CheckpointError, match=reason):
        load_network(path)
