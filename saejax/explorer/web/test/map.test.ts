import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fit, panBy, toMap, toScreen, zoomAt } from '../src/camera';
import type { Camera } from '../src/camera';
import { csvCell } from '../src/exports';
import { buildGrid, inside, lassoed, nearest, nearestTowards } from '../src/grid';
import { beside } from '../src/keys';
import { uncrowded } from '../src/names';
import { digits, percentile } from '../src/numbers';
import { adjacency } from '../src/sae';
import { sortRows } from '../src/table';
import type { TableColumn } from '../src/table';

const camera: Camera =
  { x: 0.4, y: 0.6, z: 3, width: 800, height: 500, stretch: 0.5 };
const close = (a: number[], b: number[]) =>
  a.forEach((v, i) => assert.ok(Math.abs(v - b[i]) < 1e-9, `${a} ${b}`));

test('the map and the screen agree both ways', () => {
  close(toMap(camera, ...toScreen(camera, 0.1, 0.9)), [0.1, 0.9]);
  const [, high] = toScreen(camera, 0.5, 0.9);
  const [, low] = toScreen(camera, 0.5, 0.1);
  assert.ok(high < low);
});

test('a zoom keeps the point under the pointer, a pan moves it', () => {
  const before = toMap(camera, 100, 450);
  const zoomed = { ...camera, ...zoomAt(camera, 2, 100, 450, 400) };
  close(toMap(zoomed, 100, 450), before);
  const panned = { ...camera, ...panBy(camera, 30, -20) };
  close(toMap(panned, 130, 430), before);
  const place = fit(camera, [0.2, 0.2, 0.2, 0.2], 5);
  close([place.x, place.y, place.z], [0.2, 0.2, 5]);
});

/** Points that a plain search can be held to. */
function points(n: number): Float32Array {
  let seed = 1;
  return Float32Array.from({ length: 2 * n }, () => {
    seed = (seed * 48271) % 2147483647;
    return seed / 2147483647;
  });
}

test('the grid finds what a search of all points finds', () => {
  const n = 500;
  const xy = points(n);
  const grid = buildGrid(xy);
  const even = (i: number) => i % 2 === 0;
  for (let k = 0; k < 50; k++) {
    const at: [number, number] = [xy[k] * 1.1, xy[k + 60] * 1.1];
    const all = Array.from({ length: n }, (_, i) => i).filter(even);
    const far = (i: number) => Math.hypot((xy[2 * i] - at[0]) * 900,
      (xy[2 * i + 1] - at[1]) * 500);
    const best = all.reduce((a, b) => (far(b) < far(a) ? b : a));
    const wanted = far(best) <= 40 ? best : -1;
    assert.equal(nearest(grid, at, [900, 500], 40, even), wanted);
  }
  assert.equal(nearest(grid, [0.5, 0.5], [1, 1], 9, () => false), -1);
});

test('arrows go to the nearest point of their side', () => {
  const xy = Float32Array.of(0.5, 0.5, 0.6, 0.5, 0.55, 0.9, 0.1, 0.5);
  const go = (direction: [number, number]) =>
    nearestTowards(xy, [0.5, 0.5], [100, 100], direction, () => true);
  assert.deepEqual([go([1, 0]), go([-1, 0]), go([0, 1]), go([0, -1])],
    [1, 3, 2, -1]);
});

test('a lasso holds what is inside it', () => {
  const corners = [0.2, 0.2, 0.8, 0.2, 0.8, 0.8, 0.5, 0.4, 0.2, 0.8];
  assert.ok(inside(corners, 0.3, 0.3));
  assert.ok(!inside(corners, 0.5, 0.6)); // In the notch.
  const xy = points(300);
  const wanted = Array.from({ length: 300 }, (_, i) => i)
    .filter((i) => inside(corners, xy[2 * i], xy[2 * i + 1]));
  const found = Array.from(lassoed(buildGrid(xy), corners));
  assert.deepEqual(found.sort((a, b) => a - b), wanted);
  assert.equal(lassoed(buildGrid(xy), [0, 0]).length, 0);
});

test('bridges of a concept, the strongest first, loops once', () => {
  const { start, edgeList } =
    adjacency(Uint32Array.of(0, 1, 2, 0), Uint32Array.of(1, 1, 0, 2), 3);
  const of = (i: number) => Array.from(edgeList.subarray(start[i], start[i + 1]));
  assert.deepEqual([of(0), of(1), of(2)], [[0, 2, 3], [0, 1], [2, 3]]);
});

test('names that would overlap give way to those before them', () => {
  const at = (key: string, x: number, y: number) =>
    ({ key, text: key, x, y, level: 1 });
  const kept = uncrowded(
    [at('a', 100, 100), at('b', 110, 105), at('c', 300, 100),
      at('d', 5000, 100)], camera, () => 40);
  assert.deepEqual(kept.map((name) => name.key), ['a', 'c']);
});

test('tables sort by number or by name, the unknown last', () => {
  const values = [2, NaN, 3, 1];
  const columns: TableColumn[] = [
    { key: 'v', title: '', width: '', text: String, value: (i) => values[i] },
    { key: 'n', title: '', width: '', text: (i) => ['b', 'C', '', 'a'][i] },
  ];
  const rows = Uint32Array.of(0, 1, 2, 3);
  const sorted = (by: string) => Array.from(sortRows(rows, columns, by));
  assert.deepEqual(sorted('v'), [3, 0, 2, 1]);
  assert.deepEqual(sorted('-v'), [2, 0, 3, 1]);
  assert.deepEqual(sorted('n'), [3, 0, 1, 2]);
  assert.deepEqual(sorted('-n'), [1, 0, 3, 2]);
  assert.deepEqual(sorted('none'), [0, 1, 2, 3]);
});

test('the list goes round', () => {
  const list = Uint32Array.of(7, 3, 9);
  assert.deepEqual(
    [beside(list, 7, 1), beside(list, 7, -1), beside(list, 4, 1),
      beside(new Uint32Array(0), 1, 1)], [3, 9, 7, -1]);
});

test('words are no formulas in a spreadsheet, and numbers stay numbers', () => {
  assert.equal(csvCell('=1+1'), "'=1+1");
  assert.equal(csvCell('-2', true), '-2');
  assert.equal(csvCell('a "b", c'), '"a ""b"", c"');
});

test('numbers are short and honest', () => {
  assert.deepEqual(
    [NaN, null, 0, 0.12345, 12345, 0.00001234, -0.5].map(digits),
    ['–', '–', '0', '0.123', '12,345', '1.2e−5', '−0.5']);
  assert.equal(percentile(Float32Array.of(1, 2, 3, 4), 3), 0.5);
});
