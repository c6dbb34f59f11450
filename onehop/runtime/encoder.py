"""An encoder whose blocks run in the kernels: texts one behind the other, no time spent on padding.

What a text is embedded as, torch computes as ever: a hundredth of the work, and every family's own.
"""

from __future__ import annotations

from torch import Tensor, nn

from onehop.models.body import BidirectionalEncoder
from onehop.models.transformer import Transformer
from onehop.models.transformer_encoder import TransformerEncoder
from onehop.nn.interfaces import Memory, Source
from onehop.nn.positions import Learned, Sinusoidal
from onehop.runtime.blocks import Blocks, Texts, unknown_block, unknown_weights
from onehop.runtime.library import Kernels
from onehop.runtime.linear import refuse_weights
from onehop.runtime.packing import Packer
from onehop.runtime.threads import kernels_alone


class FastEncoder(nn.Module):
    """A `TextEncoder` of dot products behind the same interface, for inference on a processor.

    A text's states do not depend, to the bit, on which texts stand beside it or on the number of threads.

    Args:
        reference: The encoder; its embeddings are used as they are.
        kernels: What runs it.
        precision: Of the products: `float32`, `bfloat16` or `int8`.
    """

    def __init__(self, reference: BidirectionalEncoder | TransformerEncoder, kernels: Kernels, precision: str) -> None:
        super().__init__()
        self.register_load_state_dict_pre_hook(refuse_weights)
        self.reference, self.dim = reference, reference.dim
        self.unit, self.two_ways = reference.unit, reference.two_ways
        packer = Packer(kernels, precision)
        if isinstance(reference, TransformerEncoder):
            self._blocks = Blocks(packer, reference.left.encoder, reference.left.encoder_norm)
        else:
            self._blocks = Blocks(packer, reference.blocks, reference.norm, windows=reference.windows)

    def encode(self, source: Source) -> Memory:
        """Read `source.tokens (B, S)`: states `(B, S, D)`, zeros where there is padding."""
        texts = Texts(source)
        with kernels_alone():
            states = self._blocks.read(texts, None, self._embedded(texts, source).float().contiguous())
            return Memory(texts.rows(states), source.lengths, source.segments)

    def _embedded(self, texts: Texts, source: Source) -> Tensor:
        """Return `(N, D)`."""
        tokens, places = texts.flat(source.tokens), texts.places
        if isinstance(self.reference, TransformerEncoder):
            left = self.reference.left
            embedded = left.source_embedding(tokens)
            return embedded if left.positions is None else embedded + left.positions(places)
        types = None if source.types is None else texts.flat(source.types).unsqueeze(0)
        read = Source(tokens.unsqueeze(0), types=types)
        return self.reference.embeddings(read, places.unsqueeze(0))[0]

    def train(self, mode: bool = True) -> FastEncoder:
        """Refuse to be trained: there are no gradients here."""
        if mode:
            raise RuntimeError("a fast encoder is for inference; train the model that it was made of")
        return super().train(False)


def unknown_encoder(model: nn.Module) -> str:
    """Return the first part of an encoder that the kernels do not know, in words; empty where they know all.

    Example:
        >>> from onehop.models.encoders import build_encoder
        >>> unknown_encoder(build_encoder("bert", {"preset": "bert-tiny"}, vocab_size=50))
        ''
        >>> unknown_encoder(build_encoder("recurrent", {}, vocab_size=50))
        'a RecurrentEncoder'
    """
    if type(model) is TransformerEncoder:
        return unknown_left(model.left) or unknown_weights(model)
    if type(model) is not BidirectionalEncoder:
        return f"a {type(model).__name__}"
    return next(filter(None, map(unknown_block, model.blocks)), "") or unknown_weights(model)


def unknown_left(model: Transformer) -> str:
    """Return the first part of a Transformer's encoder that the kernels do not know; empty where they know all."""
    if model.positions is not None and type(model.positions) not in (Sinusoidal, Learned):
        return f"positions by {type(model.positions).__name__}"
    if model.encoder_relative is not None:
        return "distances added to scores"
    if model.window is not None:
        return "a window"
    return next(filter(None, map(unknown_block, model.encoder)), "")
