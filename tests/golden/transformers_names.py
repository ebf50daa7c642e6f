"""The names that Hugging Face's transformers gives to RT-DETR's tensors, turned into the publisher's."""

import re

import torch

RULES = (
    (r"^model\.", ""),
    # backbone
    (r"^backbone\.model\.embedder\.embedder\.(\d)", lambda found: f"backbone.conv1.conv1_{int(found[1]) + 1}"),
    (r"^backbone\.model\.encoder\.stages\.(\d+)\.layers\.", r"backbone.res_layers.\1.blocks."),
    (r"\.shortcut\.1\.", ".short.conv."),
    (r"\.shortcut\.", ".short."),
    (r"\.layer\.(\d)\.", lambda found: f".branch2{'abc'[int(found[1])]}."),
    (r"\.convolution\.", ".conv."),
    (r"\.normalization\.", ".norm."),
    # encoder
    (r"^encoder_input_proj\.", "encoder.input_proj."),
    (r"^encoder\.aifi\.", "encoder.encoder."),
    (r"^(encoder.*)\.final_layer_norm\.", r"\1.norm2."),
    # decoder
    (r"^decoder_input_proj\.(\d)\.0\.", r"decoder.input_proj.\1.conv."),
    (r"^decoder_input_proj\.(\d)\.1\.", r"decoder.input_proj.\1.norm."),
    (r"^(denoising_class_embed|enc_output|enc_score_head|enc_bbox_head)\.", r"decoder.\1."),
    (r"^decoder\.layers\.", "decoder.decoder.layers."),
    (r"^decoder\.class_embed\.", "decoder.dec_score_head."),
    (r"^decoder\.bbox_embed\.", "decoder.dec_bbox_head."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\bn_points_scale$", "num_points_scale"),
    (r"\.encoder_attn_layer_norm\.", ".norm2."),
    (r"\.final_layer_norm\.", ".norm3."),
    # of both
    (r"\.self_attn_layer_norm\.", ".norm1."),
    (r"\.self_attn\.o_proj\.", ".self_attn.out_proj."),
    (r"\.(?:mlp\.)?fc([12])\.", r".linear\1."),
)


def official(state):
    """Return ``state`` under the publisher's names, in which queries, keys and values are one projection."""
    renamed = {renamed_one(name): value for name, value in state.items() if name.startswith("model.")}
    for name in [name for name in renamed if ".self_attn.q_proj." in name]:
        parts = [renamed.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        renamed[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    return renamed


def renamed_one(name):
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name
