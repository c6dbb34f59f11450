"""Which two columns of a table hold the sources and the targets: as named, or found by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from onehop.errors import DataError, nearest

# ISO 639-1 without "id" and "no", which more often name other columns; besides, FLORES codes such as eng_Latn are
# known by their form.
CODES = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en "
    "eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia ie ig ii ik io is it iu ja jv "
    "ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne "
    "ng nl nn nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st "
    "su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
LANGUAGE = re.compile(r"([a-z]{2})([-_][A-Za-z]{2,4})?|[a-z]{3}_[A-Z][a-z]{3}")
ROLES = re.compile(r"(?:(source|src|input)|(target|tgt|trg|output))(?:[ _-]?(?:text|sentence|line))?", re.IGNORECASE)
REMEDY = "Name them: data.source_column and data.target_column (of evaluate: --source-column and --target-column)."


def distinct(names: Sequence[str], where: str) -> None:
    """Do nothing where each column of a table has a name of its own.

    Raises:
        DataError: Two have the same, so that the name does not tell which is meant.

    Example:
        >>> distinct(["id", "text", "label"], "rooms.csv:1")
    """
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise DataError(f"two columns of one name: {twice!r}", "Name each column once, in the first row.", where)


@dataclass(frozen=True)
class Columns:
    """How the two columns are to be found.

    Args:
        source: Name of the sources' column; of a nested one, `translation.en`. Empty: found.
        target: Name of the targets' column.
        source_language: ISO code; a column of this name holds the sources.
        target_language: ISO code; a column of this name holds the targets.

    Example:
        >>> Columns(source_language="en", target_language="de").find(["id", "de", "en"])
        ('en', 'de')
        >>> Columns().find(["id", "target", "source"])
        ('source', 'target')
    """

    source: str = ""
    target: str = ""
    source_language: str = ""
    target_language: str = ""

    def choose(self, names: Sequence[str], where: str) -> tuple[str, str]:
        """Return `find`, or the only two columns there are.

        Raises:
            DataError: There is no such pair of columns.
        """
        found = self.find(names, where)
        if found is None:
            distinct(names, where)
        if found is None and len(names) == 2:
            return names[0], names[1]
        if found is None:
            there = ", ".join(names) or "none of text"
            raise DataError(f"no two columns for source and target among the columns: {there}", REMEDY, where)
        return found

    def find(self, names: Sequence[str], where: str = "") -> tuple[str, str] | None:
        """Return the names of the two columns, or None where no names tell.

        In this order: as they are named; as the languages are; a name such as `source` or `src` and one such as
        `target` or `tgt`; the only two that are language codes, in their order.

        Raises:
            DataError: A column that was asked for does not exist, or twice.
        """
        if self.source:
            return self._known(self.source, names, where), self._known(self.target, names, where)
        languages = [
            [name for name in names if language and _plain(name) == _plain(language)]
            for language in (self.source_language, self.target_language)
        ]
        roles = [[name for name in names if (match := ROLES.fullmatch(_last(name))) and match[side]] for side in (1, 2)]
        codes = [name for name in names if _is_code(_last(name))]
        for sides in (languages, roles, [codes[:1], codes[1:]]):
            if len(sides[0]) == len(sides[1]) == 1 and sides[0] != sides[1]:
                return sides[0][0], sides[1][0]
        return None

    def _known(self, name: str, names: Sequence[str], where: str) -> str:
        if name not in names:
            hint = nearest(name, names) or f"there are: {', '.join(names)}"
            raise DataError(f"no column of text {name!r}; {hint}", REMEDY, where)
        distinct([one for one in names if one == name], where)
        return name


def _last(name: str) -> str:
    """Return the name of a nested column inside its parent."""
    return name.rpartition(".")[2].strip()


def _plain(name: str) -> str:
    return _last(name).lower().replace("_", "-")


def _is_code(name: str) -> bool:
    match = LANGUAGE.fullmatch(name)
    return bool(match) and (match[1] is None or match[1] in CODES.split())
