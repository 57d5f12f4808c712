"""One error tree, as its docstring draws it; errors survive the way between Airflow's processes."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from crm_to_meta import errors
from crm_to_meta.errors import (
    CrmToMetaError,
    PermanentError,
    RateLimitedError,
    RetryableError,
    WarehouseError,
    WarehouseRefusedError,
)

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]
DRAWN = re.compile(r"^ {4}(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)", re.MULTILINE)
BRANCH_WIDTH = 4


def read_drawn_parents() -> dict[str, str]:
    """Return the parent of each error as the docstring's tree has it."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in DRAWN.finditer(errors.__doc__ or ""):
        path = [*path[: len(line["branch"]) // BRANCH_WIDTH], line["name"]]
        parents[line["name"]] = path[-2] if len(path) > 1 else "Exception"
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    """Every class is drawn under the class it inherits from, and nothing else is drawn."""
    parents = {cls.__name__: cls.__base__.__name__ for cls in CLASSES if cls.__base__}

    assert read_drawn_parents() == parents


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_survives_pickling(cls: type[CrmToMetaError]) -> None:
    """Airflow passes errors between processes: text and type arrive."""
    arrived = pickle.loads(pickle.dumps(cls("what, where, what next")))  # noqa: S301 - made in this line

    assert type(arrived) is cls
    assert str(arrived) == "what, where, what next"


@pytest.mark.parametrize("clone", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickle", "copy"])  # noqa: S301
def test_attributes_survive_pickling(clone: type[CrmToMetaError]) -> None:
    """What a retry policy reads arrives as well."""
    limited: object = clone(RateLimitedError("limited", retry_after_s=300.0))
    failed: object = clone(WarehouseError("failed", sqlstate="40001"))
    refused: object = clone(WarehouseRefusedError("refused", sqlstate="42501"))

    assert isinstance(limited, RateLimitedError)
    assert limited.retry_after_s == 300.0
    assert isinstance(failed, WarehouseError)
    assert failed.sqlstate == "40001"
    assert failed.retry_after_s is None
    assert isinstance(refused, WarehouseRefusedError)
    assert refused.sqlstate == "42501"


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not CrmToMetaError], ids=lambda cls: cls.__name__)
def test_every_error_says_whether_to_retry(cls: type[CrmToMetaError]) -> None:
    """An error is either permanent or worth a retry, never both, never neither."""
    assert issubclass(cls, PermanentError) != issubclass(cls, RetryableError)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_has_a_sentence_of_its_own(cls: type[CrmToMetaError]) -> None:
    """The docstring of the class says what the error means."""
    assert cls.__doc__
    assert cls.__doc__.splitlines()[0].endswith((".", ":"))
