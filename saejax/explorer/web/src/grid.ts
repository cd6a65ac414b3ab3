// Points by cell of a grid over the unit square: which are near, which in sight.

export interface Grid {
  xy: Float32Array; // [n, 2]
  side: number;
  start: Uint32Array; // Points of cell c: list[start[c]..start[c+1]].
  list: Uint32Array;
}

const PER_CELL = 4;

export function buildGrid(xy: Float32Array): Grid {
  const n = xy.length / 2;
  const side = Math.max(1, Math.ceil(Math.sqrt(n / PER_CELL)));
  const cell = new Uint32Array(n);
  const start = new Uint32Array(side * side + 1);
  for (let i = 0; i < n; i++) {
    cell[i] = place(xy[2 * i], side) + side * place(xy[2 * i + 1], side);
    start[cell[i] + 1]++;
  }
  for (let c = 0; c < side * side; c++) start[c + 1] += start[c];
  const next = start.slice(0, -1);
  const list = new Uint32Array(n);
  for (let i = 0; i < n; i++) list[next[cell[i]]++] = i;
  return { xy, side, start, list };
}

function place(v: number, side: number): number {
  return Math.min(side - 1, Math.max(0, Math.floor(v * side)));
}

export type Box = [x0: number, y0: number, x1: number, y1: number];

/** Calls `see` with each point of a box; stops once it returns true. */
export function within(
  grid: Grid,
  [x0, y0, x1, y1]: Box,
  see: (i: number) => boolean | void,
): void {
  const { xy, side, start, list } = grid;
  const [left, right] = [place(x0, side), place(x1, side)];
  for (let row = place(y0, side); row <= place(y1, side); row++) {
    const from = start[row * side + left];
    const to = start[row * side + right + 1];
    for (let at = from; at < to; at++) {
      const i = list[at];
      const x = xy[2 * i];
      const y = xy[2 * i + 1];
      if (x < x0 || x > x1 || y < y0 || y > y1) continue;
      if (see(i)) return;
    }
  }
}

/** The nearest point within a radius in pixels, or -1. */
export function nearest(
  grid: Grid,
  [x, y]: [number, number],
  [sx, sy]: [number, number],
  radius: number,
  allowed: (i: number) => boolean,
): number {
  const { xy } = grid;
  let best = -1;
  let least = radius * radius;
  const box: Box = [
    x - radius / sx, y - radius / sy, x + radius / sx, y + radius / sy,
  ];
  within(grid, box, (i) => {
    const d =
      ((xy[2 * i] - x) * sx) ** 2 + ((xy[2 * i + 1] - y) * sy) ** 2;
    if (d <= least && allowed(i)) {
      best = i;
      least = d;
    }
  });
  return best;
}

/** The nearest point within 45 degrees of a direction, or -1. */
export function nearestTowards(
  xy: Float32Array,
  from: [number, number],
  [sx, sy]: [number, number],
  [dx, dy]: [number, number],
  allowed: (i: number) => boolean,
): number {
  let best = -1;
  let least = Infinity;
  for (let i = 0; i < xy.length / 2; i++) {
    const x = (xy[2 * i] - from[0]) * sx;
    const y = (xy[2 * i + 1] - from[1]) * sy;
    const along = x * dx + y * dy;
    const aside = Math.abs(x * dy - y * dx);
    if (along <= 0.5 || aside > along || !allowed(i)) continue;
    const cost = along + 2 * aside;
    if (cost < least) {
      best = i;
      least = cost;
    }
  }
  return best;
}

/** Whether a polygon (x, y of its corners) holds a point. */
export function inside(corners: number[], x: number, y: number): boolean {
  let odd = false;
  for (let i = 0, j = corners.length - 2; i < corners.length; j = i, i += 2) {
    const [xi, yi] = [corners[i], corners[i + 1]];
    const [xj, yj] = [corners[j], corners[j + 1]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) {
      odd = !odd;
    }
  }
  return odd;
}

/** Indices inside a polygon. */
export function lassoed(grid: Grid, corners: number[]): Uint32Array {
  if (corners.length < 6) return new Uint32Array(0);
  const xs = corners.filter((_, i) => i % 2 === 0);
  const ys = corners.filter((_, i) => i % 2 === 1);
  const box: Box = [
    Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys),
  ];
  const found: number[] = [];
  within(grid, box, (i) => {
    if (inside(corners, grid.xy[2 * i], grid.xy[2 * i + 1])) found.push(i);
  });
  return Uint32Array.from(found);
}
