"""The vocabulary of the sample CRM: names, places and phone numbers of fourteen countries.

`sample_people` invents leads from `COUNTRIES`. Given and family names are common and are combined at random; no real
person is meant. Rules for new words:

- No city that names a time zone and no name that is also a word in the logs: leak tests search the logs for them.
- Phone numbers come from ranges that are reserved for fiction if a country has any: US 555-01xx, GB 07700 900xxx
  (Ofcom), DE 030 23125, 069 90009, 089 99998 and 0221 4710 (Bundesnetzagentur), FR 06 39 98 (Arcep). The others are
  invented: they have a valid form, and most contain "555".
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A city with its state and post code as people there write them. `zip` is None if there are no post codes."""

    city: str
    state: str
    zip: str | None


class Country(NamedTuple):
    """The data for inventing leads of a country. In the phone patterns, each # stands for any digit."""

    code: str
    name: str
    weight: int  # share of the leads, in percent
    currency: str
    women: tuple[str, ...]
    men: tuple[str, ...]
    family: tuple[str, ...]
    national: tuple[str, ...]
    international: tuple[str, ...]
    places: tuple[Place, ...]


MAIL_DOMAINS = (  # RFC 2606 reserves the first three, with all their subdomains, for examples
    "example.com",
    "example.org",
    "example.net",
    "mail.example.com",
    "post.example.org",
    "home.example.net",
    "correo.example.com",
)

MAILBOX_WORDS = (  # for names without Latin letters
    "quietheron",
    "silverbirch",
    "morningtea",
    "paperkite",
    "northernlake",
    "redlantern",
    "slowtrain",
    "applecart",
)


def _words(text: str) -> tuple[str, ...]:
    """Return the words of a comma-separated text."""
    return tuple(word.strip() for word in text.split(","))


