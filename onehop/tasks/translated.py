"""What a translation comes to: the candidates of each sentence, and what became of the line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """One target text of a source.

    Args:
        text: The target.
        score: After the length penalty.
        log_prob: Natural logarithm of its probability, the end mark included.
        tokens: Ids, without marks.
        complete: False where it was ended by the maximum length.
        log_probs: Of each token, and of the end mark where there is one, as the search saw them.
    """

    text: str
    score: float
    log_prob: float
    tokens: list[int]
    complete: bool
    log_probs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Translation:
    """What became of one line.

    Args:
        source: The line.
        text: Its translation; empty where the line is blank or was dropped.
        candidates: For each sentence of the line, or window of one, its n best, best first; of sampling n draws, in
            their order.
        dropped: Whether the line was too long and was left out, as asked.
        cut: Tokens of the line that were cut off its too long sentences, as asked.
        windows: Windows that its too long sentences were divided into, as asked; 0 where none was too long.
        parts: Tokens of each sentence or window as they were read, with a tag where there is one, without end mark.
        lost: Tokens that were not read: those cut off, or all of the sentences that were dropped.
    """

    source: str
    text: str
    candidates: list[list[Candidate]]
    dropped: bool = False
    cut: int = 0
    windows: int = 0
    parts: tuple[list[int], ...] = ()
    lost: int = 0

    @property
    def score(self) -> float:
        """Sum of the scores of the sentences' first candidates."""
        return sum(best[0].score for best in self.candidates)

    @property
    def complete(self) -> bool:
        """Whether every sentence came to its end."""
        return all(best[0].complete for best in self.candidates)
