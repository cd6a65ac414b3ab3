import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
  DataError, decodeEdges, decodeFlags, decodeMatch, decodeNear, decodePack,
  decodePoints, decodeScalars, dequantise,
} from '../src/decoding';
import type { Column } from '../src/format';
import { check, gunzip, openFolder, remembered } from '../src/loading';
import type { Bytes } from '../src/loading';

function column(name: string, min: number, max: number, log = false): Column {
  return { name, label: name, definition: '', unit: '', min, max, log };
}

/** Sections as the writer joins them, each padded to four bytes. */
function join(...sections: ArrayBufferView[]): ArrayBuffer {
  const bytes: number[] = [];
  for (const { buffer, byteOffset, byteLength } of sections) {
    bytes.push(...new Uint8Array(buffer, byteOffset, byteLength));
    while (bytes.length % 4) bytes.push(0);
  }
  return Uint8Array.from(bytes).buffer;
}

test('columns come back, by a line or by powers of ten', () => {
  const q = Uint16Array.of(0, 32767, 65534, 65535);
  const line = dequantise(q, column('a', -1, 3));
  assert.deepEqual(Array.from(line.subarray(0, 3)), [-1, 1, 3]);
  assert.ok(Number.isNaN(line[3]));
  const power = dequantise(q, column('a', 0.01, 100, true));
  assert.ok(Math.abs(power[1] - 1) < 1e-6);
  assert.ok(Math.abs(power[2] - 100) < 1e-4);
});

test('points and scalars have their shapes', () => {
  const bytes = join(Uint16Array.of(0, 65535, 13107, 0, 65535, 0, 0, 65535));
  const { joint, split } = decodePoints(bytes, 2, 'points.bin');
  assert.deepEqual(Array.from(joint), [0, 1, 1, 0]);
  assert.ok(Math.abs(split[0] - 0.2) < 1e-6);
  const columns = [column('a', 0, 1), column('b', 0, 65534)];
  const values = decodeScalars(
    join(Uint16Array.of(0, 65534, 65535, 7, 8, 9)), columns, 3, 'scalars.bin');
  assert.deepEqual(Array.from(values.get('b')!), [7, 8, 9]);
  assert.equal(values.get('a')![1], 1);
});

test('sections start at multiples of four', () => {
  const made = join(Uint8Array.of(1, 2, 51), Uint32Array.of(7, 8, 9));
  const { flags, ids } = decodeFlags(made, 3, 'flags.bin');
  assert.deepEqual(Array.from(flags), [1, 2, 51]);
  assert.deepEqual(Array.from(ids), [7, 8, 9]);
  const edges = decodeEdges(
    join(Uint32Array.of(0, 1, 2), Uint32Array.of(1, 1, 0),
      Uint16Array.of(5, 6, 7), Uint8Array.of(1, 2, 9)),
    [column('excess', 0, 65534)], 3, 3, 'edges.bin');
  assert.deepEqual(Array.from(edges.dst), [1, 1, 0]);
  assert.deepEqual(Array.from(edges.columns.get('excess')!), [5, 6, 7]);
  assert.deepEqual(Array.from(edges.flags), [1, 2, 9]);
});

test('neighbours and matches', () => {
  const index = new Uint32Array(8).fill(0xffffffff);
  index[0] = 3;
  const q = new Uint16Array(8).fill(65535);
  q[0] = 65534;
  const near = decodeNear(join(index, q), 1, 'near.bin');
  assert.equal(near.index[0], 3);
  assert.equal(near.cosine[0], 1);
  assert.ok(Number.isNaN(near.cosine[1]));
  const match = decodeMatch(
    join(Uint32Array.of(1, 0), Uint16Array.of(0, 65534)), 2, 'm.bin');
  assert.deepEqual(Array.from(match.correlation), [0, 1]);
});

test('packs are cut where their offsets say', () => {
  const bytes = new Uint8Array(16);
  new Uint32Array(bytes.buffer).set([12, 13, 16]);
  bytes.set([5, 6, 7, 8], 12);
  const files = decodePack(bytes, 'p.bin').map((f) => Array.from(f));
  assert.deepEqual(files, [[5], [6, 7, 8]]);
  new Uint32Array(bytes.buffer).set([12, 13, 99]);
  assert.throws(() => decodePack(bytes, 'p.bin'), /p\.bin cuts picture 1/);
  assert.throws(() => decodePack(new Uint8Array(3), 'p.bin'), DataError);
});

test('a file of the wrong length, or that points nowhere, is named', () => {
  const short = join(Uint16Array.of(1, 2));
  assert.throws(() => decodePoints(short, 2, 'a/points.bin'),
    /a\/points\.bin is too short/);
  assert.throws(() => decodeFlags(join(Uint32Array.of(1, 2, 3)), 1, 'f.bin'),
    /f\.bin is too long/);
  const far = join(Uint32Array.of(9), Uint32Array.of(0), Uint16Array.of(0),
    Uint8Array.of(0));
  assert.throws(() => decodeEdges(far, [column('e', 0, 1)], 1, 3, 'e.bin'),
    /past the 3/);
});

test('size, hash and gzip are checked by content', async () => {
  const bytes = Uint8Array.of(1, 2, 3) as Bytes;
  const sha256 =
    '039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81';
  await check(bytes, { bytes: 3, sha256 }, 'x.bin');
  await assert.rejects(check(bytes, { bytes: 4, sha256 }, 'x.bin'),
    /x\.bin is damaged: 3 bytes, 4 expected/);
  await assert.rejects(
    check(Uint8Array.of(1, 2, 4) as Bytes, { bytes: 3, sha256 }, 'x.bin'),
    /x\.bin is damaged: its SHA-256/);
  const packed = new Uint8Array(gzipSync(bytes)) as Bytes;
  assert.deepEqual(new Uint8Array(await gunzip(packed)), bytes);
  assert.deepEqual(new Uint8Array(await gunzip(bytes)), bytes);
  const folder = openFolder({ read: async () => bytes }, 'data/a', {});
  await assert.rejects(folder.binary('x.bin'), /data\/a\/x\.bin is not listed/);
});

test('what was loaded is kept, the oldest let go, failures asked again', async () => {
  const asked: number[] = [];
  const forgotten: string[] = [];
  const load = remembered(2, async (key) => {
    asked.push(key);
    if (key === 9) throw new Error('no');
    return `v${key}`;
  }, (value) => void forgotten.push(value));
  await load(1);
  await load(2);
  await load(1);
  await load(3);
  await new Promise((done) => setTimeout(done));
  assert.deepEqual([asked, forgotten], [[1, 2, 3], ['v2']]);
  await assert.rejects(load(9));
  await new Promise((done) => setTimeout(done));
  await assert.rejects(load(9));
  assert.deepEqual(asked, [1, 2, 3, 9, 9]);
});
