/** Stickers: emoji of the system's own font, drawn as small pictures. Nothing is bundled but their names. */
import { el, iconButton, put } from "./dom.js";
import { fill, type Language, type Words } from "./words.js";

export interface Sticker {
  emoji: string;
  en: string;
  zh: string;
}

type Category = "cat_faces" | "cat_feelings" | "cat_hands" | "cat_love" | "cat_animals" | "cat_shop";

/** Emoji, English words, Chinese words; the first word of each is its name. */
const TABLE: Record<Category, string> = {
  cat_faces:
    "😀grinning face,happy,smile/开心,笑 😄smiling eyes,happy/高兴,笑 😂tears of joy,laugh,funny/笑哭,搞笑 🤣rolling on the floor,laugh/笑翻,大笑 😊blush,smile/微笑,害羞 😉wink/眨眼 😍heart eyes,love/喜欢,爱 😘kiss/亲亲 😎cool,sunglasses/酷,墨镜 🤗hug/抱抱 🤔thinking,hmm/思考,想 😅sweat smile,relief/尴尬,流汗 😇angel,innocent/天使 😴sleeping,tired/睡觉,困",
  cat_feelings:
    "😢crying,sad/哭,难过 😭sobbing,cry,sad/大哭,伤心 😞disappointed,sad/失望 😡pouting,angry,mad/愤怒,生气 😠angry,annoyed/生气 😤huffing,frustrated/不满,哼 😱screaming,shocked,fear/惊恐,吓 😳flushed,embarrassed/脸红,尴尬 😕confused/困惑 🙄rolling eyes/翻白眼,无语 😩weary,tired/疲惫,累 🤯mind blown,shocked/震惊 😬grimace,awkward/尴尬 🥺pleading,please/拜托,可怜",
  cat_hands:
    "👍thumbs up,good,yes/赞,好 👎thumbs down,bad,no/踩,差 👌OK,perfect/好的,没问题 🙏folded hands,please,thanks/拜托,谢谢 👏clapping,bravo/鼓掌 🙌raised hands,hooray/欢呼 💪strong,muscle/加油,强 👋waving,hello,bye/挥手,你好,再见 🤝handshake,deal/握手,合作 ✌️victory,peace/胜利,耶 🤷shrug,dunno/耸肩,不知道 🤦facepalm/捂脸,无语 🙋raising hand,question/举手,提问 🙇bowing,sorry/鞠躬,抱歉",
  cat_love:
    "❤️red heart,love/红心,爱 💔broken heart,sad/心碎 💕two hearts,love/双心,爱 🎉party popper,celebrate/庆祝,拉炮 🎂birthday cake/生日蛋糕 🎁gift,present/礼物 🌹rose,flower/玫瑰,花 ⭐star/星星 ✨sparkles/闪亮 🔥fire,hot/火,热门 💯hundred,perfect/满分 🏆trophy,win/奖杯",
  cat_animals:
    "🐶dog/狗 🐱cat/猫 🐼panda/熊猫 🐰rabbit/兔子 🐵monkey/猴子 🦊fox/狐狸 🐻bear/熊 🐷pig/猪 🐧penguin/企鹅 🐢turtle,slow/乌龟,慢 🌸blossom,flower/樱花,花 ☀️sun,sunny/太阳,晴 🌧️rain/下雨 🌈rainbow/彩虹",
  cat_shop:
    "📦package,box,delivery/包裹,快递 🚚truck,delivery/货车,配送 🛒shopping cart/购物车 🛍️shopping bags/购物袋 💰money,refund/钱,退款 💳credit card,payment/信用卡,支付 🧾receipt,invoice/收据,发票 📱phone/手机 💻laptop/电脑 👟shoe/鞋 👕T-shirt,clothes/衣服 ☕coffee/咖啡 🍕pizza/披萨 ⏰alarm clock,late/闹钟,时间 ❓question/问号 ❗exclamation,important/感叹号",
};

export const CATEGORIES = Object.keys(TABLE) as Category[];

let parsed: Map<Category, Sticker[]> | undefined;

export function stickersOf(category: Category): Sticker[] {
  parsed ??= new Map(
    CATEGORIES.map((name) => [
      name,
      // A name may hold spaces: a new entry begins with what is neither a letter nor a comma.
      TABLE[name].split(/ (?=[^\w])/u).map((entry) => {
        const [, emoji = "", en = "", zh = ""] = /^([^\w]+)([^/]*)\/(.*)$/u.exec(entry) ?? [];
        return { emoji, en, zh };
      }),
    ]),
  );
  return parsed.get(category) ?? [];
}

/** Every sticker with a word that begins like this, in either language; of Chinese words any part. */
export function findStickers(query: string): Sticker[] {
  const asked = query.trim().toLowerCase();
  return CATEGORIES.flatMap(stickersOf).filter(
    ({ emoji, en, zh }) => emoji === asked || zh.includes(asked) || en.toLowerCase().split(/[ ,]/).some((word) => word.startsWith(asked)) || en.toLowerCase().includes(asked),
  );
}

