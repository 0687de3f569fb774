"""The contract of a Store as tests: every back end passes all of them.

    from kvengine.testing import StoreContract

    class TestMine(StoreContract):
        @pytest.fixture
        def store(self):
            with mine.open() as store:
                yield store

See docs/testing.md, "Write a back end". Needs pytest and hypothesis.
"""

from __future__ import annotations

import pkgutil

import pytest

# Their asserts show both sides as those of a test module do. Before they are imported.
pytest.register_assert_rewrite(
    *(each.name for each in pkgutil.iter_modules(__path__, __name__ + "."))
)

from kvengine.testing.contract.batches import Batches  # noqa: E402
from kvengine.testing.contract.errors import Errors  # noqa: E402
from kvengine.testing.contract.expiry import Expiry  # noqa: E402
from kvengine.testing.contract.limits import Limits  # noqa: E402
from kvengine.testing.contract.listing import Listing  # noqa: E402
from kvengine.testing.contract.objects import Objects  # noqa: E402
from kvengine.testing.contract.programs import Programs  # noqa: E402
from kvengine.testing.contract.reads import Reads  # noqa: E402
from kvengine.testing.contract.session_programs import SessionPrograms  # noqa: E402
from kvengine.testing.contract.sessions import Sessions  # noqa: E402
from kvengine.testing.contract.snapshots import Snapshots  # noqa: E402
from kvengine.testing.contract.versions import Versions  # noqa: E402
from kvengine.testing.contract.watches import Watches  # noqa: E402
from kvengine.testing.contract.workflows import Workflows  # noqa: E402
from kvengine.testing.contract.writes import Writes  # noqa: E402

__all__ = ["StoreContract"]


# pytest runs the last base first: from reads of one object up to random programs of everything.
class StoreContract(
    SessionPrograms,
    Programs,
    Errors,
    Limits,
    Watches,
    Sessions,
    Workflows,
    Objects,
    Snapshots,
    Versions,
    Batches,
    Expiry,
    Listing,
    Writes,
    Reads,
):
    """All themes of the contract. A back end subclasses it and gives the fixture ``store``.

    It may override ``another``, ``sleep``, ``brief``, ``largest``, ``programs`` and
    ``session_programs``; docs/testing.md tells what each is.
    """
