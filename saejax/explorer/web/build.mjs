// Builds ../static from src; with --tests, the unit tests into build/.
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import * as esbuild from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const target = 'es2022';
const most = { 'app.js': 60_000, 'app.css': 10_000 }; // Bytes after gzip.

async function buildTests() {
  const tests = readdirSync(join(here, 'test')).filter((name) =>
    name.endsWith('.test.ts'),
  );
  await esbuild.build({
    entryPoints: tests.map((name) => join(here, 'test', name)),
    outdir: join(here, 'build'),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target,
  });
}

function versioned(name) {
  const bytes = readFileSync(join(here, '..', 'static', name));
  const size = gzipSync(bytes, { level: 9 }).length;
  console.log(`${name}: ${bytes.length} bytes, ${size} after gzip`);
  if (size > most[name]) {
    throw new Error(`${name} is ${size} bytes after gzip; ${most[name]} at most`);
  }
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12);
  return `${name}?v=${hash}`;
}

async function buildPage() {
  const out = join(here, '..', 'static');
  await esbuild.build({
    entryPoints: [join(here, 'src', 'app.ts'), join(here, 'src', 'app.css')],
    outdir: out,
    bundle: true,
    minify: true,
    format: 'iife',
    target,
    charset: 'ascii',
    legalComments: 'none',
  });
  let page = readFileSync(join(here, 'src', 'index.html'), 'utf-8');
  for (const name of Object.keys(most)) {
    page = page.replace(`"${name}"`, `"${versioned(name)}"`);
  }
  writeFileSync(join(out, 'index.html'), page);
  copyFileSync(join(here, 'LICENSES.txt'), join(out, 'LICENSES.txt'));
}

await (process.argv.includes('--tests') ? buildTests() : buildPage());
