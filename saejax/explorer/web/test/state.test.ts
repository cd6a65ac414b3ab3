import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStore, formatHash, initialState, parseHash } from '../src/state';
import type { State } from '../src/state';

const full: State = {
  sae: 'other', view: 'bridge', c: 12, b: [3, 45], q: 'a "b c" #&=+%é',
  layout: 'split', edges: 20, x: 0.25, y: 0.75, z: 3.5, theme: 'dark',
  size: 'rate', fade: true, pics: false, cmp: 'third', sort: '-excess',
  only: 'cross,aligned', lasso: [0.1, 0.2, 0.3, 0.4, 0.5, 0.1], picture: 4,
  text: 0, tour: 2,
};

test('a hash holds the whole state', () => {
  assert.deepEqual(parseHash(formatHash(full, 'first'), 'first'), full);
});

test('the first state has an empty hash, and back', () => {
  assert.equal(formatHash(initialState('first'), 'first'), '#');
  assert.deepEqual(parseHash('', 'first'), initialState('first'));
});

test('what is malformed or out of range is left as it is, or clamped', () => {
  const hash = '#view=nowhere&c=-4&b=1_2&edges=abc&z=1e9&layout=&lasso=1,2,x' +
    '&fade=yes&__proto__=1&nothing=2';
  const state = parseHash(hash, 'first');
  assert.deepEqual(state, { ...initialState('first'), z: 400 });
});

test('a store tells what changed, and only when it did', () => {
  const told: [number | null, number | null][] = [];
  const written: string[] = [];
  const store = createStore(initialState('a'), (s, how) =>
    written.push(`${s.c} ${how}`));
  const stop = store.subscribe((now, before) => told.push([now.c, before.c]));
  store.set({ c: 4 }, 'push');
  store.set({ c: 4 }, 'push');
  stop();
  store.set({ c: 5 });
  assert.deepEqual(told, [[4, null]]);
  assert.deepEqual(written, ['4 push', '5 replace']);
});
