/** Pictures of pages as elements of tensors, and back. */

type Channels = "RGB" | "RGBA" | "BGR" | "RBG";

/** `value = (pixel + bias) / mean`, for all channels or each. Default: mean 255, bias 0, so that values are from 0 to 1. */
export interface Norm {
  readonly mean?: number | readonly number[];
  readonly bias?: number | readonly number[];
}

export interface FromImageOptions {
  /** The order of the tensor's channels. Default "RGB", and "RGBA" of an `HTMLImageElement`. */
  readonly tensorFormat?: Channels;
  readonly tensorLayout?: "NCHW";
  readonly dataType?: "float32";
  readonly norm?: Norm;
  /** Size of the tensor; default: the picture's. */
  readonly resizedWidth?: number;
  readonly resizedHeight?: number;
  /** Of the pixels of an `ImageData` and what is drawn: always RGBA. */
  readonly format?: "RGBA";
}

export interface ToImageOptions {
  /** The order of the tensor's channels. Default "RGB". */
  readonly format?: Channels;
  readonly norm?: Norm;
}

export type ImageSource = ImageData | HTMLImageElement | ImageBitmap | string;

interface Planes {
  readonly data: Float32Array<ArrayBuffer>;
  /** [1, channels, height, width] */
  readonly dims: readonly [number, number, number, number];
}

/** Where each plane's values are among the four of a pixel. */
const orders: Readonly<Record<Channels, readonly number[]>> = {
  RGB: [0, 1, 2],
  RGBA: [0, 1, 2, 3],
  BGR: [2, 1, 0],
  RBG: [0, 2, 1],
};

const each = (value: number | readonly number[] | undefined, otherwise: number): readonly number[] =>
  Array.from({ length: 4 }, (_, i) => (typeof value === "number" ? value : (value?.[i] ?? otherwise)));

function orderOf(format: string): readonly number[] {
  if (Object.hasOwn(orders, format)) return orders[format as Channels];
  throw new TypeError(`there is no format of channels "${format}": expected ${Object.keys(orders).join(", ")}`);
}

/** Pixels as planes of floats. */
export function planesOf({ data, width, height }: ImageData, format: Channels, norm: Norm = {}): Planes {
  const order = orderOf(format);
  const [mean, bias] = [each(norm.mean, 255), each(norm.bias, 0)];
  const size = width * height;
  const planes = new Float32Array(order.length * size);
  order.forEach((channel, plane) => {
    for (let i = 0; i < size; i++)
      planes[plane * size + i] = (data[4 * i + channel]! + bias[channel]!) / mean[channel]!;
  });
  return { data: planes, dims: [1, order.length, height, width] };
}

/** Planes of values as pixels. @throws TypeError where dims and format do not fit */
export function pixelsOf(
  data: ArrayLike<number>,
  dims: readonly number[],
  { format = "RGB", norm = {} }: ToImageOptions = {},
): ImageData {
  const order = orderOf(format);
  const [, channels, height = 0, width = 0] = dims;
  if (dims.length !== 4 || channels !== order.length)
    throw new TypeError(`a picture of ${format} has dims [1, ${order.length}, height, width], the tensor [${dims}]`);
  const [mean, bias] = [each(norm.mean, 255), each(norm.bias, 0)];
  const size = width * height;
  const pixels = new ImageData(width, height);
  pixels.data.fill(255);
  order.forEach((channel, plane) => {
    for (let i = 0; i < size; i++)
      pixels.data[4 * i + channel] = (data[plane * size + i]! - bias[channel]!) * mean[channel]!;
  });
  return pixels;
}

function canvasOf(width: number, height: number): HTMLCanvasElement | OffscreenCanvas {
  if (typeof document !== "undefined") return Object.assign(document.createElement("canvas"), { width, height });
  if (typeof OffscreenCanvas !== "undefined") return new OffscreenCanvas(width, height);
  throw new Error("Canvas is not supported: pictures are for pages and their workers");
}

const drawing = (canvas: HTMLCanvasElement | OffscreenCanvas) =>
  canvas.getContext("2d", { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;

/** The picture at an address. */
async function fetched(address: string): Promise<ImageBitmap> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: the server answered ${response.status} ${response.statusText}`);
  return createImageBitmap(await response.blob());
}

/** A picture as planes of floats. @throws Error where the host has no pictures, TypeError for what is none */
export async function planesOfImage(source: ImageSource, options: FromImageOptions = {}): Promise<Planes> {
  const isElement = typeof HTMLImageElement !== "undefined" && source instanceof HTMLImageElement;
  const image = typeof source === "string" ? await fetched(source) : source;
  if (typeof (image as Partial<ImageData> | null)?.width !== "number")
    throw new TypeError("Input data provided is not supported - aborted tensor creation");
  const { resizedWidth: width = image.width, resizedHeight: height = image.height } = options;
  const format = options.tensorFormat ?? (isElement ? "RGBA" : "RGB");
  const isPixels = "data" in image;
  if (isPixels && width === image.width && height === image.height) return planesOf(image, format, options.norm);
  const context = drawing(canvasOf(width, height));
  context.drawImage(isPixels ? await createImageBitmap(image) : image, 0, 0, width, height);
  return planesOf(context.getImageData(0, 0, width, height), format, options.norm);
}

/** A picture as an address that holds it. @throws Error in workers, whose canvases have none */
export function dataUrlOf(pixels: ImageData): string {
  const canvas = canvasOf(pixels.width, pixels.height);
  drawing(canvas).putImageData(pixels, 0, 0);
  if ("toDataURL" in canvas) return canvas.toDataURL();
  throw new Error("toDataURL is not supported in workers");
}
