/** The door of the widget: importing it registers `<csgate-chat>`. */
import { CsgateChat } from "./element.js";

if (!customElements.get("csgate-chat")) customElements.define("csgate-chat", CsgateChat);

export { CsgateChat };

declare global {
  interface HTMLElementTagNameMap {
    "csgate-chat": CsgateChat;
  }
}
