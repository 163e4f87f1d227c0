"""Rights of a test's users."""

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from local.servers.kafka_cluster import KafkaCluster
from shared.bus.limits import open_admin

SECONDS = 20


def allow(cluster: KafkaCluster, user: str, resource: str, name: str, *operations: str) -> None:
    """Give a user operations (`read`, `write`, ...) on a `topic` or a `group`."""
    admin = open_admin(cluster.bootstrap_servers, cluster.security())
    bindings = [
        AclBinding(
            ResourceType[resource.upper()],
            name,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )
        for operation in operations
    ]
    for granted in admin.create_acls(bindings).values():
        granted.result(SECONDS)


def revoke_all(cluster: KafkaCluster, user: str, resource: str = "any") -> None:
    """Take all rights of a user away, or those on one kind of resource."""
    admin = open_admin(cluster.bootstrap_servers, cluster.security())
    everything = AclBindingFilter(
        ResourceType[resource.upper()],
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        f"User:{user}",
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    for revoked in admin.delete_acls([everything]).values():
        revoked.result(SECONDS)
