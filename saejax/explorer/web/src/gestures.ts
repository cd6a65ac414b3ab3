// Pointer and wheel to pans, zooms, taps and lassos.

export interface Gestures {
  pan(dx: number, dy: number): void;
  zoom(factor: number, x: number, y: number): void;
  hover(x: number, y: number): void;
  leave(): void;
  tap(x: number, y: number, touch: boolean): void;
  lassoing(): boolean; // Whether drags draw a lasso.
  lasso(corners: [number, number][], done: boolean): void;
}

const SLOP = 6; // Pixels that a tap may move.

interface Touch {
  x: number;
  y: number;
}

export function listen(target: HTMLElement, act: Gestures): () => void {
  const down = new Map<number, Touch>();
  const stop = new AbortController();
  const { signal } = stop;
  let start: Touch | null = null;
  let moved = false;
  let corners: [number, number][] | null = null;

  const at = (event: MouseEvent): Touch => {
    const box = target.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  function pinch(id: number, now: Touch) {
    const before = down.get(id)!;
    const other = [...down].find(([key]) => key !== id)![1];
    const apart = (p: Touch) => Math.hypot(p.x - other.x, p.y - other.y);
    const x = (now.x + other.x) / 2;
    const y = (now.y + other.y) / 2;
    act.zoom(apart(now) / Math.max(apart(before), 1), x, y);
    act.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
  }

  function onDown(event: PointerEvent) {
    if (event.button) return;
    const point = at(event);
    target.setPointerCapture(event.pointerId);
    down.set(event.pointerId, point);
    if (down.size > 1) {
      moved = true;
      corners = null;
      return;
    }
    start = point;
    moved = false;
    corners = event.shiftKey || act.lassoing() ? [[point.x, point.y]] : null;
  }

  function onMove(event: PointerEvent) {
    const now = at(event);
    const before = down.get(event.pointerId);
    if (!before || !start) {
      if (event.pointerType !== 'touch') act.hover(now.x, now.y);
      return;
    }
    if (down.size > 1) pinch(event.pointerId, now);
    else if (moved || Math.hypot(now.x - start.x, now.y - start.y) > SLOP) {
      if (corners) {
        corners.push([now.x, now.y]);
        act.lasso(corners, false);
      } else act.pan(now.x - before.x, now.y - before.y);
      moved = true;
    } else return;
    down.set(event.pointerId, now);
  }

  function onUp(event: PointerEvent) {
    if (!down.delete(event.pointerId) || down.size) return;
    if (corners && moved) act.lasso(corners, true);
    else if (!moved && start && event.type === 'pointerup') {
      act.tap(start.x, start.y, event.pointerType === 'touch');
    }
    start = corners = null;
  }

  function onWheel(event: WheelEvent) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    const pull = Math.max(-200, Math.min(200, event.deltaY * lines));
    const { x, y } = at(event);
    act.zoom(Math.exp(-pull * (event.ctrlKey ? 0.01 : 0.0022)), x, y);
  }

  target.addEventListener('pointerdown', onDown, { signal });
  target.addEventListener('pointermove', onMove, { signal });
  target.addEventListener('pointerup', onUp, { signal });
  target.addEventListener('pointercancel', onUp, { signal });
  target.addEventListener('pointerleave', () => act.leave(), { signal });
  target.addEventListener('wheel', onWheel, { signal, passive: false });
  target.addEventListener(
    'dblclick',
    (event) => act.zoom(2, at(event).x, at(event).y),
    { signal },
  );
  return () => stop.abort();
}

/** At most `most` corners of a drawn line, evenly taken. */
export function thin(corners: [number, number][], most: number) {
  if (corners.length <= most) return corners;
  return Array.from(
    { length: most },
    (_, i) => corners[Math.floor((i * corners.length) / most)],
  );
}
