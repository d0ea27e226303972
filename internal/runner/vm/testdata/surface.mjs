// Writes surface.golden: what Node gives for the expressions of surface.js. Run: node surface.mjs (Node 20).
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

process.env.TZ = 'UTC';
globalThis.require = createRequire(import.meta.url);

const err = (f, only) => {
  try {
    f();
  } catch (e) {
    return only === 'name' ? e.name : [e.name, e.code ?? null, e.message.split(/[.:] /)[0].slice(0, 60)];
  }
  return 'no error';
};

const Fn = Object.getPrototypeOf(async () => {}).constructor;
const alive = setInterval(() => {}, 1000); // AbortSignal.timeout alone does not keep Node going
const out = [];
for (const line of readFileSync('surface.js', 'utf8').split('\n')) {
  if (line === '' || line.startsWith('//')) continue;
  const value = await new Fn('err', 'require', 'module', 'exports', `return (${line}\n)`)(err, require, { exports: {} }, {});
  out.push(JSON.stringify(value));
}
clearInterval(alive);
writeFileSync('surface.golden', out.join('\n') + '\n');
