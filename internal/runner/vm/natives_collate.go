package vm

import (
	"strings"
	"sync"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"
)

// collate (a, b, options) compares two texts in English dictionary order and returns -1, 0 or 1. options is a list of
// words separated by spaces: "numeric" (2 before 10), "base" (case and accents ignored), "accent" (case ignored), "case"
// (accents ignored).
func (e *Engine) collate(args []string) (any, error) {
	pool, ok := e.collators.Load(arg(args, 2))
	if !ok {
		options := strings.Fields(arg(args, 2))
		pool, _ = e.collators.LoadOrStore(arg(args, 2), &sync.Pool{New: func() any { return newCollator(options) }})
	}
	c := pool.(*sync.Pool).Get().(*collate.Collator)
	defer pool.(*sync.Pool).Put(c)
	return c.CompareString(arg(args, 0), arg(args, 1)), nil
}

func newCollator(words []string) *collate.Collator {
	var options []collate.Option
	for _, w := range words {
		switch w {
		case "numeric":
			options = append(options, collate.Numeric)
		case "base":
			options = append(options, collate.IgnoreCase, collate.IgnoreDiacritics)
		case "accent":
			options = append(options, collate.IgnoreCase)
		case "case":
			options = append(options, collate.IgnoreDiacritics)
		}
	}
	return collate.New(language.English, options...)
}
