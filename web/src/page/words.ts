/** What the demo page says. */
const en = {
  skip: "Skip to the chat",
  settings: "Settings",
  language: "Language",
  headline: "Customer service that understands words and pictures",
  lead: "A gateway that answers within milliseconds, in English and Chinese, and hands over to a person when that is better.",
  try: "Try one of these",
  prompts: "Where is my order 12345?|The jacket is too small, can I exchange it?|我的退款到哪了？|I want to talk to a person",
  embed: "Put it on your page",
  copy: "Copy",
  copied: "Copied",
  embedNote: "List the page's origin under server.origins, and the chat appears in its corner.",
  themeAuto: "Colours: as the system",
  themeLight: "Colours: light",
  themeDark: "Colours: dark",
};

export type PageWords = Readonly<Record<keyof typeof en, string>>;

const zh: PageWords = {
  skip: "跳到对话",
  settings: "设置",
  language: "语言",
  headline: "看得懂文字和图片的\u200b在线客服",
  lead: "毫秒级回答，支持中文和英文；需要时随时转接人工客服。",
  try: "试着问问",
  prompts: "我的订单 12345 到哪里了？|衣服小了，可以换货吗？|How long does delivery take?|我要转人工客服",
  embed: "嵌入您的网页",
  copy: "复制",
  copied: "已复制",
  embedNote: "在 server.origins 中加入网页的来源，对话就会出现在页面角落。",
  themeAuto: "颜色：跟随系统",
  themeLight: "颜色：浅色",
  themeDark: "颜色：深色",
};

export const PAGE_WORDS = { en, zh };
