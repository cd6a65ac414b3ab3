// Files of a site, format saejax-explorer/1, as they lie on the server.

export const FORMAT = 'saejax-explorer/1';
export const NONE = 0xffffffff; // No neighbour, no match.
export const CONCEPTS_PER_SHARD = 64;
export const BRIDGES_PER_SHARD = 64;

export interface Column {
  name: string;
  label: string;
  definition: string;
  unit: string;
  min: number;
  max: number;
  log: boolean;
}

export interface FileSum {
  bytes: number;
  sha256: string;
}

export interface SaeEntry {
  id: string;
  title: string;
  model: string;
  dataset: string;
  arch: string;
  latents: number;
  concepts: number;
  bridges: number;
  path: string;
}

export interface TourStop {
  title: string;
  text: string;
  hash: string;
}

export interface MatchEntry {
  a: string;
  b: string;
  file: string;
  method: string;
  n: number;
}

export interface DataCard {
  dataset: string;
  licence: string;
  citation: string;
  pictures_from: string;
  made_with: string;
  commit: string;
  notes: string[];
}

export interface Index {
  format: string;
  title: string;
  saes: SaeEntry[];
  default: string;
  card: DataCard;
  tour: TourStop[];
  matches: MatchEntry[];
  pictures: { count: number; pack: number; side: number; sensitive: number[] };
  texts: { count: number; shard: number };
  tree: Record<string, FileSum>;
}

export interface Band {
  name: string;
  rule?: string;
}

export interface Meta {
  format: string;
  id: string;
  title: string;
  n: number;
  m: number;
  latents: number;
  k: number;
  model: string;
  dataset: string;
  arch: string;
  split: string;
  rows: { image: number; text: number };
  reads: 'pooled' | 'tokens';
  row?: string; // What a row is, in words.
  heat?: Record<string, { cells: string }> | null;
  files: Record<string, FileSum>;
  columns: Column[];
  edge_columns: Column[];
  classes: string[];
  cuts: { image: number; text: number };
  bands: Band[];
  sampling: string;
  map: { sheets: number; cell: number; per_side: number } | null;
  steering: { strengths: number[]; what: string } | null;
  python: string;
  bibtex: string;
  provenance: Record<string, unknown>;
}

export interface Cluster {
  level: number;
  name: string;
  joint: [number, number];
  split: [number, number];
  size: number;
}

export interface Labels {
  labels: string[];
  source: number[];
  sources: { name: string; how: string }[];
}

/** Bytes over the cells of a picture; `at` says which, `rest` all others. */
export interface PictureHeat {
  w: number;
  h: number;
  q: number[];
  at?: number[];
  rest?: number;
}

/** Pieces that join to the text, and their bytes. */
export interface TextHeat {
  tokens: string[];
  q: number[];
}

export type Example<Heat> = [id: number, activation: number, heat: Heat | null];

export interface Concept {
  id: number;
  index: number;
  labels: {
    text: string;
    source: string;
    score: number | null;
    low: number | null;
    high: number | null;
    null?: number | null; // The score that chance has.
  }[];
  histogram: { edges: number[]; image: number[]; text: number[] };
  images: Record<string, Example<PictureHeat>[]>;
  texts: Record<string, Example<TextHeat>[]>;
  bridges: number[];
  stability: { value: number; over: string; all: number[] } | null;
  steer: { query?: number; pictures: number[][] } | null;
  note: string | null;
  heat_scale?: { images: number | null; texts: number | null };
}

export type PairExample = [
  picture: number,
  text: number,
  image: number,
  text_activation: number,
];

export type Cell = 'both' | 'left' | 'right' | 'neither';

export interface BridgeEvidence {
  edge: number;
  image: number;
  text: number;
  table: Record<Cell | 'pairs', number>;
  null: { expected: number; low: number; high: number; how: string };
  rank: number;
  both: PairExample[];
  left: PairExample[];
  right: PairExample[];
  neither: PairExample[];
}

export type ByExample = [id: number, active: [index: number, value: number][]];

export interface Examples {
  pictures: ByExample[];
  texts: ByExample[];
}
