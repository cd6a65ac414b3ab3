// From the map's unit square to pixels of the screen, and back.

export interface Camera {
  x: number; // What the middle of the screen shows, y upwards.
  y: number;
  z: number; // 1 shows everything.
  width: number; // Pixels.
  height: number;
  stretch: number; // 0 keeps the square square, 1 fills the screen.
}

const MARGIN = 0.9;

/** Pixels to a unit, across and up. */
export function scales(camera: Camera): [number, number] {
  const least = Math.min(camera.width, camera.height);
  const { stretch } = camera;
  const across = least + (camera.width - least) * stretch;
  const up = least + (camera.height - least) * stretch;
  return [across * camera.z * MARGIN, up * camera.z * MARGIN];
}

export function toScreen(camera: Camera, x: number, y: number) {
  const [sx, sy] = scales(camera);
  return [
    camera.width / 2 + (x - camera.x) * sx,
    camera.height / 2 - (y - camera.y) * sy,
  ] as [number, number];
}

export function toMap(camera: Camera, px: number, py: number) {
  const [sx, sy] = scales(camera);
  return [
    camera.x + (px - camera.width / 2) / sx,
    camera.y - (py - camera.height / 2) / sy,
  ] as [number, number];
}

const within = (v: number, low: number, high: number) =>
  Math.min(high, Math.max(low, v));

export interface Place {
  x: number;
  y: number;
  z: number;
}

/** The place after a zoom by `factor` that keeps a screen point still. */
export function zoomAt(
  camera: Camera,
  factor: number,
  px: number,
  py: number,
  most: number,
): Place {
  const [x, y] = toMap(camera, px, py);
  const z = within(camera.z * factor, 0.5, most);
  const [sx, sy] = scales({ ...camera, z });
  return settle(
    x - (px - camera.width / 2) / sx,
    y + (py - camera.height / 2) / sy,
    z,
  );
}

export function panBy(camera: Camera, dx: number, dy: number): Place {
  const [sx, sy] = scales(camera);
  return settle(camera.x - dx / sx, camera.y + dy / sy, camera.z);
}

/** Keeps the map within reach. */
function settle(x: number, y: number, z: number): Place {
  return { x: within(x, -0.1, 1.1), y: within(y, -0.1, 1.1), z };
}

/** The place that shows a box, at most at zoom `most`. */
export function fit(
  camera: Camera,
  box: [number, number, number, number],
  most: number,
): Place {
  const [sx, sy] = scales({ ...camera, z: 1 });
  const across = Math.max(box[2] - box[0], 1e-6) * sx;
  const up = Math.max(box[3] - box[1], 1e-6) * sy;
  const z = Math.min(
    most,
    (camera.width * 0.75) / across,
    (camera.height * 0.75) / up,
  );
  return settle(
    (box[0] + box[2]) / 2,
    (box[1] + box[3]) / 2,
    Math.max(z, 0.5),
  );
}
