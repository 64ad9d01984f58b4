/** Makes pictures smaller off the main thread; its file lies beside the SDK's. */
import { type ShrinkJob, shrink } from "./shrink.js";

interface Port {
  onmessage: ((event: MessageEvent<ShrinkJob>) => void) | null;
  postMessage(message: unknown): void;
}

const port = globalThis as unknown as Port;
port.onmessage = ({ data }) => {
  shrink(data).then(
    (done) => port.postMessage({ done }),
    (error: unknown) => port.postMessage({ failed: String(error) }),
  );
};
