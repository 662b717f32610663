"""XMP packets are changed where they must be, and nowhere else; ElementTree is the oracle."""

import itertools
import re
import time
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgt_cli.media.xmp import attachments, strip_xmp_gps, update_xmp, upright_xmp
from rgt_cli.size import Dimensions

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
SIZE = Dimensions(902, 600)
BOMB = (
    b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]><x:xmpmeta xmlns:x="adobe:ns:meta/">&z;</x:xmpmeta>"""
)


def packet(description: str, namespaces: str = "") -> bytes:
    """Return a packet with one description: its attributes, `>` and its elements."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/" '
        f'x:xmptk="test">\n <rdf:RDF xmlns:rdf="{RDF}">\n  <rdf:Description rdf:about="" {namespaces}\n'
        f'   xmlns:t="{TIFF}" xmlns:e="{EXIF}" xmlns:p="{PHOTOSHOP}" xmlns:i="{IPTC}"\n'
        f'   {description}</rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n{" " * 99}\n<?xpacket end="w"?>'
    ).encode()


def test_only_values_are_replaced() -> None:
    description = (
        't:Orientation="6" e:PixelXDimension = \'451\' p:Credit="t:Orientation=&quot;6&quot; &amp; > c">'
        "<!-- t:ImageWidth --><t:ImageLength>300</t:ImageLength>"
        "<e:PixelYDimension\n>300</e:PixelYDimension >"
        "<t:ImageWidth/><x:Orientation>6</x:Orientation><p:ImageWidth>451</p:ImageWidth>"
    )
    expected = (
        't:Orientation="1" e:PixelXDimension = \'902\' p:Credit="t:Orientation=&quot;6&quot; &amp; > c">'
        "<!-- t:ImageWidth --><t:ImageLength>600</t:ImageLength>"
        "<e:PixelYDimension\n>600</e:PixelYDimension >"
        "<t:ImageWidth/><x:Orientation>6</x:Orientation><p:ImageWidth>451</p:ImageWidth>"
    )
    assert upright_xmp(update_xmp(packet(description), SIZE)) == packet(expected)
    assert b't:Orientation="6"' in update_xmp(packet(description), SIZE), "the pixels decide about it"


def test_prefixes_are_those_in_scope() -> None:
    inner = f'><e:Nested xmlns:t="{PHOTOSHOP}" xmlns:q="{TIFF}"><t:Orientation>6</t:Orientation>'
    inner += "<q:Orientation>6</q:Orientation></e:Nested><t:Orientation>6</t:Orientation>"
    updated = upright_xmp(packet(inner)).decode()
    assert re.findall(r"<(\w:Orientation)>(\d)<", updated) == [
        ("t:Orientation", "6"), ("q:Orientation", "1"), ("t:Orientation", "1"),
    ]  # fmt: skip


def test_reference_to_extended_xmp_is_removed() -> None:
    """The second packet of a JPEG is not copied."""
    note = 'xmlns:n="http://ns.adobe.com/xmp/note/"'
    source = packet('n:HasExtendedXMP="0123456789ABCDEF" p:Credit="Ann">', note)
    updated = update_xmp(source, SIZE)
    assert b"HasExtendedXMP" not in updated
    assert b'p:Credit="Ann"' in updated


def test_descriptions_of_what_follows_the_image_are_removed() -> None:
    """A phone appends a video and a gain map to the image; the output contains neither."""
    google = "http://ns.google.com/photos/1.0"
    namespaces = (
        f'xmlns:g="{google}/camera/" xmlns:c="{google}/container/" xmlns:m="{google}/container/item/" '
        'xmlns:h="http://ns.adobe.com/hdr-gain-map/1.0/"'
    )
    directory = (
        '<c:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><c:Item m:Mime="video/mp4" '
        'm:Length="9"/></rdf:li></rdf:Seq></c:Directory>'
    )
    kept = "<p:Credit>Ann</p:Credit><g:SpecialTypeID>1</g:SpecialTypeID>"
    gone = 'h:Version="1.0" g:MotionPhoto="1" g:MicroVideoOffset="9"'
    source = packet(f"{gone}>{directory}{kept}", namespaces)
    updated = update_xmp(source, SIZE)
    assert updated == packet(f">{kept}", namespaces).replace(b"\n   >", b">")
    assert attachments(source) == ["a gain map for HDR displays", "a video (motion photo)"]
    assert attachments(updated) == []


