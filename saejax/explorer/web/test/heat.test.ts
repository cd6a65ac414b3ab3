import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasGaps, patchAt, patchWords, scaleOf, spread } from '../src/heat';
import type { Concept } from '../src/format';

const sparse = { w: 3, h: 2, at: [1, 4], q: [254, 127], rest: 0 };
const gaps = { ...sparse, rest: 255 };

test('cells come back, whole or sparse', () => {
  const whole = { w: 3, h: 2, q: [0, 254, 0, 0, 127, 0] };
  assert.deepEqual(spread(sparse), spread(whole));
  assert.deepEqual(Array.from(spread(gaps)), [255, 254, 255, 255, 127, 255]);
  assert.deepEqual(
    [sparse, whole, gaps, null].map(hasGaps), [false, false, true, false],
  );
});

test('a map is told in words', () => {
  assert.equal(
    patchWords(sparse, 2),
    'fires on 2 of 6 patches, most in row 1, column 2: 2',
  );
  assert.equal(
    patchWords(gaps, 2), 'fires on 2 of 2 patches, most in row 1, column 2: 2',
  );
  const none = { w: 3, h: 2, at: [], q: [], rest: 0 };
  assert.equal(patchWords(none, 2), 'fires on none of 6 patches');
});

test('a patch is found under a pointer, and beside the picture the nearest', () => {
  assert.equal(patchAt(sparse, 2, 0.5, 0.9), 'Row 2, column 2: 1');
  assert.equal(patchAt(gaps, 2, -3, 9), 'Row 2, column 1: not kept in the store');
});

test('a scale is what the record says, and without maps there is none', () => {
  const images = { top: [[1, 3, null], [2, 2, null]], none: [[3, 0, null]] };
  const concept = { images, texts: {} } as unknown as Concept;
  assert.equal(scaleOf(concept, 'images'), 0);
  concept.heat_scale = { images: 4, texts: null };
  assert.equal(scaleOf(concept, 'images'), 4);
  assert.equal(scaleOf(concept, 'texts'), 0);
});
