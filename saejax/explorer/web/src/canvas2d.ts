// The map by a plain canvas, where there is no WebGL2.
import { scales, toScreen } from './camera';
import {
  bend, CELL, CELLS, edgeOpacity, PER_SHEET, placeOf, radius,
} from './scene';
import type { Frame, Look, Renderer, Rgb, Scene } from './scene';

const TURN = 2 * Math.PI;

export function css([r, g, b]: Rgb, alpha = 1): string {
  const byte = (v: number) => Math.round(255 * v);
  const bytes = `${byte(r)},${byte(g)},${byte(b)}`;
  return alpha === 1 ? `rgb(${bytes})` : `rgba(${bytes},${alpha})`;
}

/** Adds the outline of a point's shape to the path. */
function trace(
  pen: CanvasRenderingContext2D,
  kind: number,
  x: number,
  y: number,
  r: number,
) {
  if (kind === 2) {
    pen.rect(x - 0.88 * r, y - 0.88 * r, 1.76 * r, 1.76 * r);
    return;
  }
  const outer = kind === 0 ? 0.7 * r : r;
  pen.moveTo(x + outer, y);
  pen.arc(x, y, outer, 0, TURN);
  if (kind === 3) {
    pen.moveTo(x + 0.5 * r, y);
    pen.arc(x, y, 0.5 * r, TURN, 0, true);
  }
}

export function createCanvasRenderer(canvas: HTMLCanvasElement): Renderer {
  const pen = canvas.getContext('2d');
  if (!pen) throw new Error('this browser draws on no canvas');
  const sheets = new Map<number, ImageBitmap>();
  let scene: Scene | null = null;
  let look: Look | null = null;

  function drawEdge(frame: Frame, edge: number) {
    const { src, dst } = scene!;
    const a = placeOf(scene!, src[edge], frame.morph);
    const b = placeOf(scene!, dst[edge], frame.morph);
    const from = toScreen(frame.camera, ...a);
    const to = toScreen(frame.camera, ...b);
    // Screens have y downwards, so the bow is to the other side.
    const middle = bend(to, from);
    const control = [2, 2].map(
      (k, axis) => k * middle[axis] - (from[axis] + to[axis]) / 2,
    );
    pen!.beginPath();
    pen!.moveTo(...from);
    pen!.quadraticCurveTo(control[0], control[1], ...to);
    pen!.stroke();
  }

  function drawEdges(frame: Frame) {
    const { list } = frame;
    const k = Math.min(frame.edges, list ? list.length : scene!.src.length);
    pen!.lineWidth = 1;
    for (let i = 0; i < k; i++) {
      pen!.strokeStyle = css(frame.palette.bridge, edgeOpacity(i, k));
      drawEdge(frame, list ? list[i] : i);
    }
  }

  function drawTop(frame: Frame) {
    pen!.lineWidth = 1.8;
    pen!.strokeStyle = css(frame.palette.bridge, 0.9);
    for (const edge of frame.top) drawEdge(frame, edge);
  }

  function drawPoints(frame: Frame) {
    const { camera, palette, grow, morph } = frame;
    const [sx, sy] = scales(camera);
    const { bytes, order } = look!;
    const reach = grow + 2;
    let style = -1;
    pen!.beginPath();
    for (const i of order) {
      const [x, y] = placeOf(scene!, i, morph);
      const px = camera.width / 2 + (x - camera.x) * sx;
      const py = camera.height / 2 - (y - camera.y) * sy;
      if (px < -reach || px > camera.width + reach) continue;
      if (py < -reach || py > camera.height + reach) continue;
      const kind = bytes[4 * i + 2];
      const opacity = bytes[4 * i + 1] & 0xe0; // Few steps, so few fills.
      if (style !== kind + opacity) {
        pen!.fill();
        pen!.beginPath();
        style = kind + opacity;
        pen!.fillStyle = css(palette.kinds[kind], (opacity + 31) / 255);
      }
      trace(pen!, kind, px, py, radius(bytes[4 * i], grow));
    }
    pen!.fill();
  }

  function drawSprite(frame: Frame, i: number) {
    const sheet = sheets.get(Math.floor(i / PER_SHEET));
    if (!sheet) return;
    const place = placeOf(scene!, i, frame.morph);
    const [x, y] = toScreen(frame.camera, ...place);
    const { side } = frame;
    const cell = i % PER_SHEET;
    const kind = look!.bytes[4 * i + 2];
    const corner = side * (kind === 2 ? 0.02 : kind === 0 ? 0.16 : 0.36);
    pen!.save();
    pen!.beginPath();
    pen!.roundRect(x - side / 2, y - side / 2, side, side, corner);
    pen!.clip();
    pen!.drawImage(
      sheet, (cell % CELLS) * CELL, Math.floor(cell / CELLS) * CELL, CELL, CELL,
      x - side / 2, y - side / 2, side, side,
    );
    pen!.lineWidth = 5; // Half of it is clipped away.
    pen!.strokeStyle = css(frame.palette.kinds[kind]);
    pen!.stroke();
    pen!.restore();
  }

  return {
    kind: 'canvas2d',
    canvas,
    mostEdges: 1000,
    setScene(next) {
      scene = next;
    },
    setLook(next) {
      look = next;
    },
    setSheet(number, image) {
      sheets.set(number, image);
    },
    draw(frame) {
      if (!scene || !look) return;
      const { camera, ratio } = frame;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, camera.width, camera.height);
      drawEdges(frame);
      drawPoints(frame);
      drawTop(frame);
      for (const i of frame.sprites) drawSprite(frame, i);
    },
    dispose() {},
  };
}
