/** Everything that the widget says, in each of its languages. `{n}` and the like are filled in by {@link fill}. */

const en = {
  title: "Customer service",
  greeting: "How can we help?",
  about: "Ask about an order, a refund or a product, in words or with a picture.",
  suggestions: "Where is my order 12345?|I want my money back|How long does delivery take?",
  open: "Open the chat",
  openUnread: "Open the chat, {n} unread",
  close: "Close the chat",
  log: "Conversation",
  write: "Write a message",
  placeholder: "Message…",
  send: "Send",
  stop: "Stop the answer",
  attach: "Send a picture",
  camera: "Take a photo",
  stickers: "Stickers",
  search: "Search stickers",
  noStickers: "No sticker of that name",
  drop: "Drop a picture here",
  removePicture: "Remove the picture {name}",
  picture: "Picture",
  sticker: "Sticker: {name}",
  notPicture: "{name} is not a picture that can be sent. JPEG, PNG, WebP and GIF can.",
  tooMany: "At most {n} pictures at once.",
  left: "{n} characters left",
  you: "You",
  assistant: "Assistant",
  person: "Our team",
  online: "Online",
  connecting: "Connecting…",
  lost: "No connection. Retrying in {n}\u00a0s",
  lostNow: "No connection. Retrying…",
  offline: "You are offline. Messages are sent when you are back.",
  refused: "The chat cannot be reached.",
  again: "Try now",
  typing: "Writing…",
  understanding: "Reading your message…",
  answering: "Writing an answer…",
  queued: "You are number {n} in line",
  queuedNext: "You are next",
  queuedMessage: "Waiting to be sent",
  sending: "Sending",
  uploading: "Sending, {n}%",
  sent: "Sent",
  failed: "Not sent",
  retry: "Try again",
  discard: "Delete",
  stopped: "Stopped",
  newMessages: "New messages",
  toEnd: "To the newest message",
  earlier: "Show earlier messages",
  quickReplies: "Suggested replies",
  rate: "Was this helpful?",
  stars: "{n} of 5 stars",
  rated: "Thank you!",
  comment: "What could be better? (optional)",
  commentGood: "Anything you would like to add? (optional)",
  sendComment: "Send",
  menu: "More",
  handoff: "Talk to a person",
  fresh: "New conversation",
  freshAsk: "Start a new conversation? This one is forgotten on this device.",
  freshYes: "Start new",
  cancel: "Cancel",
  details: "Show model details",
  sound: "Sound",
  waiting: "We are looking for a person to talk to you.",
  human: "A person has joined the conversation.",
  bot: "The assistant is answering again.",
  closed: "This conversation is closed.",
  withPerson: "You are talking to a person",
  enlarge: "Enlarge: {name}",
  previous: "Previous picture",
  next: "Next picture",
  closePicture: "Close the picture",
  broken: "The picture cannot be shown",
  understood: "What was understood",
  intent: "Intent",
  sentiment: "Mood",
  positive: "positive",
  neutral: "neutral",
  negative: "negative",
  tags: "In the picture",
  source: "Answer from",
  timing: "Time",
  ms: "{n} ms",
  cat_faces: "Faces",
  cat_feelings: "Feelings",
  cat_hands: "Hands and people",
  cat_love: "Love and parties",
  cat_animals: "Animals and nature",
  cat_shop: "Shopping and things",
};

export type Words = Readonly<Record<keyof typeof en, string>>;