export function nameOf(sticker: Sticker, language: Language): string {
  return sticker[language].split(",")[0] ?? sticker.emoji;
}

/** Such a picture travels inline and costs the gateway next to nothing. */
export const STICKER_BYTES = 5 * 1024;
const SIDES = [128, 112, 96, 80, 64, 48];
const FONT = '"Apple Color Emoji","Segoe UI Emoji","Noto Color Emoji",sans-serif';

/**
 * Draws an emoji as a PNG of at most {@link STICKER_BYTES}, as large as that allows.
 *
 * @throws Error where the browser has no canvas.
 */
export async function drawSticker(emoji: string): Promise<Blob> {
  let smallest: Blob | null = null;
  for (const side of SIDES) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const pen = canvas.getContext("2d");
    if (!pen) break;
    pen.font = `${Math.round(side * 0.8)}px ${FONT}`;
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    // Fonts place emoji differently between the lines: by their real extent they are in the middle.
    const extent = pen.measureText(emoji);
    const y = (side + extent.actualBoundingBoxAscent - extent.actualBoundingBoxDescent) / 2;
    pen.fillText(emoji, side / 2, y);
    smallest = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/png"));
    if (smallest && smallest.size <= STICKER_BYTES) return smallest;
  }
  if (!smallest) throw new Error("this browser cannot draw");
  return smallest;
}

export interface StickerPicker {
  node: HTMLElement;
  toggle(open?: boolean): void;
  readonly isOpen: boolean;
}

/** @param opened told whenever the picker opens or closes. */
export function createStickerPicker(words: Words, language: Language, choose: (sticker: Sticker) => void, opened: (open: boolean) => void): StickerPicker {
  let category: Category = "cat_faces";
  const search = el("input", { type: "search", placeholder: words.search, "aria-label": words.search, autocomplete: "off", spellcheck: "false" });
  const grid = el("div", { class: "grid", role: "group", "aria-label": words.stickers });
  const tabs = el("div", { class: "tabs", role: "group", "aria-label": words.stickers });
  const node = el(
    "div",
    { class: "stickers", role: "dialog", "aria-label": words.stickers, hidden: true },
    el("div", { class: "seek" }, search, iconButton("close", words.cancel, () => toggle(false))),
    grid,
    tabs,
  );

  function draw(): void {
    const asked = search.value.trim();
    const found = asked ? findStickers(asked) : stickersOf(category);
    put(
      grid,
      ...found.map((sticker, index) => {
        const label = nameOf(sticker, language);
        return el(
          "button",
          { type: "button", "aria-label": fill(words.sticker, { name: label }), title: label, tabindex: index ? "-1" : "0", onclick: () => (choose(sticker), toggle(false)) },
          sticker.emoji,
        );
      }),
      found.length === 0 && el("p", { role: "status" }, words.noStickers),
    );
    put(
      tabs,
      ...CATEGORIES.map((name) =>
        el(
          "button",
          {
            type: "button",
            "aria-label": words[name],
            title: words[name],
            "aria-pressed": String(!asked && name === category),
            onclick: () => {
              category = name;
              search.value = "";
              draw();
              (tabs.children[CATEGORIES.indexOf(name)] as HTMLElement).focus();
            },
          },
          stickersOf(name)[0]?.emoji ?? "",
        ),
      ),
    );
  }

  function toggle(open = node.hidden): void {
    if (open === !node.hidden) return;
    if (open) {
      search.value = "";
      draw();
    }
    node.hidden = !open;
    if (open && matchMedia("(hover: hover)").matches) search.focus();
    else if (open) (grid.firstElementChild as HTMLElement | null)?.focus();
    opened(open);
  }

  search.addEventListener("input", draw);
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || (event.key === "Enter" && !event.isComposing)) {
      event.preventDefault();
      (grid.firstElementChild as HTMLElement | null)?.focus();
    }
  });
  // One stop of the Tab key for the whole grid; within it the arrows.
  grid.addEventListener("keydown", (event) => {
    const all = [...grid.querySelectorAll("button")];
    const now = all.indexOf(event.target as HTMLButtonElement);
    if (now < 0) return;
    const columns = Math.max(1, all.findIndex((one) => one.offsetTop > (all[0]?.offsetTop ?? 0)));
    const forward = getComputedStyle(grid).direction === "rtl" ? -1 : 1;
    const step = { ArrowRight: forward, ArrowLeft: -forward, ArrowDown: columns, ArrowUp: -columns }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : step === undefined ? undefined : now + step;
    if (to === undefined) return;
    event.preventDefault();
    if (to < 0 && event.key === "ArrowUp") search.focus();
    const next = all[to];
    if (!next) return;
    all[now]?.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    toggle(false);
  });
  return {
    node,
    toggle,
    get isOpen() {
      return !node.hidden;
    },
  };
}

