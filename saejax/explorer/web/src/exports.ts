// Files that the page makes for its readers.
import { css as colour } from './canvas2d';
import { toMap } from './camera';
import type { Box } from './grid';
import { within } from './grid';
import type { MapHandle } from './map';
import { s } from './dom';
import { growth } from './looks';
import { bend, edgeOpacity, radius } from './scene';
import type { Palette } from './scene';
import type { TableColumn } from './table';

/** A cell of CSV; spreadsheets must not take words for formulas. */
export function csvCell(text: string, number = false): string {
  const safe = !number && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

export function csvOf(columns: TableColumn[], rows: Uint32Array): string {
  const lines = [columns.map((c) => csvCell(c.key)).join(',')];
  for (const row of rows) {
    lines.push(
      columns.map((c) => csvCell(c.text(row), !!c.number)).join(','),
    );
  }
  return `${lines.join('\r\n')}\r\n`;
}

export function download(name: string, data: string | Blob, type: string) {
  const blob = data instanceof Blob ? data : new Blob([data], { type });
  const address = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** The map as it is shown, names included. */
export async function mapPng(map: MapHandle, palette: Palette): Promise<Blob> {
  const drawn = map.picture();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [drawn.width, drawn.height];
  const pen = canvas.getContext('2d')!;
  pen.fillStyle = colour(palette.ground);
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(drawn, 0, 0);
  const ratio = canvas.width / map.camera().width;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.textAlign = 'center';
  pen.textBaseline = 'top';
  pen.lineWidth = 3;
  pen.lineJoin = 'round';
  pen.strokeStyle = colour(palette.ground, 0.85);
  pen.fillStyle = colour(palette.ink);
  for (const name of map.names()) {
    pen.font = `600 ${[19, 15, 12.5, 12][name.level]}px system-ui, sans-serif`;
    pen.strokeText(name.text, name.x, name.y);
    pen.fillText(name.text, name.x, name.y);
  }
  return new Promise((done, fail) =>
    canvas.toBlob((b) => (b ? done(b) : fail(new Error('no PNG')))),
  );
}

function svgPoint(kind: number, x: number, y: number, r: number) {
  if (kind === 2) {
    const side = 1.76 * r;
    return s('rect', { x: x - side / 2, y: y - side / 2, width: side,
      height: side });
  }
  if (kind === 3) {
    return s('circle', { cx: x, cy: y, r: 0.75 * r, 'fill-opacity': 0,
      'stroke-width': 0.5 * r });
  }
  return s('circle', { cx: x, cy: y, r: kind === 0 ? 0.7 * r : r });
}

/** The map as it is shown, as shapes and text; points in sight only. */
export function mapSvg(map: MapHandle, palette: Palette): string {
  map.picture();
  const camera = map.camera();
  const { width, height } = camera;
  const shown = map.shown();
  const sae = map.scene;
  const [x0, y1] = toMap(camera, 0, 0);
  const [x1, y0] = toMap(camera, width, height);
  const seen = new Set<number>();
  within(map.grid(), [x0, y0, x1, y1] as Box, (i) => void seen.add(i));
  const lines = s('g', { fill: 'none', stroke: colour(palette.bridge) });
  const k = Math.min(shown.edges, shown.list?.length ?? sae.m);
  const draw = (edge: number, opacity: number, wide: number) => {
    const [a, b] = [map.project(sae.edges.src[edge]),
      map.project(sae.edges.dst[edge])];
    const m = bend(b, a);
    const c = [0, 1].map((axis) => 2 * m[axis] - (a[axis] + b[axis]) / 2);
    const path = `M${a.map(short)}Q${c.map(short)} ${b.map(short)}`;
    lines.append(s('path', { d: path, 'stroke-opacity': opacity.toFixed(2),
      'stroke-width': wide }));
  };
  for (let i = 0; i < k; i++) {
    draw(shown.list ? shown.list[i] : i, edgeOpacity(i, k), 1);
  }
  shown.top.forEach((edge) => draw(edge, 0.9, 1.8));
  const points = s('g', {});
  const grow = growth(sae.n, camera.z);
  for (const i of shown.look.order) {
    if (!seen.has(i)) continue;
    const [size, opacity, kind] = shown.look.bytes.subarray(4 * i, 4 * i + 3);
    const px = map.project(i);
    const mark = svgPoint(kind, px[0], px[1], radius(size, grow));
    const fill = colour(palette.kinds[kind]);
    mark.setAttribute(kind === 3 ? 'stroke' : 'fill', fill);
    mark.setAttribute('opacity', (opacity / 255).toFixed(2));
    points.append(mark);
  }
  const words = s('g', { fill: colour(palette.ink), 'text-anchor': 'middle',
    'font-family': 'system-ui, sans-serif', 'font-weight': 600 });
  for (const name of map.names()) {
    const size = [19, 15, 12.5, 12][name.level];
    words.append(s('text', { x: short(name.x), y: short(name.y + size),
      'font-size': size }, name.text));
  }
  const image = s(
    'svg',
    { xmlns: 'http://www.w3.org/2000/svg', width, height,
      viewBox: `0 0 ${width} ${height}` },
    s('rect', { width, height, fill: colour(palette.ground) }),
    lines, points, words,
  );
  return new XMLSerializer().serializeToString(image);
}

const short = (v: number) => Number(v.toFixed(1));
