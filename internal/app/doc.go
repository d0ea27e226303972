// Package app is the composition root: it turns a [config.Config] into a running process.
//
// It is the only package that knows every other one. New opens the stores and wires the domains, in the order of their
// dependencies; Start brings the background parts up and then opens the port; Stop closes the port first, lets running
// requests and jobs finish, and then takes the parts down in reverse.
package app
