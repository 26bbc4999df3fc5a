"""Processors by the speed of their cluster, on recorded machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from profiler_agent.environment import read_environment
from searcher.devices.clusters import cluster_processors
from searcher.devices.profile import Cluster
from searcher.errors import BadInputError
from tests.agent.trees import ANDROID, CONTAINER, JETSON, LAPTOP, RASPBERRY_PI, Tree, write_tree


@pytest.mark.parametrize(
    ("tree", "cluster", "processors"),
    [
        (ANDROID, "fastest", (4, 5, 6, 7)),
        (ANDROID, "slowest", (0, 1, 2, 3)),
        (ANDROID, "all", None),
        (JETSON, "fastest", (0, 3, 4, 5)),
        (JETSON, "slowest", (1, 2)),
        (LAPTOP, "fastest", (1,)),
        # One cluster is all of them: nothing is pinned, and the key is that of a run that asked for nothing.
        (RASPBERRY_PI, "fastest", None),
        (RASPBERRY_PI, "slowest", None),
        (CONTAINER, "fastest", None),
    ],
)
def test_recorded_machines(tmp_path: Path, tree: Tree, cluster: Cluster, processors: tuple[int, ...] | None) -> None:
    write_tree(tmp_path, tree)
    assert cluster_processors(cluster, read_environment(tmp_path)) == processors


def test_processors_with_one_speed_and_frequencies_of_their_own_are_one_cluster(tmp_path: Path) -> None:
    write_tree(tmp_path, LAPTOP)
    environment = read_environment(tmp_path)
    equal = replace(environment, state=replace(environment.state, max_frequencies_mhz=(4700.0, 4700.0)))
    assert cluster_processors("fastest", equal) is None


def test_a_device_that_tells_half_of_it_is_not_guessed_at(tmp_path: Path) -> None:
    write_tree(tmp_path, JETSON)
    environment = read_environment(tmp_path)
    for broken in (
        replace(environment, state=replace(environment.state, max_frequencies_mhz=(2035.2,))),
        replace(environment, machine=replace(environment.machine, clusters=("0 3 4 5", "?"))),
    ):
        with pytest.raises(BadInputError, match=r"does not tell which cluster is its fastest.* --affinity"):
            cluster_processors("fastest", broken)
        assert cluster_processors("all", broken) is None