const zh: Words = {
  title: "在线客服",
  greeting: "有什么可以帮您？",
  about: "订单、退款、商品问题，都可以用文字或图片告诉我们。",
  suggestions: "我的订单 12345 到哪里了？|我要退款|配送需要多长时间？",
  open: "打开对话",
  openUnread: "打开对话，{n} 条未读",
  close: "关闭对话",
  log: "对话内容",
  write: "输入消息",
  placeholder: "输入消息…",
  send: "发送",
  stop: "停止回答",
  attach: "发送图片",
  camera: "拍照",
  stickers: "表情",
  search: "搜索表情",
  noStickers: "没有找到这样的表情",
  drop: "把图片拖到这里",
  removePicture: "移除图片 {name}",
  picture: "图片",
  sticker: "表情：{name}",
  notPicture: "{name} 不是可以发送的图片，请选择 JPEG、PNG、WebP 或 GIF。",
  tooMany: "一次最多发送 {n} 张图片。",
  left: "还可输入 {n} 字",
  you: "您",
  assistant: "智能助手",
  person: "人工客服",
  online: "在线",
  connecting: "正在连接…",
  lost: "连接已断开，{n}\u00a0秒后重试",
  lostNow: "连接已断开，正在重试…",
  offline: "您已离线，恢复网络后会自动发送消息。",
  refused: "暂时无法连接客服。",
  again: "立即重试",
  typing: "正在输入…",
  understanding: "正在阅读您的消息…",
  answering: "正在回答…",
  queued: "您排在第 {n} 位",
  queuedNext: "马上轮到您",
  queuedMessage: "等待发送",
  sending: "发送中",
  uploading: "发送中 {n}%",
  sent: "已发送",
  failed: "发送失败",
  retry: "重试",
  discard: "删除",
  stopped: "已停止",
  newMessages: "新消息",
  toEnd: "回到最新消息",
  earlier: "查看更早的消息",
  quickReplies: "推荐回复",
  rate: "这个回答有帮助吗？",
  stars: "{n} 星，满分 5 星",
  rated: "感谢您的评价！",
  comment: "哪里可以改进？（选填）",
  commentGood: "还有什么想说的？（选填）",
  sendComment: "提交",
  menu: "更多",
  handoff: "转人工客服",
  fresh: "新对话",
  freshAsk: "要开始新对话吗？本设备将不再显示当前对话。",
  freshYes: "开始新对话",
  cancel: "取消",
  details: "显示模型详情",
  sound: "提示音",
  waiting: "正在为您转接人工客服。",
  human: "人工客服已加入对话。",
  bot: "智能助手继续为您服务。",
  closed: "对话已结束。",
  withPerson: "人工客服为您服务",
  enlarge: "放大：{name}",
  previous: "上一张",
  next: "下一张",
  closePicture: "关闭图片",
  broken: "图片无法显示",
  understood: "理解结果",
  intent: "意图",
  sentiment: "情绪",
  positive: "正面",
  neutral: "中性",
  negative: "负面",
  tags: "图片内容",
  source: "回答来源",
  timing: "用时",
  ms: "{n} 毫秒",
  cat_faces: "表情",
  cat_feelings: "心情",
  cat_hands: "手势人物",
  cat_love: "爱与庆祝",
  cat_animals: "动物自然",
  cat_shop: "购物物品",
};

/** Names of the shop pack's intents; any other is shown as it is written. */
const INTENTS_ZH =
  "cancel_order取消订单 change_order修改订单 change_shipping_address修改收货地址 set_up_shipping_address添加收货地址 " +
  "check_cancellation_fee取消费用 check_invoice查看发票 get_invoice开发票 check_payment_methods支付方式 payment_issue支付问题 " +
  "check_refund_policy退款政策 get_refund申请退款 track_refund退款进度 exchange_item换货 complaint投诉 contact_customer_service联系客服 " +
  "contact_human_agent转人工 create_account注册账户 edit_account修改账户 delete_account注销账户 switch_account切换账户 " +
  "recover_password找回密码 registration_problems注册问题 delivery_options配送方式 delivery_period配送时间 track_order查询订单 " +
  "place_order下单 product_inquiry商品咨询 promotions优惠活动 newsletter_subscription邮件订阅 review评价 greeting问候 thanks感谢 " +
  "goodbye告别 out_of_scope其他话题";

