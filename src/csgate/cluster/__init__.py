"""Several nodes as one: conversations in Redis, leases on turns, events between nodes, and the register of nodes.

See docs/cluster.md for how the parts work together.
"""

from csgate.cluster.opening import Cluster, open_cluster
from csgate.cluster.redis_store import RedisStore

__all__ = ["Cluster", "RedisStore", "open_cluster"]
