// Package function holds integration functions: how a project of TypeScript files becomes bundles and definitions, how a
// deployment is compared with what is deployed and stored, and how a function is found when it is to run.
//
// # Compile
//
// A project is a folder with an index.ts that imports its functions for their side effects, one line each:
// "./<integration>/{syncs,actions,on-events}/<name>.ts". The file's base name is the function's name, the first folder the
// integration's key. Each function becomes one CommonJS text: relative imports are inlined, and of all other modules only those
// that the runtime provides are allowed, so nothing has to be installed. The definition is then read by loading the bundle in
// a runner process; nothing of a project is ever evaluated in this process.
//
// # Deploy
//
// A deployment is declarative: what it names is created or updated, and what its scope no longer names is deleted. All of it is
// one transaction, with what package run changes in the same one (see [Hooks]). A function that did not change keeps its version.
//
// # Find
//
// Get is on the path of every action; it reads a cache that any deployment empties on every node.
package function
