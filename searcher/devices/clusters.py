"""Which processors of a device are its fastest or slowest, as the device itself tells."""

from __future__ import annotations

from profiler_agent.records import Environment
from searcher.devices.profile import Cluster
from searcher.errors import BadInputError


def cluster_processors(cluster: Cluster, environment: Environment) -> tuple[int, ...] | None:
    """Return the processors to pin to; None for all, so that a run that need not be pinned is not.

    Clusters of equal speed count as one: processors that each have a frequency of their own are no clusters.

    Args:
        cluster: which of the clusters.
        environment: what the device tells of itself.

    Raises:
        BadInputError: the device tells of clusters, but not which processors they have or how fast each can be.
    """
    told, speeds_mhz = environment.machine.clusters, environment.state.max_frequencies_mhz
    if cluster == "all" or not told:
        return None
    clusters = [_processors(text) for text in told]
    if not all(clusters) or len(speeds_mhz) != len(clusters):
        raise BadInputError(f"the device does not tell which cluster is its {cluster}: name processors by --affinity")
    wanted_mhz = (max if cluster == "fastest" else min)(speeds_mhz)
    chosen = {
        one for processors, mhz in zip(clusters, speeds_mhz, strict=True) if mhz == wanted_mhz for one in processors
    }
    everything = {one for processors in clusters for one in processors}
    return None if chosen == everything else tuple(sorted(chosen))


def _processors(text: str) -> tuple[int, ...]:
    parts = text.split()
    return tuple(int(part) for part in parts) if all(part.isdecimal() and len(part) < 5 for part in parts) else ()
