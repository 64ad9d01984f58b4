"""What a chat connection does with pictures: takes them in, keeps those that no turn would, gives out addresses."""

from typing import Final, Protocol, TypeVar

import msgspec

from csgate.errors import MediaUnavailable
from csgate.events import Author, MessageEvent, Picture, Principal, ReplyEvent
from csgate.protocol import Message
from csgate.protocol.refusals import no_uploads

RETRY_S: Final = 5.0
_INLINE: Final = "data:"

T = TypeVar("T")


class Album(Protocol):
    """What is asked of :class:`csgate.media.Media` here."""

    @property
    def trouble(self) -> str | None: ...

    async def receive(self, picture: Picture) -> Picture: ...

    async def claim(self, upload: str, owner: tuple[str, str, str]) -> Picture: ...

    async def keep(self, conversation: str, picture: Picture) -> None: ...

    def address(self, reference: str) -> str: ...


async def picture_of(message: Message, principal: Principal, album: Album | None) -> Picture | None:
    """The picture of a message, with its reference, wherever it came from.

    Raises:
        BadEnvelope: there are no uploads here, or the upload's name is none of ours.
        NotFound: it is somebody else's upload, too old, or never came.
        PeerError: what came is not the picture that was promised.
        MediaUnavailable: pictures cannot be kept now.
    """
    if album is None:
        if message.upload is not None:
            raise no_uploads()
        return message.picture
    if message.upload is not None:
        picture = await album.claim(message.upload, principal.owner)
    elif message.picture is not None:
        picture = await album.receive(message.picture)
    else:
        return None
    if is_kept_elsewhere(picture) and album.trouble is not None:
        # Known before anything was promised: the client keeps it and comes again.
        raise MediaUnavailable(album.trouble, retry_after=RETRY_S)
    return picture


async def keep_for(author: Author, conversation: str, picture: Picture | None, album: Album | None) -> None:
    """Keeps the picture of a message that gets no turn, which would have seen to it: that of a person of the shop.

    Raises:
        MediaUnavailable: it cannot be kept now.
        PeerError: it is no picture.
    """
    if author == "human" and album is not None and picture is not None and picture.reference is not None:
        await album.keep(conversation, picture)


def is_kept_elsewhere(picture: Picture) -> bool:
    """Whether the log has no more than a key of it."""
    return picture.reference is not None and not picture.reference.startswith(_INLINE)


def addressed(event: T, album: Album | None) -> T:
    """The event as it is sent: what the log has of a picture becomes an address that can be opened."""
    if isinstance(event, MessageEvent | ReplyEvent) and event.image_url is not None:
        address = None if album is None else album.address(event.image_url)
        return msgspec.structs.replace(event, image_url=address)
    return event
