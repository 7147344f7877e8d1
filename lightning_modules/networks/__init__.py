"""Networks in plain torch, one family a file."""

from .kinematics import Kinematics, KinematicUpdates
from .lenet import LeNet5, LeNet300100
from .mobilenet import MobileNetV1
from .repose import RePose
from .resnet import ResNet, ResNet18, ResNet34, ResNet50
from .resnet_cifar import CIFARResNet, ResNet20, ResNet32, ResNet44, ResNet56
from .simple_baseline import SimpleBaseline
from .vgg import VGG16, VGG16BN
from .wide_resnet import WideResNet

__all__ = [
    "VGG16",
    "VGG16BN",
    "CIFARResNet",
    "KinematicUpdates",
    "Kinematics",
    "LeNet5",
    "LeNet300100",
    "MobileNetV1",
    "RePose",
    "ResNet",
    "ResNet18",
    "ResNet20",
    "ResNet32",
    "ResNet34",
    "ResNet44",
    "ResNet50",
    "ResNet56",
    "SimpleBaseline",
    "WideResNet",
]