@pytest.mark.parametrize(
    "damaged",
    [b"", b"<x", b"<x></y>", b"\xff\xfe", b"text", b"<a>&b;</a>", b'<a b="1" b="2"/>', b"<a:b/><c/>"],
)
def test_damaged_packets_are_not_updated_but_stripped(damaged: bytes) -> None:
    assert update_xmp(damaged, SIZE) == upright_xmp(damaged) == damaged
    assert attachments(damaged) == []
    assert strip_xmp_gps(damaged) is None


def test_bombs_are_not_expanded() -> None:
    names = "abcdefghijklmnopqrstuvwxyz"
    entities = "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in itertools.pairwise(names)
    )
    started = time.monotonic()
    bomb = BOMB % entities.encode()
    assert update_xmp(bomb, SIZE) == bomb
    assert strip_xmp_gps(bomb) is None
    external = b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>'
    assert strip_xmp_gps(external) is None
    assert time.monotonic() - started < 5


def test_attacks_by_namespaces_and_depth_are_refused() -> None:
    started = time.monotonic()
    nested = "".join(f'<a{i}:x xmlns:a{i}="u{i}">' for i in range(30_000))
    declared = "<x " + " ".join(f'xmlns:a{i}="u{i}"' for i in range(30_000)) + ">"
    declared += '<y xmlns:z="z"/>' * 30_000 + "</x>"
    for attack in (nested, declared, "<x>" * 30_000 + "</x>" * 30_000):
        assert strip_xmp_gps(packet(f">{attack}")) is None
    assert time.monotonic() - started < 5


def test_utf16_becomes_utf8() -> None:
    text = packet('t:Orientation="6" p:City="Pa\u0159\u00ed\u017e" p:Credit="\u732b">').decode()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        declared = f'<?xml version="1.0" encoding="UTF-16"?>{text}'
        for encoded in (text.encode(encoding), declared.encode(encoding)):
            root = ElementTree.fromstring(upright_xmp(update_xmp(encoded, SIZE)))
            (description,) = root.iter(f"{{{RDF}}}Description")
            assert description.attrib[f"{{{TIFF}}}Orientation"] == "1"
            assert description.attrib[f"{{{PHOTOSHOP}}}Credit"] == "\u732b"
            stripped = strip_xmp_gps(encoded)
            assert stripped is not None
            assert "\u0159" not in stripped.decode()
            ElementTree.fromstring(stripped)


@pytest.mark.parametrize(
    "place",
    [
        '<e:GPSLatitude>48,51.5N</e:GPSLatitude>', "<p:City>Paris</p:City>", "<p:State>Paris</p:State>",
        "<p:Country>Paris</p:Country>", '<p:City rdf:parseType="Resource"><e:x>Paris</e:x></p:City>',
        "<i:LocationCreated><rdf:Bag><rdf:li><rdf:Description i:City='Paris'/></rdf:li></rdf:Bag>"
        "</i:LocationCreated>",
        '<i:LocationShown><rdf:Bag><rdf:li rdf:parseType="Resource"><i:Sublocation>Paris</i:Sublocation>'
        "</rdf:li></rdf:Bag></i:LocationShown>",
        '<c:Location xmlns:c="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">Paris</c:Location>',
        '<c:CountryCode xmlns:c="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">Paris</c:CountryCode>',
        '<coverage xmlns="http://purl.org/dc/elements/1.1/"><rdf:Alt><rdf:li>Paris</rdf:li></rdf:Alt></coverage>',
        '<d:spatial xmlns:d="http://purl.org/dc/terms/">Paris</d:spatial>',
        '<d:shotLocation xmlns:d="http://ns.adobe.com/xmp/1.0/DynamicMedia/">Paris</d:shotLocation>',
        '<g:lat xmlns:g="http://www.w3.org/2003/01/geo/wgs84_pos#">Paris</g:lat>',
        '<e:Flight xmlns:d="http://www.dji.com/drone-dji/1.0/" d:GpsLongtitude="Paris"'
        ' d:RelativeAltitude="+9"/>',
        "<p:Instructions>N 48.8577 Paris, geo:48.8577,2.295</p:Instructions>",
        "<p:Headline>Paris +48.8577+002.2950/</p:Headline>",
        '<x:Thumbnails xmlns:x="http://ns.adobe.com/xap/1.0/"><rdf:Alt><rdf:li>Paris</rdf:li></rdf:Alt></x:Thumbnails>',
        "<!-- Paris -->",
    ],
)  # fmt: skip
def test_places_are_removed(place: str) -> None:
    before = packet(f't:Make="Maker"><p:Credit>Ann</p:Credit>{place}<p:Source>home</p:Source>')
    assert b"Paris" in before or b"48," in before
    after = strip_xmp_gps(before)
    assert after is not None
    for word in (b"Paris", b"48", b"GPS", b"Gps", b"City", b"Location", b"Altitude"):
        assert word not in after, word
    assert b"<p:Credit>Ann</p:Credit>" in after
    assert b"<p:Source>home</p:Source>" in after
    assert b't:Make="Maker"' in after
    ElementTree.fromstring(after)


