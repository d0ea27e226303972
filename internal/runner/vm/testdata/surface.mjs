// Writes surface.golden and zod.golden: what Node gives for the expressions of surface.js and zod.js. Needs Node 20 and, in a
// folder given as argument, the npm package zod in the version of generate.go: node surface.mjs <folder>
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

process.env.TZ = 'UTC';
globalThis.require = createRequire(import.meta.url);
const zod = createRequire(process.argv[2] + '/')('zod');

const err = (f, only) => {
  try {
    f();
  } catch (e) {
    return only === 'name' ? e.name : [e.name, e.code ?? null, e.message.split(/[.:] /)[0].slice(0, 60)];
  }
  return 'no error';
};
const issues = (r) => (r.success ? 'success' : r.error.issues.map((i) => [i.code, i.path.join('.'), i.message]));

const Fn = Object.getPrototypeOf(async () => {}).constructor;
const alive = setInterval(() => {}, 1000); // AbortSignal.timeout alone does not keep Node going
const names = ['err', 'issues', 'zod', 'z', 'require', 'module', 'exports'];
for (const name of ['surface', 'zod']) {
  const out = [];
  for (const line of readFileSync(`${name}.js`, 'utf8').split('\n')) {
    if (line === '' || line.startsWith('//')) continue;
    const value = await new Fn(...names, `return (${line}\n)`)(err, issues, zod, zod.z, require, { exports: {} }, {});
    out.push(JSON.stringify(value) ?? 'null');
  }
  writeFileSync(`${name}.golden`, out.join('\n') + '\n');
}
clearInterval(alive);