/** Why something failed, for those who do not read the gateway's English sentence. */
const FAILURES_ZH: Readonly<Record<string, string>> = {
  bad_image: "图片已损坏，无法打开。",
  unsupported_image: "不支持这种图片格式。",
  image_too_large: "图片尺寸过大。",
  too_large: "消息过长或文件过大。",
  rate_limited: "发送太频繁，请稍后再试。",
  overloaded: "现在咨询较多，请稍后再试。",
  unauthorized: "身份验证失败。",
  expired: "登录已过期。",
  forbidden: "没有权限。",
  not_found: "对话已不存在。",
  timeout: "回答超时，请重试。",
  cancelled: "已停止。",
  engine_unavailable: "服务暂时不可用，请稍后再试。",
  internal: "服务出错，请稍后再试。",
  network: "网络连接有问题。",
  storage: "浏览器无法保存消息。",
  no_token: "无法验证身份。",
};

export const LANGUAGES = { en, zh };
export type Language = keyof typeof LANGUAGES;

export function languageOf(locale: string): Language {
  return /^zh\b/i.test(locale) ? "zh" : "en";
}

export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The words of one locale, and its way to write numbers, times and days. */
export class Tongue {
  readonly words: Words;
  readonly language: Language;
  readonly #time: Intl.DateTimeFormat;
  readonly #percent: Intl.NumberFormat;

  /** @param locale a BCP 47 tag; one that the browser does not know counts as English. */
  constructor(readonly locale: string) {
    this.language = languageOf(locale);
    this.words = LANGUAGES[this.language];
    let known: string | undefined;
    try {
      // Dates in a language that the words are not in would be odd; British or American matters, though.
      known = Intl.getCanonicalLocales(/^(?:en|zh)\b/i.test(locale) ? locale : "en")[0];
    } catch {
      known = "en";
    }
    this.tag = known ?? "en";
    this.#time = new Intl.DateTimeFormat(this.tag, { hour: "numeric", minute: "2-digit" });
    this.#percent = new Intl.NumberFormat(this.tag, { style: "percent" });
  }

  readonly tag: string;

  time(at: number): string {
    return this.#time.format(at);
  }
  percent(share: number): string {
    return this.#percent.format(share);
  }
  number(value: number): string {
    return new Intl.NumberFormat(this.tag, { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
  }

  /** "Today", "Yesterday", a weekday within the week, else the date; the year where it is another one. */
  day(at: number, now: number): string {
    const days = Math.round((midnight(now) - midnight(at)) / 86_400_000);
    if (days === 0 || days === 1) {
      const word = new Intl.RelativeTimeFormat(this.tag, { numeric: "auto" }).format(-days, "day");
      return word.charAt(0).toLocaleUpperCase(this.tag) + word.slice(1);
    }
    if (days > 1 && days < 7) return new Intl.DateTimeFormat(this.tag, { weekday: "long" }).format(at);
    const year = new Date(at).getFullYear() === new Date(now).getFullYear() ? {} : ({ year: "numeric" } as const);
    return new Intl.DateTimeFormat(this.tag, { month: "long", day: "numeric", ...year }).format(at);
  }

  intent(name: string): string {
    const found = this.language === "zh" ? new RegExp(`(?:^| )${escape(name)}([^\\x00-\\x7f]+)`).exec(INTENTS_ZH)?.[1] : undefined;
    return found ?? name.replaceAll("_", " ");
  }

  failure(failure: { code: string; text: string }): string {
    return (this.language === "zh" ? FAILURES_ZH[failure.code] : undefined) ?? (failure.text || this.words.failed);
  }
}

/** Local midnight of that day, as if the day had 24 hours: differences are then whole days across a change of clocks. */
export function midnight(at: number): number {
  const date = new Date(at);
  return Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
}

function escape(text: string): string {
  return text.replace(/[^\w]/g, "\\$&");
}
