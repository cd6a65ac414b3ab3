// The map by WebGL2.
import { clip, edgeOpacity, PER_SHEET } from './scene';
import type { Frame, Look, Renderer, Rgb, Scene } from './scene';
import * as shaders from './shaders';

const LANE = 4096; // Widest row of the texture of places.

interface Program {
  id: WebGLProgram;
  at(name: string): WebGLUniformLocation | null;
}

function compile(gl: WebGL2RenderingContext, vertex: string, fragment: string) {
  const id = gl.createProgram()!;
  const parts = [
    [gl.VERTEX_SHADER, vertex],
    [gl.FRAGMENT_SHADER, fragment],
  ] as const;
  for (const [type, text] of parts) {
    const shader = gl.createShader(type)!;
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(id, shader);
  }
  gl.linkProgram(id);
  if (!gl.getProgramParameter(id, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`WebGL2 cannot link: ${gl.getProgramInfoLog(id)}`);
  }
  const places = new Map<string, WebGLUniformLocation | null>();
  return {
    id,
    at(name) {
      if (!places.has(name)) places.set(name, gl.getUniformLocation(id, name));
      return places.get(name)!;
    },
  } satisfies Program;
}

/** An array of points with unsigned or normalised attributes. */
function attributes(
  gl: WebGL2RenderingContext,
  components: number,
  perInstance: boolean,
) {
  const array = gl.createVertexArray()!;
  const buffer = gl.createBuffer()!;
  gl.bindVertexArray(array);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.enableVertexAttribArray(0);
  if (perInstance) {
    gl.vertexAttribIPointer(0, components, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(0, 1);
  } else {
    gl.vertexAttribPointer(0, components, gl.UNSIGNED_BYTE, true, 0, 0);
  }
  return { array, buffer };
}

/** Pairs of ends, [k, 2], of the bridges of a list. */
function endsOf(scene: Scene, list: Uint32Array | null): Uint32Array {
  const k = list ? list.length : scene.src.length;
  const ends = new Uint32Array(2 * k);
  for (let i = 0; i < k; i++) {
    const e = list ? list[i] : i;
    ends[2 * i] = scene.src[e];
    ends[2 * i + 1] = scene.dst[e];
  }
  return ends;
}

/** Throws if the canvas cannot have WebGL2. */
export function createGlRenderer(canvas: HTMLCanvasElement): Renderer {
  const gl = canvas.getContext('webgl2', {
    alpha: true,
    antialias: false,
    premultipliedAlpha: true,
  });
  if (!gl) throw new Error('this browser gives no WebGL2');
  const points = compile(gl, shaders.POINT_VERTEX, shaders.POINT_FRAGMENT);
  const bridges = compile(gl, shaders.EDGE_VERTEX, shaders.EDGE_FRAGMENT);
  const pictures = compile(gl, shaders.SPRITE_VERTEX, shaders.SPRITE_FRAGMENT);
  const places = gl.createTexture();
  const look = attributes(gl, 4, false);
  const order = gl.createBuffer();
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, order);
  const strongest = attributes(gl, 2, true);
  const listed = attributes(gl, 2, true);
  const onTop = attributes(gl, 2, true);
  const sprites = attributes(gl, 3, true);
  const sheets = new Map<number, WebGLTexture>();
  const sent = { list: null as unknown, top: null as unknown };
  let scene: Scene | null = null;
  let kinds: Uint8Array = new Uint8Array(0);

  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  function send(target: WebGLBuffer, data: ArrayBufferView) {
    gl!.bindBuffer(gl!.ARRAY_BUFFER, target);
    gl!.bufferData(gl!.ARRAY_BUFFER, data, gl!.DYNAMIC_DRAW);
  }

  function setScene(next: Scene) {
    scene = next;
    const width = Math.min(LANE, Math.max(1, next.n));
    const height = Math.max(1, Math.ceil(next.n / width));
    const texels = new Float32Array(4 * width * height);
    for (let i = 0; i < next.n; i++) {
      texels[4 * i] = next.joint[2 * i];
      texels[4 * i + 1] = next.joint[2 * i + 1];
      texels[4 * i + 2] = next.split[2 * i];
      texels[4 * i + 3] = next.split[2 * i + 1];
    }
    gl!.activeTexture(gl!.TEXTURE0);
    gl!.bindTexture(gl!.TEXTURE_2D, places);
    gl!.texImage2D(
      gl!.TEXTURE_2D, 0, gl!.RGBA32F, width, height, 0, gl!.RGBA, gl!.FLOAT,
      texels,
    );
    for (const filter of [gl!.TEXTURE_MIN_FILTER, gl!.TEXTURE_MAG_FILTER]) {
      gl!.texParameteri(gl!.TEXTURE_2D, filter, gl!.NEAREST);
    }
    send(strongest.buffer, endsOf(next, null));
    sent.list = sent.top = null;
  }

  function setLook({ bytes, order: first }: Look) {
    send(look.buffer, bytes);
    gl!.bindVertexArray(look.array);
    gl!.bindBuffer(gl!.ELEMENT_ARRAY_BUFFER, order);
    gl!.bufferData(gl!.ELEMENT_ARRAY_BUFFER, first, gl!.DYNAMIC_DRAW);
    kinds = bytes;
  }

  function setSheet(number: number, image: ImageBitmap) {
    const texture = sheets.get(number) ?? gl!.createTexture()!;
    sheets.set(number, texture);
    gl!.activeTexture(gl!.TEXTURE1);
    gl!.bindTexture(gl!.TEXTURE_2D, texture);
    gl!.texImage2D(
      gl!.TEXTURE_2D, 0, gl!.RGBA8, gl!.RGBA, gl!.UNSIGNED_BYTE, image,
    );
    for (const filter of [gl!.TEXTURE_MIN_FILTER, gl!.TEXTURE_MAG_FILTER]) {
      gl!.texParameteri(gl!.TEXTURE_2D, filter, gl!.LINEAR);
    }
  }

  function use(program: Program, frame: Frame) {
    const { camera, ratio, palette } = frame;
    gl!.useProgram(program.id);
    gl!.uniform1i(program.at('places'), 0);
    gl!.uniform1f(program.at('morph'), frame.morph);
    gl!.uniform4f(program.at('clip'), ...clip(camera));
    gl!.uniform2f(
      program.at('size'), camera.width * ratio, camera.height * ratio,
    );
    gl!.uniform3fv(program.at('kinds'), palette.kinds.flat());
    gl!.uniform3f(program.at('ground'), ...palette.ground);
  }

  function drawEdges(
    array: WebGLVertexArrayObject,
    k: number,
    colour: Rgb,
    width: number,
    strength: number,
  ) {
    if (!k) return;
    gl!.bindVertexArray(array);
    gl!.uniform3f(bridges.at('colour'), ...colour);
    gl!.uniform1f(bridges.at('width'), width);
    gl!.uniform1f(bridges.at('strength'), strength);
    gl!.uniform1f(bridges.at('drawn'), k);
    gl!.drawArraysInstanced(
      gl!.TRIANGLE_STRIP, 0, 2 * (shaders.SEGMENTS + 1), k,
    );
  }

  function drawBackEdges(frame: Frame) {
    use(bridges, frame);
    if (frame.list && sent.list !== frame.list) {
      send(listed.buffer, endsOf(scene!, frame.list));
      sent.list = frame.list;
    }
    const k = frame.list ? Math.min(frame.edges, frame.list.length)
      : frame.edges;
    drawEdges(
      frame.list ? listed.array : strongest.array, k, frame.palette.bridge,
      frame.ratio, edgeOpacity(0, k),
    );
  }

  function drawTopEdges(frame: Frame) {
    if (!frame.top.length) return;
    use(bridges, frame);
    if (sent.top !== frame.top) {
      send(onTop.buffer, endsOf(scene!, frame.top));
      sent.top = frame.top;
    }
    drawEdges(
      onTop.array, frame.top.length, frame.palette.bridge, 1.8 * frame.ratio,
      0.95,
    );
  }

  function drawPoints(frame: Frame) {
    use(points, frame);
    gl!.uniform1f(points.at('grow'), frame.grow * frame.ratio);
    gl!.bindVertexArray(look.array);
    gl!.drawElements(gl!.POINTS, scene!.n, gl!.UNSIGNED_INT, 0);
  }

  function drawSprites(frame: Frame) {
    use(pictures, frame);
    gl!.uniform1i(pictures.at('sheet'), 1);
    gl!.uniform1f(pictures.at('side'), frame.side * frame.ratio);
    gl!.uniform1f(pictures.at('frame'), 2.5 * frame.ratio);
    gl!.activeTexture(gl!.TEXTURE1);
    for (const [number, texture] of sheets) {
      const own = frame.sprites.filter(
        (i) => Math.floor(i / PER_SHEET) === number,
      );
      if (!own.length) continue;
      const what = new Uint32Array(3 * own.length);
      own.forEach((i, at) => {
        what.set([i, i % PER_SHEET, kinds[4 * i + 2]], 3 * at);
      });
      send(sprites.buffer, what);
      gl!.bindTexture(gl!.TEXTURE_2D, texture);
      gl!.bindVertexArray(sprites.array);
      gl!.drawArraysInstanced(gl!.TRIANGLE_STRIP, 0, 4, own.length);
    }
  }

  return {
    kind: 'webgl2',
    canvas,
    mostEdges: 20000,
    setScene,
    setLook,
    setSheet,
    draw(frame) {
      if (!scene || gl.isContextLost()) return;
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, places);
      drawBackEdges(frame);
      drawPoints(frame);
      drawTopEdges(frame);
      if (frame.sprites.length) drawSprites(frame);
    },
    dispose() {
      gl.getExtension('WEBGL_lose_context')?.loseContext();
    },
  };
}
