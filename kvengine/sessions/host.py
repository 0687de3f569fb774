"""What the objects of one open store share: the store, their queues, their serdes."""

from __future__ import annotations

from collections.abc import Mapping

from kvengine.names import Name, check_name
from kvengine.serdes.codec import Codec
from kvengine.serdes.registry import SerdeChoice, find
from kvengine.sessions.turns import Turns
from kvengine.store import Store


class Host:
    """An open store as the home of objects."""

    __slots__ = ("_serde", "_serdes", "store", "turns")

    def __init__(self, store: Store, serde: SerdeChoice, serdes: Mapping[str, SerdeChoice]) -> None:
        """``serde`` for all services but those that ``serdes`` names."""
        self.store = store
        self.turns = Turns()
        self._serde = find(serde)
        self._serdes = {check_name("service", name): find(one) for name, one in serdes.items()}

    def codec(self, name: Name, serde: SerdeChoice | None) -> Codec:
        """The codec of an object; ``serde`` where its handle chose one."""
        if serde is not None:
            return Codec(name, find(serde))
        return Codec(name, self._serdes.get(name[0], self._serde) if self._serdes else self._serde)

    def forget_turns(self) -> None:
        """In a forked child: nobody here has a session."""
        self.turns = Turns()
