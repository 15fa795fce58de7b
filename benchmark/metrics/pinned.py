"""Published weights that metrics use and that do not ship with the package."""

from __future__ import annotations

from baselines.weights import Pinned

VGG16 = Pinned(
    eraser="vgg16",
    file_name="vgg16-397923af.pth",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    size=553_433_881,
    license="BSD-3-Clause",
)
"""torchvision's VGG16 for ImageNet, for `lpips-vgg` and `dists`."""

INCEPTION = Pinned(
    eraser="fid-inception",
    file_name="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    size=95_628_359,
    license="Apache-2.0",
)
"""The Inception of the FID paper, converted from TensorFlow by the authors of pytorch-fid."""

IMAGENET_INCEPTION = Pinned(
    eraser="imagenet-inception",
    file_name="inception_v3_google-0cc3c7bd.pth",
    url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
    sha256="0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef",
    size=108_949_747,
    license="BSD-3-Clause",
)
"""torchvision's Inception for ImageNet, for `legacy:attentive-fid`."""
