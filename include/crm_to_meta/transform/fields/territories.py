"""Turn countries and states as people write them ("Deutschland", "U.K.", "Québec") into the codes that Meta expects.

The codes are lowercase: ISO 3166-1 alpha-2 for countries, two letters for states of the US and Canada. Names that are
not listed are unknown; nothing is guessed.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from babel import Locale
from babel.core import get_global

if TYPE_CHECKING:
    from collections.abc import Iterator

_LANGUAGES: Final = ("en", "es", "pt", "pt_PT", "fr", "de")

# CLDR also lists these, which are not countries of ISO 3166-1: reserved codes, groupings, pseudo territories. Kosovo's
# XK is kept although it is user-assigned, since Kosovo has no other code.
_NOT_COUNTRIES: Final = frozenset({"AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"})

# Other names that people and CRMs' pick lists use, folded: short names, former names, ISO 3166-1's inverted names.
_OTHER_NAMES: Final = {
    "ae": "uae eau",
    "bn": "bruneidarussalam",
    "bo": "boliviaplurinationalstateof plurinationalstateofbolivia",
    "bq": "bonaire bonairesinteustatiusandsaba",
    "cc": "cocosislands",
    "cd": "drc drcongo democraticrepublicofthecongo congothedemocraticrepublicofthe congodemocraticrepublicofthe",
    "cg": "republicofthecongo",
    "ch": "swissconfederation",
    "ci": "ivorycoast",
    "cn": "prc peoplesrepublicofchina mainlandchina",
    "cv": "caboverde",
    "cz": "czechrepublic republicacheca republiquetcheque tschechischerepublik",
    "de": "brd federalrepublicofgermany bundesrepublikdeutschland",
    "fk": "falklandislandsmalvinas",
    "fm": "micronesiafederatedstatesof",
    "gb": "uk greatbritain england scotland wales northernireland inglaterra escocia granbretana grabretanha "
    "angleterre ecosse grandebretagne grossbritannien schottland unitedkingdomofgreatbritainandnorthernireland",
    "gs": "southgeorgiaandthesouthsandwichislands",
    "hk": "hongkong hongkongsar",
    "hm": "heardislandandmcdonaldislands",
    "ie": "eire republicofireland",
    "ir": "iranislamicrepublicof islamicrepublicofiran",
    "kp": "koreademocraticpeoplesrepublicof",
    "kr": "korea korearepublicof republicofkorea",
    "la": "laopeoplesdemocraticrepublic",
    "md": "moldovarepublicof republicofmoldova",
    "mf": "saintmartinfrenchpart",
    "mk": "macedonia",
    "mm": "burma birmania birmanie myanmar",
    "mo": "macau macao macausar macaosar",
    "nl": "holland holanda hollande",
    "pn": "pitcairn",
    "ps": "palestine palestinestateof",
    "ru": "russianfederation",
    "sh": "sainthelenaascensionandtristandacunha",
    "sx": "sintmaartendutchpart",
    "sy": "syrianarabrepublic",
    "sz": "swaziland",
    "tl": "easttimor",
    "tr": "turkey",
    "tw": "taiwanprovinceofchina",
    "tz": "tanzaniaunitedrepublicof unitedrepublicoftanzania",
    "um": "unitedstatesminoroutlyingislands",
    "us": "unitedstatesofamerica estadosunidosdeamerica estadosunidosdaamerica etatsunisdamerique eeuu eua "
    "vereinigtestaatenvonamerika",
    "va": "vatican holysee holyseevaticancitystate",
    "vc": "saintvincentandthegrenadines",
    "ve": "venezuelabolivarianrepublicof bolivarianrepublicofvenezuela",
    "vg": "virginislandsbritish",
    "vi": "virginislandsus",
    "xk": "xkx",
}

# Codes of USPS and Canada Post: code, name, code, name … A state with several names appears several times.
_US_AND_CANADIAN_STATES: Final = """
    al alabama ak alaska as americansamoa az arizona ar arkansas ca california co colorado ct connecticut
    de delaware dc districtofcolumbia dc washingtondc fl florida ga georgia gu guam hi hawaii id idaho il illinois
    in indiana ia iowa ks kansas ky kentucky la louisiana me maine md maryland ma massachusetts mi michigan
    mn minnesota ms mississippi mo missouri mt montana ne nebraska nv nevada nh newhampshire nj newjersey
    nm newmexico ny newyork ny newyorkstate nc northcarolina nd northdakota mp northernmarianaislands oh ohio
    ok oklahoma or oregon pa pennsylvania pr puertorico ri rhodeisland sc southcarolina sd southdakota tn tennessee
    tx texas ut utah vt vermont vi virginislands vi usvirginislands va virginia wa washington wa washingtonstate
    wv westvirginia wi wisconsin wy wyoming aa armedforcesamericas ae armedforceseurope ap armedforcespacific

    ab alberta bc britishcolumbia bc colombiebritannique mb manitoba nb newbrunswick nb nouveaubrunswick
    nl newfoundland nl newfoundlandandlabrador nl newfoundlandlabrador nl terreneuveetlabrador nt northwestterritories
    nt territoiresdunordouest ns novascotia ns nouvelleecosse nu nunavut on ontario pe princeedwardisland pe pei
    pe ileduprinceedouard qc quebec sk saskatchewan yt yukon yt yukonterritory
"""
_WORDS: Final = _US_AND_CANADIAN_STATES.split()
_STATE_CODES: Final = dict(zip(_WORDS[1::2], _WORDS[::2], strict=True))


def fold_letters(text: str) -> str:
    """Keep only the letters, without case and accents: "Côte d'Ivoire" and "COTE D IVOIRE" become "cotedivoire"."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(filter(str.isalpha, decomposed))


@lru_cache(maxsize=4096)
def country_code(text: str) -> str | None:
    """Look up a country by its alpha-2 or alpha-3 code, or its name in English, Spanish, Portuguese, French or German.

    Digits and punctuation are ignored ("U.S.", "C-A", "123us"). A name that two countries share is unknown.
    """
    return _codes_by_name().get(fold_letters(text))


def us_or_canadian_state_code(text: str) -> str | None:
    """Look up the two-letter code of a US state or territory, or a Canadian province, by its English or French name."""
    return _STATE_CODES.get(fold_letters(text))


@cache
def _codes_by_name() -> dict[str, str]:
    """Build the table of countries, once in each process, when the first address needs it."""
    codes = defaultdict(set)
    for name, code in _listed_names():
        codes[fold_letters(name)].add(code.lower())
    return {name: next(iter(found)) for name, found in codes.items() if len(found) == 1}


def _listed_names() -> Iterator[tuple[str, str]]:
    for language in _LANGUAGES:
        for code, name in Locale.parse(language).territories.items():
            if _is_country(code):
                yield code, code
                yield from ((variant, code) for variant in _spell_variants(name))
    for alias, codes in get_global("territory_aliases").items():
        if len(alias) == len("USA") and alias.isalpha() and len(codes) == 1 and _is_country(codes[0]):
            yield alias, codes[0]
    for code, names in _OTHER_NAMES.items():
        yield from ((name, code) for name in names.split())


def _is_country(code: str) -> bool:
    return len(code) == len("US") and code.isalpha() and code not in _NOT_COUNTRIES and code in Locale("en").territories


def _spell_variants(name: str) -> Iterator[str]:
    """Yield the name, the name with an article, and with CLDR's abbreviations spelled out ("Saint Lucia")."""
    yield name
    yield f"the {name}"
    yield name.replace("St. ", "Saint ").replace("&", "and")
