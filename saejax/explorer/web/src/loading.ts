// Whole files, from the server or from the page itself, checked.
import { DataError } from './decoding';
import type { FileSum } from './format';

export type Bytes = Uint8Array<ArrayBuffer>;

export interface Source {
  read(path: string): Promise<Bytes>;
}

/** Reads beside the page; or out of it, where it carries its data. */
export function openSource(page: Document): Source {
  const bundle = page.getElementById('bundle');
  if (bundle) return bundled(JSON.parse(bundle.textContent ?? '{}'));
  return { read: fetchBytes };
}

function bundled(files: Record<string, string>): Source {
  return {
    async read(path) {
      if (!(path in files)) throw new DataError(path, 'is not in this page');
      return Uint8Array.from(atob(files[path]), (c) => c.charCodeAt(0));
    },
  };
}

async function fetchBytes(path: string): Promise<Bytes> {
  let answer: Response;
  try {
    answer = await fetch(path, { cache: 'no-cache' });
  } catch (error) {
    throw new DataError(path, `could not be fetched (${String(error)})`);
  }
  if (!answer.ok) {
    throw new DataError(path, `could not be fetched (HTTP ${answer.status})`);
  }
  return new Uint8Array(await answer.arrayBuffer());
}

function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

/** Throws DataError unless bytes have the size and hash that are expected. */
export async function check(bytes: Bytes, sum: FileSum, path: string) {
  if (bytes.length !== sum.bytes) {
    throw new DataError(
      path,
      `is damaged: ${bytes.length} bytes, ${sum.bytes} expected`,
    );
  }
  // Only pages of a secure origin can hash.
  if (!globalThis.crypto?.subtle) return;
  const found = hex(await crypto.subtle.digest('SHA-256', bytes));
  if (found !== sum.sha256) {
    throw new DataError(
      path,
      `is damaged: its SHA-256 starts ${found.slice(0, 12)}, ` +
        `${sum.sha256.slice(0, 12)} expected`,
    );
  }
}

/** Unpacks what starts as gzip does; the rest stays as it is. */
export async function gunzip(bytes: Bytes): Promise<ArrayBuffer> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) {
    const { buffer, byteOffset, byteLength } = bytes;
    return buffer.slice(byteOffset, byteOffset + byteLength);
  }
  const stream = new Blob([bytes])
    .stream()
    .pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).arrayBuffer();
}

export function parseJson<T>(bytes: Bytes, path: string): T {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as T;
  } catch {
    throw new DataError(path, 'is damaged: it is no JSON');
  }
}

/** A folder whose files are listed with their sizes and hashes. */
export interface Folder {
  path: string;
  binary(name: string): Promise<ArrayBuffer>;
  json<T>(name: string): Promise<T>;
}

export function openFolder(
  source: Source,
  path: string,
  files: Record<string, FileSum>,
): Folder {
  async function read(name: string): Promise<Bytes> {
    const bytes = await source.read(`${path}/${name}`);
    const sum = files[name];
    if (!sum) throw new DataError(`${path}/${name}`, 'is not listed in meta.json');
    await check(bytes, sum, `${path}/${name}`);
    return bytes;
  }
  return {
    path,
    async binary(name) {
      const bytes = await read(name);
      try {
        return await gunzip(bytes);
      } catch {
        throw new DataError(`${path}/${name}`, 'is damaged: gzip cannot read it');
      }
    },
    async json<T>(name: string) {
      return parseJson<T>(await read(name), `${path}/${name}`);
    },
  };
}

/** Remembers the newest `most` answers; a failed one is asked again. */
export function remembered<T>(
  most: number,
  make: (key: number) => Promise<T>,
  forget: (value: T) => void = () => {},
): (key: number) => Promise<T> {
  const kept = new Map<number, Promise<T>>();
  return (key) => {
    const known = kept.get(key) ?? make(key);
    kept.delete(key);
    kept.set(key, known);
    known.catch(() => kept.delete(key));
    if (kept.size > most) {
      const [oldest, value] = kept.entries().next().value!;
      kept.delete(oldest);
      value.then(forget, () => {});
    }
    return known;
  };
}
