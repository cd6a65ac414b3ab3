// One dictionary: its arrays, and what can be asked of them.
import {
  decodeEdges,
  decodeFlags,
  decodeNear,
  decodePoints,
  decodeScalars,
  DataError,
} from './decoding';
import type { Edges, Near } from './decoding';
import { tidy } from './dom';
import { BRIDGES_PER_SHARD, CONCEPTS_PER_SHARD, FORMAT } from './format';
import type {
  BridgeEvidence,
  Cluster,
  Column,
  Concept,
  Examples,
  Labels,
  Meta,
  SaeEntry,
} from './format';
import { openFolder, parseJson, remembered } from './loading';
import type { Folder, Source } from './loading';

export const SENSITIVE = 4;
export const HEAT = 8;
export const LABELLED = 16;
export const PICTURED = 32;

export const REPLICATED = 1;
export const CROSS = 2;
export const ALIGNED = 4;
export const SELF = 8;

export interface Sae {
  entry: SaeEntry;
  meta: Meta;
  folder: Folder;
  n: number;
  m: number;
  joint: Float32Array; // [n, 2]
  split: Float32Array; // [n, 2], image concepts on the left
  columns: Map<string, Float32Array>;
  sorted: Map<string, Float32Array>; // Filled when asked for.
  kind: Uint8Array; // Index into meta.classes.
  flags: Uint8Array;
  ids: Uint32Array;
  indexOf: Map<number, number>;
  labels: string[];
  lower: string[]; // The same for searching.
  sources: Labels['sources'];
  source: number[];
  edges: Edges;
  start: Uint32Array; // Edges of concept i: edgeList[start[i]..start[i+1]].
  edgeList: Uint32Array;
  byEnergy: Uint32Array; // Indices, the most energetic first.
  clusters: Cluster[];
  concept(index: number): Promise<Concept>;
  bridge(edge: number): Promise<BridgeEvidence | null>;
  near(): Promise<Near>;
  examples(): Promise<Examples>;
}

/** Edges of each concept, strongest first, by a counting sort. */
export function adjacency(src: Uint32Array, dst: Uint32Array, n: number) {
  const start = new Uint32Array(n + 1);
  for (let e = 0; e < src.length; e++) {
    start[src[e] + 1]++;
    if (dst[e] !== src[e]) start[dst[e] + 1]++;
  }
  for (let i = 0; i < n; i++) start[i + 1] += start[i];
  const next = start.slice(0, n);
  const edgeList = new Uint32Array(start[n]);
  for (let e = 0; e < src.length; e++) {
    edgeList[next[src[e]]++] = e;
    if (dst[e] !== src[e]) edgeList[next[dst[e]]++] = e;
  }
  return { start, edgeList };
}

/** Indices by a column, the largest first and the undefined last. */
export function descending(column: Float32Array): Uint32Array {
  const order = Uint32Array.from(column, (_, i) => i);
  const key = column.map((v) => (Number.isNaN(v) ? -Infinity : v));
  return order.sort((a, b) => key[b] - key[a] || a - b);
}

