// What the page shows, as one object; its text is the link's hash.

export const VIEWS = [
  'map', 'table', 'bridges', 'missing', 'bridge', 'examples', 'compare',
  'about',
] as const;
export type View = (typeof VIEWS)[number];
export type Layout = 'joint' | 'split';
export type Theme = 'auto' | 'light' | 'dark';

export interface State {
  sae: string;
  view: View;
  c: number | null; // Ids, as in all links; never indices.
  b: [number, number] | null;
  q: string;
  layout: Layout;
  edges: number;
  x: number;
  y: number;
  z: number;
  theme: Theme;
  size: string;
  fade: boolean;
  pics: boolean;
  cmp: string;
  sort: string; // column, or -column for the largest first
  only: string; // of bridges: cross, replicated, aligned
  lasso: number[]; // x, y of its corners on the map
  picture: number | null;
  text: number | null;
  tour: number | null;
}

export const MAX_ZOOM = 400;

export function initialState(sae: string): State {
  return {
    sae, view: 'map', c: null, b: null, q: '', layout: 'joint', edges: 500,
    x: 0.5, y: 0.5, z: 1, theme: 'auto', size: 'energy', fade: false,
    pics: true, cmp: '', sort: '', only: '', lasso: [], picture: null,
    text: null, tour: null,
  };
}

interface Codec<T> {
  read(text: string): T | undefined; // undefined: not a value of this
  write(value: T): string;
}

const text: Codec<string> = { read: (t) => t, write: (v) => v };

const flag: Codec<boolean> = {
  read: (t) => (t === '1' ? true : t === '0' ? false : undefined),
  write: (v) => (v ? '1' : '0'),
};

function number(low: number, high: number, digits: number): Codec<number> {
  return {
    read(t) {
      const value = t.trim() === '' ? NaN : Number(t);
      if (!Number.isFinite(value)) return undefined;
      return Math.min(high, Math.max(low, value));
    },
    write: (v) => String(Number(v.toFixed(digits))),
  };
}

const id: Codec<number | null> = {
  read: (t) => (/^\d{1,9}$/.test(t) ? Number(t) : undefined),
  write: (v) => String(v),
};

function oneOf<T extends string>(...allowed: readonly T[]): Codec<T> {
  return {
    read: (t) => allowed.find((a) => a === t),
    write: (v) => v,
  };
}

const pair: Codec<[number, number] | null> = {
  read(t) {
    const found = /^(\d{1,9})-(\d{1,9})$/.exec(t);
    return found ? [Number(found[1]), Number(found[2])] : undefined;
  },
  write: (v) => (v ? v.join('-') : ''),
};

const corners: Codec<number[]> = {
  read(t) {
    const values = t.split(',').map(Number);
    const good = values.length >= 6 && values.length % 2 === 0;
    return good && values.every(Number.isFinite) ? values : undefined;
  },
  write: (v) => v.map((x) => Number(x.toFixed(3))).join(','),
};

const CODECS: { [K in keyof State]: Codec<State[K]> } = {
  sae: text,
  view: oneOf(...VIEWS),
  c: id,
  b: pair,
  q: text,
  layout: oneOf('joint', 'split'),
  edges: number(0, 1e6, 0),
  x: number(-1, 2, 4),
  y: number(-1, 2, 4),
  z: number(0.3, MAX_ZOOM, 3),
  theme: oneOf('auto', 'light', 'dark'),
  size: text,
  fade: flag,
  pics: flag,
  cmp: text,
  sort: text,
  only: text,
  lasso: corners,
  picture: id,
  text: id,
  tour: id,
};

const KEYS = Object.keys(CODECS) as (keyof State)[];

/** Reads a hash; what it does not say, or says badly, is as at first. */
export function parseHash(hash: string, sae: string): State {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  const state = initialState(sae);
  const read = <K extends keyof State>(key: K) => {
    const value = given.get(key);
    const parsed = value === null ? undefined : CODECS[key].read(value);
    if (parsed !== undefined) state[key] = parsed;
  };
  KEYS.forEach(read);
  return state;
}

/** The hash of a state, '#' included; only what differs from the first. */
export function formatHash(state: State, sae: string): string {
  const plain = initialState(sae);
  const out = new URLSearchParams();
  const write = <K extends keyof State>(key: K) => {
    const value = CODECS[key].write(state[key]);
    if (value !== CODECS[key].write(plain[key])) out.set(key, value);
  };
  KEYS.forEach(write);
  return `#${out.toString()}`;
}

export type Listener = (state: State, before: State) => void;
export type How = 'push' | 'replace';

export interface Store {
  get(): State;
  set(change: Partial<State>, how?: How): void;
  subscribe(listener: Listener): () => void;
}

/** A store that tells its listeners and, of each change, `write`. */
export function createStore(
  first: State,
  write: (state: State, how: How) => void,
): Store {
  let state = first;
  const listeners = new Set<Listener>();
  return {
    get: () => state,
    set(change, how = 'replace') {
      const before = state;
      const keys = Object.keys(change) as (keyof State)[];
      if (keys.every((key) => Object.is(before[key], change[key]))) return;
      state = { ...before, ...change };
      write(state, how);
      for (const listener of [...listeners]) listener(state, before);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
