/** Stands in for rules of markdown-it that are never switched on here (HTML, typography): matches nothing. */
export default function noRule(): boolean {
  return false;
}
