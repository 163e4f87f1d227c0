"""A language is named only where it is plain to see."""

import pytest

from services.curator.pairs.domain.wording import derive_language


@pytest.mark.parametrize(
    "text, language",
    [
        ("Please send us the number of the order and we will look for it.", "en"),
        ("Bitte senden Sie uns die Nummer, dann sehen wir nach, was mit der Bestellung ist.", "de"),
        ("Veuillez nous envoyer le numéro de la commande, et nous la chercherons pour vous.", "fr"),
        ("Por favor, envíenos el número del pedido y lo buscamos en los almacenes.", "es"),
        ("注文番号を教えてください。すぐにお調べします。", "ja"),
        ("请把订单号发给我们，我们会马上查询。", "zh"),
        ("Пришлите нам номер заказа.", "cyrillic"),
        ("Order 4711: kettle, lamp.", None),
        ("42", None),
        ("", None),
    ],
)
def test_a_language_is_named_where_it_is_plain(text: str, language: str | None) -> None:
    assert derive_language(text) == language
