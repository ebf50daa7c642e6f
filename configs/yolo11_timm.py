"""YOLO11n with a ConvNeXt (arXiv:2201.03545) of timm as the backbone; any pyramid of timm fits: model.backbone.name=resnet18.

Needs `pip install "detkit[timm]"`; init.backbone=timm loads the weights that timm publishes, for images normalised as here.
"""

from detkit.backbones.timm_backbone import TimmBackbone
from detkit.experiment import Experiment
from detkit.recipes import yolo_recipe
from detkit.zoo import yolo11

backbone = TimmBackbone(name="convnext_atto")
model = yolo11("n", backbone=backbone, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
config = Experiment(model=model, recipe=yolo_recipe())
