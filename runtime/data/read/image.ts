/** Images from PNG and JPEG files, decoded by fast-png and jpeg-js: the same bits in Node and browsers. */
import type { BinarySource } from "../../read.js";
import type { Tensor } from "../../tensor.js";
import type { Layout } from "../image/image.js";
import { aCount, type Checks, oneOf } from "../options.js";
import { type Bad, badFile, type File, inflate, open, type ReadOptions, readChecks } from "./bytes.js";

export interface ImageOptions extends ReadOptions {
  /** 1: grey, 3: red, green, blue, 4: and opacity. Default 3. */
  readonly channels?: 1 | 3 | 4 | undefined;
  /** Default "CHW": [channels, height, width]. */
  readonly layout?: Layout | undefined;
  /** The most pixels that are decoded (which takes about 0.2 s a million). Default 50 million. */
  readonly maxPixels?: number | undefined;
}
const imageChecks: Checks<ImageOptions> = {
  ...readChecks,
  channels: oneOf(1, 3, 4),
  layout: oneOf("CHW", "HWC"),
  maxPixels: aCount,
};

/** Pixels one after the other. */
interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array | Uint16Array;
}

const others: readonly (readonly [RegExp, string])[] = [
  [/^GIF8/, "a GIF image"],
  [/^RIFF....WEBP/s, "a WebP image"],
  [/^BM/, "a BMP image"],
  [/^....ftyp(avif|heic|mif1)/s, "an AVIF or HEIC image"],
  [/^(II\*\0|MM\0\*)/, "a TIFF image"],
  [/^\s*</, "XML or HTML (an SVG image, or a server's page)"],
];

/** The image in a PNG or JPEG file: u8, or u16 for PNGs of 16 bits. Opacity is left out unless four channels are asked for. */
export async function readImage(source: BinarySource, options: ImageOptions = {}): Promise<Tensor> {
  const file = await open("image", source, options, imageChecks);
  const { channels = 3, layout = "CHW", maxPixels = 5e7 } = options;
  const bad = badFile(file.name);
  const start = String.fromCharCode(...file.bytes.subarray(0, 16));
  const isPng = start.startsWith("\x89PNG\r\n\x1a\n");
  if (!isPng && !start.startsWith("\xff\xd8\xff")) {
    const what = others.find(([is]) => is.test(start))?.[1];
    bad(`neither a PNG nor a JPEG image${what ? `, but ${what}` : ""}`, "convert it to PNG or JPEG");
  }
  const pixels = isPng ? await decodePng(file, bad, maxPixels) : await decodeJpeg(file, bad, maxPixels);
  return arrange(pixels, channels, layout);
}

/** https://www.w3.org/TR/png-3: what the header says, and whether the compressed data are what it says. */
async function checkPng({ bytes, name, maxBytes }: File, bad: Bad, maxPixels: number): Promise<void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const data: Uint8Array[] = [];
  let least = 0;
  let at = 8;
  for (let type = ""; type !== "IEND"; ) {
    if (at + 12 > bytes.length) bad(`cut short at byte ${bytes.length}`);
    const length = view.getUint32(at);
    type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length)
      bad(`its part ${JSON.stringify(type)} ends at byte ${at + 12 + length}, the file at ${bytes.length}`);
    if (type === "IHDR") {
      if (length !== 13) bad("its header is damaged");
      const [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
      if (width * height > maxPixels)
        bad(`${width}×${height} pixels are more than ${maxPixels}`, "raise the option maxPixels");
      if (width === 0 || height === 0) bad("it has no pixels");
      const [depth, kind] = [bytes[at + 16]!, bytes[at + 17]!];
      if (![1, 2, 4, 8, 16].includes(depth)) bad(`its elements have ${depth} bits, which no PNG has`);
      const samples = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[kind] ?? bad(`the colour type ${kind} is not known`);
      least = height * (1 + Math.ceil((width * depth * samples) / 8));
    }
    if (type === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  if (least === 0) bad("its header is missing");
  const packed = new Uint8Array(data.reduce((n, d) => n + d.length, 0));
  data.reduce((to, d) => {
    packed.set(d, to);
    return to + d.length;
  }, 0);
  // Interlaced images have some more bytes: a filter for each row of each pass, and rows that end within a byte.
  const raw = await inflate("deflate", packed, Math.min(maxBytes, 2 * least + 4096), name);
  if (raw.length < least) bad(`its pixels take ${least} bytes, but there are ${raw.length}`);
}

async function decodePng(file: File, bad: Bad, maxPixels: number): Promise<Pixels> {
  await checkPng(file, bad, maxPixels);
  const { decode, convertIndexedToRgb } = await import("fast-png");
  try {
    const png = decode(file.bytes, { checkCrc: true });
    const { width, height, depth } = png;
    if (png.palette) {
      const data = convertIndexedToRgb(png) as Uint8Array;
      return { width, height, channels: data.length / (width * height), data };
    }
    const data =
      depth < 8 ? unpackBits(png.data as Uint8Array, width, height, depth) : (png.data as Uint8Array | Uint16Array);
    return { width, height, channels: png.channels, data };
  } catch (cause) {
    return bad(`it can't be decoded: ${(cause as Error).message}`, "the file is damaged: copy it anew", cause);
  }
}

/** Grey images of 1, 2 or 4 bits, whose rows begin at bytes. */
function unpackBits(packed: Uint8Array, width: number, height: number, depth: number): Uint8Array {
  const out = new Uint8Array(width * height);
  const rowBytes = Math.ceil((width * depth) / 8);
  const most = 2 ** depth - 1;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const byte = packed[y * rowBytes + (bit >> 3)]!;
      out[y * width + x] = (((byte >> (8 - depth - (bit & 7))) & most) * 255) / most;
    }
  return out;
}

