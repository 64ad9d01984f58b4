/** Decoding, scaling and encoding with what the browser has; the same on the main thread and in the worker. */

export interface ShrinkJob {
  readonly file: Blob;
  readonly maxWidth: number;
  readonly quality: number;
  readonly maxBytes: number;
  /** The file may have transparent pixels: where it has some, it stays as it is. */
  readonly keepAlpha: boolean;
}

/** `blob` undefined: there are transparent pixels. */
export interface Shrunk {
  readonly blob: Blob | undefined;
  readonly width: number;
  readonly height: number;
}

type Canvas = OffscreenCanvas | HTMLCanvasElement;
type Source = ImageBitmap | HTMLImageElement;
type Context = OffscreenCanvasRenderingContext2D | CanvasRenderingContext2D;

const LOWEST_QUALITY = 0.4;
/** Corners tell: a picture this wide shows whether anything is transparent. */
const PROBE = 128;

/** Raises where the browser cannot open or draw the picture. */
export async function shrink(job: ShrinkJob): Promise<Shrunk> {
  const source = await decode(job.file);
  try {
    const [fullWidth, fullHeight] = sizeOf(source);
    const scale = Math.min(1, job.maxWidth / fullWidth);
    const width = Math.max(1, Math.round(fullWidth * scale));
    const height = Math.max(1, Math.round(fullHeight * scale));
    if (job.keepAlpha && hasAlpha(source, fullWidth, fullHeight)) return { blob: undefined, width: fullWidth, height: fullHeight };
    const canvas = scaled(source, fullWidth, fullHeight, width, height);
    let quality = job.quality;
    let blob = await encode(canvas, quality);
    while (blob.size > job.maxBytes && quality > LOWEST_QUALITY + 0.01) {
      quality = Math.max(LOWEST_QUALITY, quality - 0.1);
      blob = await encode(canvas, quality);
    }
    return { blob, width, height };
  } finally {
    if ("close" in source) source.close();
  }
}

const sizeOf = (source: Source): [number, number] => ("naturalWidth" in source ? [source.naturalWidth, source.naturalHeight] : [source.width, source.height]);

/** Turned as the photographer held the camera. */
async function decode(file: Blob): Promise<Source> {
  if (typeof createImageBitmap === "function") {
    try {
      return await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch {
      // An old browser that does not know the option, or a kind that only <img> can open.
    }
  }
  if (typeof document === "undefined") throw new Error("the picture cannot be opened here");
  const image = new Image();
  const url = URL.createObjectURL(file);
  try {
    image.src = url;
    await image.decode();
    if (!image.naturalWidth) throw new Error("the picture has no size");
    return image;
  } finally {
    URL.revokeObjectURL(url);
  }
}

function canvasOf(width: number, height: number): [Canvas, Context] {
  let canvas: Canvas;
  if (typeof OffscreenCanvas === "function") {
    canvas = new OffscreenCanvas(width, height);
  } else {
    canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d") as Context | null;
  if (!context) throw new Error("there is no canvas to draw on");
  context.imageSmoothingQuality = "high";
  return [canvas, context];
}

/** Halves again and again before the last step: one big step would leave out most of the pixels. */
function scaled(source: Source, fromWidth: number, fromHeight: number, width: number, height: number): Canvas {
  let from: Source | Canvas = source;
  let [w, h] = [fromWidth, fromHeight];
  while (w > width * 2) {
    const [half, context] = canvasOf(Math.ceil(w / 2), Math.ceil(h / 2));
    context.drawImage(from, 0, 0, half.width, half.height);
    [from, w, h] = [half, half.width, half.height];
  }
  const [canvas, context] = canvasOf(width, height);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(from, 0, 0, width, height);
  return canvas;
}

function hasAlpha(source: Source, fullWidth: number, fullHeight: number): boolean {
  const scale = Math.min(1, PROBE / Math.max(fullWidth, fullHeight));
  const width = Math.max(1, Math.round(fullWidth * scale));
  const height = Math.max(1, Math.round(fullHeight * scale));
  const [, context] = canvasOf(width, height);
  context.drawImage(source, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  for (let at = 3; at < data.length; at += 4) if ((data[at] as number) < 250) return true;
  return false;
}

function encode(canvas: Canvas, quality: number): Promise<Blob> {
  if ("convertToBlob" in canvas) return canvas.convertToBlob({ type: "image/jpeg", quality });
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture cannot be encoded"))), "image/jpeg", quality);
  });
}
