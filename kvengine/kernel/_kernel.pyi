from typing import Any

def record_of_sets(
    stamp: int,
    service: str,
    key: str,
    entries: dict[str, bytes],
    now: int,
    salt: int,
    mark: int,
    synced: int,
    /,
) -> bytes: ...
def install(parts: dict[str, Any], /) -> None: ...
