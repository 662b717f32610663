"""Name the architecture of a checkpoint that is not an RGT, by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable

_RGT = r"layers\.\d+\.blocks\.\d+\.(gamma$|mlp\.sg\.)"
"""A tensor that only RGT has."""
_GROUP = r"layers\.0\.residual_group\."
_SIGNATURES: tuple[tuple[str, *tuple[str, ...]], ...] = (
    # Transformers. The special ones come before those that they build on.
    ("HAT", _GROUP + r"overlap_attn\."),
    ("DRCT", r"layers\.0\.swin1\."),
    ("ATD", _GROUP + r"layers\.0\.attn_atd\."),
    ("CRAFT", _GROUP + r"hf_blocks\."),
    ("MambaIR", _GROUP + r"blocks\.0\.self_attention\.A_logs$"),
    ("MambaIRv2", _GROUP + r"layers\.0\.assm\."),
    ("SRFormer", _GROUP + r"blocks\.0\.(mlp\.dwconv\.|attn\.aligned_relative_position_index$)"),
    ("Swin2SR", _GROUP + r"blocks\.0\.attn\.logit_scale$"),
    ("SwinIR", _GROUP + r"blocks\.0\.attn\.relative_position_bias_table$"),
    ("GRL", r"(model\.)?layers\.0\.blocks\.0\.attn\.window_attn\."),
    ("DAT", r"layers\.0\.blocks\.0\.attn\.channel_interaction\."),
    ("CAT", r"before_RG\.1\.weight$", r"layers\.0\.blocks\.0\.attn\.get_v\."),
    ("OmniSR", r"residual_layer\.0\.residual_layer\.0\.layer\.0\."),
    ("DITN", r"UFONE\.0\.ITLs\."),
    ("DCTLSA", r"B1\.body\.0\.transformer_body\."),
    ("FDAT", r"groups\.0\.blocks\.0\.inter\.cg\."),
    ("FFTformer", r"encoder_level1\.0\.ffn\.fft$"),
    ("Restormer", r"encoder_level1\.0\.attn\.temperature$"),
    ("Uformer", r"encoderlayer_0\.blocks\."),
    ("IPT", r"head\.0\.1\.body\.0\.weight$", r"body\.encoder\.layers\.0\."),
    ("SCUNet", r"m_down1\.0\.trans_block\."),
    # Convolutional networks.
    ("MM-RealSR", r"am_list\.0\.fc\."),
    ("SPSR", r"b_fea_conv\."),
    (
        "ESRGAN or Real-ESRGAN (RRDBNet)",
        r"(body\.0\.rdb1|RRDB_trunk\.0\.RDB1|model\.1\.sub\.0\.RDB1)\.conv1\.",
    ),
    ("SPAN", r"block_1\.c1_r\.(sk|eval_conv)\."),
    ("PLKSR or RealPLKSR", r"feats\.1\.(lk|refine)\."),
    ("MAN", r"body\.0\.body\.0\.LKA\."),
    ("SAFMN", r"feats\.0\.(layers\.0\.)?safm\."),
    ("SeemoRe", r"body\.0\.local_block\."),
    ("MoSR", r"gblocks\.0\.weight$"),
    ("MoESR", r"in_to_dim\.weight$", r"blocks\.0\.blocks\.0\.gamma$"),
    ("RCAN", r"body\.0\.(residual_group\.0\.rcab\.|body\.0\.body\.3\.conv_du\.)"),
    ("EDSR", r"body\.0\.body\.0\.weight$", r"tail\.0\.0\.weight$"),
    ("EDSR", r"body\.0\.conv1\.weight$", r"conv_after_body\.weight$"),
    ("SRResNet", r"body\.0\.conv1\.weight$", r"upconv1\.weight$"),
    ("PAN", r"SCPA_trunk\.0\."),
    ("Swift-SRGAN", r"initial\.cnn\.depthwise\."),
    ("Real-CUGAN", r"unet1\.conv_bottom\."),
    ("KBNet", r"encoders\.0\.0\.attgamma$"),
    ("NAFNet", r"middle_blks\.0\.beta$"),
    ("FBCNN", r"qf_pred\.0\."),
    ("DRUNet", r"m_down1\.0\.res\."),
    ("LaMa", r"(model|generator)\.model\.1\.bn_l\."),
    ("BasicVSR", r"spynet\.basic_module\."),
    # Networks for faces, and other generators.
    ("GFPGAN", r"stylegan_decoder\."),
    ("CodeFormer", r"idx_pred_layer\."),
    ("RestoreFormer", r"quantize\.embedding\.weight$", r"encoder\.down\.0\.block\.0\."),
    ("AuraSR", r"mid_attn\.layers\.0\.0\.to_out\."),
    ("Stable Diffusion", r"(model\.diffusion_model|first_stage_model)\."),
    # Other models that users may have.
    ("a LoRA", r".*\.lora[._](down|up|A|B)\.weight$"),
    (
        "a language model",
        r"(model\.)?layers\.0\.self_attn\.q_proj\.|(transformer\.)?h\.0\.attn\.c_attn\.",
    ),
    ("a discriminator, which only training needs", r"conv1\.weight_orig$|conv0_0\.weight$"),
)
"""Architecture, and patterns that the names of its tensors must begin with: each one that of another."""
_COMPACT = r"body\.\d+\.(weight|bias)"
"""The names of all tensors of the compact Real-ESRGAN."""


def foreign_architecture(keys: Iterable[str]) -> str | None:
    """Return what a checkpoint contains instead of an RGT, in words. None if its names do not reveal it.

    Args:
        keys: The names of its tensors, without prefixes.
    """
    names = list(keys)
    text = "\n".join(names)

    def has(pattern: str) -> bool:
        return re.search(rf"^(?:{pattern})", text, re.MULTILINE) is not None

    if has(_RGT):
        return None
    for name, *patterns in _SIGNATURES:
        if all(map(has, patterns)):
            return name if name.startswith("a ") else f"{name}, another architecture"
    if "body.1.weight" in names and all(re.fullmatch(_COMPACT, name) for name in names):
        return "Real-ESRGAN compact (SRVGG), another architecture"
    return None