def test_places_in_attributes_are_removed() -> None:
    before = packet(
        "e:GPSLatitude='48,51.5N'\n p:City = \"Paris\" p:Credit=\"Ann\" p:State\t=\t'>Paris'/>".replace(
            "/>", ">"
        )
    )
    after = strip_xmp_gps(before)
    assert after == packet("").replace(b"\n   </rdf", b' p:Credit="Ann"></rdf')


def test_address_of_the_author_stays() -> None:
    contact = (
        '<c:CreatorContactInfo xmlns:c="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/" c:CiAdrCity="Rome"'
        ' c:CiAdrCtry="Italy"/>'
    )
    assert strip_xmp_gps(packet(f">{contact}")) == packet(f">{contact}")


NAMES = ("Credit", "Rating", "GPSLatitude", "City", "Location", "History")
NAMESPACES = (EXIF, PHOTOSHOP, "urn:other")


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> tuple[str, list[str]]:
    """Draw an element, and the neutral texts in it that are not inside of a place."""
    name = draw(st.sampled_from(NAMES))
    prefix = draw(st.sampled_from(("a", "b2", "c-c")))
    is_place = name in ("GPSLatitude", "City", "Location")
    texts: list[str] = []
    attributes = f' xmlns:{prefix}="{draw(st.sampled_from(NAMESPACES))}"'
    for index, attribute in enumerate(draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))):
        value = f"v{draw(st.integers(0, 99))}"
        quote = draw(st.sampled_from("\"'"))
        space = draw(st.sampled_from(("", " ", "\n")))
        attributes += f"{space} {prefix}:{attribute}{space}={space}{quote}{value}{quote}"
        if attribute in ("Credit", "Rating", "History"):
            texts.append(f"{index}{value}")
    if depth and draw(st.booleans()):
        children = draw(st.lists(elements(depth=depth - 1), max_size=3))
    else:
        children = []
    body = "".join(child for child, _ in children) or draw(
        st.sampled_from(("", "<![CDATA[<x>]]>", "text > "))
    )
    texts += [text for _, found in children for text in found]
    end = draw(st.sampled_from(("", " ", "\n")))
    if not body and draw(st.booleans()):
        return f"<{prefix}:{name}{attributes}{end}/>", [] if is_place else texts
    return f"<{prefix}:{name}{attributes}{end}>{body}</{prefix}:{name}{end}>", [] if is_place else texts


@given(st.lists(elements(), max_size=4))
def test_any_packet(found: list[tuple[str, list[str]]]) -> None:
    """All neutral attributes outside of places stay, and no place does."""
    before = packet(">" + "".join(text for text, _ in found))
    after = strip_xmp_gps(before)
    assert after is not None
    retained = []
    for element in ElementTree.fromstring(after).iter():
        local = element.tag.rpartition("}")[2]
        assert local not in ("GPSLatitude", "City", "Location")
        for attribute, value in element.attrib.items():
            assert attribute.rpartition("}")[2] not in ("GPSLatitude", "City", "Location")
            if value.startswith("v"):
                retained.append(value)
    expected = [text[1:] for _, texts in found for text in texts]
    assert sorted(retained) == sorted(expected)
