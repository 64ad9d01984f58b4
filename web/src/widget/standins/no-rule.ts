/** Stands in for rules of markdown-it that a chat does without (HTML, typography, references): matches nothing. */
export default function noRule(): boolean {
  return false;
}
