"""The words just before a number, which say what it is."""

import re

REACH = 48

_THING = re.compile(
    r"(?:\border|\binvoice|\bpart|\bsku|\bisbn|\bissn|\bdoc(?:ument)?|\bticket|\bcase|\bref(?:erence)?|\btracking|\bserial"
    r"|\bimei|\bitem|\bmodel|\barticle|\bproduct|\bbatch|\bclaim|\bpolicy|\bmember|\bcustomer|\baccount|\bconfirmation"
    r"|\bbooking|\breceipt|\bshipment|\bparcel|\btransaction|\buser|\bsession|\bpatent|\bversion|\bport|\blines?|\bregisters?"
    r"|\brange|\boffset|\btimestamp|\bepoch|\bchecksum|\bean|\bupc|\bgtin|\bvin|\bpmid|\bdoi"
    r"|\b(?:p|process )?id|(?<=_)id"
    r"|bestell|auftrag|rechnung|sendung|artikel|vorgang|kunden|paket|aktenzeichen|dokument"
    r"|pedido|factura|albar[aá]n|referencia|expediente|env[ií]o|documento|art[ií]culo"
    r"|订单|单号|编号|发票|运单|快递|型号|版本|工单|文档|货号|流水)"
    r"[\w-]{0,12}(?:[\s:#.=\"'：(-]{0,4}(?:number|numbers|nummer|n[uú]mero|no|nr|num|id|code|is|was|are|ist|lautet|es|of|from|号|号码|是|为)\b){0,3}"
    r"[\s:#.=\"'：(№-]{0,5}$|[#№]\s?$",
    re.IGNORECASE,
)


def is_said_before(words: re.Pattern[str], text: str, start: int) -> bool:
    """Tell whether the words stand before a place in the text: within reach, on its line or alone on the one above."""
    reach = max(0, start - REACH)
    line = text.rfind("\n", reach, start) + 1
    return words.search(text, line if text[line:start].strip() and line else reach, start) is not None


def is_numbered_thing(text: str, start: int) -> bool:
    """Return whether the number that begins there is called an order's, a document's, a version's or the like."""
    return is_said_before(_THING, text, start)
