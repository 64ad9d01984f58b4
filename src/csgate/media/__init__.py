"""Pictures that customers send: taken in, kept for as long as their conversation, shown again.

``async with open_media(...) as media:`` gives a :class:`Media`. How a picture goes:

- with a message: ``picture = await media.receive(picture)`` sets ``picture.reference``; during the turn
  ``await media.keep(conversation, picture)``
- by upload: ``with media.upload() as file: await file.write(...); upload = await media.take(owner, file)``, or
  ``offer = await media.offer(owner, size=…, type=…, sha256=…)`` and a PUT, to the bucket or to
  ``media.put_offered(id, query, chunks)``; then for a message that names it
  ``picture = await media.claim(upload, owner)``, and ``keep`` as above
- ``reference = await media.show(conversation, picture, Shown(...))`` makes the result picture
- ``media.address(reference)`` for each event that is sent; ``await media.open(key, e, s)`` for ``GET /media/<key>``
- ``await media.forget(conversation)`` ends it
"""

from csgate.media.delivery import Redirect, Stored
from csgate.media.intake import Offer, Upload
from csgate.media.media import Media, open_media
from csgate.media.shown import Line, Shown
from csgate.media.spool import SpooledUpload

__all__ = ["Line", "Media", "Offer", "Redirect", "Shown", "SpooledUpload", "Stored", "Upload", "open_media"]
