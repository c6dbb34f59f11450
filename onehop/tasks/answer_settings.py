"""What a model that answers questions remembers besides its weights."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from onehop.config import Table


class AnswerHead(Table):
    """From the states of an encoder to the ends of an answer: the recipe's `[head]` table."""

    dropout: float = Field(default=0.0, ge=0, lt=1, description="On the states.")


class ContextLimits(Table):
    """What the model was trained on."""

    max_length: int = Field(ge=1, le=1 << 20, description="Most tokens of question and context, without their marks.")
    overlap: int = Field(default=128, ge=0, description="Tokens that a window of a context reads again.")
    longest_answer: int = Field(default=30, ge=1, description="Most tokens of an answer.")


class AnswerSettings(Table):
    """Everything about a model that answers but weights and tokenizer."""

    architecture: str
    model: dict[str, Any] = Field(description="The encoder's settings, resolved.")
    rows: int = Field(ge=1, description="Rows of the embeddings.")
    head: AnswerHead = AnswerHead()
    unanswerable: bool = Field(default=False, description="Whether there may be no answer.")
    threshold: float = Field(
        default=0.0, description="By how much the best answer's score must be above that of none to be given."
    )
    text: ContextLimits
    language: str = Field(default="", description="ISO code, or empty.")
    license: str = Field(default="", description="Licence of the training data.")
    attribution: str = Field(default="", description="Notice that the data's licence asks for.")
