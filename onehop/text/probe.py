"""A fixed text of many scripts and of what tokenizers stumble over, by which a tokenizer is known again.

Never change a text here: fingerprints in packages were made with it. A new kind of text gets a new name.
"""

from __future__ import annotations

PROBES = {
    "latin": "Zwölf Boxkämpfer jagen Viktor quer über den Deich. Où est l'œuvre naïve de Chloé ? Łódź, Ångström, Iași.",
    "english": "The 3 quick brown foxes weren't lazy; they jumped (twice!) over https://example.org/a_b?c=d.",
    "cyrillic": "Съешь ещё этих мягких булок. Їжак і ґава. Љубазни фењерџија.",
    "greek": "Γειά σου Κόσμε, τι κάνεις σήμερα; ΟΔΟΣ ὁδός",
    "arabic": "مرحبا بالعالم، كيف حالك اليوم؟ سَلَامٌ گچپژ",
    "hebrew": "שלום עולם, מה שלומך היום? שָׁלוֹם",
    "devanagari": "नमस्ते दुनिया, आप कैसे हैं? क्षत्रिय ज्ञान।",
    "chinese": "你好，世界。今天天气很好，我們去公園吧！",
    "japanese": "こんにちは、世界。今日は良い天気ですね。ﾊﾝｶｸ カタカナ",
    "korean": "안녕하세요 세계, 오늘 날씨가 좋네요. ᄒ\u1161\u11ab",
    "thai": "สวัสดีชาวโลก วันนี้อากาศดีมาก ๆ น้ำ",
    "emoji": "👩‍👩‍👧 👍🏽 🇩🇪 ❤️ 🏳️‍🌈",
    "composed": "é ñ Å ﬁ ½ ² Ⅳ Å",
    "combining": "e\u0301 n\u0303 A\u030a o\u0323\u0302 a\u0300\u0301\u0302 \u0301",
    "controls": "<pad> <s> </s> <unk> <0x41> <tag:news> [CLS] <|endoftext|> \u2581a ##b",
    "digits": "0 1 23 1,024 3.14159 -7 ٣٤٥ ४५६ １２３ 1e-4 0x1F",
    "spaces": " a  b\tc\nd\r\ne\u00a0f\u2003g\u200bh\u2028i\u3000j \ufeff \0   ",
    "punctuation": "¿Qué? ¡Sí! «oui» „ja“ “yes” ‘no’ – — … · 、。 ¶ § @#$%^&*()[]{}|\\~`_+=",
    "rare": "\U00010348 \U0001d4d0 \ue000 \ufffd 𠮷 ꙮ \u0378",
}
