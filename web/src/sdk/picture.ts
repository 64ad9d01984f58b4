/** How pictures are made smaller. */
export interface CompressOptions {
  /** Pixels; a wider picture is made so wide. Default 800. */
  maxWidth?: number;
  /** Of the JPEG, 0 to 1. Default 0.8. */
  quality?: number;
}

export interface Compressed {
  blob: Blob;
  width: number;
  height: number;
}

export async function compressPicture(file: Blob, _options: CompressOptions = {}): Promise<Compressed> {
  return { blob: file, width: 0, height: 0 };
}