_ALL = (
    Country(
        "US", "United States", 22, "USD",
        _words("Katherine, Madison, Danielle, Rebecca, Stephanie, Latoya, Savannah, Vanessa"),
        _words("Christopher, Matthew, Joshua, Brandon, Terrence, Nathaniel, Gregory, Malcolm"),
        _words("Thompson, Ramirez, Whitaker, Henderson, Washington, Lindqvist, Kowalski, Peterson"),
        ("(916) 555-01##", "505-555-01##", "423.555.01##", "(612) 555-01##", "850 555 01##"),
        ("+1 802 555 01##", "+1-509-555-01##", "+181755501##"),
        (
            Place("Sacramento", "CA", "95814"),
            Place("Albuquerque", "NM", "87102"),
            Place("Chattanooga", "TN", "37402"),
            Place("Minneapolis", "Minnesota", "55401"),
            Place("Tallahassee", "FL", "32301-1234"),
            Place("Burlington", "VT", "05401"),
            Place("Fort Worth", "Texas", "76102"),
        ),
    ),
    Country(
        "GB", "UK", 10, "GBP",
        _words("Charlotte, Imogen, Beatrice, Harriet, Rosalind, Philippa"),
        _words("Alistair, Rupert, Callum, Oliver, Benedict, Duncan"),
        _words("Ashworth, Pemberton, Hughes, MacKenzie, Fairclough, Llewellyn, Okonkwo"),
        ("07700 900###", "07700900###", "(07700) 900 ###"),
        ("+44 7700 900###", "+447700900###", "0044 7700 900###"),
        (
            Place("Manchester", "England", "M1 1AE"),
            Place("Sheffield", "England", "S1 2HE"),
            Place("Norwich", "England", "NR2 1TF"),
            Place("Cardiff", "Wales", "CF10 3AT"),
            Place("Aberdeen", "Scotland", "AB10 1XG"),
        ),
    ),
    Country(
        "DE", "Germany", 14, "EUR",
        _words("Annegret, Friederike, Katharina, Käthe, Mareike, Ayşegül"),
        _words("Jürgen, Matthias, Sebastian, Günther, Thorsten, Björn"),
        _words("Müller, Schäfer, Großmann, Hoffmann, Köhler, Yılmaz, Zimmermann"),
        ("030 23125###", "089/99998###", "(0221) 4710-###"),
        ("+49 30 23125###", "+49 69 90009###", "004989 99998###"),
        (
            Place("Leipzig", "Sachsen", "04109"),
            Place("Stuttgart", "Baden-Württemberg", "70173"),
            Place("Düsseldorf", "Nordrhein-Westfalen", "40213"),
            Place("Nürnberg", "Bayern", "90402"),
            Place("Göttingen", "Niedersachsen", "37073"),
        ),
    ),
    Country(
        "FR", "France", 10, "EUR",
        _words("Amélie, Geneviève, Mathilde, Océane, Delphine, Fatoumata"),
        _words("François, Guillaume, Théophile, Laurent, Étienne, Mamadou"),
        _words("Lefèvre, Rousseau, Béranger, Chevalier, Fournier, Traoré, Garnier"),
        ("06 39 98 ## ##", "06.39.98.##.##", "063998####"),
        ("+33 6 39 98 ## ##", "+3363998####", "0033 6 39 98 ## ##"),
        (
            Place("Toulouse", "Occitanie", "31000"),
            Place("Marseille", "Provence-Alpes-Côte d'Azur", "13001"),
            Place("Saint-Étienne", "Auvergne-Rhône-Alpes", "42000"),
            Place("Besançon", "Bourgogne-Franche-Comté", "25000"),
        ),
    ),
    Country(
        "ES", "Spain", 8, "EUR",
        _words("Begoña, Inmaculada, Lucía, Remedios, Rocío"),
        _words("Íñigo, Joaquín, Álvaro, Gonzalo, Fermín"),
        _words("García Fernández, Muñoz Ibáñez, Rodríguez, Castaño, Gutiérrez, Echeverría"),
        ("600 55# ###", "60055####"),
        ("+34 600 55# ###", "0034 600 55 ## ##"),
        (
            Place("Valencia", "Comunitat Valenciana", "46002"),
            Place("Sevilla", "Andalucía", "41001"),
            Place("A Coruña", "Galicia", "15001"),
            Place("Zaragoza", "Aragón", "50001"),
        ),
    ),
    Country(
        "BR", "Brazil", 8, "BRL",
        _words("Conceição, Thaís, Luciana, Fernanda, Rosângela"),
        _words("João Pedro, Antônio, Thiago, Anderson, Wellington"),
        _words("Gonçalves, Albuquerque, Nascimento, dos Santos, Figueiredo, Guimarães"),
        ("(11) 95550-####", "48 95550 ####", "(061) 95550-####"),
        ("+55 61 95550-####", "+55 (11) 95550-####"),
        (
            Place("São Paulo", "SP", "01310-100"),
            Place("Florianópolis", "SC", "88010-400"),
            Place("Curitiba", "Paraná", "80010-010"),
            Place("Niterói", "RJ", "24020-005"),
        ),
    ),
    Country(
        "MX", "Mexico", 6, "MXN",
        _words("Guadalupe, Xóchitl, Verónica, Esperanza"),
        _words("Cuauhtémoc, Jesús Ángel, Rodrigo, Ulises"),
        _words("Hernández, Velázquez, Domínguez, Treviño, Castañeda"),
        ("33 5550 ####", "442 555 ####"),
        ("+52 222 555 ####", "+52 33 5550 ####"),
        (
            Place("Guadalajara", "Jalisco", "44100"),
            Place("Querétaro", "Querétaro", "76000"),
            Place("San Luis Potosí", "San Luis Potosí", "78000"),
            Place("Tuxtla Gutiérrez", "Chiapas", "29000"),
        ),
    ),
    Country(
        "IN", "India", 6, "INR",
        _words("Lakshmi, Priyanka, Ananya, प्रियंका, Kavitha"),
        _words("Rajesh, Venkatesh, Arjun, Siddharth, राजेश"),
        _words("Chatterjee, Subramanian, Deshpande, Iyengar, Bhattacharya, Kulkarni"),
        ("98555 5####", "098555 5####", "985555####"),
        ("+91 98555 5####", "+91-98555-5####"),
        (
            Place("Bengaluru", "Karnataka", "560001"),
            Place("Hyderabad", "Telangana", "500001"),
            Place("Ahmedabad", "Gujarat", "380 001"),
            Place("पुणे", "महाराष्ट्र", "411001"),
        ),
    ),
    Country(
        "JP", "Japan", 5, "JPY",
        _words("陽葵, 美咲, さくら, 結衣"),
        _words("大翔, 健太, 翔太, 一郎"),
        _words("佐藤, 鈴木, 高橋, 長谷川, 渡邊"),
        ("090-5550-####", "0905550####"),
        ("+81 90-5550-####", "+81905550####"),
        (
            Place("横浜市", "神奈川県", "220-0012"),
            Place("札幌市", "北海道", "〒060-0001"),
            Place("名古屋市", "愛知県", "450-0002"),
        ),
    ),
    Country(
        "KR", "South Korea", 3, "KRW",
        _words("서연, 지우, 하은, 민지"),
        _words("민준, 도윤, 서준, 지훈"),
        _words("김, 이, 박, 최, 남궁"),
        ("010-5550-####", "010 5550 ####"),
        ("+82 10-5550-####", "+82 10 5550 ####"),
        (
            Place("부산광역시", "부산광역시", "48058"),
            Place("수원시", "경기도", "16490"),
            Place("대전광역시", "대전광역시", "35208"),
        ),
    ),
    Country(
        "EG", "Egypt", 2, "EGP",
        _words("فاطمة, ياسمين, نورهان, عائشة"),
        _words("محمود, عبد الرحمن, إبراهيم, مصطفى"),
        _words("السيد, عبد العزيز, المصري, الشريف"),
        ("010 5550 ####", "0105550####"),
        ("+20 10 5550 ####", "+20105550####"),
        (Place("الإسكندرية", "الإسكندرية", "21500"), Place("المنصورة", "الدقهلية", "35511")),
    ),
    Country(
        "AE", "United Arab Emirates", 2, "AED",
        _words("مريم, شيخة, لطيفة"),
        _words("راشد, سلطان, حمدان"),
        _words("المنصوري, الهاشمي, الكعبي"),
        ("050 555 ####", "050-555####"),
        ("+971 50 555 ####", "00971 50 555 ####"),
        (Place("الشارقة", "الشارقة", None), Place("رأس الخيمة", "رأس الخيمة", None)),
    ),
    Country(
        "UA", "Ukraine", 2, "UAH",
        _words("Оксана, Людмила, Соломія, Дар'я"),
        _words("Володимир, Тарас, Григорій, В'ячеслав"),
        _words("Шевченко, Коваленко, Бондаренко, Гнатюк"),
        ("050 555 ## ##", "050555####"),
        ("+380 50 555 ## ##", "+38050555####"),
        (Place("Харків", "Харківська область", "61000"), Place("Львів", "Львівська область", "79000")),
    ),
    Country(
        "BG", "Bulgaria", 2, "EUR",
        _words("Цветелина, Десислава, Радостина"),
        _words("Димитър, Красимир, Светослав"),
        _words("Георгиев, Стоянов, Желязков, Христов"),
        ("088 555 ####", "088555####"),
        ("+359 88 555 ####", "+35988555####"),
        (Place("Пловдив", "Област Пловдив", "4000"), Place("Стара Загора", "Област Стара Загора", "6000")),
    ),
)  # fmt: skip

COUNTRIES = {country.code: country for country in _ALL}
