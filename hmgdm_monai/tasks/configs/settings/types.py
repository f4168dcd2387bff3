"""Types of settings. Each refuses what it does not mean; texts such as "false" or "3" become values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pydoc import locate
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, StringConstraints

T = TypeVar("T")
NULL_WORDS = ("none", "null")


def _no_flag(value: Any) -> Any:
    """Refuse true and false, which Python counts as 1 and 0: a name on the command line without a value means true."""
    if isinstance(value, bool):
        raise ValueError("a number is needed")
    return value


def _as_text(value: Any) -> Any:
    """Return a whole number as text: the command line reads a folder called 2024 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_list(value: Any) -> Any:
    """Return a single text or number as a list of one."""
    return [value] if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def _null_word(value: Any) -> Any:
    """Return null for the words none and null, because MONAI drops a None of the command line."""
    return None if isinstance(value, str) and value.strip().lower() in NULL_WORDS else value


@dataclass(frozen=True)
class Choices:
    """The names that a text may be, as the package lists them.

    Args:
        where: dotted name of the list, tuple or dictionary of the names, or of a function that returns them. It is
            imported when a value is checked.
    """

    where: str

    def names(self) -> tuple[str, ...]:
        """Return the names."""
        found = locate(self.where)
        found = found() if callable(found) else found
        if not isinstance(found, Collection):
            raise TypeError(f"{self.where} is no list of names")
        return tuple(found)

    def check(self, value: str) -> str:
        """Return the value if it is one of the names.

        Raises:
            ValueError: it is not.
        """
        if value not in self.names():
            raise ValueError(f"there is no {value}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return AfterValidator(self.check).__get_pydantic_core_schema__(source, handler)


@dataclass(frozen=True)
class Ascending:
    """Two numbers, the second not below the first."""

    @staticmethod
    def check(pair: tuple[float, float]) -> tuple[float, float]:
        """Return the pair.

        Raises:
            ValueError: its second number is below the first.
        """
        if pair[1] < pair[0]:
            raise ValueError("the second number is below the first")
        return pair

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return AfterValidator(self.check).__get_pydantic_core_schema__(source, handler)


@dataclass(frozen=True)
class Phrase:
    """How messages and docs name a type that its range does not explain."""

    text: str


def _off(value: bool) -> bool:
    if value:
        raise ValueError("only false is possible")
    return value


Whole = Annotated[int, BeforeValidator(_no_flag)]
Real = Annotated[float, BeforeValidator(_no_flag)]
Flag = bool
Off = Annotated[bool, AfterValidator(_off), Phrase("false")]
Count = Annotated[Whole, Ge(1)]
NaturalNumber = Annotated[Whole, Ge(0)]
Seed = Annotated[Whole, Ge(0), Le(2**32 - 1)]  # what NumPy takes
Positive = Annotated[Real, Gt(0)]
NotNegative = Annotated[Real, Ge(0)]
Share = Annotated[Real, Ge(0), Le(1)]
InnerShare = Annotated[Real, Gt(0), Lt(1)]
ShareBelowOne = Annotated[Real, Ge(0), Lt(1)]
Mpp = Annotated[Real, Ge(0.05), Le(20)]  # um per pixel; larger numbers are magnifications
Text = Annotated[str, BeforeValidator(_as_text), MinLen(1)]
PathText = Annotated[Text, Phrase("a path")]
Device = Annotated[str, StringConstraints(pattern=r"^(cpu|(cuda|mps)(:\d+)?)$"), Phrase("cpu, cuda or cuda:0")]
Listed = Annotated[list[T], BeforeValidator(_as_list)]
OrNone = Annotated[T | None, BeforeValidator(_null_word)]


def setting(help_text: str, paper: Any = "-") -> Any:
    """Describe a setting or an argument.

    Args:
        help_text: what it does, in a sentence or two; units included.
        paper: value of the paper or of its code where it differs from the default; "" if it is the default, "-" if
            there is none.
    """
    return Field(description=help_text, json_schema_extra={"paper": str(paper)})


def one_of(names: Sequence[str]) -> str:
    """Return the names as a phrase: "a, b or c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