/** Damaged and hostile files must not take longer than their size explains: each scan goes through all blocks. */
const mostScans = 500;

async function decodeJpeg({ bytes, maxBytes }: File, bad: Bad, maxPixels: number): Promise<Pixels> {
  let end = bytes.length;
  while (end >= 2 && !(bytes[end - 2] === 0xff && bytes[end - 1] === 0xd9)) end--;
  if (end < 2) bad("it is cut short: the mark of its end is missing", "copy the file anew");
  // In packed data 0xff is followed by 0 or a restart mark, so that these are marks, but for thumbnails in metadata.
  let scans = 0;
  for (let i = 0; i + 1 < end; i++) if (bytes[i] === 0xff && bytes[i + 1] === 0xda) scans++;
  if (scans > mostScans) bad(`${scans} scans are more than ${mostScans}`, "the file is damaged or hostile");
  // A block of 64 pixels takes at least one bit.
  const possible = Math.min(maxPixels, bytes.length * 8 * 64);
  const { default: jpeg } = await import("jpeg-js");
  try {
    const { width, height, data } = jpeg.decode(bytes, {
      useTArray: true,
      formatAsRGBA: false,
      tolerantDecoding: false,
      maxResolutionInMP: possible / 1e6,
      maxMemoryUsageInMB: maxBytes / 2 ** 20,
    });
    return { width, height, channels: 3, data };
  } catch (cause) {
    const { message } = cause as Error;
    if (message.startsWith("maxResolutionInMP")) {
      if (possible === maxPixels) bad(`more than ${maxPixels} pixels`, "raise the option maxPixels", cause);
      bad(`more pixels than its ${bytes.length} bytes can hold`, "the file is damaged: copy it anew", cause);
    }
    return bad(`it can't be decoded: ${message}`, "the file is damaged, too large, or of a rare kind", cause);
  }
}

function arrange({ width, height, channels: given, data }: Pixels, channels: 1 | 3 | 4, layout: Layout): Tensor {
  const isWide = data instanceof Uint16Array;
  const out = new (isWide ? Uint16Array : Uint8Array)(width * height * channels);
  const hasColour = given >= 3;
  const plane = width * height;
  const put = (i: number, c: number, v: number): void => {
    out[layout === "CHW" ? c * plane + i : i * channels + c] = v;
  };
  for (let i = 0; i < plane; i++) {
    const at = i * given;
    if (channels === 1) put(i, 0, hasColour ? greyOf(data[at]!, data[at + 1]!, data[at + 2]!) : data[at]!);
    else {
      for (let c = 0; c < 3; c++) put(i, c, data[at + (hasColour ? c : 0)]!);
      if (channels === 4) put(i, 3, given === 4 || given === 2 ? data[at + given - 1]! : isWide ? 65535 : 255);
    }
  }
  const shape = layout === "CHW" ? [channels, height, width] : [height, width, channels];
  return { dtype: isWide ? "u16" : "u8", shape, data: out } as Tensor;
}

/** As Pillow rounds it: ITU-R BT.601 in 16 bits. */
const greyOf = (r: number, g: number, b: number): number =>
  Math.floor((r * 19595 + g * 38470 + b * 7471 + 0x8000) / 65536);
