"""Which object a path of the API names; nothing of ours is imported, for schemathesis loads this too."""

from dataclasses import dataclass

PATHS = {
    "/v1/members/{ref}": "member",
    "/v1/inquiries/{ref}": "inquiry",
    "/v1/investigation-requests/{ref}": "investigation",
    "/v1/erasures/{ref}": "erasure",
    "/v1/replays/{replay_id}": "replay",
    "/v1/dead-letters/{letter_id}": "letter",
}


@dataclass(frozen=True)
class World:
    """The objects of one member, by name."""

    ids: dict[str, str]

    def path(self, template: str) -> str:
        """Return a path of the API that names these objects."""
        parts = template.split("/")
        name = next((kind for start, kind in PATHS.items() if template.startswith(start)), "member")
        values = self.ids | {"ref": self.ids[name], "replay_id": self.ids["replay"], "letter_id": self.ids["letter"]}
        return "/".join(values[part[1:-1]] if part.startswith("{") else part for part in parts)