export async function loadSae(
  source: Source,
  entry: SaeEntry,
  progress: (done: number, all: number) => void,
): Promise<Sae> {
  const file = (name: string) => `${entry.path}/${name}`;
  const meta = parseJson<Meta>(
    await source.read(file('meta.json')),
    file('meta.json'),
  );
  if (meta.format !== FORMAT) {
    throw new DataError(file('meta.json'), `has format ${meta.format}, not ${FORMAT}`);
  }
  const folder = openFolder(source, entry.path, meta.files);
  const { n, m } = meta;
  let done = 0;
  const counted = <T>(work: Promise<T>) =>
    work.then((value) => {
      progress(++done, 6);
      return value;
    });
  const [points, scalars, marks, edges, labels, clusters] = await Promise.all([
    counted(folder.binary('points.bin')),
    counted(folder.binary('scalars.bin')),
    counted(folder.binary('flags.bin')),
    counted(folder.binary('edges.bin')),
    counted(folder.json<Labels>('labels.json')),
    counted(folder.json<Cluster[]>('clusters.json')),
  ]);
  const { joint, split } = decodePoints(points, n, file('points.bin'));
  for (let i = 0; i < n; i++) split[2 * i] = 1 - split[2 * i];
  const columns = decodeScalars(scalars, meta.columns, n, file('scalars.bin'));
  const { flags, ids } = decodeFlags(marks, n, file('flags.bin'));
  const joined = decodeEdges(edges, meta.edge_columns, m, n, file('edges.bin'));
  if (labels.labels.length !== n) {
    throw new DataError(file('labels.json'), `has ${labels.labels.length} labels, not ${n}`);
  }
  return {
    entry, meta, folder, n, m, joint, split, columns, flags, ids,
    sorted: new Map(),
    kind: flags.map((f) => f & 3),
    indexOf: new Map(Array.from(ids, (id, i) => [id, i])),
    labels: labels.labels,
    lower: labels.labels.map((label) => label.toLowerCase()),
    sources: labels.sources,
    source: labels.source,
    edges: joined,
    ...adjacency(joined.src, joined.dst, n),
    byEnergy: descending(columns.get('energy') ?? new Float32Array(n)),
    clusters: clusters.map((c) => ({ ...c, split: [1 - c.split[0], c.split[1]] })),
    ...readers(folder, meta),
  };
}

function readers(folder: Folder, meta: Meta) {
  const shard = (folderName: string, number: number) =>
    `${folderName}/${String(number).padStart(4, '0')}.json`;
  const concepts = remembered(40, (number) =>
    folder.json<Concept[]>(shard('concepts', number)),
  );
  const bridges = remembered(40, (number) =>
    folder.json<BridgeEvidence[]>(shard('bridges', number)),
  );
  const near = remembered(1, async () =>
    decodeNear(await folder.binary('near.bin'), meta.n, `${folder.path}/near.bin`),
  );
  const examples = remembered(1, () => folder.json<Examples>('pictures.json'));
  return {
    async concept(index: number) {
      const rows = await concepts(Math.floor(index / CONCEPTS_PER_SHARD));
      const found = rows.find((row) => row.index === index);
      if (found) return found;
      const name = shard('concepts', Math.floor(index / CONCEPTS_PER_SHARD));
      throw new DataError(`${folder.path}/${name}`, `lacks concept ${index}`);
    },
    async bridge(edge: number) {
      const number = Math.floor(edge / BRIDGES_PER_SHARD);
      if (!(shard('bridges', number) in meta.files)) return null;
      const rows = await bridges(number);
      return rows.find((row) => row.edge === edge) ?? null;
    },
    near: () => near(0),
    examples: () => examples(0),
  };
}

export function nameOf(sae: Sae, index: number, most = 80): string {
  return tidy(sae.labels[index], `Concept ${sae.ids[index]}`, most);
}

export function kindOf(sae: Sae, index: number): string {
  return sae.meta.classes[sae.kind[index]] ?? 'unclassified';
}

export function valueOf(sae: Sae, name: string, index: number): number {
  return sae.columns.get(name)?.[index] ?? NaN;
}

export function edgeValue(sae: Sae, name: string, edge: number): number {
  return sae.edges.columns.get(name)?.[edge] ?? NaN;
}

export function columnOf(sae: Sae, name: string): Column | undefined {
  return sae.meta.columns.find((column) => column.name === name);
}

/** The known values of a column in order. */
export function sortedColumn(sae: Sae, name: string): Float32Array {
  let found = sae.sorted.get(name);
  if (!found) {
    const values = sae.columns.get(name) ?? new Float32Array(0);
    found = values.filter((v) => !Number.isNaN(v)).sort();
    sae.sorted.set(name, found);
  }
  return found;
}

export function edgesOf(sae: Sae, index: number): Uint32Array {
  return sae.edgeList.subarray(sae.start[index], sae.start[index + 1]);
}

export function otherEnd(sae: Sae, edge: number, index: number): number {
  const { src, dst } = sae.edges;
  return src[edge] === index ? dst[edge] : src[edge];
}

/** The number of the bridge from an image concept to a text one; -1 if none. */
export function findEdge(sae: Sae, src: number, dst: number): number {
  const found = edgesOf(sae, src).find(
    (e) => sae.edges.src[e] === src && sae.edges.dst[e] === dst,
  );
  return found ?? -1;
}
