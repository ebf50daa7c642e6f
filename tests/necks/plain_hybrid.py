"""RT-DETR's encoder once more, step by step and with its publisher's names, to compare with."""

import math

import torch
from torch import nn
from torch.nn import functional as F


class ConvBN(nn.Module):
    def __init__(self, inputs, outputs, kernel_size=1, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


class Unit(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = ConvBN(channels, channels, 3), ConvBN(channels, channels)

    def forward(self, x):
        return F.silu(self.conv1(x) + self.conv2(x))


class Fusion(nn.Module):
    def __init__(self, width, hidden, depth):
        super().__init__()
        self.conv1, self.conv2 = ConvBN(2 * width, hidden), ConvBN(2 * width, hidden)
        self.bottlenecks = nn.ModuleList(Unit(hidden) for _ in range(depth))
        if hidden != width:
            self.conv3 = ConvBN(hidden, width)

    def forward(self, x):
        main = F.silu(self.conv1(x))
        for unit in self.bottlenecks:
            main = unit(main)
        summed = main + F.silu(self.conv2(x))
        return F.silu(self.conv3(summed)) if hasattr(self, "conv3") else summed


class Layer(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, 8, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x, code):
        x = self.norm1(x + self.self_attn(x + code, x + code, x, need_weights=False)[0])
        return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))


class Transformer(nn.Module):
    def __init__(self, width, hidden, layers):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, hidden) for _ in range(layers))

    def forward(self, x):
        batch, width, rows, columns = x.shape
        code = torch.zeros(rows * columns, width, dtype=x.dtype)
        quarter = width // 4
        for token in range(rows * columns):
            for step in range(quarter):
                for half, place in enumerate((token // rows, token % rows)):
                    angle = place / 10000 ** (step / quarter)
                    code[token, 2 * half * quarter + step] = math.sin(angle)
                    code[token, (2 * half + 1) * quarter + step] = math.cos(angle)
        tokens = x.reshape(batch, width, rows * columns).permute(0, 2, 1)
        for layer in self.layers:
            tokens = layer(tokens, code)
        return tokens.permute(0, 2, 1).reshape(x.shape)


class PlainEncoder(nn.Module):
    def __init__(self, inputs, width, expansion, hidden, layers, depth=3):
        super().__init__()
        self.input_proj = nn.ModuleList(ConvBN(channels, width) for channels in inputs)
        self.encoder = nn.ModuleList([Transformer(width, hidden, layers)])
        self.lateral_convs = nn.ModuleList(ConvBN(width, width) for _ in range(2))
        self.fpn_blocks = nn.ModuleList(Fusion(width, int(width * expansion), depth) for _ in range(2))
        self.downsample_convs = nn.ModuleList(ConvBN(width, width, 3, 2) for _ in range(2))
        self.pan_blocks = nn.ModuleList(Fusion(width, int(width * expansion), depth) for _ in range(2))

    def forward(self, maps):
        p3, p4, p5 = (project(x) for project, x in zip(self.input_proj, maps, strict=True))
        p5 = F.silu(self.lateral_convs[0](self.encoder[0](p5)))
        p4 = self.fpn_blocks[0](torch.cat((doubled(p5), p4), 1))
        p4 = F.silu(self.lateral_convs[1](p4))
        p3 = self.fpn_blocks[1](torch.cat((doubled(p4), p3), 1))
        p4 = self.pan_blocks[0](torch.cat((F.silu(self.downsample_convs[0](p3)), p4), 1))
        p5 = self.pan_blocks[1](torch.cat((F.silu(self.downsample_convs[1](p4)), p5), 1))
        return [p3, p4, p5]


def doubled(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)
