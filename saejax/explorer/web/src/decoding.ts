// Bytes to arrays. Every function names the file that it was asked to read.
import type { Column } from './format';

export const NEIGHBOURS = 8;

/** A file of the site is missing, damaged, or not what its format says. */
export class DataError extends Error {
  constructor(
    readonly file: string,
    readonly what: string,
  ) {
    super(`${file} ${what}`);
    this.name = 'DataError';
  }
}

/** Reads sections in order, each from a 4-byte boundary. */
class Sections {
  private at = 0;

  constructor(
    private readonly buffer: ArrayBuffer,
    private readonly file: string,
  ) {}

  private take(bytes: number): number {
    const start = Math.ceil(this.at / 4) * 4;
    if (start + bytes > this.buffer.byteLength) {
      throw new DataError(
        this.file,
        `is too short: ${this.buffer.byteLength} bytes, and a section of ` +
          `${bytes} bytes should start at ${start}`,
      );
    }
    this.at = start + bytes;
    return start;
  }

  u8(n: number): Uint8Array {
    return new Uint8Array(this.buffer, this.take(n), n);
  }

  u16(n: number): Uint16Array {
    return new Uint16Array(this.buffer, this.take(2 * n), n);
  }

  u32(n: number): Uint32Array {
    return new Uint32Array(this.buffer, this.take(4 * n), n);
  }

  end(): void {
    if (Math.ceil(this.at / 4) * 4 < this.buffer.byteLength) {
      throw new DataError(
        this.file,
        `is too long: ${this.buffer.byteLength} bytes, ${this.at} expected`,
      );
    }
  }
}

/** Quantised column to numbers; 65535 is undefined and becomes NaN. */
export function dequantise(quantised: Uint16Array, column: Column) {
  const { log } = column;
  const low = log ? Math.log10(column.min) : column.min;
  const span = (log ? Math.log10(column.max) : column.max) - low;
  const out = new Float32Array(quantised.length);
  for (let i = 0; i < out.length; i++) {
    const q = quantised[i];
    const value = low + (q / 65534) * span;
    out[i] = q === 65535 ? NaN : log ? 10 ** value : value;
  }
  return out;
}

/** Points of both layouts, [n, 2] each, within 0..1. */
export function decodePoints(buffer: ArrayBuffer, n: number, file: string) {
  const sections = new Sections(buffer, file);
  const all = sections.u16(4 * n);
  sections.end();
  const joint = new Float32Array(2 * n);
  const split = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    joint[2 * i] = all[4 * i] / 65535;
    joint[2 * i + 1] = all[4 * i + 1] / 65535;
    split[2 * i] = all[4 * i + 2] / 65535;
    split[2 * i + 1] = all[4 * i + 3] / 65535;
  }
  return { joint, split };
}

function columnsOf(sections: Sections, columns: Column[], n: number) {
  const all = sections.u16(columns.length * n);
  return new Map(
    columns.map((column, c) => [
      column.name,
      dequantise(all.subarray(c * n, (c + 1) * n), column),
    ]),
  );
}

export function decodeScalars(
  buffer: ArrayBuffer,
  columns: Column[],
  n: number,
  file: string,
): Map<string, Float32Array> {
  const sections = new Sections(buffer, file);
  const out = columnsOf(sections, columns, n);
  sections.end();
  return out;
}

export function decodeFlags(buffer: ArrayBuffer, n: number, file: string) {
  const sections = new Sections(buffer, file);
  const flags = sections.u8(n);
  const ids = sections.u32(n);
  sections.end();
  return { flags, ids };
}

export interface Edges {
  src: Uint32Array;
  dst: Uint32Array;
  columns: Map<string, Float32Array>;
  flags: Uint8Array;
}

export function decodeEdges(
  buffer: ArrayBuffer,
  columns: Column[],
  m: number,
  n: number,
  file: string,
): Edges {
  const sections = new Sections(buffer, file);
  const src = sections.u32(m);
  const dst = sections.u32(m);
  const values = columnsOf(sections, columns, m);
  const flags = sections.u8(m);
  sections.end();
  for (let e = 0; e < m; e++) {
    if (src[e] >= n || dst[e] >= n) {
      throw new DataError(file, `joins a concept past the ${n} there are`);
    }
  }
  return { src, dst, columns: values, flags };
}

export interface Near {
  index: Uint32Array; // [n, 8]
  cosine: Float32Array; // [n, 8]
}

export function decodeNear(buffer: ArrayBuffer, n: number, file: string): Near {
  const sections = new Sections(buffer, file);
  const index = sections.u32(NEIGHBOURS * n);
  const quantised = sections.u16(NEIGHBOURS * n);
  sections.end();
  const cosine = Float32Array.from(quantised, (q) =>
    q === 65535 ? NaN : (q / 65534) * 2 - 1,
  );
  return { index, cosine };
}

export interface Match {
  index: Uint32Array; // In the other dictionary, or NONE.
  correlation: Float32Array;
}

export function decodeMatch(buffer: ArrayBuffer, n: number, file: string) {
  const sections = new Sections(buffer, file);
  const index = sections.u32(n);
  const quantised = sections.u16(n);
  sections.end();
  const correlation = Float32Array.from(quantised, (q) =>
    q === 65535 ? NaN : q / 65534,
  );
  return { index, correlation } satisfies Match;
}

/** The files inside a pack: as many views as it has offsets, less one. */
export function decodePack(bytes: Uint8Array, file: string): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = bytes.byteLength >= 4 ? view.getUint32(0, true) : 0;
  if (first < 4 || first % 4 || first > bytes.byteLength) {
    throw new DataError(file, 'is no pack of pictures');
  }
  const out: Uint8Array[] = [];
  for (let at = 0; at + 8 <= first; at += 4) {
    const start = view.getUint32(at, true);
    const end = view.getUint32(at + 4, true);
    if (end < start || end > bytes.byteLength) {
      throw new DataError(file, `cuts picture ${at / 4} short`);
    }
    out.push(bytes.subarray(start, end));
  }
  return out;
}
