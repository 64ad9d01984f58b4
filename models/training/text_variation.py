"""Other ways to type the same message: synonyms, traditional characters, homophones, words left out."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Final

TRADITIONAL: Final = dict(
    "订訂 单單 发發 货貨 钱錢 还還 吗嗎 么麼 样樣 这這 个個 帮幫 请請 问問 时時 间間 电電 话話 邮郵 换換 额額 账帳 户戶 册冊 录錄 码碼 "
    "号號 谢謝 给給 没沒 为為 会會 现現 说說 对對 开開 关關 让讓 们們 来來 过過 买買 卖賣 优優 价價 员員 务務 评評 论論 东東 见見 里裡 "
    "后後 长長 递遞 运運 费費 质質 损損 坏壞 颜顏 点點 应應 该該 认認 证證 处處 进進 显顯 题題 机機 储儲 设設 备備 联聯 系繫 热熱 线線 "
    "转轉 门門 乐樂 欢歡 爱愛 气氣 变變 压壓 实實 师師 华華 国國 学學 习習 书書 车車 飞飛 两兩 几幾 万萬 从從 当當 动動 无無 听聽 读讀 "
    "写寫 词詞 语語 银銀 礼禮 积積 减減 满滿 赠贈 购購 删刪 销銷 级級 别別 错錯 误誤 锁鎖 忆憶 丢丟 寻尋 复復 绑綁 图圖 声聲 体體 试試 "
    "网網 页頁 链鏈 载載 软軟 团團 队隊 专專 业業 尽盡 愿願 谅諒 烦煩 劳勞 驾駕 亲親 岁歲 结結 总總 数數 条條 张張 双雙 裤褲 颗顆 盘盤 "
    "灯燈 脑腦 视視 频頻".split()
)
# Homophones that a pinyin keyboard offers first now and then.
HOMOPHONES: Final = dict(
    "在再 再在 的得 得的 账帐 录陆 那哪 哪那 做作 吗嘛 嘛吗 退推 单丹 货获 钱前 收手 订定 换还 消销 销消 注住 密蜜 邮由 评平 优忧 "
    "惠会 寄记 付负 改该 客克 服福".split()
)
_LANGUAGES: Final = ("en", "zh")


def _read_groups(path: Path) -> dict[str, dict[str, list[str]]]:
    """Read `language word|word|…` lines into word -> its group, by language."""
    groups: dict[str, dict[str, list[str]]] = {language: {} for language in _LANGUAGES}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            language, words = line.split(" ", 1)
            group = words.split("|")
            groups[language] |= {word: group for word in group}
    return groups


_GROUPS: Final = _read_groups(Path(__file__).parent / "data" / "synonyms.txt")


def _pattern(language: str) -> re.Pattern[str]:
    words = "|".join(re.escape(word) for word in sorted(_GROUPS[language], key=len, reverse=True))
    return re.compile(rf"\b({words})\b" if language == "en" else words, re.IGNORECASE)


_PATTERNS: Final = {language: _pattern(language) for language in _LANGUAGES}


def swap_synonyms(text: str, language: str, chance: random.Random, rate: float) -> str:
    """Replace each known word by one of its group with probability `rate`."""
    groups = _GROUPS[language]

    def swap(found: re.Match[str]) -> str:
        word = found.group(0)
        return chance.choice(groups.get(word.lower(), [word])) if chance.random() < rate else word

    return _PATTERNS[language].sub(swap, text)


def leave_out_words(text: str, language: str, chance: random.Random) -> str:
    """Leave out some words (English) or characters (Chinese) of a message that has enough of them."""
    if language == "zh":
        return "".join(char for char in text if chance.random() > 0.05) if len(text) > 7 else text
    words = text.split(" ")
    kept = [word for word in words if chance.random() > 0.08]
    return " ".join(kept) if len(words) > 4 and len(kept) > 2 else text


def retype_chinese(text: str, chance: random.Random) -> str:
    """Write in traditional characters, or put a homophone for one character, now and then."""
    dice = chance.random()
    if dice < 0.06:
        return "".join(TRADITIONAL.get(char, char) for char in text)
    places = [at for at, char in enumerate(text) if char in HOMOPHONES] if dice < 0.16 else []
    if not places:
        return text
    at = chance.choice(places)
    return text[:at] + HOMOPHONES[text[at]] + text[at + 1 :]
