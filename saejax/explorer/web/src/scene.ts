// What a renderer draws, whichever it is.
import { scales } from './camera';
import type { Camera } from './camera';

export type Rgb = [number, number, number]; // 0..1

/** Colours of the theme, read from the style sheet. */
export interface Palette {
  ground: Rgb;
  ink: Rgb;
  kinds: Rgb[]; // unclassified, image, text, shared
  bridge: Rgb;
}

export interface Scene {
  n: number;
  joint: Float32Array; // [n, 2]
  split: Float32Array;
  src: Uint32Array; // [m], the strongest bridge first
  dst: Uint32Array;
  sheets: number; // Of pictures.
}

/** How points look: [n, 4] of size, opacity, kind, nothing; 0..255. */
export interface Look {
  bytes: Uint8Array;
  order: Uint32Array; // Drawn first to last.
}

export interface Frame {
  camera: Camera;
  morph: number; // 0 joint, 1 split
  ratio: number; // Device pixels to a pixel.
  grow: number; // Pixels of the largest point's radius.
  palette: Palette;
  edges: number; // So many of the strongest,
  list: Uint32Array | null; // or these, by number.
  top: Uint32Array; // These over them.
  sprites: Uint32Array; // Concepts shown as pictures.
  side: number; // Pixels of a picture.
}

export interface Renderer {
  readonly kind: 'webgl2' | 'canvas2d';
  readonly canvas: HTMLCanvasElement;
  readonly mostEdges: number; // It can draw at rest.
  setScene(scene: Scene): void;
  setLook(look: Look): void;
  setSheet(number: number, image: ImageBitmap): void;
  draw(frame: Frame): void;
  dispose(): void;
}

export const CELLS = 64; // Pictures to a side of a sheet,
export const CELL = 32; // and pixels to a side of a picture.
export const PER_SHEET = CELLS * CELLS;

const LEAST = 0.3; // Of the largest radius.

/** Radius of a point in pixels, as in the shader. */
export function radius(size: number, grow: number): number {
  return grow * (LEAST + (1 - LEAST) * (size / 255));
}

/** Where a point is on the map during a morph. */
export function placeOf(scene: Scene, i: number, morph: number) {
  const { joint, split } = scene;
  return [
    joint[2 * i] + (split[2 * i] - joint[2 * i]) * morph,
    joint[2 * i + 1] + (split[2 * i + 1] - joint[2 * i + 1]) * morph,
  ] as [number, number];
}

/** The middle of a bridge's curve, which bows to the left of its direction. */
export function bend(
  from: [number, number],
  to: [number, number],
): [number, number] {
  return [
    (from[0] + to[0]) / 2 - (to[1] - from[1]) * BOW,
    (from[1] + to[1]) / 2 + (to[0] - from[0]) * BOW,
  ];
}

export const BOW = 0.07;

/** Scale and shift from the map to clip space. */
export function clip(camera: Camera): [number, number, number, number] {
  const [sx, sy] = scales(camera);
  const [ax, ay] = [(2 * sx) / camera.width, (2 * sy) / camera.height];
  return [ax, ay, -camera.x * ax, -camera.y * ay];
}

/** Opacity of bridge k of all that are drawn: the strongest stand out. */
export function edgeOpacity(k: number, drawn: number): number {
  const crowd = Math.min(1, Math.max(0.25, Math.sqrt(400 / (drawn + 1))));
  return (0.6 - 0.4 * (k / (drawn + 1))) * crowd;
}
