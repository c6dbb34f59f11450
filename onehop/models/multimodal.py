"""Images and text in one body: small modality nets before a Transformer that does not know what it reads.

Kaiser et al. 2017, "One Model To Learn Them All": nets turn each kind of input into vectors of one width, and one body
does the rest. Patches become vectors as in Dosovitskiy et al. 2020: pixels, one linear map, positions. The decoder
reads an image through the same cross-attention as a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from onehop.errors import ConfigError
from onehop.models.registry import build
from onehop.models.transformer import Transformer, TransformerState
from onehop.nn.interfaces import Memory, Source


class Multimodal(nn.Module):
    """A Transformer that reads tokens, or features of images, and writes tokens; see `build_multimodal`.

    It is an `onehop.nn.Encoder` and `onehop.nn.Decoder`: the loop, search, states, packing and `record_attention` work
    as they do for text. `Source.features` decides which net reads.

    Args:
        body: Encoder and decoder, with the embedding and output of tokens.
        image: From features `(B, S, F)` to vectors `(B, S, D)`.
    """

    def __init__(self, body: Transformer, image: nn.Linear) -> None:
        super().__init__()
        self.body, self.image = body, image

    @property
    def output(self) -> nn.Linear:
        """The last linear map of `logits`."""
        return self.body.output

    def encode(self, source: Source) -> Memory:
        """Read `source.features (B, S, F)` if there are some, else `source.tokens (B, S)`."""
        if source.features is None:
            return self.body.encode(source)
        if source.features.size(2) != self.image.in_features:
            raise ConfigError(
                f"patches of {source.features.size(2)} numbers for a model that reads {self.image.in_features}",
                "Cut the image as the model was built for.",
                "features",
            )
        return self.body.contextualize(self.image(source.features), source)

    def start(self, memory: Memory) -> TransformerState:
        """See `onehop.nn.Decoder`."""
        return self.body.start(memory)

    def decode(
        self, tokens: Tensor, state: Any, lengths: Tensor | None = None, segments: Tensor | None = None
    ) -> tuple[Tensor, TransformerState]:
        """See `onehop.nn.Decoder`."""
        return self.body.decode(tokens, state, lengths, segments)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return scores over the tokens, not normalised."""
        return self.body.logits(hidden)

    def sizes(self) -> dict[str, int]:
        """Return the numbers learned by each modality net and by the body they share, tied ones once."""
        nets = {
            "text: embedding and output": [self.body.source_embedding, self.body.target_embedding, self.body.output],
            "image: patches": [self.image],
        }
        counted: set[int] = set()
        found: dict[str, int] = {}
        for name, modules in [*nets.items(), ("shared body", [self])]:
            fresh = {id(p): p.numel() for module in modules for p in module.parameters() if id(p) not in counted}
            counted |= fresh.keys()
            found[name] = sum(fresh.values())
        return found


def patches(images: Tensor, size: int) -> Tensor:
    """Cut images `(B, Y, X)` into squares: `(B, S, size * size)`, from left to right, and in a column from the top.

    So what stands to the right of a narrow image in a wider batch comes last, as padding must: a width of `X` pixels
    has `(Y // size) * (X // size)` patches.

    Args:
        images: Brightness of each pixel.
        size: Side of a patch, a divisor of Y and X.

    Raises:
        ConfigError: It is no divisor, or the images have another number of axes.

    Example:
        >>> patches(torch.arange(8).view(1, 2, 4), 2)
        tensor([[[0, 1, 4, 5],
                 [2, 3, 6, 7]]])
    """
    if images.dim() != 3:
        shape = f"images of the shape {tuple(images.shape)}"
        raise ConfigError(shape, "Give (images, rows, columns): one number for each pixel.", "images")
    height, width = images.shape[1:]
    if size < 1 or height % size or width % size:
        raise ConfigError(
            f"patches of {size} pixels do not cover an image of {height} x {width}",
            "Use a size that divides both, or pad the image.",
            "size",
        )
    cut = images.unflatten(2, (-1, size)).unflatten(1, (-1, size))  # (B, Y, y, X, x)
    return cut.permute(0, 3, 1, 2, 4).flatten(3).flatten(1, 2)


def build_multimodal(settings: Mapping[str, Any], vocab_size: int, num_features: int) -> Multimodal:
    """Build a model of images and text with fresh weights, drawn from torch's global generator.

    Args:
        settings: Of the Transformer that is the body, as in a recipe's `[model]` table.
        vocab_size: Tokens that are read and written.
        num_features: Numbers of a patch.

    Raises:
        ConfigError: An unknown key, or settings that do not fit together.

    Example:
        >>> model = build_multimodal({"preset": "transformer-tiny"}, vocab_size=40, num_features=16)
        >>> image = onehop.nn.Source.of_features(patches(torch.rand(2, 8, 24), 4))
        >>> model.encode(image).states.shape
        torch.Size([2, 12, 128])
        >>> model.sizes()
        {'text: embedding and output': 5120, 'image: patches': 2176, 'shared body': 1318912}
    """
    body = build("transformer", settings, vocab_size)
    image = nn.Linear(num_features, body.output.in_features)
    nn.init.xavier_uniform_(image.weight)
    nn.init.zeros_(image.bias)
    return Multimodal(body, image)
