// The site: which dictionaries there are, and the pictures and texts they share.
import { DataError, decodeMatch, decodePack } from './decoding';
import type { Match } from './decoding';
import { FORMAT } from './format';
import type { Index, MatchEntry, SaeEntry } from './format';
import { check, openSource, parseJson, remembered } from './loading';
import type { Bytes, Source } from './loading';
import { loadSae } from './sae';
import type { Sae } from './sae';

const INDEX = 'data/index.json';
const PACKS = 20; // Kept at once; about a megabyte each.

export interface Site {
  source: Source;
  index: Index;
  sensitive: Set<number>;
  picture(id: number): Promise<string>; // An address for <img>.
  text(id: number): Promise<string>;
  sae(id: string, progress: (done: number, all: number) => void): Promise<Sae>;
  match(entry: MatchEntry, n: number): Promise<Match>;
}

export async function openSite(page: Document): Promise<Site> {
  const source = openSource(page);
  const index = parseJson<Index>(await source.read(INDEX), INDEX);
  if (index.format !== FORMAT) {
    throw new DataError(INDEX, `has format ${index.format}, not ${FORMAT}`);
  }

  async function read(path: string): Promise<Bytes> {
    const bytes = await source.read(path);
    const sum = index.tree[path];
    if (!sum) throw new DataError(path, `is not listed in ${INDEX}`);
    await check(bytes, sum, path);
    return bytes;
  }

  const packs = remembered(
    PACKS,
    async (number) => {
      const path = `img/pack/${String(number).padStart(3, '0')}.bin`;
      return decodePack(await read(path), path).map((bytes) =>
        URL.createObjectURL(
          new Blob([bytes as Bytes], { type: 'image/webp' }),
        ),
      );
    },
    (addresses) => addresses.forEach((a) => URL.revokeObjectURL(a)),
  );
  const texts = remembered(50, async (number) => {
    const path = `text/${String(number).padStart(4, '0')}.json`;
    return parseJson<string[]>(await read(path), path);
  });
  const saes = new Map<string, Promise<Sae>>();

  return {
    source,
    index,
    sensitive: new Set(index.pictures.sensitive),
    async picture(id) {
      const { pack } = index.pictures;
      return (await packs(Math.floor(id / pack)))[id % pack];
    },
    async text(id) {
      const { shard } = index.texts;
      return (await texts(Math.floor(id / shard)))[id % shard];
    },
    sae(id, progress) {
      const known = saes.get(id);
      if (known) return known;
      const loading = loadSae(source, entryOf(index, id), progress);
      saes.set(id, loading);
      loading.catch(() => saes.delete(id));
      return loading;
    },
    async match(entry, n) {
      const bytes = await read(entry.file);
      return decodeMatch(bytes.slice().buffer, n, entry.file);
    },
  };
}

/** The dictionary that a link asks for; the default one if there is none. */
export function entryOf(index: Index, id: string): SaeEntry {
  const found =
    index.saes.find((sae) => sae.id === id) ??
    index.saes.find((sae) => sae.id === index.default) ??
    index.saes[0];
  if (!found) throw new DataError(INDEX, 'lists no dictionary');
  return found;
}
