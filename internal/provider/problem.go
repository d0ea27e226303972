package provider

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one fault in a catalog file. Its text is meant for the person who edits the file.
type Problem struct {
	File string
	// Line counts from 1; 0 means the file as a whole.
	Line    int
	Message string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
}

// Problems is everything that is wrong with a catalog, sorted by file and line. It is the error of Load.
type Problems []Problem //nolint:errname // it is a report first, and an error where a load can't give a catalog

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// sorted orders and removes duplicates, which an alias makes of what is wrong with the entry it copies.
func (p Problems) sorted() Problems {
	slices.SortFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(p)
}
