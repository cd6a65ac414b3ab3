// The search box: words of names, ids, and operators on columns.
import { HEAT, LABELLED, PICTURED, SENSITIVE } from './sae';
import type { Sae } from './sae';

/** What searching reads of a dictionary. */
export type Searched = Pick<
  Sae,
  'n' | 'labels' | 'lower' | 'ids' | 'indexOf' | 'kind' | 'flags' | 'columns'
> & { meta: { classes: string[] } };

export type Term =
  | { type: 'words'; text: string }
  | { type: 'id'; id: number }
  | { type: 'class'; name: string }
  | { type: 'has'; bit: number }
  | { type: 'column'; name: string; low: number; high: number;
      open: [boolean, boolean] };

export interface Query {
  terms: { term: Term; not: boolean }[];
  problems: string[];
}

export const ALIASES: Record<string, string> = {
  fire: 'rate',
  fires: 'rate',
  score: 'label_score',
  cosine: 'max_cosine',
  stable: 'stability',
  bridges: 'bridge',
};

const BITS: Record<string, number> = {
  heat: HEAT,
  label: LABELLED,
  picture: PICTURED,
  sensitive: SENSITIVE,
};

/** Splits at blanks outside quotes. */
function tokens(text: string): string[] {
  return text.match(/-?(?:[\w]+:)?"[^"]*"?|\S+/g) ?? [];
}

const unquoted = (text: string) => text.replace(/^"|"$/g, '');

/** Limits of `>0.3`, `<=2`, `0.1..0.5` or `3`; null if it is none of them. */
export function parseRange(text: string) {
  const between = /^([^.<>=][^<>=]*?)\.\.([^<>=]+)$/.exec(text);
  if (between) {
    const [low, high] = [Number(between[1]), Number(between[2])];
    if (Number.isNaN(low) || Number.isNaN(high)) return null;
    return { low, high, open: [false, false] as [boolean, boolean] };
  }
  const found = /^(>=|<=|>|<|=)?(.+)$/.exec(text);
  const value = found ? Number(found[2]) : NaN;
  if (!found || Number.isNaN(value)) return null;
  const sign = found[1] ?? '=';
  return {
    low: sign.startsWith('<') ? -Infinity : value,
    high: sign.startsWith('>') ? Infinity : value,
    open: [sign === '>', sign === '<'] as [boolean, boolean],
  };
}

function operator(
  key: string,
  value: string,
  columns: string[],
  classes: string[],
): Term | string {
  if (key === 'label' || key === 'name') {
    return { type: 'words', text: unquoted(value).toLowerCase() };
  }
  if (key === 'id') {
    if (/^\d+$/.test(value)) return { type: 'id', id: Number(value) };
    return `id:${value} is no number`;
  }
  if (key === 'mod' || key === 'class') {
    const name = classes.find((c) => c.startsWith(value.toLowerCase()));
    if (name && value) return { type: 'class', name };
    return `${key}:${value} is none of ${classes.join(', ')}`;
  }
  if (key === 'has') {
    if (value in BITS) return { type: 'has', bit: BITS[value] };
    return `has:${value} is none of ${Object.keys(BITS).join(', ')}`;
  }
  const name = ALIASES[key] ?? key;
  if (!columns.includes(name)) {
    return `no column is called ${key}; there are ${columns.join(', ')}`;
  }
  const range = parseRange(value);
  if (!range) return `${key}:${value} is no number, such as ${key}:>0.3`;
  return { type: 'column', name, ...range };
}

export function parseQuery(
  text: string,
  columns: string[],
  classes: string[],
): Query {
  const query: Query = { terms: [], problems: [] };
  for (const token of tokens(text)) {
    const not = token.length > 1 && token.startsWith('-');
    const rest = not ? token.slice(1) : token;
    const found = /^([a-z_]\w*):(.*)$/is.exec(rest);
    if (!found) {
      const words = unquoted(rest).toLowerCase();
      if (words) query.terms.push({ term: { type: 'words', text: words }, not });
      continue;
    }
    if (!found[2]) continue; // Still being typed.
    const key = found[1].toLowerCase();
    const term = operator(key, found[2], columns, classes);
    if (typeof term === 'string') query.problems.push(term);
    else query.terms.push({ term, not });
  }
  return query;
}

function tester(term: Term, sae: Searched): (i: number) => boolean {
  switch (term.type) {
    case 'words': {
      const id = /^\d+$/.test(term.text) ? Number(term.text) : -1;
      return (i) => sae.lower[i].includes(term.text) || sae.ids[i] === id;
    }
    case 'id':
      return (i) => sae.ids[i] === term.id;
    case 'class': {
      const kind = sae.meta.classes.indexOf(term.name);
      return (i) => sae.kind[i] === kind;
    }
    case 'has':
      return (i) => (sae.flags[i] & term.bit) !== 0;
    case 'column': {
      const values = sae.columns.get(term.name)!;
      const { low, high, open } = term;
      return (i) => {
        const v = values[i];
        return (
          (open[0] ? v > low : v >= low) && (open[1] ? v < high : v <= high)
        );
      };
    }
  }
}

/** How well a name answers words: whole, first, start of a word, within. */
function rank(name: string, words: string): number {
  if (name === words) return 0;
  if (name.startsWith(words)) return 1;
  return name.includes(` ${words}`) ? 2 : 3;
}

/** Indices that pass, in the order given; the best names first. */
export function matches(query: Query, sae: Searched, order: Uint32Array) {
  const tests = query.terms.map(({ term, not }) => {
    const test = tester(term, sae);
    return not ? (i: number) => !test(i) : test;
  });
  const first = query.terms.find((t) => t.term.type === 'words' && !t.not);
  const words = first?.term.type === 'words' ? first.term.text : '';
  const buckets: number[][] = [[], [], [], []];
  for (const i of order) {
    if (!tests.every((test) => test(i))) continue;
    buckets[words ? rank(sae.lower[i], words) : 0].push(i);
  }
  return Uint32Array.from(buckets.flat());
}
