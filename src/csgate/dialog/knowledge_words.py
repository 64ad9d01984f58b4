"""What a search sees of a text: stems of English words, pairs of Chinese characters, and the pack's synonyms."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

_RUN: Final = re.compile("([\u3400-\u4dbf\u4e00-\u9fff]+)|([a-z0-9\u00df-\u024f]+)(?:['’][a-z]+)?")

# Words that stand in any question and tell nothing about it.
_COMMON_EN: Final = (
    "a about after again all already also am an and any anything are as ask at be because been before being but by can "
    "could d did do does doing done else ever for from get gets getting give go goes going got had has have having he "
    "hello her here hey hi him his i if in into is it its just know let like ll m make may me might mine my need no "
    "not now of on one only or our out over own please pls possible put re really s say she should so some something "
    "still such t take tell than thank thanks that the their them then there these they thing things this those to too "
    "u until up upon us use ve very want was way we well were what which while whose why will with "
    "would yes yet you your yours"
)
_STOP_EN: Final = frozenset(_COMMON_EN.split())
_COMMON_ZH: Final = (
    "请问一下|请问|麻烦|您好|你好|谢谢|我们|你们|您们|他们|你家|我想要|我想|我要|想要|可不可以|可以|能不能|能否|是否|"
    "是不是|有没有|会不会|什么|怎么样|怎么|怎样|如何|为什么|哪里|哪儿|哪个|哪些|一下|这个|那个|这样|那样|已经|还是|"
    "但是|而且|如果|因为|所以|或者|以及|就是|没有|不是|需要|应该|告诉"
)
_STOP_HAN: Final = re.compile(
    "[的了吗呢吧啊呀嘛么我你您他她它们是有在和与或就都也还又很太这那请把被让给对从到要想能会可不没以为所其之而]"
)

# Traditional characters that customers write and pages mostly do not, with the simplified ones.
_TRADITIONAL: Final = (
    "來俱個們傢傷價償優兒內兩刪則剛務員問單嗎嘗嚇嚴國報場壞夠婦媽學實寬寶將專尋對導屆層屬帳幾廚廠廣廳張後從徵慶應戶換損擁擇擊據數於時會東條業樓標"
    "樣檔櫃歲歷沒減滿潔濕灣為無熱燈營爺獎獲現產當發盜確碼禮稅積節簡籤約紅納紙級結絕絡給經綠維網緊線總繫繳續纔聯聲職聽肅脫腦腳膚臉臨臺與舉舊艙蓋薦"
    "藍藝藥蘋處號虧蟲術衛補裝裡複褲襪見規視親覺觀觸訂計訊訓記訪設許訴診註詐評詞詢試話該詳認語誠誤說誰課調談請論諮諾講謝證識譯護讀變讓貓貝負財貧貨"
    "貴買貸費貼貿資賓賞賠賣質賬賴購贈贊趕趨車軌軟較載輕輛輪輯輸轉辦辭農這運過達遞遠適遲選遺還邊邏郵鄉鄰醫釋釘針鈕銀銷鋼錢錯鍋鍵鎖鏈鏡鐘鐵鑑鑰長門"
    "閃閉開閒間閱闆關陰陳陸陽隊階際隨險隱隻雙雞難雲電霧靜韓響頁頂項順須預領頭頻題額顏願類顧顯風飛飯飲飽飾養餘館馬駐駕騙驗驚驟體髮鬆鬥鬧魚鳥鹼鹽麗"
    "麥麵麼麽黃點齊齒齡龍龜"
)
_SIMPLIFIED: Final = (
    "来具个们家伤价偿优儿内两删则刚务员问单吗尝吓严国报场坏够妇妈学实宽宝将专寻对导届层属账几厨厂广厅张后从征庆应户换损拥择击据数于时会东条业楼标"
    "样档柜岁历没减满洁湿湾为无热灯营爷奖获现产当发盗确码礼税积节简签约红纳纸级结绝络给经绿维网紧线总系缴续才联声职听肃脱脑脚肤脸临台与举旧舱盖荐"
    "蓝艺药苹处号亏虫术卫补装里复裤袜见规视亲觉观触订计讯训记访设许诉诊注诈评词询试话该详认语诚误说谁课调谈请论咨诺讲谢证识译护读变让猫贝负财贫货"
    "贵买贷费贴贸资宾赏赔卖质账赖购赠赞赶趋车轨软较载轻辆轮辑输转办辞农这运过达递远适迟选遗还边逻邮乡邻医释钉针钮银销钢钱错锅键锁链镜钟铁鉴钥长门"
    "闪闭开闲间阅板关阴陈陆阳队阶际随险隐只双鸡难云电雾静韩响页顶项顺须预领头频题额颜愿类顾显风飞饭饮饱饰养余馆马驻驾骗验惊骤体发松斗闹鱼鸟碱盐丽"
    "麦面么么黄点齐齿龄龙龟"
)
_SIMPLE: Final = str.maketrans(_TRADITIONAL, _SIMPLIFIED)

# English endings, longest first, with what stands for them.
_ENDINGS: Final = (
    ("ization", "ize"),
    ("ational", "ate"),
    ("fulness", "ful"),
    ("ations", "ate"),
    ("ation", "ate"),
    ("ments", ""),
    ("ment", ""),
    ("ness", ""),
    ("ings", ""),
    ("ing", ""),
    ("ies", "y"),
    ("ied", "y"),
    ("ers", "er"),
    ("sses", "ss"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("ed", ""),
    ("ly", ""),
    ("s", ""),
)
_VOWEL: Final = re.compile("[aeiouy]")
_KEPT_S: Final = ("ss", "us", "is")
MIN_STEM: Final = 3
MAX_ASKING_CHARS: Final = 400


def stem(word: str) -> str:
    """``word`` without the endings of plural and verb, so that ``returned``, ``returns`` and ``return`` are one.

    Rough on purpose: what matters is that a question and a page are cut alike.
    """
    if len(word) <= MIN_STEM or not word.isascii() or not word.isalpha():
        return word
    for ending, stands in _ENDINGS:
        if word.endswith(ending) and not (ending == "s" and word.endswith(_KEPT_S)):
            base = word[: -len(ending)] + stands
            if len(base) >= MIN_STEM and _VOWEL.search(base):
                word = base
                break
    if len(word) > MIN_STEM and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word[:-1] if len(word) > MIN_STEM and word[-1] == "e" else word


_ASKS: Final = re.compile(
    r"[?？]|^\W*(?:(?:and|but|so|ok|hi|hey|hello|please|pls|sorry)\W+)*"
    r"(?:how|what|whats|when|where|who|which|why|can|could|may|is|are|am|was|do|does|did|will|would|should|has|have|any)\b"
    r"|\b(?:tell me|wonder(?:ing)?|want to know|like to know|how (?:much|many|long|do|can)|what is|is it possible)\b"
    r"|[吗呢么嘛谁哪几]|怎|什么|如何|为何|多[少久长大远快]|是否|能不能|可不可以|会不会|有没有|是不是|要不要|行不行|不$",
    re.IGNORECASE,
)


def looks_like_question(text: str) -> bool:
    """Whether ``text`` asks for something, as far as its words show; its first ``MAX_ASKING_CHARS`` are looked at."""
    return _ASKS.search(text[:MAX_ASKING_CHARS].strip()) is not None


class Vocabulary:
    """Turns texts of a language into the words that are searched for.

    ``synonyms`` are groups of words or phrases that mean the same. A word of a group becomes the group's own word; a
    phrase adds it, and keeps its words. A word may be in several groups.
    """

    def __init__(self, synonyms: Sequence[Sequence[str]] = ()) -> None:
        self._words: dict[str, list[str]] = {}
        self._phrases: dict[tuple[str, ...], list[str]] = {}
        self._han: dict[str, list[str]] = {}
        for number, group in enumerate(synonyms):
            name = f"={number}"
            for member in group:
                folded = _fold(member)
                stems = tuple(stem(run[2]) for run in _RUN.finditer(folded) if run[2])
                han = "".join(run[1] for run in _RUN.finditer(folded) if run[1])
                if han:
                    _add(self._han.setdefault(han, []), name)
                elif len(stems) == 1:
                    _add(self._words.setdefault(stems[0], []), name)
                elif stems:
                    _add(self._phrases.setdefault(stems, []), name)
        self._longest = max(map(len, self._phrases), default=0)
        for phrase in _COMMON_ZH.split("|"):
            self._han.setdefault(phrase, [])
        self._longest_han = max(map(len, self._han))

    def words(self, text: str) -> list[str]:
        """The words of ``text`` for searching, in its order, with repetitions. Linear in its length."""
        found: list[str] = []
        english: list[str] = []
        for run in _RUN.finditer(_fold(text)):
            if run[1]:
                found += self._chinese(run[1])
            else:
                english.append(run[2])
        found += self._english(english)
        return found

    def _english(self, words: list[str]) -> Iterator[str]:
        stems = [stem(word) for word in words]
        for place, (word, cut) in enumerate(zip(words, stems, strict=True)):
            for length in range(2, min(self._longest, len(stems) - place) + 1):
                yield from self._phrases.get(tuple(stems[place : place + length]), ())
            group = self._words.get(cut)
            if group is not None:
                yield from group
            elif word not in _STOP_EN and (len(word) > 1 or word.isdigit()):
                yield cut

    def _chinese(self, run: str) -> Iterator[str]:
        """The known phrases, also where they overlap; what lies between them in pairs of characters."""
        end = 0
        for place in range(len(run)):
            for length in range(min(self._longest_han, len(run) - place), 0, -1):
                groups = self._han.get(run[place : place + length])
                if groups is not None:
                    # One that lies within the phrase before it says nothing more.
                    if place + length > end:
                        if place > end:
                            yield from _pairs(run[end:place])
                        yield from groups
                        end = place + length
                    break
        yield from _pairs(run[end:])


def _add(names: list[str], name: str) -> None:
    # Several members of a group may have one stem.
    if name not in names:
        names.append(name)


def _pairs(run: str) -> Iterator[str]:
    """Pairs of neighbours between the characters that tell nothing; a character on its own where it has none."""
    for part in _STOP_HAN.split(run):
        if len(part) == 1:
            yield part
        for one, next_one in pairwise(part):
            yield one + next_one


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().translate(_SIMPLE)
