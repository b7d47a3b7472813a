"""Texts that are stored with a picture, and the mark of those that a generator took part in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from weights.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

MARK = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="gradctrl: edited by a generator, not a photograph"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"/>
</rdf:RDF></x:xmpmeta>"""
"""What `save_picture` marks edited pictures with: IPTC's word for a photo of which a generator drew a part."""

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_PNG_XMP = "XML:com.adobe.xmp"  # Under which a PNG holds XMP.
_ASCII = b"ASCII\0\0\0"         # The character code that opens an EXIF UserComment.
_SEGMENT = 65_500               # Bytes that one segment of a JPEG can hold.


def metadata_options(path: Path, kind: str, metadata: dict[str, str], mark: bool) -> dict[str, object]:
    """Pillow's arguments that store texts, and the mark, in a PNG, JPEG or WEBP.

    Raises:
        InputError: the format cannot hold them.
    """
    if kind == "PNG":
        return {"pnginfo": _png_texts(path, metadata | ({_PNG_XMP: MARK} if mark else {}))}
    options: dict[str, object] = {"xmp": MARK.encode()} if mark else {}
    if metadata:
        from PIL import Image

        exif = Image.Exif()
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _ASCII + json.dumps(metadata).encode("ascii")
        options["exif"] = exif.tobytes()
        if kind == "JPEG" and len(exif.tobytes()) > _SEGMENT:
            raise InputError(path, "the recipe is too long for a JPEG", "save as .png or .webp instead")
    return options


def texts_in(image: Image.Image) -> dict[str, str]:
    """The texts that `metadata_options` stored, of a picture that was opened; empty when there are none."""
    if image.format == "PNG":
        image.load()  # A text may stand after the pixels.
        return {key: str(value) for key, value in getattr(image, "text", {}).items() if key != _PNG_XMP}
    comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    if not isinstance(comment, bytes) or not comment.startswith(_ASCII):
        return {}
    try:
        stored = json.loads(comment[len(_ASCII):])
    except json.JSONDecodeError:
        return {}  # A camera's or another program's comment.
    return {str(key): str(value) for key, value in stored.items()} if isinstance(stored, dict) else {}


def _png_texts(path: Path, metadata: dict[str, str]) -> object:
    from PIL import PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        if not (1 <= len(key) <= 79 and key.isascii() and key.isprintable()):
            raise InputError(path, f"{key!r} cannot name a text in a PNG", "use 1 to 79 plain letters")
        texts.add_itxt(key, value)
    return texts
