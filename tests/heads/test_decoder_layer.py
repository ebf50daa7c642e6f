import torch

from detkit.heads.decoder_layer import DecoderLayer
from detkit.nn.deformable import PointGrid


def test_residuals_stay_within_the_range_of_float16():
    torch.manual_seed(0)
    layer = DecoderLayer(32, heads=4, feedforward=64, points=(4, 4), discrete=False).half()
    with torch.no_grad():
        for bias in (layer.attention.project.bias, layer.cross.output.bias, layer.feedforward.reduce.bias):
            bias.fill_(6e4)
    content = (1e4 * torch.randn(2, 5, 32)).half().requires_grad_()
    assert (content.amax() + 6e4).isinf()
    grid = PointGrid.of(((4, 4), (2, 2)), (8, 16), (4, 4), torch.device("cpu"))
    cells, boxes = torch.randn(2, 20, 32).half(), torch.rand(2, 5, 4)
    refined = layer(content, torch.zeros(2, 5, 32).half(), boxes, cells, grid, None)
    refined.float().square().sum().backward()
    assert refined.isfinite().all() and content.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
