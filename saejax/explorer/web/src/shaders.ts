// Points, bridges and pictures in GLSL.
import { BOW } from './scene';

export const SEGMENTS = 14; // Of a bridge's curve.

const PLACE = `#version 300 es
precision highp float;
precision highp int;
uniform highp sampler2D places; // joint x, y, split x, y of each point
uniform float morph;
uniform vec4 clip;              // Scale and shift from map to clip space.
uniform vec2 size;              // Of the screen in device pixels.
vec2 place(int i) {
  int width = textureSize(places, 0).x;
  vec4 p = texelFetch(places, ivec2(i % width, i / width), 0);
  return mix(p.xy, p.zw, morph) * clip.xy + clip.zw;
}
`;

export const POINT_VERTEX = `${PLACE}
layout(location = 0) in vec4 look; // size, opacity, kind, nothing
uniform float grow;
uniform vec3 kinds[4];
flat out int kind;
flat out float radius;
out vec4 colour;
void main() {
  gl_Position = vec4(place(gl_VertexID), 0., 1.);
  kind = int(look.z * 255. + .5);
  radius = grow * (.3 + .7 * look.x) * (kind == 0 ? .7 : 1.);
  gl_PointSize = 2. * radius + 4.;
  colour = vec4(kinds[kind], look.y);
}`;

// Disc for images, square for texts, ring for both, a small disc for neither.
export const POINT_FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
flat in int kind;
flat in float radius;
in vec4 colour;
uniform vec3 ground;
out vec4 pixel;
void main() {
  vec2 at = (gl_PointCoord - .5) * (2. * radius + 4.);
  float away = kind == 2
    ? max(abs(at.x), abs(at.y)) - radius * .88 : length(at) - radius;
  float fill = clamp(.5 - away, 0., 1.);
  if (kind == 3) {
    float hole = radius * .5;
    fill *= clamp(length(at) - hole + .5, 0., 1.);
  }
  // A rim of the ground's colour keeps neighbours apart.
  float rim = clamp(1.5 - away, 0., 1.) * .8;
  float alpha = max(fill, kind == 3 ? 0. : rim * step(3., radius));
  pixel = vec4(mix(ground, colour.rgb, fill / max(alpha, .001)), 1.)
    * alpha * colour.a;
}`;

export const EDGE_VERTEX = `${PLACE}
layout(location = 0) in uvec2 ends;
uniform float width;
uniform float strength; // Of the strongest; the weakest has a third of it.
uniform float drawn;
out float alpha;
out float across;
vec2 curve(vec2 a, vec2 c, vec2 b, float t) {
  return mix(mix(a, c, t), mix(c, b, t), t);
}
void main() {
  vec2 a = place(int(ends.x)) * size * .5;
  vec2 b = place(int(ends.y)) * size * .5;
  vec2 way = b - a;
  vec2 c = (a + b) * .5 + 2. * ${BOW} * vec2(-way.y, way.x);
  float t = float(gl_VertexID / 2) / float(${SEGMENTS});
  vec2 at = curve(a, c, b, t);
  vec2 along = mix(c - a, b - c, t);
  vec2 normal = vec2(-along.y, along.x) / max(length(along), 1e-6);
  across = float(gl_VertexID % 2) * 2. - 1.;
  alpha = strength * (1. - .67 * float(gl_InstanceID) / drawn);
  at += normal * across * (width * .5 + .5);
  gl_Position = vec4(at / (size * .5), 0., 1.);
}`;

export const EDGE_FRAGMENT = `#version 300 es
precision highp float;
in float alpha;
in float across;
uniform vec3 colour;
uniform float width;
out vec4 pixel;
void main() {
  float edge = (1. - abs(across)) * (width * .5 + .5);
  pixel = vec4(colour, 1.) * alpha * clamp(edge, 0., 1.);
}`;

export const SPRITE_VERTEX = `${PLACE}
layout(location = 0) in uvec3 what; // concept, cell of the sheet, kind
uniform float side;
uniform vec3 kinds[4];
flat out int kind;
flat out vec2 cell;
flat out vec3 colour;
out vec2 at;
void main() {
  vec2 corner = vec2(gl_VertexID % 2, gl_VertexID / 2) * 2. - 1.;
  at = corner * (side * .5 + 3.);
  kind = int(what.z);
  colour = kinds[kind];
  cell = vec2(float(what.y % 64u), float(what.y / 64u));
  vec2 middle = place(int(what.x)) * size * .5;
  gl_Position = vec4((middle + at) / (size * .5), 0., 1.);
}`;

// A picture keeps its concept's shape and wears its colour as a frame.
export const SPRITE_FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
flat in int kind;
flat in vec2 cell;
flat in vec3 colour;
in vec2 at;
uniform sampler2D sheet;
uniform float side;
uniform float frame;
uniform vec3 ground;
out vec4 pixel;
void main() {
  float corner = side * (kind == 2 ? .02 : kind == 0 ? .16 : .36);
  vec2 q = abs(at) - side * .5 + corner;
  float away = length(max(q, 0.)) + min(max(q.x, q.y), 0.) - corner;
  vec2 inside = clamp(vec2(at.x, -at.y) / side + .5, 0., 1.);
  vec2 place = (cell * 32. + .5 + inside * 31.) / 2048.;
  vec3 picture = texture(sheet, place).rgb;
  float rim = clamp(away + frame + .5, 0., 1.);
  vec3 shown = mix(picture, colour, rim);
  if (kind == 3) {
    float gap = clamp(1. - abs(away + frame + 1.5), 0., 1.);
    shown = mix(shown, ground, gap);
  }
  float alpha = clamp(.5 - away, 0., 1.);
  float halo = clamp(2. - away, 0., 1.) * .9;
  pixel = vec4(mix(ground, shown, alpha), 1.) * max(alpha, halo);
}`;
