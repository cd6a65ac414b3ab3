import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matches, parseQuery, parseRange } from '../src/search';
import type { Searched } from '../src/search';

const labels = ['Red dog', 'hot dog stand', 'dog', 'cat', '', 'underdogs'];
const classes = ['unclassified', 'image', 'text', 'shared'];
const sae: Searched = {
  n: 6,
  labels,
  lower: labels.map((l) => l.toLowerCase()),
  ids: Uint32Array.of(10, 20, 30, 40, 50, 60),
  indexOf: new Map([[10, 0], [20, 1], [30, 2], [40, 3], [50, 4], [60, 5]]),
  kind: Uint8Array.of(1, 2, 3, 1, 0, 2),
  flags: Uint8Array.of(16, 16, 16 + 8, 16, 0, 16),
  columns: new Map([
    ['energy', Float32Array.of(1, 2, 3, 4, 5, NaN)],
    ['rate', Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)],
  ]),
  meta: { classes },
};
const order = Uint32Array.of(5, 4, 3, 2, 1, 0);

function find(text: string): number[] {
  const query = parseQuery(text, ['energy', 'rate'], classes);
  assert.deepEqual(query.problems, []);
  return Array.from(matches(query, sae, order));
}

test('whole names come before starts, starts of words, and parts', () => {
  assert.deepEqual(find('DOG'), [2, 1, 0, 5]);
});

test('words must all be there; quoted ones together', () => {
  assert.deepEqual(find('dog red'), [0]);
  assert.deepEqual(find('"red dog"'), [0]);
  assert.deepEqual(find('"dog red"'), []);
  assert.deepEqual(find('label:"hot dog"'), [1]);
});

test('ids, modalities, marks and their opposites', () => {
  assert.deepEqual(find('id:40'), [3]);
  assert.deepEqual(find('50'), [4]);
  assert.deepEqual(find('mod:image'), [3, 0]);
  assert.deepEqual(find('dog -mod:text'), [2, 0]);
  assert.deepEqual(find('has:heat'), [2]);
});

test('columns with signs and ranges; the undefined never fits', () => {
  assert.deepEqual(find('energy:>2'), [4, 3, 2]);
  assert.deepEqual(find('energy:>=2 energy:<4'), [2, 1]);
  assert.deepEqual(find('energy:2..3'), [2, 1]);
  assert.deepEqual(find('fire:<0.15'), [0]);
  assert.deepEqual(find('energy:<100'), [4, 3, 2, 1, 0]);
});

test('a range is read as it is meant', () => {
  assert.deepEqual(parseRange('-1..0.5'),
    { low: -1, high: 0.5, open: [false, false] });
  assert.deepEqual(parseRange('>1e-3'),
    { low: 0.001, high: Infinity, open: [true, false] });
  assert.equal(parseRange('>dog'), null);
  assert.equal(parseRange('1..x'), null);
});

test('mistakes are named, and what is half typed is waited for', () => {
  const say = (text: string) =>
    parseQuery(text, ['energy'], classes).problems.join();
  assert.match(say('colour:red'), /no column is called colour/);
  assert.match(say('energy:big'), /energy:big is no number/);
  assert.match(say('mod:sound'), /none of unclassified, image/);
  assert.match(say('id:x'), /no number/);
  assert.equal(say('energy: mod:'), '');
});
