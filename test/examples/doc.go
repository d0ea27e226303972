// Package examples runs what is in examples/ as their READMEs say, against the built binary.
package examples
