"""Settings that measure as a table was measured; whole networks are measured in the end-to-end tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from profiler_agent.records import provider_text
from searcher.errors import BadInputError
from searcher.workflows.measure_networks import settings_of_key
from tests.searcher.builders import KEY


def test_tuning_is_the_tables_own() -> None:
    for tuning, wanted in (("none", False), ("governor,turbo", True)):
        assert settings_of_key(replace(KEY, tuning=tuning), None).tune is wanted


@pytest.mark.parametrize(
    ("provider", "options"),
    [("CPUExecutionProvider", {}), ("XNNPACK", {}), ("CUDAExecutionProvider", {"device_id": "1"})],
)
def test_the_provider_is_the_tables_own(provider: str, options: dict[str, str]) -> None:
    settings = settings_of_key(replace(KEY, provider=provider_text(provider, options)), None)
    assert (settings.provider, settings.provider_options, settings.require) == (provider, options, None)


def test_number_type_processors_and_speed_are_the_tables_own() -> None:
    settings = settings_of_key(replace(KEY, precision="int8", affinity="1,3"), 0.25)
    assert (settings.precision, settings.affinity, settings.sentinel_ns) == ("int8", (1, 3), 250_000)


def test_an_affinity_without_processors_is_refused() -> None:
    with pytest.raises(BadInputError, match="the affinity 'big', which names no processors"):
        settings_of_key(replace(KEY, affinity="big"), None)
