// Package archtest holds the tests that keep the architecture true. It has no code of its own.
//
// They check what docs/architecture.md says: which package may import which (rings.yaml is the one table; the depguard rules
// of .golangci.yml and the table in the document are generated from it, go test -update writes them), that every package
// says what it is, that files and packages stay small, that both engines have the same migrations, that the tests named
// beside a promise exist, that every direct dependency has a reason, and that nothing in the tree speaks of the machine it
// was written on.
//
// A check that is wrong is changed here, with the reason; a list of exceptions (sizes.yaml) only gets shorter.
package archtest

//go:generate go test -count=1 -run ^TestGenerated -update .
