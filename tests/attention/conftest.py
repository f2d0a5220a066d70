"""The ways in which a cache keeps what grows with the tokens."""

from typing import Any

import pytest


@pytest.fixture(params=[{}, {"page_size": 8}, {"page_size": 16, "num_pages": 16}], ids=["dense", "paged", "fixed_pool"])
def paging(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Further arguments of `new_cache`: every cache test runs over each of them."""
    settings: dict[str, Any] = request.param
    return settings
