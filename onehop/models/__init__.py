"""Families of models: one file each, with configuration, build and presets; and the registry that names them."""

from onehop.models.registry import ARCHITECTURES, Architecture, architecture, build

__all__ = ["ARCHITECTURES", "Architecture", "architecture", "build"]
