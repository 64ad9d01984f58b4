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
    "😀happy,smile/开心,笑 😂tears of joy,laugh/笑哭 🤣rolling,laugh/笑翻 😊blush,smile/微笑 😉wink/眨眼 😍love,heart eyes/喜欢 😘kiss/亲亲 😎cool/酷 🤗hug/抱抱 🤔thinking/思考 😅sweat/尴尬 😴sleeping,tired/睡觉",
  cat_feelings:
    "😢sad,crying/难过,哭 😭sobbing,sad/大哭 😞disappointed/失望 😡angry,mad/生气 😤frustrated/不满 😱shocked,fear/惊吓 😳embarrassed/脸红 😕confused/困惑 🙄rolling eyes/无语 😩weary/疲惫 🤯mind blown/震惊 🥺pleading/可怜",
  cat_hands:
    "👍thumbs up,good,yes/赞,好 👎thumbs down,bad,no/踩,差 👌OK/好的 🙏please,thanks/拜托,谢谢 👏clapping/鼓掌 💪strong/加油 👋hello,bye/你好,再见 🤝handshake,deal/握手 ✌️victory/胜利 🤷shrug/不知道 🤦facepalm/捂脸 🙇sorry/抱歉",
  cat_love:
    "❤️heart,love/爱心 💔broken heart/心碎 🎉party,celebrate/庆祝 🎂birthday cake/生日蛋糕 🎁gift/礼物 🌹rose,flower/玫瑰,花 ⭐star/星星 ✨sparkles/闪亮 🔥fire,hot/火 💯hundred,perfect/满分",
  cat_animals:
    "🐶dog/狗 🐱cat/猫 🐼panda/熊猫 🐰rabbit/兔子 🐵monkey/猴子 🐷pig/猪 🐧penguin/企鹅 🐢turtle,slow/乌龟,慢 🌸blossom,flower/樱花 🌈rainbow/彩虹",
  cat_shop:
    "📦package,delivery/包裹,快递 🚚truck,delivery/货车,配送 🛒cart/购物车 💰money,refund/钱,退款 💳card,payment/信用卡,支付 🧾receipt,invoice/发票 📱phone/手机 💻laptop/电脑 👟shoe/鞋 👕shirt,clothes/衣服 ⏰clock,late/时间 ❓question/问号",
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
const SIDES = [128, 112, 96, 80, 72, 64, 56, 48];
const FONT = '"Apple Color Emoji","Segoe UI Emoji","Noto Color Emoji",sans-serif';

/**
 * Draws an emoji as a picture of at most {@link STICKER_BYTES}, as large as that allows: WebP, or PNG where the browser
 * makes no WebP.
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
    smallest = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/webp", 0.9));
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

